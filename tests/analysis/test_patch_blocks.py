"""Patches that are like their neighbours: simulated, because no formula says what blocks are worth."""

import math

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_hrpn.analysis import anderson_darling_permutation, icc
from napari_hrpn.analysis.counts.blocks import patch_blocks
from napari_hrpn.analysis.statistics.anderson_darling import AndersonDarling
from napari_hrpn.analysis.statistics.icc import icc_over_blocks

ROOM = 12


def smoothed(generator: np.random.Generator, sigma: float, edge: int) -> np.ndarray:
    """Noise of variance 1."""
    noise = generator.normal(size=(edge + 2 * ROOM, edge + 2 * ROOM))
    field = gaussian_filter(noise, sigma) if sigma else noise
    return (field / field.std())[ROOM:-ROOM, ROOM:-ROOM]


def exchanged(y: np.ndarray, p: np.ndarray, *, in_blocks: bool) -> AndersonDarling:
    units = [[[value] for value in image.ravel()] for image in (y, p)]
    blocks = patch_blocks([y - p], np.ones(y.shape, bool)) if in_blocks else None
    return anderson_darling_permutation(units, paired=True, permutations=39, blocks=blocks)


@pytest.mark.parametrize(("sigma", "edge"), [(0, 9), (0.4, 9), (1, 9), (2, 9), (0.8, 34)])
def test_equal_distributions_are_rejected_as_often_as_the_level_says_or_get_no_p(sigma: float, edge: int) -> None:
    generator = np.random.default_rng(0)
    trials = 40 if edge < 20 else 10
    found = [
        exchanged(smoothed(generator, sigma, edge), smoothed(generator, sigma, edge), in_blocks=True)
        for _ in range(trials)
    ]
    p_values = np.array([each.p_permutation for each in found])
    assert np.sum(p_values <= 0.05) <= 0.12 * trials
    assert all(("blocks" in each.reason) == math.isnan(each.p_permutation) for each in found)
    given = np.mean(np.isfinite(p_values))
    assert given > 0.7 if sigma == 0 or edge > 20 else given < 0.9
    assert not any(math.isnan(each.statistic) for each in found)


def test_exchanging_dependent_patches_one_by_one_rejects_far_too_often() -> None:
    generator = np.random.default_rng(1)
    found = [exchanged(smoothed(generator, 1, 12), smoothed(generator, 1, 12), in_blocks=False) for _ in range(15)]
    assert np.mean([each.p_permutation <= 0.05 for each in found]) > 0.3


def test_blocks_still_find_a_difference_and_are_exchanged_whole() -> None:
    generator = np.random.default_rng(2)
    y = smoothed(generator, 0.8, 40)
    p = y + 0.5 + 0.2 * smoothed(generator, 0.8, 40)
    found, blocks = exchanged(y, p, in_blocks=True), patch_blocks([y - p], np.ones(y.shape, bool))
    assert blocks.side > 6
    assert found.units == (blocks.labels.max() + 1,) * 2
    assert found.p_permutation <= 0.05


def test_structure_that_both_images_share_does_not_make_their_differences_dependent() -> None:
    generator = np.random.default_rng(3)
    shared = 3 * smoothed(generator, 2, 30)
    y, p = (shared + generator.normal(size=shared.shape) for _ in range(2))
    enough = np.ones(y.shape, bool)
    assert patch_blocks([y - p], enough).side == 1
    assert patch_blocks([y + p, y - p], enough).side > 12


def test_patches_that_do_not_count_are_in_no_block() -> None:
    values = smoothed(np.random.default_rng(4), 1, 30)
    enough = np.hypot(*np.indices(values.shape)) < 28
    hidden = np.where(enough, values, np.nan)
    blocks = patch_blocks([hidden], enough)
    assert len(blocks.labels) == enough.sum()
    rows, columns = np.nonzero(enough)
    places = {(row // blocks.side, column // blocks.side) for row, column in zip(rows, columns, strict=True)}
    assert len(np.unique(blocks.labels)) == len(places)
    sizes = np.bincount(blocks.labels)
    assert blocks.effective == pytest.approx(sizes.sum() ** 2 / (sizes**2).sum())


@pytest.mark.parametrize(("sigma", "edge", "least"), [(0, 10, 0.85), (0.7, 66, 0.8), (1, 10, 1), (2, 20, 1)])
def test_intervals_of_an_icc_hold_the_truth_or_there_are_none(sigma: float, edge: int, least: float) -> None:
    generator = np.random.default_rng(5)
    truth, held, trials = 1 / 1.36, [], 60 if edge < 66 else 25
    for _ in range(trials):
        shared = smoothed(generator, sigma, edge)
        y, p = (shared + 0.6 * smoothed(generator, sigma, edge) for _ in range(2))
        found = icc_over_blocks(
            np.stack([y.ravel(), p.ravel()], 1), patch_blocks([y + p, y - p], np.ones(y.shape, bool)), resamples=200
        )
        assert math.isnan(found.icc_a1_low) == ("blocks" in found.reason)
        assert not math.isnan(found.icc_a1)
        if not found.reason:
            held.append(found.icc_c1_low <= truth <= found.icc_c1_high and found.icc_a1_low <= truth)
    assert np.mean(held or [True]) >= least
    assert len(held) > 0.5 * trials if least < 1 else not held


def test_blocks_of_one_patch_give_the_interval_of_independent_patches() -> None:
    table = np.random.default_rng(6).normal(size=(40, 1)) + 0.4 * np.random.default_rng(7).normal(size=(40, 2))
    alone = patch_blocks([np.zeros((5, 8))], np.ones((5, 8), bool))
    assert alone.side == 1
    assert icc_over_blocks(table, alone) == icc(table)
