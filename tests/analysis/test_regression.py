import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats
from scipy.stats import wasserstein_distance

from napari_hrpn.analysis import (
    AgreementError,
    AgreementSums,
    colocalization,
    compare_distributions,
    histogram,
    icc,
    iou_curve,
    manders,
    pair_counts,
    regression,
)
from napari_hrpn.analysis.counts.moments import update
from napari_hrpn.analysis.statistics.agreement import compute
from napari_hrpn.analysis.statistics.icc import compute_icc
from napari_hrpn.analysis.statistics.regression import Regression


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


def exact_residual_sd(y: np.ndarray, p: np.ndarray) -> float:
    a, b = ([Fraction(float(value)) for value in values] for values in (y, p))
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    real = sum((value - mean_a) ** 2 for value in a)
    both = sum((one - mean_a) * (other - mean_b) for one, other in zip(a, b, strict=True))
    left = sum((value - mean_b) ** 2 for value in b) - both**2 / real
    return math.sqrt(left / (len(a) - 2))


def test_nearly_perfect_predictions_of_any_scale_and_offset_have_numbers_right_to_rounding() -> None:
    generator = np.random.default_rng(4)
    for _ in range(150):
        scale, offset = 10 ** generator.uniform(-6, 6), generator.choice([0, 1]) * generator.uniform(-1e6, 1e6)
        gain, shift = generator.choice([1.0, 0.37, -2.0, generator.normal()]), generator.uniform(-1e6, 1e6)
        y = scale * generator.normal(size=30) + offset
        p = gain * y + generator.choice([0, 1]) * shift
        p *= 1 + 10 ** generator.uniform(-17, -8) * generator.normal(size=30)
        p = p.astype(generator.choice(["f4", "f8"]))
        if np.ptp(p) == 0 or np.ptp(y) == 0:
            continue
        sums = AgreementSums()
        for part in np.split(np.arange(30), 3):
            sums = update(sums, y[part], p[part])
        result = regression(sums)
        rounding = 1e-15 * float(max(np.abs(p).max(), abs(gain) * np.abs(y).max()))
        assert result.residual_sd == pytest.approx(exact_residual_sd(y, p), rel=1e-9, abs=rounding)
        assert -1 <= result.pearson_r <= 1
        assert 0 <= result.r2 <= 1
        numbers = compute_icc(sums)
        assert -1 <= numbers.icc_c1 <= numbers.icc_c1_high <= 1


@pytest.mark.parametrize("scale", [1e-320, 1e-200, 1e-30, 1e30, 1e100, 1e149])
def test_squares_neither_overflow_nor_vanish(scale: float) -> None:
    generator = np.random.default_rng(5)
    y = generator.normal(size=50)
    p = 0.5 * y + 0.1 * generator.normal(size=50)
    if scale < 1e-300:
        y, p = np.rint(100 * y), np.rint(100 * p)
    pairs, plain = pair_counts(scale * y, scale * p), line(y, p)
    found, sizes = regression(pairs.sums, pairs.both_zero), compute(pairs.sums, scale)
    for name in ("slope", "pearson_r", "orthogonal_slope", "r_total"):
        assert getattr(found, name) == pytest.approx(getattr(plain, name), rel=1e-3)
    assert sizes.rmse / scale == pytest.approx(math.sqrt(np.mean((y - p) ** 2)), rel=1e-3)
    assert math.isfinite(sizes.psnr_db)
    assert manders(pairs).overlap == pytest.approx(manders(pair_counts(y, p)).overlap, rel=1e-3)
    assert compute_icc(pairs.sums).icc_a1_low == pytest.approx(icc(np.stack([y, p], 1)).icc_a1_low, rel=1e-2)
    distances, expected = compare_distributions(pairs.real, pairs.predicted), wasserstein_distance(y, p)
    assert distances.wasserstein / scale == pytest.approx(expected, rel=0.05)
    assert math.isfinite(distances.qq_slope)
    assert histogram([pairs.real, pairs.predicted]).counts.sum() == 100
    assert colocalization(scale * y, scale * p).n == 50


@pytest.mark.parametrize("value", [0.0, 5e-324, 1e30, -1e30, 2.0**63])
@pytest.mark.parametrize("n", [0, 1, 2, 9])
def test_equal_images_of_any_size_have_numbers_or_a_reason(value: float, n: int) -> None:
    pairs = pair_counts(np.full(n, value), np.full(n, value))
    for found in (
        compute(pairs.sums, 255.0),
        regression(pairs.sums, pairs.both_zero),
        compute_icc(pairs.sums),
        manders(pairs),
        compare_distributions(pairs.real, pairs.predicted),
    ):
        is_number = all(not isinstance(number, float) or not math.isnan(number) for number in vars(found).values())
        assert found.reason or is_number
    if n:
        assert histogram([pairs.real, pairs.predicted]).counts.sum() == 2 * n
        assert iou_curve(pairs, [50])[0].iou == 1


def test_large_integers_are_counted() -> None:
    y = np.array([2**63 + 4096, 2**63 + 8192], np.uint64)
    pairs = pair_counts(y, y)
    assert (pairs.n, pairs.real.n, pairs.sums.real) == (2, 2, 2**64 + 12_288)


def test_pixels_that_are_not_finite_are_counted_in_the_refusal() -> None:
    y = np.arange(10.0)
    with pytest.raises(AgreementError, match=r"predicted image has pixels that are not finite .*, 2 of the 10"):
        pair_counts(y, np.where(y < 2, [np.nan, np.inf] * 5, y))
