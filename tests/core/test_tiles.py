"""Tiles: cores cover every pixel once, and everything lies on the network's grid."""

import numpy as np
import pytest

from napari_hrpn.core import Box, Tile, TileGrid, rounded_up

SIZES = [(1, 1), (31, 33), (512, 512), (513, 511), (600, 1041), (1000, 97), (1536, 1024)]


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize(("core", "halo", "stride"), [(512, 192, 32), (128, 32, 4), (32, 0, 32)])
def test_cores_cover_every_pixel_exactly_once(height, width, core, halo, stride):
    covered = np.zeros((height, width), int)
    grid = TileGrid(height, width, core, halo, stride)
    for tile in grid:
        covered[tile.core.y0 : tile.core.y1, tile.core.x0 : tile.core.x1] += 1
    assert (covered == 1).all()
    assert len(grid) == len(list(grid))


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_origins_and_padded_sizes_are_multiples_of_the_stride(height, width):
    for tile in TileGrid(height, width, 512, 192, 32):
        padded = tile.padded
        assert all(value % 32 == 0 for value in (padded.y0, padded.x0, padded.height, padded.width))


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_every_core_has_its_halo_on_all_sides(height, width):
    for tile in TileGrid(height, width, 512, 192, 32):
        needed = tile.core.grown(192)
        assert tile.padded.intersection(needed) == needed


@pytest.mark.parametrize("wrong", [(0, 9, 32, 0, 32), (9, 9, 0, 0, 32), (9, 9, 32, -32, 32)])
def test_a_grid_without_pixels_is_refused(wrong):
    with pytest.raises(ValueError, match="at least one pixel"):
        TileGrid(*wrong)


@pytest.mark.parametrize(("core", "halo", "name"), [(500, 32, "core"), (512, 30, "halo")])
def test_what_is_off_the_stride_grid_is_refused_by_name(core, halo, name):
    with pytest.raises(ValueError, match=f"{name} is"):
        TileGrid(1000, 1000, core, halo, 32)


def test_a_region_gets_the_tiles_that_meet_it_and_no_others():
    grid = TileGrid(2000, 2000, 512, 32, 32)
    found = grid.within(Box(500, 600, 1024, 1030))
    assert [(tile.core.y0, tile.core.x0) for tile in found] == [(0, 1024), (512, 1024)]


@pytest.mark.parametrize("size", [(2048, 2048), (1025, 700), (513, 100), (2000, 1537)])
def test_quarters_cover_the_core_once_on_the_grid(size):
    tile = Tile.around(Box(4096, 4096 + size[0], 2048, 2048 + size[1]), 192, 32)
    covered = np.zeros(size, int)
    for quarter in tile.quarters(192, 32, 512):
        core = quarter.core
        assert core.y0 % 512 == 0
        assert core.x0 % 512 == 0
        assert core.area < tile.core.area
        covered[core.y0 - 4096 : core.y1 - 4096, core.x0 - 2048 : core.x1 - 2048] += 1
    assert (covered == 1).all()


def test_the_smallest_core_cannot_be_cut():
    tile = Tile.around(Box(512, 1024, 0, 300), 192, 32)
    assert tile.quarters(192, 32, 512) == (tile,)


def test_boxes_meet_where_both_are():
    assert Box(0, 10, 0, 10).intersection(Box(5, 20, 8, 9)) == Box(5, 10, 8, 9)
    assert Box(0, 10, 0, 10).intersection(Box(20, 30, 20, 30)).area == 0


def test_rounding_up_keeps_multiples():
    assert [rounded_up(size, 32) for size in (1, 32, 33)] == [32, 32, 64]
