"""Intensity scaling: there and back, and percentiles of a slide put in."""

import numpy as np
import pytest

from napari_hrpn.models import IntensityScaling


def test_the_default_leaves_raw_intensities():
    pixels = np.arange(8, dtype=np.uint8).reshape(2, 2, 2)
    np.testing.assert_array_equal(IntensityScaling().scale_inputs(pixels), pixels)
    np.testing.assert_array_equal(IntensityScaling().unscale_output(np.float32([3.5])), [3.5])


def test_percentiles_become_nought_and_one():
    scaling = IntensityScaling("percentile").fixed_to((10.0, 100.0), (30.0, 300.0))
    pixels = np.array([[[10, 30]], [[100, 300]]], np.uint16)
    np.testing.assert_allclose(scaling.scale_inputs(pixels), [[[0, 1]], [[0, 1]]])
    assert scaling.kind == "fixed"


def test_output_is_scaled_back():
    scaling = IntensityScaling(target_offset=5, target_scale=64)
    np.testing.assert_allclose(scaling.unscale_output(np.float32([0, 0.5])), [5, 37])


@pytest.mark.parametrize(
    "wrong",
    [
        {"scales": (1.0,)},
        {"scales": (1.0, 0.0)},
        {"target_scale": -1.0},
        {"scales": (1.0, float("nan"))},
        {"target_offset": float("inf")},
    ],
)
def test_scales_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match="positive scale"):
        IntensityScaling(**wrong)


def test_the_target_is_scaled_and_back():
    scaling = IntensityScaling(target_offset=5, target_scale=64)
    pixels = np.array([[5, 37], [69, 0]], np.uint16)
    np.testing.assert_allclose(scaling.scale_target(pixels), [[0, 0.5], [1, -5 / 64]])
    np.testing.assert_allclose(scaling.unscale_output(scaling.scale_target(pixels)), pixels)


def test_scaling_into_an_array_is_the_same_and_leaves_the_pixels():
    scaling = IntensityScaling(offsets=(1.5, 7.0), scales=(3.0, 0.7), target_offset=2.0, target_scale=9.0)
    pixels = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)
    out = np.empty((2, 3, 4), np.float32)
    assert scaling.scale_inputs(pixels, out) is out
    expected = (pixels.astype(np.float32) - np.float32([1.5, 7])[:, None, None]) / np.float32([3, 0.7])[:, None, None]
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(scaling.scale_inputs(pixels), expected)
    assert scaling.scale_target(pixels, out) is out
    np.testing.assert_array_equal(pixels, np.arange(24).reshape(2, 3, 4))
