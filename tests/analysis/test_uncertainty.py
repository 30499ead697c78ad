"""Intervals, scores and spread of an ensemble, against numerical integration and against the pixels in memory."""

import math
from itertools import pairwise
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
from scipy import integrate, stats

from napari_hrpn.analysis import EvaluationSettings, ProbeImage, SlideComparison, evaluate_slide
from napari_hrpn.analysis.metrics import UNCERTAINTY, metrics_in
from napari_hrpn.analysis.windows.gaussian import LEVELS, crps, half_width, interval_score
from napari_hrpn.core import drive
from napari_hrpn.slides import RegionMask, Slide, coarser_levels
from support.evaluated_slides import box

SIZE = 300, 340
QUICK = EvaluationSettings(resamples=100, permutations=20, patch_px=32)


def test_crps_is_the_integral_of_its_definition() -> None:
    error, sd = (np.abs(values) for values in np.random.default_rng(0).normal(0, [[3], [2]], (2, 12)))
    for one, spread in zip(error, sd, strict=True):
        below = integrate.quad(lambda x, s=spread: stats.norm.cdf(x, 0, s) ** 2, -60, one, limit=200)[0]
        above = integrate.quad(lambda x, s=spread: stats.norm.sf(x, 0, s) ** 2, one, 60, limit=200)[0]
        assert crps(np.array([one]), np.array([spread]))[0] == pytest.approx(below + above, rel=1e-6)


def test_without_deviation_the_score_is_the_absolute_error() -> None:
    error = np.array([0.0, 2.5])
    np.testing.assert_array_equal(crps(error, np.zeros(2)), error)
    np.testing.assert_allclose(crps(error, np.full(2, 1e-12)), error, atol=1e-11)


def test_interval_score_is_that_of_its_definition() -> None:
    random = np.random.default_rng(1)
    y, mean, sd = random.normal(10, 4, 200), random.normal(10, 1, 200), random.uniform(0.1, 4, 200)
    for level in LEVELS:
        low, high = stats.norm.interval(level / 100, mean, sd)
        alpha = 1 - level / 100
        expected = high - low + 2 / alpha * (np.clip(low - y, 0, None) + np.clip(y - high, 0, None))
        np.testing.assert_allclose(interval_score(np.abs(y - mean), sd, level), expected, rtol=1e-12)


def image(pixels: np.ndarray, names: tuple[str, ...], chunk: int) -> Slide:
    finest = da.from_array(pixels, chunks=(1, chunk, chunk), name=False)
    return Slide((finest, *coarser_levels(finest)), names, (1.0, 1.0), Path("made-up"))


@pytest.fixture(scope="module")
def pixels() -> tuple[np.ndarray, np.ndarray]:
    """A real image and an ensemble's mean and deviation: right in the dark half, four times too small in the rest."""
    random = np.random.default_rng(2)
    mean = random.uniform(40, 200, SIZE)
    sd = random.uniform(1, 9, SIZE)
    sd[0, :50] = 0
    y = np.clip(np.rint(random.normal(mean, np.where(mean > 120, 4, 1) * sd)), 0, 255).astype(np.uint8)
    return y, np.stack([mean, sd]).astype(np.float32)


def evaluated(y: np.ndarray, prediction: np.ndarray, chunk: int, names: tuple[str, ...] = ("predicted QD", "sd")):
    mask = np.zeros(SIZE, bool)
    mask[20:280, 30:300] = True
    comparison = SlideComparison(
        ProbeImage("real", image(y[None], ("QD",), chunk)),
        (ProbeImage("hrpn", image(prediction, names, chunk)),),
        tissue=RegionMask(mask, (1.0, 1.0)),
        rois=(box(slice(40, 90), slice(50, 200), "centre"),),
    )
    parts = drive(evaluate_slide(comparison, QUICK, skip=("quality", "patches", "penetration")))
    return mask, next(part.findings for part in parts if part.name == "pixels hrpn")


@pytest.mark.parametrize("chunk", [64, 512])
def test_numbers_are_those_of_the_pixels_in_memory(pixels, chunk) -> None:
    y, (mean, sd) = pixels[0].astype(np.float64), pixels[1].astype(np.float64)
    mask, found = evaluated(*pixels, chunk)
    roi = np.zeros(SIZE, bool)
    roi[40:90, 50:200] = True
    for region, inside in ((found.tissue, mask), (found.frame, np.ones(SIZE, bool)), (found.rois[0], roi)):
        numbers = {metric.key: metric.value(region) for metric in metrics_in(UNCERTAINTY)}
        for level in LEVELS:
            low, high = stats.norm.interval(level / 100, mean[inside], np.maximum(sd[inside], 1e-300))
            within = (low <= y[inside]) & (y[inside] <= high)
            assert numbers[f"coverage_{level}"] == pytest.approx(within.mean(), abs=1e-15)
        assert numbers["width_80"] == pytest.approx(2 * stats.norm.ppf(0.9) * sd[inside].mean(), rel=1e-12)
        error = np.abs(y - mean)[inside]
        assert numbers["interval_score_80"] == pytest.approx(interval_score(error, sd[inside], 80).mean(), rel=1e-12)
        assert numbers["crps"] == pytest.approx(crps(error, sd[inside]).mean(), rel=1e-12)


@pytest.mark.parametrize("by", ["deciles", "predicted_deciles"])
def test_deciles_are_those_of_the_pixels_in_memory(pixels, by) -> None:
    prediction = np.stack([np.rint(pixels[1][0]), pixels[1][1]])
    y, (mean, sd) = pixels[0].astype(np.float64), prediction.astype(np.float64)
    mask, found = evaluated(pixels[0], prediction, 64)
    y, error, sd = (y if by == "deciles" else mean)[mask], np.abs(y - mean)[mask], sd[mask]
    deciles = getattr(found.uncertainty, by)
    assert [row.decile for row in deciles] == list(range(1, 11))
    assert sum(row.n for row in deciles) == y.size
    for before, after in pairwise(deciles):
        assert before.brightest < after.darkest
    for row in deciles:
        inside = (row.darkest <= y) & (y <= row.brightest)
        assert row.n == inside.sum() == pytest.approx(y.size / 10, rel=0.2)
        expected = [(error <= half_width(level) * sd)[inside].mean() for level in LEVELS]
        np.testing.assert_allclose(row.coverage, expected, atol=1e-15)
    dark, bright = deciles[1].coverage[1], deciles[-2].coverage[1]
    assert dark == pytest.approx(0.8, abs=0.04)
    assert bright < 0.4


def test_spread_is_that_of_the_pixels_in_memory(pixels) -> None:
    y, (mean, sd) = pixels[0].astype(np.float64), pixels[1].astype(np.float64)
    mask, found = evaluated(*pixels, 64)
    y, error, sd = y[mask], np.abs(y - mean)[mask], sd[mask]
    assert sum(row.n for row in found.uncertainty.spread) == y.size
    for row in found.uncertainty.spread:
        edge = 2.0 ** (math.floor(2 * math.log2(row.sd)) / 2) if row.sd else 0.0
        inside = (sd >= edge) & (sd < edge * math.sqrt(2)) if row.sd else sd == 0
        assert (row.n, row.sd) == (inside.sum(), pytest.approx(np.sqrt(np.mean(sd[inside] ** 2)), rel=1e-9))
        assert row.error == pytest.approx(np.sqrt(np.mean(error[inside] ** 2)), rel=1e-9)


def test_percentiles_of_the_ratio_are_at_most_a_bin_too_large(pixels) -> None:
    y, (mean, sd) = pixels[0].astype(np.float64), pixels[1].astype(np.float64)
    mask, found = evaluated(*pixels, 64)
    ratio = np.abs(y - mean)[mask] / sd[mask]
    expected = np.percentile(ratio, np.arange(1, 101), method="inverted_cdf")
    ratios = np.array(found.uncertainty.ratios)
    small = expected < 2.0**-8
    assert (ratios[small] == 2.0**-8).all()
    assert (expected[~small] <= ratios[~small]).all()
    assert (ratios[~small] <= expected[~small] * 2 ** (1 / 16)).all()


def test_floating_point_images_have_deciles_too(pixels) -> None:
    y = pixels[0] + np.random.default_rng(3).random(SIZE).astype(np.float32)
    _, found = evaluated(y.astype(np.float32), pixels[1], 512)
    for deciles in (found.uncertainty.deciles, found.uncertainty.predicted_deciles):
        assert [row.n for row in deciles] == pytest.approx([7020] * 10, abs=30)


def test_a_single_network_has_none_of_these_numbers(pixels) -> None:
    _, found = evaluated(pixels[0], pixels[1][:1], 512, ("predicted QD",))
    assert found.uncertainty is None
    assert {metric.value(found.frame) for metric in metrics_in(UNCERTAINTY)} == {None}
    _, other = evaluated(pixels[0], pixels[1], 512, ("predicted QD", "another stain"))
    assert other.uncertainty is None
