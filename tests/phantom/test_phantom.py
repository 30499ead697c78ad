"""The phantom as a slide: the same pixels for everybody, no seams, little memory, honest ceiling."""

import pickle
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import dask.array as da
import numpy as np
import pytest

from napari_hrpn.phantom import (
    PHANTOM_PRESETS,
    PhantomError,
    PhantomSettings,
    phantom_slide,
    r2_ceiling,
)
from napari_hrpn.phantom.cells import make_cell
from napari_hrpn.phantom.phantom_slide import _PhantomCells
from napari_hrpn.phantom.sampling import enlarge

# a short penetration makes the margins of a cell narrow and the test quick
QUICK = replace(PHANTOM_PRESETS["tumour"], has_outline=False, penetration_um=10.0)


@pytest.fixture(scope="module")
def two_by_two() -> np.ndarray:
    """Read all cells of a phantom of 2 x 2 cells in one go."""
    return phantom_slide(QUICK, size=(1100, 1300), seed=4).slide.levels[0].compute()


@pytest.mark.parametrize("preset", sorted(PHANTOM_PRESETS))
def test_every_preset_is_a_slide(preset):
    phantom = phantom_slide(preset, size=96, seed=2)
    slide = phantom.slide
    assert slide.channel_names == ("DAPI", "AF488", "QD")
    assert slide.pixel_size_um == (PHANTOM_PRESETS[preset].pixel_size_um,) * 2
    assert slide.source == Path(f"phantom-{preset}-2")
    pixels = slide.levels[0].compute()
    assert (pixels.shape, pixels.dtype) == ((3, 96, 96), np.uint8)
    probe = phantom.noise_free_probe.compute()
    assert (probe.shape, probe.dtype) == ((96, 96), np.float32)
    assert 0 <= probe.min() <= probe.max() <= 255


def test_pixels_do_not_depend_on_order_or_chunks(two_by_two):
    levels = phantom_slide(QUICK, size=(1100, 1300), seed=4).slide.levels[0]
    np.testing.assert_array_equal(levels[2, 1000:1080, 1000:1060].compute(), two_by_two[2, 1000:1080, 1000:1060])
    rechunked = da.rechunk(levels, (1, 300, 700)).compute(scheduler="synchronous")
    np.testing.assert_array_equal(rechunked, two_by_two)


def test_threads_get_the_same_pixels_and_make_a_cell_once(two_by_two, monkeypatch):
    made = []

    def counted(*args: object) -> object:
        made.append(args[-2:])
        return make_cell(*args)

    monkeypatch.setattr(sys.modules[_PhantomCells.__module__], "make_cell", counted)
    cells = _PhantomCells(QUICK, (1100, 1300), 4)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: cells.cell(1, 1), range(4)))
    assert made == [(1, 1)]
    for result in results:
        np.testing.assert_array_equal(result.channels, two_by_two[:, 1024:, 1024:])


def test_a_pickled_phantom_is_the_same_phantom(two_by_two):
    cells = pickle.loads(pickle.dumps(_PhantomCells(QUICK, (1100, 1300), 4)))
    np.testing.assert_array_equal(cells.cell(1, 1).channels, two_by_two[:, 1024:, 1024:])


def test_changing_what_was_read_changes_nothing():
    level = phantom_slide("tiny", size=64).slide.levels[0]
    first = level.compute()
    before = first.copy()
    first[:] = 0
    np.testing.assert_array_equal(level.compute(), before)


def test_seeds_differ():
    first, second = (phantom_slide("tiny", seed=seed).slide.levels[0].compute() for seed in (0, 1))
    assert np.corrcoef(first[0].ravel(), second[0].ravel())[0, 1] < 0.2


def test_two_phantoms_in_one_computation_stay_apart():
    first, second = (phantom_slide("tiny", size=64, seed=seed).slide.levels[0] for seed in (0, 1))
    assert np.abs(first.astype(int) - second.astype(int)).max().compute() > 0


@pytest.mark.parametrize("preset", ["tumour", "stress"])
def test_no_seam_between_cells(preset):
    settings = replace(PHANTOM_PRESETS[preset], has_outline=False)
    strip = phantom_slide(settings, size=(1040, 2048), seed=1)
    probe = strip.noise_free_probe.compute().astype(float)
    # second differences across the border against those beside it
    bend = np.abs(np.diff(probe, 2, axis=1)).mean(axis=0)
    assert bend[1021:1025].max() < 1.5 * bend[900:1150].mean()


def test_cells_agree_beyond_their_border():
    """Extend a cell to its neighbour's first pixels: both solutions of the transport agree to 1e-3 of the range."""
    from napari_hrpn.phantom import cells

    settings = replace(PHANTOM_PRESETS["tumour"], has_outline=False)
    left, right = (
        cells._concentration(settings, cells._surroundings(settings, (4096, 4096), 1, 1, column)) for column in (1, 2)
    )
    difference = np.abs(left[:, -8:] - right[:, :8]).max()
    assert 0 < difference < 1e-3 * max(left.max(), right.max())


def test_a_block_of_a_huge_slide_needs_little_memory():
    phantom = phantom_slide("tumour", size=40_960, seed=1)
    tracemalloc.start()
    block = phantom.slide.levels[0][:, 20_300:20_812, 20_500:21_012].compute(scheduler="synchronous")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert block.shape == (3, 512, 512)
    assert block[0].std() > 0
    assert peak < 400e6


def test_sixteen_bits_show_the_same_tissue():
    eight = phantom_slide("tiny", seed=3)
    sixteen = phantom_slide(replace(PHANTOM_PRESETS["tiny"], bits=16), seed=3)
    assert sixteen.slide.dtype == np.uint16
    expected, scaled = eight.noise_free_probe.compute(), sixteen.noise_free_probe.compute()
    np.testing.assert_allclose(scaled, 257 * expected, rtol=1e-5)
    fine = sixteen.slide.levels[0].compute() / 257
    assert np.abs(fine - eight.slide.levels[0].compute()).max() <= 0.51


def test_noise_free_probe_is_the_mean_of_the_probe():
    phantom = phantom_slide("tiny", size=512, seed=2)
    probe, expected = phantom.slide.levels[0][2].compute(), phantom.noise_free_probe.compute()
    settings = phantom.settings
    variance = (expected - settings.offset_grey) / settings.probe_electrons_per_grey
    variance += (settings.read_noise_electrons / settings.probe_electrons_per_grey) ** 2 + 1 / 12
    standardised = (probe - expected) / np.sqrt(variance)
    assert abs(standardised.mean()) < 0.01
    assert standardised.std() == pytest.approx(1, abs=0.02)


def test_ceiling_is_its_formula():
    phantom = phantom_slide(QUICK, size=(1100, 1300), seed=4)
    probe = phantom.slide.levels[0][2].compute().astype(float)
    expected = phantom.noise_free_probe.compute().astype(float)
    assert r2_ceiling(phantom) == pytest.approx(1 - ((probe - expected) ** 2).mean() / probe.var(), abs=1e-12)
    place = (slice(900, 1090), slice(10, 1290))
    part = 1 - ((probe - expected)[place] ** 2).mean() / probe[place].var()
    assert r2_ceiling(phantom, region=place) == pytest.approx(part, abs=1e-12)


def test_tissue_has_an_outline_and_glass_is_blank():
    phantom = phantom_slide("tumour", size=1024, seed=1)
    pixels, tissue = phantom.slide.levels[0].compute(), phantom.tissue.compute()
    assert 0.3 < tissue.mean() < 0.8
    edges = np.concatenate([tissue[0], tissue[-1], tissue[:, 0], tissue[:, -1]])
    assert edges.mean() < 0.05
    for channel in pixels:
        assert channel[tissue].mean() > channel[~tissue].mean() + 3
    inside = pixels[2].astype(float)[tissue]
    errors = inside - phantom.noise_free_probe.compute()[tissue]
    assert r2_ceiling(phantom, tissue_only=True) == pytest.approx(1 - (errors**2).mean() / inside.var())


def test_stress_saturates():
    pixels = phantom_slide("stress", size=1024, seed=1).slide.levels[0].compute()
    assert (pixels[0] == 255).mean() > 1e-3


def test_paper_like_is_as_dark_as_the_paper():
    settings = replace(PHANTOM_PRESETS["paper_like"], pixel_size_um=4 * 0.2744)
    spreads = []
    for seed in range(3):
        phantom = phantom_slide(settings, size=1024, seed=seed)
        spreads.append(phantom.slide.levels[0][2].compute()[phantom.tissue.compute()].std())
    assert np.mean(spreads) == pytest.approx(3.6, abs=0.6)


def test_enlarging_keeps_a_plane():
    y, x = np.mgrid[0:9, 0:11].astype(np.float32)
    large = enlarge(3 * y - 2 * x, 8)
    rows, columns = (np.arange(n * 8) + 0.5 for n in (5, 7))
    expected = 3 * (rows[:, None] / 8 + 1.5) - 2 * (columns[None, :] / 8 + 1.5)
    np.testing.assert_allclose(large, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"bits": 12}, "8 or 16 bits"),
        ({"pixel_size_um": 0.0}, "pixel_size_um"),
        ({"pixel_size_um": 5.0}, "pixel_size_um"),
        ({"necrosis": 1.5}, "necrosis"),
        ({"penetration_um": 1e6}, "penetration_um"),
        ({"probe_grey": float("nan")}, "probe_grey"),
        ({"probe_shift_um": (9.0, 0.0)}, "probe_shift_um"),
    ],
)
def test_impossible_settings_are_refused(change, told):
    with pytest.raises(PhantomError, match=told):
        PhantomSettings(**change)


@pytest.mark.parametrize(
    ("preset", "options", "told"),
    [
        ("tumor", {}, "choose one of tiny"),
        ("tiny", {"size": 0}, "size"),
        ("tiny", {"size": (64, 2**40)}, "size"),
        ("tiny", {"seed": -1}, "seed"),
        ("tiny", {"seed": 0.5}, "seed"),
    ],
)
def test_impossible_phantoms_are_refused(preset, options, told):
    with pytest.raises(PhantomError, match=told):
        phantom_slide(preset, **options)
