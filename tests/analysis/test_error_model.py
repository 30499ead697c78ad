"""The error model against known noise, and against quantiles that are computed pixel by pixel."""

import math

import numpy as np
import pytest
from scipy import stats

from napari_hrpn.analysis import AnalysisError, ErrorModel
from napari_hrpn.analysis.statistics.error_model import coverage, error_model, left_out_coverage


def noise(predicted: np.ndarray) -> np.ndarray:
    return 6 - 2 * np.cos(np.pi * predicted / 200)


def tumour(seed: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of a prediction without bias, whose noise depends on the predicted level and is no Gaussian."""
    random = np.random.default_rng(seed)
    predicted = 200 * random.beta(1.5, 1.5, size)
    return predicted + noise(predicted) * random.laplace(0, 1, size), predicted


@pytest.fixture(scope="module")
def tumours() -> list[tuple[np.ndarray, np.ndarray]]:
    return [tumour(seed, size) for seed, size in enumerate((150_000, 100_000, 80_000, 100_000))]


def test_intervals_of_known_noise_hold_in_every_tenth_of_the_predicted_levels(tumours) -> None:
    model = error_model(tumours)
    tenths = 200 * stats.beta(1.5, 1.5).ppf((np.arange(10_000) + 0.5) / 10_000).reshape(10, -1)
    half = stats.norm.ppf(0.9) * model.sd_at(tenths)
    inside = 1 - np.exp(-half / noise(tenths))
    assert inside.mean() == pytest.approx(0.8, abs=0.003)
    np.testing.assert_allclose(inside.mean(axis=1), 0.8, atol=0.01)
    assert model.sd[-1] > 1.8 * model.sd[0]


def test_bins_and_quantiles_are_those_of_pixels_in_turn() -> None:
    random = np.random.default_rng(5)
    pixels = [(random.integers(0, 90, size).astype(np.uint8), random.integers(0, 40, size)) for size in (70, 131, 20)]
    pooled = [
        (float(p), abs(float(y) - float(p)), 1 / len(real))
        for real, predicted in pixels
        for y, p in zip(real, predicted, strict=True)
    ]
    total, bins = 0.0, {}
    for level in sorted({p for p, _, _ in pooled}):
        here = [one for one in pooled if one[0] == level]
        # a bin ends with the level at which its share is full
        bins.setdefault(min(9, math.floor(total / 3 * 10 + 1e-9)), []).extend(here)
        total += sum(weight for _, _, weight in here)
    means, sds = [], []
    for inside in bins.values():
        weight = sum(one[2] for one in inside)
        means.append(sum(one[0] * one[2] for one in inside) / weight)
        reached = 0.0
        for _, error, share in sorted(inside, key=lambda one: one[1]):
            reached += share
            if reached >= 0.8 * weight - 1e-9:
                sds.append(error / 1.2815515655446004)
                break
    model = error_model(pixels)
    np.testing.assert_allclose(model.predicted, means, rtol=1e-12)
    np.testing.assert_allclose(model.sd, sds, rtol=1e-12)
    assert model.tumours == 3


def test_every_tumour_weighs_the_same(tumours) -> None:
    small, large = tumours[0], tumours[1]
    twice = tuple(np.tile(values, 3) for values in small)
    first, second = error_model([small, large]), error_model([twice, large])
    np.testing.assert_allclose(first.predicted, second.predicted, rtol=1e-6)
    np.testing.assert_allclose(first.sd, second.sd, rtol=1e-6)


def test_a_tumour_is_left_out_of_the_model_that_it_is_measured_with(tumours) -> None:
    far = (tumours[0][1] + 5 * noise(tumours[0][1]), tumours[0][1])
    shares = left_out_coverage([far, *tumours[1:]])
    assert shares[0] == 0
    assert shares[0] == coverage(error_model(tumours[1:]), far)
    assert min(shares[1:]) > 0.85
    assert left_out_coverage(tumours[:1]) == (None,)


def test_levels_between_and_beyond_the_bins_and_one_level_alone() -> None:
    model = ErrorModel(2, (10.0, 20.0), (1.0, 3.0))
    np.testing.assert_array_equal(model.sd_at(np.array([0, 10, 15, 20, 99], np.float32)), [1, 1, 2, 3, 3])
    flat = error_model([(np.array([1, 2, 3, 4, 11]), np.zeros(5))])
    assert flat == ErrorModel(1, (0.0,), (4 / stats.norm.ppf(0.9),))
    assert error_model([(np.zeros(9), np.zeros(9))]).sd == (0.0,)


@pytest.mark.parametrize("bins", [((), ()), ((1.0,), (-1.0,)), ((2.0, 1.0), (1.0, 1.0)), ((1.0,), (math.nan,))])
def test_numbers_that_are_no_error_model_are_refused(bins) -> None:
    with pytest.raises(AnalysisError, match="an error model has"):
        ErrorModel(1, *bins)
