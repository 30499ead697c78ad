"""A phantom is one tumour however it is read, its settings mean what they say, and its equation is solved."""

import math
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import fft
from scipy.spatial import cKDTree

from napari_hrpn.phantom import PHANTOM_PRESETS, PhantomError, PhantomSettings, phantom_slide, r2_ceiling
from napari_hrpn.phantom.nuclei import nuclei_within
from napari_hrpn.phantom.sampling import Bounds, HardCore, Purpose, SampleGrid, enlarge
from napari_hrpn.phantom.tissue import TissueShape, inside_vessels, steady_concentration, vessels_within

steady = settings(derandomize=True, deadline=None, max_examples=25)
TUMOUR = PHANTOM_PRESETS["tumour"]
# a short penetration makes the margins of a cell narrow and the test quick
QUICK = replace(PHANTOM_PRESETS["tiny"], penetration_um=8.0)
# many vessels, and so much light that there is no noise to be seen
CALM = replace(
    QUICK,
    pixel_size_um=1.0,
    vessel_density_per_mm2=1000.0,
    electrons_per_grey=1e6,
    probe_electrons_per_grey=1e6,
    read_noise_electrons=0.0,
)
SHAPE = (120, 150)


def pixels_of(preset: PhantomSettings, seed: int = 0) -> NDArray[np.uint8]:
    """All pixels of a small phantom."""
    return np.asarray(phantom_slide(preset, size=SHAPE, seed=seed).slide.levels[0].compute())


@pytest.fixture(scope="module")
def quick() -> NDArray[np.uint8]:
    return pixels_of(QUICK)


WINDOWS = st.tuples(st.integers(0, SHAPE[0]), st.integers(0, SHAPE[0]), st.integers(0, 150), st.integers(0, 150)).map(
    lambda ends: (slice(*sorted(ends[:2])), slice(*sorted(ends[2:])))
)
QUICK_LEVEL = phantom_slide(QUICK, size=SHAPE).slide.levels[0]


@steady
@given(WINDOWS, st.integers(0, 2))
def test_any_window_is_that_part_of_the_whole(
    quick: NDArray[np.uint8], window: tuple[slice, slice], channel: int
) -> None:
    np.testing.assert_array_equal(QUICK_LEVEL[channel][window].compute(), quick[channel][window])


@settings(steady, max_examples=8)
@given(st.tuples(st.integers(1, 3), st.integers(20, 120), st.integers(20, 150)))
def test_chunks_change_no_pixel(quick: NDArray[np.uint8], chunks: tuple[int, int, int]) -> None:
    np.testing.assert_array_equal(QUICK_LEVEL.rechunk(chunks).compute(), quick)


def test_the_same_seed_is_the_same_tumour_and_another_is_another(quick: NDArray[np.uint8]) -> None:
    np.testing.assert_array_equal(pixels_of(QUICK), quick)
    other = pixels_of(QUICK, seed=1)
    assert all((first != second).mean() > 0.2 for first, second in zip(quick, other, strict=True))


def test_the_name_of_a_preset_changes_no_pixel(quick: NDArray[np.uint8]) -> None:
    np.testing.assert_array_equal(pixels_of(replace(QUICK, name="another", size=999)), quick)


@pytest.mark.parametrize(
    ("change", "channels"),
    [
        ({"nuclei_grey": 60.0}, [0]),
        ({"vessels_grey": 60.0}, [1]),
        ({"probe_grey": 12.0}, [2]),
        ({"probe_electrons_per_grey": 5e5, "electrons_per_grey": 5e5}, []),
        ({"probe_shift_um": (0.5, 0.0)}, [2]),
        ({"chromatin_contrast": 0.0}, [0]),
        ({"vessel_wall_um": 2.0}, [1]),
        ({"nuclear_exclusion": 0.0}, [2]),
        ({"offset_grey": 9.0}, [0, 1, 2]),
    ],
)
def test_a_setting_changes_the_light_of_its_channels_alone(change: dict[str, float], channels: list[int]) -> None:
    before, after = (pixels_of(preset).astype(int) for preset in (CALM, replace(CALM, **change)))
    largest = np.abs(after - before).max(axis=(1, 2))
    assert [channel for channel in range(3) if largest[channel] > 1] == channels


@pytest.mark.parametrize("offset", [0.0, 7.0])
def test_glass_without_tissue_light_reads_the_offset(offset: float) -> None:
    dark = replace(
        QUICK,
        nuclei_grey=1e-9,
        vessels_grey=1e-9,
        probe_grey=1e-9,
        tissue_grey=0.0,
        offset_grey=offset,
        read_noise_electrons=0.0,
    )
    assert (pixels_of(dark) == offset).all()
    probe = phantom_slide(dark, size=SHAPE).noise_free_probe.compute()
    np.testing.assert_allclose(probe, offset, atol=1e-6)


def test_the_probe_without_noise_is_read_as_its_rounded_light() -> None:
    bright = replace(QUICK, read_noise_electrons=0.0, probe_electrons_per_grey=1e6)
    phantom = phantom_slide(bright, size=SHAPE)
    difference = phantom.slide.levels[0][2].compute() - phantom.noise_free_probe.compute()
    # half a grey level of rounding, and the noise of a million electrons
    assert np.abs(difference).max() < 0.55
    assert r2_ceiling(phantom) > 0.99


@pytest.mark.parametrize("electrons", [0.5, 2.0, 8.0])
def test_the_ceiling_rises_with_light_and_never_passes_one(electrons: float) -> None:
    dim, bright = (
        r2_ceiling(phantom_slide(replace(QUICK, probe_electrons_per_grey=factor * electrons), size=SHAPE))
        for factor in (1, 4)
    )
    assert dim < bright <= 1


def test_the_ceiling_of_a_constant_image_does_not_exist() -> None:
    dark = replace(QUICK, nuclei_grey=1e-9, probe_grey=1e-9, tissue_grey=0.0, read_noise_electrons=0.0)
    assert math.isnan(r2_ceiling(phantom_slide(dark, size=SHAPE)))


SHARES = ("necrosis", "nest_avoidance", "uptake_rise", "nuclear_exclusion", "cross_talk", "shading")
NUMBERS = [
    field.name
    for field in fields(PhantomSettings)
    if field.type in ("float", "int") and field.name not in ("bits", "permeability_visible")
]


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [-1e-9, -1.0, math.nan, math.inf, -math.inf])
def test_no_number_of_a_phantom_is_negative_or_endless(name: str, value: float) -> None:
    with pytest.raises(PhantomError, match=f"^{name} of a phantom is .*; give"):
        replace(TUMOUR, **{name: value})


@pytest.mark.parametrize("name", SHARES)
def test_a_share_is_at_most_one(name: str) -> None:
    for value in (0.0, 1.0):
        assert getattr(replace(TUMOUR, **{name: value}), name) == value
    with pytest.raises(PhantomError, match=f"{name} of a phantom is .*; give a number, 0 to 1$"):
        replace(TUMOUR, **{name: np.nextafter(1.0, 2.0)})


@pytest.mark.parametrize("name", ["vessel_radius_um", "nucleus_radius_um", "probe_grey", "electrons_per_grey", "size"])
def test_what_a_phantom_needs_is_more_than_zero(name: str) -> None:
    with pytest.raises(PhantomError, match=f"{name} of a phantom is 0.*; give a number, more than 0$"):
        replace(TUMOUR, **{name: 0})


@steady
@given(st.floats(0.1, 1.2))
def test_distances_are_bounded_in_pixels_of_any_size(pixel_um: float) -> None:
    base = replace(TUMOUR, pixel_size_um=pixel_um, penetration_um=pixel_um, psf_um=0.0)
    for name, most in (("penetration_um", 1000), ("psf_um", 2)):
        assert getattr(replace(base, **{name: most * pixel_um}), name) == most * pixel_um
        with pytest.raises(PhantomError, match=f"{name} of a phantom .*at most {most} pixels"):
            replace(base, **{name: most * pixel_um * 1.001})
    for sign in (-1, 1):
        assert replace(base, probe_shift_um=(0.0, sign * 8 * pixel_um))
        with pytest.raises(PhantomError, match=r"probe_shift_um .*at most 8 pixels"):
            replace(base, probe_shift_um=(sign * 8.01 * pixel_um, 0.0))


@pytest.mark.parametrize("size", [15, (16, 15), 2**20 + 1, (2**20 + 1, 16)])
def test_a_phantom_is_neither_too_small_nor_too_large(size: int | tuple[int, int]) -> None:
    with pytest.raises(PhantomError, match=r"give 16 to 1,048,576 pixels"):
        phantom_slide("tiny", size=size)
    assert phantom_slide("tiny", size=(16, 2**20)).slide.shape == (16, 2**20)


@steady
@given(st.floats(2, 30), st.integers(0, 1000), st.integers(-500, 500), st.integers(-500, 500))
def test_no_two_points_are_nearer_than_their_distance_anywhere(distance: float, seed: int, y: int, x: int) -> None:
    pattern = HardCore(seed, Purpose.NUCLEI, distance, 2000.0, lambda points: np.full(len(points), 2000.0))
    positions = pattern.within(Bounds(y, x, y + 150, x + 150)).positions_um
    assert not cKDTree(positions).query_pairs(distance * (1 - 1e-9))
    assert Bounds(y, x, y + 150, x + 150).holds(positions).all()


@steady
@given(st.integers(0, 1000), st.floats(0.05, 0.95))
def test_halves_of_a_window_have_its_points_between_them(seed: int, share: float) -> None:
    pattern = HardCore(seed, Purpose.VESSELS, 10.0, 900.0, lambda points: np.full(len(points), 900.0))
    cut = 300 * share
    whole = pattern.within(Bounds(0, 0, 100, 300)).positions_um
    halves = [pattern.within(Bounds(0, *ends[:1], 100, *ends[1:])).positions_um for ends in ((0, cut), (cut, 300))]
    assert len(whole) > 0
    assert {tuple(point) for point in whole} == {tuple(point) for half in halves for point in half}
    assert len(whole) == sum(map(len, halves))


@pytest.mark.parametrize("seed", [0, 5])
def test_nuclei_keep_off_each_other_and_off_the_vessels(seed: int) -> None:
    preset = replace(TUMOUR, has_outline=False)
    tissue, bounds = TissueShape(preset, (1e6, 1e6), seed), Bounds(0, 0, 400, 400)
    vessels = vessels_within(bounds.grown(200), preset, tissue)
    centres = nuclei_within(bounds, preset, tissue, vessels).centre_um
    assert len(centres) > 200
    assert not cKDTree(centres).query_pairs(preset.nucleus_distance_um * (1 - 1e-9))
    assert not inside_vessels(centres, vessels, 0.0).any()


PERIODIC = st.tuples(st.integers(12, 40), st.integers(12, 40), st.integers(0, 2**32 - 1), st.floats(5, 60))


@steady
@given(PERIODIC)
def test_diffusion_and_uptake_balance_the_source_at_every_sample(grid: tuple[int, int, int, float]) -> None:
    height, width, seed, penetration_um = grid
    random, step_um = np.random.default_rng(seed), 2.0
    uptake = random.uniform(0.3, 2.5, (height, width))
    source = random.exponential(size=(height, width))
    concentration = steady_concentration(source, uptake, penetration_um, step_um, tolerance=1e-13)
    # the Laplacian of the waves that fit on the grid, by the full transform
    waves = [2 * np.pi * fft.fftfreq(size, step_um) for size in source.shape]
    squares = waves[0][:, None] ** 2 + waves[1][None, :] ** 2
    laplacian = fft.ifft2(-squares * fft.fft2(concentration)).real
    residual = penetration_um**2 * laplacian - uptake * concentration + source
    assert np.abs(residual).max() < 1e-6 * source.max()


@steady
@given(st.floats(0.5, 2), st.floats(1, 50), st.floats(0.1, 10))
def test_an_even_source_and_uptake_give_their_quotient(uptake: float, penetration_um: float, source: float) -> None:
    shape = (16, 24)
    found = steady_concentration(np.full(shape, source), np.full(shape, uptake), penetration_um, 1.0)
    np.testing.assert_allclose(found, source / uptake, rtol=1e-9)


@steady
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 9))
def test_concentration_is_linear_in_the_source(seed: int, factor: float) -> None:
    random = np.random.default_rng(seed)
    uptake, sources = random.uniform(0.3, 2.5, (20, 30)), random.exponential(size=(2, 20, 30))
    first, second, both = (
        steady_concentration(source, uptake, 15.0, 2.0, tolerance=1e-12)
        for source in (sources[0], sources[1], sources[0] + factor * sources[1])
    )
    np.testing.assert_allclose(both, first + factor * second, rtol=1e-8)


@steady
@given(st.integers(-50, 50), st.integers(-50, 50), st.floats(0.1, 5), st.floats(0.1, 30))
def test_a_square_of_a_grid_has_every_sample_within_its_reach(y: int, x: int, step_um: float, reach_um: float) -> None:
    grid = SampleGrid(-20, 30, -10, 25, step_um)
    rows, columns = grid.around(y * step_um, x * step_um, reach_um)
    inside = np.abs(grid.y_um - y * step_um)[:, None] <= reach_um
    inside = inside & (np.abs(grid.x_um - x * step_um)[None, :] <= reach_um)
    outside = inside.copy()
    outside[rows, columns] = False
    assert not outside.any()


@steady
@given(st.integers(5, 12), st.integers(5, 12), st.sampled_from([1, 2, 8]), st.integers(0, 2**32 - 1))
def test_enlarging_is_the_same_in_rows_and_columns_and_keeps_a_level(
    height: int, width: int, factor: int, seed: int
) -> None:
    values = np.random.default_rng(seed).normal(size=(height, width))
    large = enlarge(values, factor)
    assert large.shape == ((height - 4) * factor, (width - 4) * factor)
    np.testing.assert_allclose(large, enlarge(values.T, factor).T, atol=1e-5)
    np.testing.assert_allclose(enlarge(np.full((height, width), 3.5), factor), 3.5, rtol=1e-6)
    if factor == 1:
        np.testing.assert_allclose(large, values[2:-2, 2:-2], atol=1e-6)


def test_a_phantom_without_a_vessel_differs_from_the_same_one_only_around_it():
    extent_um = tuple(edge * CALM.pixel_size_um for edge in SHAPE)
    vessels = vessels_within(Bounds(0, 0, *extent_um), CALM, TissueShape(CALM, extent_um, 0))
    index = np.argmin(np.hypot(*(vessels.centre_um - np.array(extent_um) / 2).T))
    centre = tuple(vessels.centre_um[index].tolist())
    whole = phantom_slide(CALM, size=SHAPE)
    missing = phantom_slide(replace(CALM, removed_vessels_um=(centre,)), size=SHAPE)
    lost = whole.noise_free_probe.compute() - missing.noise_free_probe.compute()
    y, x = np.ogrid[: SHAPE[0], : SHAPE[1]]
    distance = np.hypot(y + 0.5 - centre[0], x + 0.5 - centre[1]) - vessels.half_length_um[index]
    assert lost.min() > -1e-3
    assert lost[distance < 10].max() > 1
    assert lost[distance > 70].max() < 0.01 * lost.max()
    stained, unstained = (slide.slide.levels[0][1].compute().astype(float) for slide in (whole, missing))
    assert (stained - unstained).max() > 30
    assert np.abs(stained - unstained)[distance > 40].max() <= 1


def test_a_phantom_without_any_vessel_has_no_probe():
    extent_um = tuple(edge * CALM.pixel_size_um for edge in SHAPE)
    around = Bounds(0, 0, *extent_um).grown(1000)
    everywhere = vessels_within(around, CALM, TissueShape(CALM, extent_um, 0)).centre_um
    settings = replace(CALM, removed_vessels_um=tuple(map(tuple, everywhere.tolist())))
    probe = phantom_slide(settings, size=SHAPE).noise_free_probe.compute()
    np.testing.assert_allclose(probe, CALM.offset_grey, atol=1e-3)
