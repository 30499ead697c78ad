from pathlib import Path

import dask.array as da
import numpy as np

from napari_hrpn.analysis import TissueMask, background_levels, tissue_percentiles
from napari_hrpn.analysis.intensity import SAMPLES
from napari_hrpn.slides import Slide

SIZE = 2100


def slide(pixels: np.ndarray) -> Slide:
    levels = tuple(da.from_array(pixels[:, ::step, ::step], chunks=(1, 512, 512)) for step in (1, 2, 4))
    return Slide(levels, ("DAPI", "CD31", "QD"), (0.5, 0.5), Path("made-up"), stored_levels=3)


def left_half() -> TissueMask:
    mask = np.zeros((525, 525), bool)
    mask[:, :263] = True
    return TissueMask(mask, (4.0, 4.0), 2)


def test_percentiles_are_those_of_the_tissue_alone() -> None:
    pixels = np.random.default_rng(0).integers(0, 4000, (3, SIZE, SIZE), dtype=np.uint16)
    pixels[:, :, 1052:] = 60_000
    found = tissue_percentiles(slide(pixels), [2, 0], left_half(), [1, 50, 99.5], 1.0)
    expected = np.percentile(pixels[[2, 0], ::2, :1052:2], [1, 50, 99.5], axis=(1, 2)).T
    np.testing.assert_allclose(found, expected, atol=40)
    assert found.shape == (2, 3)


def test_percentiles_of_one_level_are_exact_where_it_is_small() -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (3, SIZE, SIZE), dtype=np.uint8)
    everywhere = TissueMask(np.ones((525, 525), bool), (4.0, 4.0), 2)
    found = tissue_percentiles(slide(pixels), [1], everywhere, [5, 95], 2.0)
    np.testing.assert_array_equal(found[0], np.percentile(pixels[1, ::4, ::4], [5, 95]))


def test_a_large_level_is_sampled_evenly_within_the_memory() -> None:
    pixels = np.random.default_rng(2).integers(0, 1000, (3, SIZE, SIZE), dtype=np.uint16)
    assert pixels[0].size > SAMPLES
    everywhere = TissueMask(np.ones((525, 525), bool), (4.0, 4.0), 2)
    found = tissue_percentiles(slide(pixels), [0], everywhere, [10, 90], 0.5)
    np.testing.assert_allclose(found[0], [100, 900], atol=5)


def test_no_tissue_gives_zeros() -> None:
    nowhere = TissueMask(np.zeros((525, 525), bool), (4.0, 4.0), 2)
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
    everywhere = TissueMask(np.ones((525, 525), bool), (4.0, 4.0), 2)
    assert background_levels(slide(np.ones((3, SIZE, SIZE), np.uint8)), [0], everywhere) is None
