"""Cells of the grid, and which of them masks choose."""

from dataclasses import replace

import numpy as np
import pytest

from napari_hrpn.analysis import tissue_mask
from napari_hrpn.core import Box
from napari_hrpn.slides import RegionMask
from napari_hrpn.training import count_patches, recipe_settings
from napari_hrpn.training.data.patch_grid import CoveredArea, _grid_cells, selected_cells, suffices
from support.training_slides import addressed, region, training_slide

GRID = recipe_settings("paper", patch_px=64)
CROPS = recipe_settings("fast", patch_px=64)


def boxes(cells):
    return [(y0, y0 + height, x0, x0 + width) for _, _, y0, x0, height, width in cells.tolist()]


@pytest.mark.parametrize("shape", [(64, 64), (1, 1), (65, 200), (500, 63)])
def test_cells_cover_every_pixel_once(shape):
    covered = np.zeros(shape, int)
    cells = _grid_cells(shape, 64)
    for y0, y1, x0, x1 in boxes(cells):
        assert y1 <= shape[0]
        assert x1 <= shape[1]
        covered[y0:y1, x0:x1] += 1
    assert (covered == 1).all()
    np.testing.assert_array_equal(cells["y0"], 64 * cells["row"])
    np.testing.assert_array_equal(cells["x0"], 64 * cells["column"])


@pytest.mark.parametrize("downsample", [(1.0, 1.0), (4.0, 8.0), (3.7, 5.3)])
def test_covered_area_is_the_share_of_the_region_mask(downsample):
    random = np.random.default_rng(1)
    regions = RegionMask(random.random((40, 50)) < 0.4, downsample)
    height, width = (int(size * factor) for size, factor in zip((40, 50), downsample, strict=True))
    y0, x0 = random.integers(height, size=100), random.integers(width, size=100)
    y1, x1 = random.integers(y0 + 1, height + 1), random.integers(x0 + 1, width + 1)
    found = CoveredArea(regions.mask, regions.downsample).share(y0, y1, x0, x1)
    expected = [regions.share(Box(*map(int, box))) for box in zip(y0, y1, x0, x1, strict=True)]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_share_of_nothing_never_suffices():
    np.testing.assert_array_equal(suffices(np.array([0.0, 1e-12, 0.25, 1 - 1e-12]), 0.0), [False, False, True, True])
    np.testing.assert_array_equal(suffices(np.array([0.5, 0.999, 1 - 1e-12]), 1.0), [False, False, True])


@pytest.mark.parametrize("minimum", [0.0, 0.3, 1.0])
def test_the_grid_takes_cells_with_enough_of_the_regions(minimum):
    shape = (300, 410)
    regions = region(shape, (20, 200, 50, 290), downsample=10)
    slide = training_slide(addressed(*shape), regions)
    inside = regions.within(slice(0, 300), slice(0, 410))
    shares = {box: inside[slice(*box[:2]), slice(*box[2:])].mean() for box in boxes(_grid_cells(shape, 64))}
    expected = [box for box, share in shares.items() if share >= minimum and share > 0]
    settings = replace(GRID, minimum_overlap=minimum)
    assert boxes(selected_cells(slide, settings)) == expected
    assert count_patches(slide, settings) == len(expected)


def test_crops_need_every_cell_that_the_regions_meet():
    shape = (1100, 1600)
    regions = region(shape, (500, 520, 1000, 1100), downsample=10)
    cells = selected_cells(training_slide(addressed(*shape), regions), CROPS)
    assert boxes(cells) == [(0, 512, 512, 1024), (0, 512, 1024, 1536), (512, 1024, 512, 1024), (512, 1024, 1024, 1536)]


def test_large_crops_are_cut_into_cells_of_their_own_size():
    cells = selected_cells(training_slide(addressed(1400, 700)), recipe_settings("fast", patch_px=640))
    assert boxes(cells)[0] == (0, 640, 0, 640)


def test_cells_need_enough_tissue():
    random = np.random.default_rng(0)
    pixels = random.integers(0, 20, (3, 512, 512)).astype(np.uint16)
    pixels[:, :, 256:] += 1000
    slide = training_slide(pixels)
    mask = tissue_mask(slide.slide, 0)
    expected = [box for box in boxes(_grid_cells((512, 512), 64)) if mask.share(Box(*box)) >= 0.5]
    found = boxes(selected_cells(slide, replace(GRID, minimum_tissue=0.5)))
    assert found == expected
    assert 0 < len(found) < 64


def test_crops_are_counted_by_the_area_of_the_regions():
    shape = (1024, 1024)
    slide = training_slide(addressed(*shape), region(shape, (0, 256, 0, 320)))
    assert count_patches(slide, CROPS) == 20
    assert count_patches(slide, replace(CROPS, patch_px=256)) == 2


def test_regions_too_small_for_any_crop_count_as_none():
    slide = training_slide(addressed(600, 600), region((600, 600), (10, 30, 10, 30)))
    assert count_patches(slide, CROPS) == 0
    assert count_patches(slide, replace(CROPS, minimum_overlap=0.09)) == 1
