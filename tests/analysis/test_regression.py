import math

import numpy as np
import pytest
from scipy import stats

from napari_hrpn.analysis import AgreementError, AgreementSums, Regression, pair_counts, regression, update


def line(y: np.ndarray, p: np.ndarray) -> Regression:
    pairs = pair_counts(np.asarray(y), np.asarray(p))
    return regression(pairs.sums, pairs.both_zero)


def principal_axis(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    return np.linalg.svd(np.stack([y - y.mean(), p - p.mean()]).T, full_matrices=False)[2][0]


def test_r_total_of_the_known_table() -> None:
    result = line(np.array([0, 0, 0, 0, 1, 2, 3, 4]), np.array([0, 0, 0, 0, 2, 1, 4, 3]))
    assert result.pearson_r == pytest.approx(0.885714, abs=5e-7)
    assert result.r_total == pytest.approx(0.6, abs=1e-12)


def test_orthogonal_line_of_the_known_table() -> None:
    result = line(np.arange(1, 6), np.array([2, 1, 4, 3, 7]))
    assert result.orthogonal_slope == pytest.approx(1.570196, abs=5e-7)
    assert result.orthogonal_intercept == pytest.approx(-1.310589, abs=5e-7)


@pytest.mark.parametrize("gain", [0.3, 1.0, 2.5, -0.8])
@pytest.mark.parametrize("dtype", [np.int16, np.float64])
def test_lines_are_those_of_scipy(gain: float, dtype: type) -> None:
    generator = np.random.default_rng(0)
    y = generator.normal(500, 100, 400).astype(dtype)
    p = (gain * y + generator.normal(40, 60, y.size)).astype(dtype)
    result, expected = line(y, p), stats.linregress(y.astype(float), p.astype(float))
    assert (result.slope, result.intercept) == pytest.approx((expected.slope, expected.intercept), rel=1e-9)
    assert (result.pearson_r, result.r2) == pytest.approx((expected.rvalue, expected.rvalue**2), rel=1e-9)
    residuals = p - (expected.intercept + expected.slope * y)
    assert result.residual_sd == pytest.approx(math.sqrt((residuals**2).sum() / (y.size - 2)), rel=1e-9)
    assert (result.n, result.reason) == (400, "")
    axis = principal_axis(y, p)
    assert result.orthogonal_slope == pytest.approx(axis[1] / axis[0], rel=1e-9)
    assert result.orthogonal_intercept == pytest.approx(p.mean() - axis[1] / axis[0] * y.mean(), rel=1e-7)


@pytest.mark.parametrize("spread", [1e-3, 1e3])
def test_orthogonal_slope_is_the_first_principal_axis_for_any_proportions(spread: float) -> None:
    generator = np.random.default_rng(1)
    y = generator.normal(0, 1, 1000)
    p = spread * (y + generator.normal(0, 0.5, y.size))
    axis = principal_axis(y, p)
    assert line(y, p).orthogonal_slope == pytest.approx(axis[1] / axis[0], rel=1e-9)


def test_r_total_leaves_out_what_is_zero_in_both() -> None:
    generator = np.random.default_rng(2)
    y, p = generator.integers(0, 4, (2, 500)).astype(np.uint8)
    kept = (y > 0) | (p > 0)
    assert line(y, p).r_total == pytest.approx(stats.pearsonr(y[kept], p[kept]).statistic, rel=1e-12)


def test_two_axes_of_equal_length_have_an_orthogonal_slope_of_one() -> None:
    assert line(np.arange(10), np.arange(10) + 5).orthogonal_slope == 1


def test_sixteen_bits_over_a_whole_slide_do_not_overflow() -> None:
    y = np.arange(65_436, dtype=np.uint16)
    sums = update(AgreementSums(), y, y + np.uint16(100))
    for _ in range(18):
        sums = sums + sums
    result = regression(sums)
    assert (result.slope, result.intercept, result.residual_sd, result.pearson_r) == (1, 100, 0, 1)


@pytest.mark.parametrize(
    ("y", "p", "missing", "words"),
    [
        ([], [], {"slope", "pearson_r", "r_total", "orthogonal_slope"}, "no pixel"),
        ([3, 3, 3], [1, 2, 4], {"slope", "intercept", "residual_sd", "pearson_r"}, "real image is constant"),
        ([1, 2, 4], [3, 3, 3], {"pearson_r", "r_total"}, "predicted image is constant"),
        ([-1, 0, 1, 0], [0, -1, 0, 1], {"orthogonal_slope"}, "not correlated"),
        ([1, 2], [1, 4], {"residual_sd"}, "two pixels"),
        ([0, 0, 5], [0, 0, 3], {"r_total"}, "r_total"),
    ],
)
def test_what_does_not_exist_is_nan_and_says_why(y: list[int], p: list[int], missing: set[str], words: str) -> None:
    result = line(np.array(y, np.int16), np.array(p, np.int16))
    assert words in result.reason
    assert all(math.isnan(getattr(result, name)) for name in missing)


def test_constant_prediction_lies_on_a_flat_line() -> None:
    result = line(np.array([1, 2, 4]), np.array([3, 3, 3]))
    assert (result.slope, result.intercept, result.residual_sd, result.orthogonal_slope) == (0, 3, 0, 0)


def test_impossible_count_of_zeros_is_refused() -> None:
    with pytest.raises(AgreementError, match="zero in both"):
        regression(AgreementSums(n=3), 4)
