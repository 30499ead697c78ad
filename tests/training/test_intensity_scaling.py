"""Scaling is measured on the training slides alone, inside their regions."""

from dataclasses import replace

import dask.array as da
import numpy as np
import pytest

from napari_hrpn.slides import RegionMask
from napari_hrpn.training import SlideEntry, TrainingSlide, recipe_settings
from napari_hrpn.training.data.grey_levels import TARGET_SPAN, measure_scaling
from support.predictions import make_slide


@pytest.fixture
def slide(tmp_path):
    made = make_slide(256, 256, tmp_path / "a.tif")
    return TrainingSlide(SlideEntry(tmp_path / "a.tif"), made, (0, 1), 2)


def brighter(slide, factor, dtype=np.uint16):
    pixels = (slide.slide.levels[0].compute() * float(factor)).astype(dtype)
    return replace(slide, slide=replace(slide.slide, levels=(da.from_array(pixels, name=False),)))


def test_percentiles_become_zero_and_one_on_average_over_slides(slide):
    twice = brighter(slide, 3)
    measured = measure_scaling([slide, twice], recipe_settings())
    pixels = slide.slide.levels[0].compute()
    both = [np.percentile(pixels, q, axis=(1, 2)) * 2 for q in (1, 99.5)]
    scaling = measured.scaling
    np.testing.assert_allclose(scaling.offsets, both[0][:2], rtol=0.02)
    np.testing.assert_allclose(scaling.scales, (both[1] - both[0])[:2], rtol=0.02)
    assert scaling.target_offset == pytest.approx(both[0][2], rel=0.02)
    assert scaling.target_scale * TARGET_SPAN == pytest.approx((both[1] - both[0])[2], rel=0.02)
    assert measured.for_slide(twice) is scaling


def test_percentiles_of_each_slide_cancel_its_exposure(slide):
    measured = measure_scaling([slide], recipe_settings(scaling="percentile"))
    bright = brighter(slide, 4)
    inputs = [measured.for_slide(each).scale_inputs(each.slide.levels[0].compute()[[0, 1]]) for each in (slide, bright)]
    np.testing.assert_allclose(*inputs, atol=1e-3)
    assert measured.scaling.kind == "percentile"


def test_what_lies_outside_the_regions_has_no_say(slide):
    pixels = slide.slide.levels[0].compute()
    pixels[:, :, 128:] = 255
    levels = (da.from_array(pixels, name=False),)
    half = RegionMask(np.repeat([[True, False]], 2, axis=0), (128.0, 128.0))
    marked = replace(slide, slide=replace(slide.slide, levels=levels), regions=half)
    high = measure_scaling([marked], recipe_settings()).input_ranges[0][1]
    assert high < 250
    assert measure_scaling([replace(marked, regions=None)], recipe_settings()).input_ranges[0][1] == 255


def test_raw_intensities_stay_as_they_are(slide):
    scaling = measure_scaling([slide], recipe_settings("paper")).scaling
    pixels = slide.slide.levels[0].compute()[:2]
    np.testing.assert_array_equal(scaling.scale_inputs(pixels), pixels)
    assert (scaling.target_offset, scaling.target_scale) == (0, 1)


def test_full_scale_maps_0_and_255_to_minus_one_and_one(slide):
    scaling = measure_scaling([slide], recipe_settings("paper", "ganda")).scaling
    ends = np.array([0, 255], np.uint8).reshape(1, 1, 2).repeat(2, 0)
    np.testing.assert_allclose(scaling.scale_inputs(ends)[0, 0], [-1, 1])
    np.testing.assert_allclose(scaling.unscale_output(np.array([-1, 1], np.float32)), [0, 255])
