from pathlib import Path

import dask.array as da
import numpy as np
import pytest

from napari_hrpn.analysis import background_levels, tissue_percentiles
from napari_hrpn.analysis.tissue.intensity import SAMPLES
from napari_hrpn.slides import RegionMask, Slide

SIZE = 2100


def slide(pixels: np.ndarray) -> Slide:
    levels = tuple(da.from_array(pixels[:, ::step, ::step], chunks=(1, 512, 512)) for step in (1, 2, 4))
    return Slide(levels, ("DAPI", "CD31", "QD"), (0.5, 0.5), Path("made-up"), stored_levels=3)


def left_half() -> RegionMask:
    mask = np.zeros((525, 525), bool)
    mask[:, :263] = True
    return RegionMask(mask, (4.0, 4.0))


def test_percentiles_are_those_of_the_tissue_alone() -> None:
    pixels = np.random.default_rng(0).integers(0, 4000, (3, SIZE, SIZE), dtype=np.uint16)
    pixels[:, :, 1052:] = 60_000
    found = tissue_percentiles(slide(pixels), [2, 0], left_half(), [1, 50, 99.5], 1.0)
    expected = np.percentile(pixels[[2, 0], ::2, :1052:2], [1, 50, 99.5], axis=(1, 2)).T
    np.testing.assert_allclose(found, expected, atol=40)
    assert found.shape == (2, 3)


def test_percentiles_of_one_level_are_exact_where_it_is_small() -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (3, SIZE, SIZE), dtype=np.uint8)
    everywhere = RegionMask(np.ones((525, 525), bool), (4.0, 4.0))
    found = tissue_percentiles(slide(pixels), [1], everywhere, [5, 95], 2.0)
    np.testing.assert_array_equal(found[0], np.percentile(pixels[1, ::4, ::4], [5, 95]))


def test_a_large_level_is_sampled_evenly_within_the_memory() -> None:
    pixels = np.random.default_rng(2).integers(0, 1000, (3, SIZE, SIZE), dtype=np.uint16)
    assert pixels[0].size > SAMPLES
    everywhere = RegionMask(np.ones((525, 525), bool), (4.0, 4.0))
    found = tissue_percentiles(slide(pixels), [0], everywhere, [10, 90], 0.5)
    np.testing.assert_allclose(found[0], [100, 900], atol=5)


def test_no_tissue_gives_zeros() -> None:
    nowhere = RegionMask(np.zeros((525, 525), bool), (4.0, 4.0))
    found = tissue_percentiles(slide(np.ones((3, SIZE, SIZE), np.uint8)), [0, 1], nowhere, [1, 99], 2.0)
    assert found.tolist() == [[0, 0], [0, 0]]


def test_background_is_the_median_outside_the_tissue() -> None:
    pixels = np.zeros((3, SIZE, SIZE), np.uint8)
    pixels[:, :, :1052] = 200
    pixels[0, :, 1052:], pixels[1, :, 1052:] = 7, 9
    found = background_levels(slide(pixels), [1, 0], left_half())
    assert found is not None
    assert found.tolist() == [9, 7]


def test_there_is_no_background_where_all_is_tissue() -> None:
    everywhere = RegionMask(np.ones((525, 525), bool), (4.0, 4.0))
    assert background_levels(slide(np.ones((3, SIZE, SIZE), np.uint8)), [0], everywhere) is None


def small(pixels: np.ndarray) -> tuple[Slide, RegionMask]:
    """A slide of one level, whose left half is tissue."""
    left = np.zeros(pixels.shape[1:], bool)
    left[:, : pixels.shape[2] // 2] = True
    level = da.from_array(pixels, chunks=(1, 64, 64))
    return Slide((level,), ("DAPI", "CD31"), (0.5, 0.5), Path("made-up")), RegionMask(left, (1.0, 1.0))


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 1e30, -3.4e38])
def test_what_is_no_grey_level_is_left_out_of_every_statistic(wrong: float) -> None:
    pixels = np.random.default_rng(1).normal(100, 10, (2, 90, 120)).astype(np.float32)
    pixels[0, ::3] = wrong
    image, tissue = small(pixels)
    found = tissue_percentiles(image, [0, 1], tissue, [1, 50, 99.5], 0.5)
    kept = np.delete(pixels[0], np.s_[::3], axis=0)
    np.testing.assert_allclose(found[0], np.percentile(kept[:, :60], [1, 50, 99.5]), rtol=1e-6)
    np.testing.assert_allclose(found[1], np.percentile(pixels[1, :, :60], [1, 50, 99.5]), rtol=1e-6)
    glass = background_levels(image, [0], tissue)
    assert glass == pytest.approx([np.median(kept[:, 60:])], rel=1e-6)


def test_glass_without_grey_levels_is_as_dark_as_the_slide_is() -> None:
    pixels = np.random.default_rng(1).normal(100, 10, (2, 90, 120)).astype(np.float32)
    pixels[0] = np.nan
    pixels[1, :, 60:] = np.nan
    image, tissue = small(pixels)
    assert np.isnan(tissue_percentiles(image, [0], tissue, [1, 99], 0.5)).all()
    dark = np.percentile(pixels[1, :, :60], 1)
    assert background_levels(image, [0, 1], tissue) == pytest.approx([0, dark], rel=1e-6)
