"""Varied regimes, retained probe, capillaries and floor: ranges, exact means, and presets that never change."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.stats import kstest

from napari_hrpn.phantom import PHANTOM_PRESETS, PhantomError, PhantomSettings, cells, phantom_slide, r2_ceiling
from napari_hrpn.phantom.regimes import drawn_regime
from napari_hrpn.phantom.sampling import Bounds, SampleGrid
from napari_hrpn.phantom.tissue import TissueShape, Vessels, leak_source, steady_concentration, vessels_within

GOLDEN = Path(__file__).with_name("presets.npz")
TUMOUR, INTRAVASCULAR, VARIED = (PHANTOM_PRESETS[name] for name in ("tumour", "intravascular", "varied"))
COARSE = replace(TUMOUR, name="coarse", has_outline=False, pixel_size_um=1.0976)
# light enough that no noise is seen, and sharp
CLEAR = replace(
    INTRAVASCULAR,
    electrons_per_grey=1e6,
    probe_electrons_per_grey=1e6,
    read_noise_electrons=0.0,
    floor_grey=0.0,
    psf_um=0.0,
)
REGIMES = [drawn_regime(VARIED, seed) for seed in range(200)]


@pytest.mark.parametrize("preset", ["tiny", "tumour", "paper_like", "stress", "null", "coarse"])
def test_presets_have_the_pixels_that_they_always_had(preset: str) -> None:
    """The stored pixels were made before phantoms had a retained probe."""
    phantom = phantom_slide(COARSE if preset == "coarse" else preset, size=(60, 72), seed=3)
    with np.load(GOLDEN) as golden:
        np.testing.assert_allclose(phantom.noise_free_probe.compute()[::4, ::4], golden[f"{preset}_probe"], rtol=1e-5)
        # another processor may round a light otherwise, which can move the noise of a few pixels
        changed = phantom.slide.levels[0].compute() != golden[preset]
    assert changed.mean() < 0.002


def vessels_of(settings: PhantomSettings, seed: int = 0, um: float = 1500.0) -> Vessels:
    return vessels_within(Bounds(0, 0, um, um), settings, TissueShape(settings, (1e6, 1e6), seed))


def filled(vessels: Vessels, brightness: NDArray[np.float64], grid: SampleGrid, wall_um: float) -> NDArray[np.float64]:
    """Brightest straight vessel at each pixel: even up to a shoulder, half at the radius, Gaussian beyond."""
    places = np.stack(np.meshgrid(grid.y_um, grid.x_um, indexing="ij"), -1)
    image = np.zeros(grid.shape)
    for index, bright in enumerate(brightness):
        ends = vessels.half_length_um[index] * vessels.direction[index]
        first, axis = vessels.centre_um[index] - ends, 2 * ends
        share = np.clip((places - first) @ axis / (axis @ axis), 0, 1)
        outwards = np.linalg.norm(places - first - share[..., None] * axis, axis=-1) - vessels.radius_um[index]
        beyond = np.maximum(outwards + wall_um * math.sqrt(math.log(4)), 0)
        image = np.maximum(image, bright * np.exp(-(beyond**2) / (2 * wall_um**2)))
    return image


def test_what_is_retained_is_in_the_noise_free_image_exactly() -> None:
    settings = replace(
        CLEAR, retained_share=1.0, section_sd=0.0, vessel_bend=0.0, perfused_share=0.6, retained_grey=80.0
    )
    phantom, grid = phantom_slide(settings, size=(90, 120), seed=5), SampleGrid(0, 90, 0, 120, settings.pixel_size_um)
    tissue = TissueShape(settings, (90 * 0.69, 120 * 0.69), 5)
    vessels = vessels_within(grid.bounds.grown(90), settings, tissue)
    assert 0.3 < (vessels.retained == 0).mean() < 0.5
    expected = settings.offset_grey + 80 * filled(vessels, vessels.retained, grid, settings.vessel_wall_um)
    # float32, and profiles that end at four SDs of the wall
    np.testing.assert_allclose(phantom.noise_free_probe.compute(), np.minimum(expected, 255), atol=0.05)


@pytest.mark.parametrize("preset", ["intravascular", "varied"])
def test_the_ceiling_is_that_of_the_noise_alone(preset: str) -> None:
    settings = replace(PHANTOM_PRESETS[preset], has_outline=False, retained_grey=30.0, retained_sd=0.3)
    phantom = phantom_slide(settings, size=400, seed=4)
    probe, expected = phantom.slide.levels[0][2].compute().astype(float), phantom.noise_free_probe.compute()
    camera = phantom.settings
    light, electrons = expected.astype(float) - camera.offset_grey, camera.probe_electrons_per_grey
    # Poisson, read noise and rounding; where nothing is saturated
    noise = light / electrons + (camera.read_noise_electrons / electrons) ** 2 + 1 / 12
    assert expected.max() < 250
    assert r2_ceiling(phantom) == pytest.approx(1 - noise.mean() / probe.var(), abs=0.003)
    assert abs((probe - expected).mean()) < 4 * math.sqrt(noise.mean() / probe.size)


def test_how_much_of_a_vessel_lies_in_the_section_dims_stain_and_probe_alike() -> None:
    sharp = replace(CLEAR, tissue_grey=0.0, vessels_grey=15.0, retained_share=1.0, retained_grey=15.0, retained_sd=0.0)
    even = replace(sharp, section_sd=0.0)
    winding = replace(even, section_sd=0.5, section_um=2.0)
    stains, probes = [], []
    for settings in (even, winding):
        phantom = phantom_slide(settings, size=700, seed=6)
        stains.append(phantom.slide.levels[0][1].compute().astype(float) - settings.offset_grey)
        probes.append(phantom.noise_free_probe.compute().astype(float) - settings.offset_grey)
    inside = probes[0] > 5
    share = probes[1][inside] / probes[0][inside]
    # 8 bit
    assert np.abs(stains[1][inside] - share * stains[0][inside]).max() < 0.5 + 0.5 * share.max()
    assert np.log(share).std() == pytest.approx(0.5, rel=0.1)
    assert share.mean() == pytest.approx(1, abs=0.05)
    pairs = inside[:, :-3] & inside[:, 3:]
    logarithms = np.log(probes[1] / np.maximum(probes[0], 1e-9) + 1e-9)
    neighbours = np.corrcoef(logarithms[:, :-3][pairs], logarithms[:, 3:][pairs])[0, 1]
    assert neighbours == pytest.approx(math.exp(-((3 * 0.69 / 2.0) ** 2) / 2), abs=0.08)


def test_vessels_that_are_not_perfused_are_seen_but_silent() -> None:
    silent, perfused = (
        phantom_slide(replace(CLEAR, perfused_share=share, retained_share=0.5), size=96, seed=2) for share in (0.0, 1.0)
    )
    np.testing.assert_array_equal(*(phantom.slide.levels[0][:2].compute() for phantom in (silent, perfused)))
    np.testing.assert_array_equal(silent.noise_free_probe.compute(), CLEAR.offset_grey)
    assert perfused.noise_free_probe.compute().max() > 20
    vessels = vessels_of(replace(INTRAVASCULAR, perfused_share=0.7))
    assert (vessels.permeability > 0).mean() == pytest.approx(0.7, abs=0.05)
    np.testing.assert_array_equal(vessels.permeability > 0, vessels.retained > 0)


@pytest.mark.parametrize("coupling", [-1.0, 0.0, 1.0])
def test_the_sign_of_the_coupling_says_which_vessels_leak(coupling: float) -> None:
    settings = replace(INTRAVASCULAR, permeability_visible=coupling, permeability_hidden_sd=0.2)
    vessels = vessels_of(settings)
    slope = np.polyfit(np.log(vessels.brightness), np.log(vessels.permeability), 1)[0]
    assert slope == pytest.approx(-coupling, abs=0.1)
    assert vessels.permeability.mean() == pytest.approx(1, abs=0.05)


def test_what_a_vessel_retains_shows_in_no_input_and_has_mean_one() -> None:
    vessels = vessels_of(INTRAVASCULAR)
    assert np.log(vessels.retained).std() == pytest.approx(INTRAVASCULAR.retained_sd, rel=0.1)
    assert vessels.retained.mean() == pytest.approx(1, abs=0.1)
    for column in (vessels.brightness, vessels.radius_um, vessels.permeability):
        assert abs(np.corrcoef(np.log(column), np.log(vessels.retained))[0, 1]) < 0.1


def test_thin_vessels_are_solid_and_wide_ones_hollow() -> None:
    round_ones = replace(
        CLEAR, vessel_radius_um=6.0, vessel_radius_sd=0.0, vessel_half_length_um=1e-6, vessel_density_per_mm2=60.0
    )
    hollow, solid = (
        phantom_slide(replace(round_ones, solid_vessel_um=um), size=400, seed=1).slide.levels[0][1].compute()
        for um in (5.9, 6.0)
    )
    vessels = vessels_of(round_ones, seed=1, um=400 * 0.69)
    rows, columns = (vessels.centre_um // 0.69).astype(int).T
    outside = round_ones.tissue_grey + round_ones.offset_grey + 5
    assert len(rows) > 3
    assert (hollow[rows, columns] < outside).all()
    assert (solid[rows, columns] > outside).all()


def test_a_bent_vessel_is_as_thick_as_a_straight_one() -> None:
    grid, radius = SampleGrid(-160, 160, -160, 160, 0.25), 2.0
    area = []
    for curvature in (0.0, 1 / 20):
        one = [np.ones(1)] * 3
        vessel = Vessels(
            np.zeros((1, 2)), np.array([[0.0, 1.0]]), np.array([radius]), np.array([14.0]), np.array([curvature]), *one
        )
        inside = cells.draw_vessels(vessel, grid, 0.05, np.ones(1), np.ones(1, bool)) > 0.5
        area.append(inside.sum() * 0.25**2)
    # the arc of a parabola over 28 µm is longer than its chord
    u = np.linspace(-14, 14, 2001)
    arc = np.trapezoid(np.hypot(1, u / 20), u)
    assert area[0] == pytest.approx(2 * radius * 28 + math.pi * radius**2, rel=0.02)
    assert area[1] == pytest.approx(2 * radius * arc + math.pi * radius**2, rel=0.06)


def test_the_floor_has_its_mean_and_its_texture() -> None:
    settings = replace(CLEAR, floor_grey=12.0, floor_texture_sd=0.3, floor_texture_um=3.0, perfused_share=0.0)
    floor = phantom_slide(settings, size=500, seed=3).noise_free_probe.compute() - settings.offset_grey
    assert floor.mean() == pytest.approx(12, rel=0.03)
    assert np.log(floor).std() == pytest.approx(0.3, rel=0.1)
    even = phantom_slide(replace(settings, floor_texture_sd=0.0), size=64).noise_free_probe.compute()
    np.testing.assert_allclose(even, 12 + settings.offset_grey, rtol=1e-5)


def test_haze_is_the_light_of_nuclei_blurred() -> None:
    sharp, hazy = (
        phantom_slide(replace(CLEAR, haze=haze, haze_um=5.0), size=400, seed=6).slide.levels[0][0].compute()
        for haze in (0.0, 0.8)
    )
    added = hazy.astype(float) - sharp
    nuclei = sharp.astype(float) - CLEAR.offset_grey - CLEAR.tissue_grey
    expected = 0.8 * gaussian_filter(nuclei, 5.0 / CLEAR.pixel_size_um)
    middle = (slice(60, -60), slice(60, -60))
    assert np.corrcoef(added[middle].ravel(), expected[middle].ravel())[0, 1] > 0.9
    # touching nuclei overlap in the focus and add up out of it
    assert added.mean() == pytest.approx(expected.mean(), rel=0.4)


def test_gain_and_offset_belong_to_each_input() -> None:
    before = phantom_slide(CLEAR, size=64, seed=1).slide.levels[0].compute().astype(float)
    changed = replace(CLEAR, input_gain=(0.5, 1.25), input_offset_grey=(3.0, 7.0))
    after = phantom_slide(changed, size=64, seed=1).slide.levels[0].compute().astype(float)
    for channel, gain, offset in ((0, 0.5, 3), (1, 1.25, 7), (2, 1.0, 0)):
        expected = (before[channel] - CLEAR.offset_grey) * gain + CLEAR.offset_grey + offset
        np.testing.assert_allclose(after[channel], np.minimum(expected, 255), atol=1.2)


@pytest.mark.parametrize(
    ("name", "low", "high", "is_log"),
    [
        ("retained_share", 0, 1, False),
        ("vessel_density_per_mm2", 100, 800, True),
        ("vessel_radius_um", 1.5, 6, True),
        ("penetration_um", 2, 80, True),
        ("permeability_visible", -1, 1, False),
        ("perfused_share", 0.4, 1, False),
    ],
)
def test_regimes_are_spread_over_their_range(name: str, low: float, high: float, is_log: bool) -> None:
    values = np.array([getattr(regime, name) for regime in REGIMES])
    assert low <= values.min()
    assert values.max() <= high
    share = np.log(values / low) / np.log(high / low) if is_log else (values - low) / (high - low)
    assert kstest(share, "uniform").pvalue > 0.001


def test_floor_gain_and_outline_of_regimes() -> None:
    floors = np.array([regime.floor_grey / regime.retained_grey for regime in REGIMES])
    gains = np.array([regime.input_gain for regime in REGIMES])
    assert 0.05 <= floors.min() < 0.07 < 0.28 < floors.max() <= 0.3
    assert 0.5 <= gains.min() < 0.55 < 1.8 < gains.max() <= 2
    assert abs(np.corrcoef(gains.T)[0, 1]) < 0.2
    assert 0.35 < np.mean([regime.has_outline for regime in REGIMES]) < 0.65
    assert not any(drawn_regime(replace(VARIED, has_outline=False), seed).has_outline for seed in range(9))


def test_a_seed_has_one_regime_at_any_size_and_pixel_size() -> None:
    first = phantom_slide("varied", size=64, seed=7).settings
    other = phantom_slide(replace(VARIED, pixel_size_um=0.8), size=200, seed=7).settings
    assert replace(other, pixel_size_um=0.55) == replace(first, psf_um=other.psf_um)
    assert not first.is_varied
    assert first.name == "varied"
    # the drawn settings are those of an ordinary phantom
    pixels = [phantom_slide(preset, size=64, seed=7).slide.levels[0].compute() for preset in (VARIED, first)]
    np.testing.assert_array_equal(*pixels)


def test_varied_phantoms_are_the_same_block_by_block() -> None:
    levels = phantom_slide(replace(VARIED, pixel_size_um=1.2), size=(60, 1060), seed=9).slide.levels[0]
    whole = levels.compute()
    again = phantom_slide(replace(VARIED, pixel_size_um=1.2), size=(60, 1060), seed=9).slide.levels[0]
    np.testing.assert_array_equal(again[:, 20:40, 1000:1050].compute(), whole[:, 20:40, 1000:1050])


@pytest.mark.parametrize("penetration_um", [2.0, 8.0, 80.0])
def test_cells_agree_where_they_meet_however_far_the_probe_penetrates(penetration_um: float) -> None:
    settings = replace(
        INTRAVASCULAR, penetration_um=penetration_um, vessel_density_per_mm2=200.0, vessel_half_length_um=25.0
    )
    shape = (40, 2048)
    left, right = (cells._surroundings(settings, shape, 1, 0, column) for column in (0, 1))
    one, other = (cells._concentration(settings, cell) for cell in (left, right))
    shared = left.lattice.x1 - right.lattice.x0
    assert shared > 0
    assert np.abs(one[:, -shared:] - other[:, :shared]).max() < 1e-3 * one.max()
    hazes = [cells._haze(settings, cell) for cell in (left, right)]
    np.testing.assert_array_equal(hazes[0][:, -32:], hazes[1][:, :32])


@pytest.mark.parametrize("pixel_um", [0.2744, 0.55, 0.8, 1.2])
@pytest.mark.parametrize("penetration_um", [2.0, 5.0, 30.0])
def test_samples_are_fine_enough_for_a_short_penetration(pixel_um: float, penetration_um: float) -> None:
    """The lattice of a phantom against one of a third of its step."""
    settings = replace(TUMOUR, pixel_size_um=pixel_um, penetration_um=penetration_um)
    factor = cells._lattice_px(settings)
    finest_um = max(1.5, penetration_um / 2)
    assert factor == 1 or factor * pixel_um <= finest_um
    assert factor == 8 or 2 * factor * pixel_um > finest_um
    step_um, side = factor * pixel_um, 60
    one = [np.ones(2)] * 3
    centre = np.array([[0.45, 0.5], [0.6, 0.52]]) * side * step_um
    vessels = Vessels(
        centre, np.array([[0.6, 0.8], [1.0, 0.0]]), np.array([2.0, 3.0]), np.array([4.0, 1.0]), np.zeros(2), *one
    )
    grids = [SampleGrid(0, side * finer, 0, side * finer, step_um / finer) for finer in (1, 3)]
    coarse, fine = (
        steady_concentration(
            leak_source(vessels, grid),
            1 + 0.7 * np.cos(grid.y_um / 40)[:, None] * np.cos(grid.x_um / 40),
            penetration_um,
            grid.step_um,
        )
        for grid in grids
    )
    # the wall is drawn as wide as half a step at least, so pixels at the wall itself differ
    away = np.ones(coarse.shape, bool)
    for y, x in centre:
        away &= np.hypot(grids[0].y_um[:, None] - y, grids[0].x_um - x) > 12 + step_um
    difference = np.abs(coarse - fine[1::3, 1::3])
    assert difference[away].max() < 0.02 * fine.max()
    assert difference.max() < (0.1 if step_um <= 3 else 0.35) * fine.max()


def test_a_hidden_bed_retains_independently_of_the_inputs() -> None:
    hidden = replace(INTRAVASCULAR, has_independent_probe=True, nuclear_exclusion=0.8)
    _, vessels, probe = phantom_slide(hidden, size=600, seed=2).slide.levels[0].compute().astype(float)
    seen = phantom_slide(replace(hidden, has_independent_probe=False), size=600, seed=2).slide.levels[0].compute()
    assert abs(np.corrcoef(vessels.ravel(), probe.ravel())[0, 1]) < 0.05
    assert np.corrcoef(seen[1].ravel(), seen[2].ravel())[0, 1] > 0.5
    # nuclei leave no holes in it
    empty = replace(hidden, nucleus_density_per_mm2=0.0)
    same = [phantom_slide(settings, size=64, seed=2).noise_free_probe.compute() for settings in (hidden, empty)]
    np.testing.assert_array_equal(*same)


@pytest.mark.parametrize(
    "change",
    [
        {"input_gain": (0.0, 1.0)},
        {"input_gain": (1.0,)},
        {"input_offset_grey": (-1.0, 0.0)},
        {"input_offset_grey": (math.nan, 0.0)},
        {"permeability_visible": math.inf},
    ],
)
def test_impossible_regimes_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(PhantomError, match=f"{next(iter(change))} of a phantom is .*; give"):
        replace(TUMOUR, **change)
