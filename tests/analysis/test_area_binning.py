import dask.array as da
import numpy as np
import pytest

from napari_hrpn.analysis.counts.area_binning import WorkingGrid
from napari_hrpn.core import Box


@pytest.mark.parametrize(("fine", "coarse"), [((64, 96), (16, 24)), ((61, 97), (16, 25)), ((70, 81), (31, 53))])
def test_every_pixel_belongs_to_one_pixel_of_the_grid(fine: tuple[int, int], coarse: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 65_536, fine, np.uint16)
    grid, pixels = WorkingGrid(fine, coarse), da.from_array(image, chunks=40)
    whole = Box(0, coarse[0], 0, coarse[1])
    assert grid.counts(whole).min() >= 1
    assert grid.counts(whole).sum() == image.size
    sums = grid.sums(pixels, whole)
    assert sums.dtype == np.int64
    assert sums.sum() == image.sum(dtype=np.int64)
    np.testing.assert_array_equal(grid.sums(pixels, Box(3, 11, 5, 20)), sums[3:11, 5:20])
    np.testing.assert_array_equal(grid.counts(Box(3, 11, 5, 20)), grid.counts(whole)[3:11, 5:20])


def test_sums_of_a_pyramid_level_are_those_of_its_blocks() -> None:
    image = np.random.default_rng(1).integers(0, 256, (61, 99), np.uint8)
    sums = WorkingGrid(image.shape, (16, 25)).sums(da.from_array(image), Box(0, 16, 0, 25))
    padded = np.pad(image.astype(np.int64), ((0, 3), (0, 1)))
    np.testing.assert_array_equal(sums, padded.reshape(16, 4, 25, 4).sum(axis=(1, 3)))


@pytest.mark.parametrize("coarse", [(16, 25), (31, 53)])
def test_rectangles_of_any_place_add_up_to_the_grid(coarse: tuple[int, int]) -> None:
    image = np.random.default_rng(2).integers(0, 65_536, (61, 97), np.uint16)
    grid = WorkingGrid(image.shape, coarse)
    whole = Box(0, coarse[0], 0, coarse[1])
    sums, counts = np.zeros(coarse, np.int64), np.zeros(coarse, np.int64)
    for y in range(0, 61, 22):
        for x in range(0, 97, 35):
            rows, columns = slice(y, min(y + 22, 61)), slice(x, min(x + 35, 97))
            box = grid.cells(rows, columns)
            sums[box.y0 : box.y1, box.x0 : box.x1] += grid.sums_within(image[rows, columns], rows, columns)
            counts[box.y0 : box.y1, box.x0 : box.x1] += grid.counts_within(rows, columns)
    np.testing.assert_array_equal(sums, grid.sums(da.from_array(image), whole))
    np.testing.assert_array_equal(counts, grid.counts(whole))
