"""Positions of random crops: all that qualify, and none that does not."""

import numpy as np
import pytest

from napari_hrpn.slides import RegionMask
from napari_hrpn.training.data.patch_grid import BLANK, NOT_CUT
from napari_hrpn.training.data.patch_sampler import _CropPositions
from support.training_slides import region

CACHED = 0
SHAPE, CELL_PX, CROP_PX = (150, 190), 64, 32


def some_states(seed=0):
    random = np.random.default_rng(seed)
    return random.choice([NOT_CUT, BLANK, CACHED], size=(3, 3), p=[0.15, 0.15, 0.7]).astype(np.int8)


def some_regions():
    mask = np.zeros((30, 38), bool)
    mask[2:22, 5:30] = True
    mask[8:12, 10:20] = False
    return RegionMask(mask, (5.0, 5.0))


def by_hand(states, regions, minimum):
    """Positions that qualify, from the pixels of the masks alone."""
    height, width = SHAPE
    pixels = np.kron(states, np.ones((CELL_PX, CELL_PX), np.int8))[:height, :width]
    inside = regions.within(slice(0, height), slice(0, width))
    return {
        (y, x)
        for y in range(height - CROP_PX + 1)
        for x in range(width - CROP_PX + 1)
        if pixels[y : y + CROP_PX, x : x + CROP_PX].min() > NOT_CUT
        and pixels[y : y + CROP_PX, x : x + CROP_PX].max() == CACHED
        and inside[y : y + CROP_PX, x : x + CROP_PX].mean() >= minimum
    }


@pytest.mark.parametrize(("seed", "minimum"), [(0, 0.5), (1, 0.9), (2, 0.05)])
def test_every_position_that_qualifies_is_drawn_and_no_other(seed, minimum):
    states, regions = some_states(seed), some_regions()
    expected = by_hand(states, regions, minimum)
    positions = _CropPositions(SHAPE, states, CELL_PX, regions, CROP_PX, minimum)
    drawn = positions.draw(np.random.default_rng(0), 40 * len(expected))
    found, counts = np.unique(drawn, axis=0, return_counts=True)
    assert set(map(tuple, found.tolist())) == expected
    # each is as likely as the others: counts as those of a Poisson distribution of mean 40
    assert np.mean((counts - 40) ** 2) / 40 == pytest.approx(1, abs=0.15)
    assert positions.known in expected


def test_regions_without_a_position_are_known_from_the_start():
    small = _CropPositions(
        SHAPE, np.full((3, 3), CACHED, np.int8), CELL_PX, region(SHAPE, (5, 20, 5, 20)), CROP_PX, 0.5
    )
    assert small.known is None
    left_out = np.full((3, 3), NOT_CUT, np.int8)
    assert _CropPositions(SHAPE, left_out, CELL_PX, None, CROP_PX, 0.5).known is None
    blank = np.full((3, 3), BLANK, np.int8)
    assert _CropPositions(SHAPE, blank, CELL_PX, None, CROP_PX, 0.5).known is None


def test_a_single_position_is_found_and_drawn():
    regions = region(SHAPE, (40, 40 + CROP_PX, 71, 71 + CROP_PX))
    positions = _CropPositions(SHAPE, np.full((3, 3), CACHED, np.int8), CELL_PX, regions, CROP_PX, 1.0)
    assert positions.known == (40, 71)
    np.testing.assert_array_equal(positions.draw(np.random.default_rng(0), 5), [(40, 71)] * 5)


@pytest.mark.parametrize("shape", [(20, 190), (150, 31), (10, 12)])
def test_a_crop_begins_at_the_border_of_a_slide_that_is_smaller(shape):
    states = np.full([-(-size // CELL_PX) for size in shape], CACHED, np.int8)
    drawn = _CropPositions(shape, states, CELL_PX, None, CROP_PX, 0.5).draw(np.random.default_rng(0), 8000)
    for axis, size in enumerate(shape):
        assert sorted(set(drawn[:, axis].tolist())) == list(range(max(0, size - CROP_PX) + 1))


def test_pixels_are_those_of_the_regions_in_cached_cells():
    states, regions = some_states(), some_regions()
    cells = np.kron(states, np.ones((CELL_PX, CELL_PX), np.int8))[: SHAPE[0], : SHAPE[1]]
    inside = regions.within(slice(0, SHAPE[0]), slice(0, SHAPE[1]))
    positions = _CropPositions(SHAPE, states, CELL_PX, regions, CROP_PX, 0.5)
    assert positions.pixels == pytest.approx(np.count_nonzero(inside & (cells == CACHED)))
