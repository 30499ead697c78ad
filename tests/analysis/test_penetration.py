import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage, special, stats

from napari_hrpn.analysis import AnalysisError, PenetrationSettings, ProbeImage, penetration, slide_penetration
from napari_hrpn.analysis.tissue.distance import no_shell_sums, update_shells
from napari_hrpn.analysis.tissue.penetration import compute_penetration
from napari_hrpn.core import drive
from napari_hrpn.phantom.sampling import SampleGrid
from napari_hrpn.phantom.tissue import Vessels, leak_source, steady_concentration
from support.vessel_slides import discs, drawn_mask, slide_of

SETTINGS = PenetrationSettings()


def scene(seed: int = 0, size: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distances from a few vessels, a real and a predicted image of 16 bits."""
    generator = np.random.default_rng(seed)
    mask = discs((size, size), generator.integers(0, size, (12, 2)), 6)
    distance = ndimage.distance_transform_edt(~mask, sampling=(1.0, 1.3))
    real = generator.poisson(60_000 * np.exp(-distance / 40)).clip(0, 65_535).astype(np.uint16)
    return distance, real, (real // 2 + 100).astype(np.uint16)


def test_shells_are_the_means_of_their_pixels() -> None:
    distance, real, predicted = scene()
    for result, image in zip(
        penetration(distance, {"real": real, "predicted": predicted}), (real, predicted), strict=True
    ):
        assert result.n == (distance > 0).sum()
        assert result.vessel_mean == image[distance == 0].mean()
        outside = image[distance > 0].sum(dtype=np.int64)
        for shell in result.shells:
            inside = (distance > shell.from_um) & (distance <= shell.to_um)
            assert shell.n == inside.sum()
            if shell.n:
                assert shell.mean == image[inside].mean(dtype=np.float64)
                assert shell.share == pytest.approx(image[inside].sum(dtype=np.int64) / outside, rel=1e-12)
        for band, (low, high) in zip(result.bands, [(0, 10), (10, 30), (30, 60), (60, math.inf)], strict=True):
            inside = (distance > low) & (distance <= high)
            assert (band.from_um, band.to_um, band.n) == (low, high, inside.sum())
            assert band.mean == pytest.approx(image[inside].mean(dtype=np.float64), rel=1e-12)
        for row in result.beyond:
            assert row.share == pytest.approx(image[distance > row.beyond_um].sum(dtype=np.int64) / outside, abs=1e-12)


def test_half_and_nine_tenths_of_the_signal_are_within_their_distances() -> None:
    distance, real, _ = scene()
    (result,) = penetration(distance, {"real": real})
    outside = distance > 0
    order = np.argsort(distance[outside])
    inside = np.cumsum(real[outside][order].astype(np.float64))
    exact = distance[outside][order][np.searchsorted(inside, np.array([0.5, 0.9]) * inside[-1])]
    np.testing.assert_allclose([result.d50_um, result.d90_um], exact, atol=0.5)


def test_sums_are_the_same_however_the_image_is_cut() -> None:
    distance, real, predicted = scene(1)
    area = np.random.default_rng(1).integers(-1, 2, real.shape)
    start = no_shell_sums(("real", "predicted"), SETTINGS, ("core", "periphery"))
    whole = update_shells(start, distance, (real, predicted), SETTINGS, area=area)
    pooled = start
    for rows in (slice(300, 400), slice(0, 7), slice(7, 300)):
        tile = update_shells(start, distance[rows], (real[rows], predicted[rows]), SETTINGS, area=area[rows])
        pooled = tile + pooled
    np.testing.assert_array_equal(pooled.pixels, whole.pixels)
    np.testing.assert_array_equal(pooled.signal, whole.signal)
    assert whole.signal.dtype == np.int64
    assert compute_penetration(pooled, SETTINGS) == compute_penetration(whole, SETTINGS)
    results = {(result.image, result.area): result for result in compute_penetration(whole, SETTINGS)}
    assert len(results) == 6
    for index, name in enumerate(("core", "periphery")):
        (alone,) = penetration(distance, {"real": real}, area == index)
        assert results["real", name] == replace(alone, area=name)
    assert results["real", "tissue"] == penetration(distance, {"real": real}, area >= 0)[0]


def test_sums_of_pixels_count_as_their_pixels() -> None:
    distance, real, _ = scene(2)
    coarse = distance[::4, ::4]
    blocks = real.reshape(100, 4, 100, 4).sum(axis=(1, 3), dtype=np.int64)
    sums = update_shells(
        no_shell_sums(("real",), SETTINGS), coarse, (blocks,), SETTINGS, pixels=np.full(coarse.shape, 16, np.int64)
    )
    (fine,) = penetration(np.kron(coarse, np.ones((4, 4))), {"real": real})
    assert compute_penetration(sums, SETTINGS) == (fine,)


def test_background_is_taken_off() -> None:
    distance, real, _ = scene(3)
    (plain,) = penetration(distance, {"real": real})
    (lifted,) = penetration(distance, {"real": real.astype(np.int32) + 500}, background={"real": 500})
    np.testing.assert_allclose([shell.mean for shell in lifted.shells], [shell.mean for shell in plain.shells])
    assert lifted.decay_um == pytest.approx(plain.decay_um)
    assert lifted.d90_um == pytest.approx(plain.d90_um)
    (with_pedestal,) = penetration(distance, {"real": real.astype(np.int32) + 5000})
    assert with_pedestal.decay_um > plain.decay_um


@pytest.mark.parametrize("length", [8.0, 30.0, 80.0])
def test_exponential_profile_has_its_length(length: float) -> None:
    distance = np.linspace(0, 299, 30_000)[None]
    (result,) = penetration(distance, {"probe": 1e6 * np.exp(-distance / length)})
    assert result.decay_um == pytest.approx(length, rel=0.001)


def from_edges(pixel_um: tuple[float, float], fine: int = 1) -> np.ndarray:
    """Distance from the true edges of discs and a capsule, below 0 inside, in a field of 150 µm."""
    y, x = ((np.arange(int(150 / size) * fine) + 0.5) * size / fine for size in pixel_um)
    y = y[:, None]
    along = np.clip((y - 25) * 0.4 + (x - 25) * math.sqrt(0.84), 0, 70)
    capsule = np.hypot(y - 25 - 0.4 * along, x - 25 - math.sqrt(0.84) * along) - 4.1
    return np.minimum.reduce([capsule, *(np.hypot(y - row, x - column) - radius for row, column, radius in DISCS)])


def probe_around(distance: np.ndarray, length_um: float) -> np.ndarray:
    return np.where(distance > 0, 20_000 * np.exp(-np.maximum(distance, 0) / length_um), 30_000)


DISCS = ((100.3, 50.2, 6.0), (80.0, 120.7, 3.3), (130.4, 110.1, 2.2), (120.0, 20.0, 4.5))


@pytest.mark.parametrize("length_um", [1.0, 1.73, 3.47, 6.0, 12.0, 30.0])
@pytest.mark.parametrize(
    ("pixel_um", "fine"), [((0.27, 0.27), 1), ((0.69, 0.69), 1), ((1.0, 1.0), 1), ((1.08, 1.08), 4), ((0.5, 1.0), 1)]
)
def test_exponential_around_drawn_vessels_has_its_lengths(
    length_um: float, pixel_um: tuple[float, float], fine: int
) -> None:
    """Against the distances of points much finer than pixels from the edges that were drawn."""
    truth = from_edges((0.25, 0.25))
    order = np.sort(truth[truth > 0])
    inside = np.cumsum(probe_around(order, length_um))
    d50, d90 = order[np.searchsorted(inside, np.array([0.5, 0.9]) * inside[-1])]
    probe = np.rint(probe_around(from_edges(pixel_um, fine), length_um)).astype(np.uint16)
    images = [ProbeImage("probe", slide_of(probe, (pixel_um[0] / fine, pixel_um[1] / fine)))]
    (found,) = drive(slide_penetration(drawn_mask(from_edges(pixel_um) <= 0, pixel_um, fine), images)).profiles
    half = 0.5 * max(pixel_um)
    assert found.d50_um == pytest.approx(d50, abs=half)
    assert found.d90_um == pytest.approx(d90, abs=half)
    assert found.decay_um == pytest.approx(length_um, abs=max(0.03 * length_um, 0.2 * half))
    assert found.decay_from_um == (0.0 if length_um < 7 else 20.0)


def test_length_shorter_than_the_shells_is_refused() -> None:
    distance = from_edges((2.0, 2.0))
    images = [ProbeImage("probe", slide_of(probe_around(distance, 1.0), 2.0))]
    (found,) = drive(slide_penetration(drawn_mask(distance <= 0, 2.0), images)).profiles
    assert math.isnan(found.decay_um)
    assert "closer to the vessels, fewer than three shells hold signal" in found.reason
    assert found.d50_um == pytest.approx(0.8, abs=1)


def test_noise_stays_centred_on_zero() -> None:
    """Ten times as much noise as signal far out: its mean over many images is nothing, and D90 stays."""
    distance = np.tile(np.linspace(0.01, 100, 40_000), (8, 1))
    signal = 10 * np.exp(-distance / 5)
    (clean,) = penetration(distance, {"probe": signal})
    shares, d90 = [], []
    for seed in range(20):
        noisy = signal + 100 + np.random.default_rng(seed).normal(0, 10, distance.shape)
        (found,) = penetration(distance, {"probe": noisy}, background={"probe": 100.0})
        shares.append([one.share for one in found.beyond[3:]])
        d90.append(found.d90_um)
    assert np.abs(np.mean(shares, axis=0)).max() < 3 * np.std(shares, axis=0).max() / math.sqrt(20)
    assert (np.array(shares) < 0).any()
    assert np.median(d90) == pytest.approx(clean.d90_um, rel=0.1)


def test_range_over_floors_holds_what_each_floor_gives() -> None:
    """Autofluorescence of 9 grey levels, against cumulative sums over sorted pixels."""
    distance, _, _ = scene()
    outside, image = distance > 0, 9 + 20 * np.exp(-distance / 6)
    order = np.argsort(distance[outside])
    near, values = distance[outside][order], image[outside][order]
    (found,) = penetration(distance, {"probe": image})
    shells = [shell.mean for shell in found.shells if shell.n > 0.01 * found.n]
    assert found.darkest == pytest.approx(min(shells))
    for low, high, part in (
        (found.d50_low_um, found.d50_high_um, 0.5),
        (found.d90_low_um, found.d90_high_um, 0.9),
    ):
        exact = []
        for floor in np.linspace(0, found.darkest, 5):
            inside = np.cumsum(values - floor)
            exact.append(near[np.searchsorted(inside, part * inside[-1])])
        np.testing.assert_allclose((low, high), (min(exact), max(exact)), atol=0.7)
    assert found.d50_high_um == found.d50_um > 4 * found.d50_low_um
    (known,) = penetration(distance, {"probe": image}, background={"probe": 9.0})
    assert known.decay_um == pytest.approx(6, rel=0.02)
    assert known.d50_high_um < 1.1 * known.d50_low_um


def test_background_brighter_than_the_tissue_leaves_no_distance() -> None:
    distance, _, _ = scene()
    image = 9 + 20 * np.exp(-distance / 6)
    for level in (10.5, 40.0):
        (found,) = penetration(distance, {"probe": image}, background={"probe": level})
        assert math.isnan(found.d50_um)
        assert "too little signal outside vessels is above the background" in found.reason
        assert 0 < found.d50_low_um <= found.d50_high_um


def test_range_ends_with_the_last_shell_of_a_thousandth_of_the_pixels() -> None:
    pixels = np.where(MIDDLE < 80, 1000, 16)
    assert profiled(np.ones(60), pixels).range_um == 80
    assert profiled(np.ones(60), pixels + 2).range_um == 300


def profiled(means: np.ndarray, pixels: np.ndarray | None = None):
    """The result for a profile of shells of 5 µm, each with 1,000 pixels or as many as stated."""
    shells = np.repeat(np.arange(len(means)), 1000 if pixels is None else pixels)
    (result,) = penetration(5.0 * shells[None] + 2.5, {"probe": means[shells][None]})
    return result


MIDDLE = np.arange(60) * 5 + 2.5


@pytest.mark.parametrize("length", [100.0, 270.0])
def test_fall_to_a_part_of_it_that_was_seen_has_a_length(length: float) -> None:
    assert profiled(np.exp(-MIDDLE / length)).decay_um == pytest.approx(length, rel=1e-6)


@pytest.mark.parametrize("length", [290.0, 2665.0])
def test_length_beyond_the_distances_is_none(length: float) -> None:
    result = profiled(np.exp(-MIDDLE / length))
    assert math.isnan(result.decay_um)
    assert f"would be {length:,.0f} µm, and the distances span 280 µm" in result.reason
    assert result.d50_um > 0


def test_far_shells_of_hardly_any_pixels_are_no_range_of_distances() -> None:
    pixels = np.where(MIDDLE < 80, 10_000, 1)
    assert profiled(np.exp(-MIDDLE / 55), pixels).decay_um == pytest.approx(55, rel=1e-6)
    far = profiled(np.exp(-MIDDLE / 90), pixels)
    assert math.isnan(far.decay_um)
    assert "the distances span 60 µm" in far.reason


def test_step_is_no_exponential() -> None:
    step = np.where(MIDDLE[:20] < 60, 100.0, 10.0)
    result = profiled(step)
    assert math.isnan(result.decay_um)
    r2 = stats.linregress(MIDDLE[4:20], np.log(step[4:])).rvalue ** 2
    assert f"explains {r2:.1%} of the logarithm of 16 shells, expected 80.0% or more" in result.reason
    allowed = replace(SETTINGS, fit_least_r2=0.5)
    distance = np.repeat(MIDDLE[:20], 1000)[None]
    (lenient,) = penetration(distance, {"probe": np.repeat(step, 1000)[None]}, settings=allowed)
    assert 20 < lenient.decay_um < 60


@pytest.mark.parametrize("shells", [3, 4, 5, 9])
def test_length_stands_where_its_slope_differs_from_zero(shells: int) -> None:
    """Against SciPy's linear regression, of profiles in which chance plays a part."""
    generator = np.random.default_rng(shells)
    kept = []
    for _ in range(60):
        logarithm = np.concatenate([[9, 9, 9, 9], 9 - 0.3 * np.arange(shells) + generator.normal(0, 0.25, shells)])
        middle = np.arange(len(logarithm)) * 5 + 2.5
        line = stats.linregress(middle[4:], logarithm[4:])
        falls = line.slope < 0 and -1 / line.slope <= 5 * shells
        expected = falls and line.pvalue <= 0.05 and line.rvalue**2 >= 0.8
        result = profiled(np.exp(logarithm))
        assert math.isnan(result.decay_um) != expected
        assert bool(result.reason) != expected
        if expected:
            assert result.decay_um == pytest.approx(-1 / line.slope)
        kept.append(expected)
    assert 0 < sum(kept) < 60


def test_texture_that_knows_nothing_of_the_vessels_has_no_length() -> None:
    distance, _ = field(150, 0)
    for seed in range(6):
        noise = np.random.default_rng(seed).random(distance.shape)
        texture = ndimage.gaussian_filter(noise, (3, 10, 30)[seed % 3], mode="wrap")
        (result,) = penetration(distance, {"probe": np.exp((texture - texture.mean()) / texture.std())})
        assert math.isnan(result.decay_um)
        assert "decay length" in result.reason


def field(density_per_mm2: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Distance and concentration for round vessels of 5 µm radius, lambda 30 µm, away from the wrapped edges."""
    step_um, size, lambda_um = 2.0, 768, 30.0
    generator = np.random.default_rng(seed)
    extent_um = step_um * size
    n = generator.poisson(density_per_mm2 * (extent_um / 1000) ** 2)
    centres = generator.random((n, 2)) * (extent_um - 60) + 30
    ones = np.ones(n)
    vessels = Vessels(centres, np.column_stack([0 * ones, ones]), 5 * ones, 0 * ones, 0 * ones, ones, ones, ones)
    window = SampleGrid(0, size, 0, size, step_um)
    concentration = steady_concentration(leak_source(vessels, window), np.ones(window.shape), lambda_um, step_um)
    mask = discs(window.shape, centres / step_um - 0.5, 5 / step_um)
    distance = ndimage.distance_transform_edt(~mask, sampling=step_um)
    inner = (slice(120, -120),) * 2
    return distance[inner], concentration[inner]


@pytest.mark.parametrize(
    ("density_per_mm2", "lambda_um", "expected_um"),
    [(25, 2, 1.78), (25, 8, 6.43), (25, 30, 26.84), (150, 2, 1.79), (150, 8, 6.69), (150, 30, 31.20)],
)
def test_lengths_of_the_docs_follow_from_the_sum_of_bessel_functions(
    density_per_mm2: float, lambda_um: float, expected_um: float
) -> None:
    """Around a vessel of 5 µm radius, the others at random places further away, integrated over the plane."""
    density = density_per_mm2 / 1e6
    distance = np.arange(1 / 16, 300, 1 / 8)
    radius = distance + 5
    mean = special.k0(radius / lambda_um)
    mean += 2 * math.pi * density * lambda_um * radius * special.k1(radius / lambda_um)
    pixels = np.rint(1e6 * radius * np.exp(-density * math.pi * radius**2)).astype(np.int64)
    sums = update_shells(
        no_shell_sums(("probe",), SETTINGS), distance[None], ((mean * pixels)[None],), SETTINGS, pixels=pixels[None]
    )
    assert compute_penetration(sums, SETTINGS)[0].decay_um == pytest.approx(expected_um, abs=0.005)


def test_decay_length_of_a_known_lambda() -> None:
    """K0 around vessels at 25/mm2 with lambda 30 µm falls to 1/e over 26.8 µm; the first crossing is far off."""
    fields = [field(25, seed) for seed in range(3)]
    distance, concentration = (np.concatenate(part) for part in zip(*fields, strict=True))
    (result,) = penetration(distance, {"probe": concentration})
    assert result.decay_um == pytest.approx(26.8, rel=0.04)
    means = np.array([shell.mean for shell in result.shells])
    assert 5 * np.argmax(means < means[0] / math.e) < 0.75 * 30


def test_decay_length_is_near_lambda_at_the_density_of_a_tumour() -> None:
    distance, concentration = field(150, 0)
    assert penetration(distance, {"probe": concentration})[0].decay_um == pytest.approx(30, rel=0.1)


def test_numbers_that_do_not_exist_come_with_a_reason() -> None:
    ramp = np.arange(400.0)[None]
    (rising,) = penetration(ramp, {"probe": ramp})
    assert math.isnan(rising.decay_um)
    assert "does not fall" in rising.reason
    assert math.isnan(rising.d90_um)
    assert "further than the last shell" in rising.reason
    (dark,) = penetration(ramp, {"probe": np.zeros(ramp.shape, np.uint8)})
    assert math.isnan(dark.d50_um)
    assert "too little signal outside vessels is above the background" in dark.reason
    (inside,) = penetration(np.zeros((3, 3)), {"probe": np.ones((3, 3))})
    assert (inside.n, inside.reason) == (0, "there is no pixel outside vessels")
    assert inside.vessel_mean == 1


def test_infinite_distances_are_in_the_open_shell() -> None:
    (result,) = penetration(np.full((2, 2), np.inf), {"probe": np.ones((2, 2), np.uint8)})
    assert (result.shells[-1].n, result.shells[-1].share, result.n) == (4, 1.0, 4)


def test_wrong_images_are_refused() -> None:
    distance = np.ones((4, 5))
    with pytest.raises(AnalysisError, match=r"the images are 5 x 4 px; expected 1 of 4 x 5 px"):
        penetration(distance, {"probe": np.ones((5, 4))})
    with pytest.raises(AnalysisError, match="not finite"):
        penetration(distance, {"probe": np.full((4, 5), np.nan)})
    with pytest.raises(AnalysisError, match="the background of 'other' is 3; expected"):
        penetration(distance, {"probe": np.ones((4, 5))}, background={"other": 3})
    with pytest.raises(AnalysisError, match="two sums over shells differ"):
        no_shell_sums(("a",), SETTINGS) + no_shell_sums(("b",), SETTINGS)


@pytest.mark.parametrize(
    "wrong",
    [
        {"shell_um": 0.0},
        {"furthest_um": 302.0},
        {"band_edges_um": (10.0, 33.0)},
        {"near_um": (20.0, 10.0)},
        {"beyond_um": (10.0, 400.0)},
    ],
)
def test_settings_say_what_is_wrong(wrong: dict[str, object]) -> None:
    with pytest.raises(AnalysisError, match=f"{next(iter(wrong))} is .*; expected"):
        PenetrationSettings(**wrong)
