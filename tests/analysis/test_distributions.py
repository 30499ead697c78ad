import math
import warnings
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from scipy.stats import anderson_ksamp, ks_2samp, kstest, wasserstein_distance

from napari_hrpn.analysis import (
    AgreementError,
    ValueCounts,
    anderson_darling,
    anderson_darling_permutation,
    compare_distributions,
    histogram,
    kolmogorov_smirnov,
    pair_counts,
    quantile_pairs,
    value_counts,
    wasserstein,
)
from napari_hrpn.analysis.counts.intensity_histogram import bins_between

RAMP = np.arange(100, dtype=np.uint8)


def images(dtype: type, seed: int = 0, size: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    top = np.iinfo(dtype).max
    real = generator.gamma(1.5, top / 12, size).clip(0, top).astype(dtype)
    predicted = generator.gamma(2.5, top / 20, size // 2).clip(0, top).astype(dtype)
    return real, predicted


def reference(*samples: np.ndarray) -> tuple[float, float]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "p-value|Parameter `variant`")
        result = anderson_ksamp(samples)
    return float(result.statistic), float(result.pvalue)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
def test_distances_are_those_of_scipy(dtype: type) -> None:
    real, predicted = images(dtype)
    counts = value_counts(real), value_counts(predicted)
    assert wasserstein(*counts) == pytest.approx(wasserstein_distance(real, predicted), rel=1e-12)
    assert kolmogorov_smirnov(*counts) == pytest.approx(ks_2samp(real, predicted).statistic, rel=1e-12)
    result = compare_distributions(*counts)
    assert (result.wasserstein, result.kolmogorov_smirnov) == (wasserstein(*counts), kolmogorov_smirnov(*counts))
    assert (result.n_real, result.n_predicted, result.reason) == (3000, 1500, "")
    assert result.anderson_darling == anderson_darling(counts)
    assert result.qq_slope == quantile_pairs(*counts).slope


def test_floating_point_is_right_to_a_bin() -> None:
    real, predicted = np.random.default_rng(1).gamma(2.0, 3.0, (2, 5000))
    counts = [value_counts(pixels, bins=bins_between(0, 60, whole=False)) for pixels in (real, predicted)]
    assert wasserstein(*counts) == pytest.approx(wasserstein_distance(real, predicted), abs=60 / 2**16)
    # bins of their own differ, and are compared by value all the same
    own = value_counts(real), value_counts(predicted)
    assert wasserstein(*own) == pytest.approx(wasserstein_distance(real, predicted), abs=60 / 2**16)


def test_images_of_different_depth_are_compared_by_value() -> None:
    real, _ = images(np.uint8)
    assert wasserstein(value_counts(real), value_counts(real.astype(np.uint16))) == 0


def test_a_shift_is_the_distance() -> None:
    real, _ = images(np.uint16)
    real = np.minimum(real, 60_000)
    assert wasserstein(value_counts(real), value_counts((real + 17).astype(np.uint16))) == pytest.approx(17)
    assert kolmogorov_smirnov(value_counts(RAMP), value_counts(RAMP + np.uint8(100))) == 1


def test_distances_are_symmetric_and_zero_for_equal_images() -> None:
    real, predicted = map(value_counts, images(np.uint8))
    for distance in (wasserstein, kolmogorov_smirnov):
        assert distance(real, predicted) == distance(predicted, real) > 0
        assert distance(real, real + real) == 0


def test_tiles_in_any_order_give_the_same_to_the_last_bit() -> None:
    real, predicted = images(np.uint16)
    parts = [value_counts(part) for part in np.array_split(np.random.default_rng(2).permutation(real), 7)]
    pooled = sum(parts[1:], parts[0])
    assert compare_distributions(pooled, value_counts(predicted)) == compare_distributions(
        value_counts(real), value_counts(predicted)
    )


def test_quantiles_are_those_of_numpy() -> None:
    real, predicted = images(np.uint16)
    pairs = quantile_pairs(value_counts(real), value_counts(predicted))
    assert pairs.percentiles == (*range(100), 99.5, 99.9, 99.99, 100)
    assert pairs.real == tuple(np.percentile(real, pairs.percentiles, method="inverted_cdf"))
    assert pairs.predicted == tuple(np.percentile(predicted, pairs.percentiles, method="inverted_cdf"))


@pytest.mark.parametrize(("gain", "offset"), [(1, 0), (2, 7), (3, 0)])
def test_line_of_a_scaled_image_is_gain_and_offset(gain: int, offset: int) -> None:
    real, _ = images(np.uint8)
    pairs = quantile_pairs(value_counts(real), value_counts(gain * real.astype(np.uint16) + np.uint16(offset)))
    assert (pairs.slope, pairs.intercept) == pytest.approx((gain, offset), abs=1e-9)


def test_a_hot_pixel_does_not_turn_the_line() -> None:
    real, _ = images(np.uint16)
    hot = real.copy()
    hot[real.argmax()] = 65535
    assert quantile_pairs(value_counts(real), value_counts(hot)).slope == pytest.approx(1, abs=1e-12)


def test_line_of_a_dark_image_does_not_exist() -> None:
    pairs = quantile_pairs(value_counts(np.zeros(50, np.uint8)), value_counts(RAMP))
    assert math.isnan(pairs.slope)
    assert math.isnan(pairs.intercept)
    assert "all the same" in pairs.reason


@pytest.mark.parametrize("bins", [1, 10, 64, 256, 1000])
def test_histograms_share_bins_that_hold_every_pixel_once(bins: int) -> None:
    real, predicted = images(np.uint16)
    result = histogram([value_counts(real), value_counts(predicted)], bins)
    widths = np.diff(result.edges)
    assert len(widths) <= bins
    assert set(widths) == {widths[0]}
    assert widths[0] == int(widths[0])
    for pixels, counts in zip((real, predicted), result.counts, strict=True):
        assert np.array_equal(counts, np.histogram(pixels, result.edges)[0])
    assert result.counts.sum() == 4500
    assert result.shares.sum(axis=1) == pytest.approx([1, 1])


def test_histogram_of_eight_bits_has_a_bin_for_each_grey_level() -> None:
    result = histogram([value_counts(RAMP)])
    assert np.array_equal(result.edges, np.arange(101) - 0.5)
    assert np.all(result.counts == 1)


def test_whole_numbers_beside_floating_point_have_a_bin_for_each_grey_level() -> None:
    predicted = np.random.default_rng(3).normal(50, 20, 5000)
    counts = pair_counts(np.tile(RAMP, 50), predicted)
    result = histogram([counts.real, counts.predicted], whole=True)
    assert np.array_equal(np.diff(result.edges), np.ones(len(result.edges) - 1))
    assert result.edges[0] == math.floor(predicted.min()) - 0.5
    levels = (result.edges[:-1] + 0.5).astype(int)
    assert np.array_equal(result.counts[0], np.where((levels >= 0) & (levels < 100), 50, 0))
    assert result.counts[1].sum() == 5000


def test_histogram_of_floating_point_spans_the_pixels() -> None:
    pixels = np.random.default_rng(3).normal(size=1000)
    result = histogram([value_counts(pixels), value_counts(pixels[:0].astype(np.uint8))], 20)
    assert (result.edges[0], result.edges[-1]) == pytest.approx((pixels.min(), pixels.max()), abs=2.0**-14)
    assert (result.counts[0].sum(), len(result.edges)) == (1000, 21)
    assert np.isnan(result.shares[1]).all()


@pytest.mark.parametrize(("samples", "size", "values"), list(product([2, 3, 6], [2, 7, 300], [3, 40, 10_000])))
def test_anderson_darling_is_that_of_scipy(samples: int, size: int, values: int) -> None:
    generator = np.random.default_rng(samples * size)
    drawn = [generator.integers(0, values + index, size + index).astype(np.uint16) for index in range(samples)]
    result = anderson_darling([value_counts(sample) for sample in drawn])
    statistic, p_value = reference(*drawn)
    assert result.statistic == pytest.approx(statistic, rel=1e-9, abs=1e-10)
    assert result.p_value == pytest.approx(p_value, rel=1e-9)
    assert result.n == tuple(map(len, drawn))


def test_numbers_are_tested_as_pixels_are() -> None:
    drawn = np.random.default_rng(4).normal(size=(3, 40))
    assert anderson_darling(list(drawn)).statistic == pytest.approx(reference(*drawn)[0], rel=1e-9)


@pytest.mark.parametrize(("shift", "capped"), [(0, "p >= 0.25"), (60, "p <= 0.001")], ids=["identical", "far apart"])
def test_cap_of_the_table_is_told(shift: int, capped: str) -> None:
    result = anderson_darling([value_counts(RAMP), value_counts(RAMP + np.uint8(shift))])
    assert (result.capped, result.p_value) == (capped, float(capped[-5:].strip("= ")))


def test_p_within_the_table_is_not_capped() -> None:
    result = anderson_darling([np.arange(30.0), np.arange(30.0) + 6])
    assert result.capped == ""
    assert 0.001 < result.p_value < 0.25


def exact_squared_distance(counts: list[list[int]]) -> Fraction:
    """A² of Scholz & Stephens' equation 7, in whole numbers of any size."""
    pooled = [sum(column) for column in zip(*counts, strict=True)]
    total, result = sum(pooled), Fraction(0)
    for row in counts:
        n, own, below = sum(row), Fraction(0), Fraction(0)
        for times, ties in zip(row, pooled, strict=True):
            own, below = own + Fraction(times, 2), below + Fraction(ties, 2)
            if ties:
                spread = below * (total - below) - Fraction(total * ties, 4)
                result += Fraction(ties, total) * (total * own - below * n) ** 2 / spread / n
            own, below = own + Fraction(times, 2), below + Fraction(ties, 2)
    return result * Fraction(total - 1, total)


def test_ten_billion_pixels_overflow_nothing() -> None:
    many = [ValueCounts(value_counts(pixels).counts * 4_000_001) for pixels in images(np.uint8)]
    squared = exact_squared_distance([counts.counts.tolist() for counts in many])
    # variance of A² for two large samples, that of the limit of one sample: Anderson & Darling 1954
    expected = (float(squared) - 1) / math.sqrt(2 * (math.pi**2 - 9) / 3)
    result = anderson_darling(many)
    assert sum(result.n) == 4500 * 4_000_001
    assert result.statistic == pytest.approx(expected, rel=1e-6)
    assert anderson_darling([many[0], many[0]]).capped == "p >= 0.25"


@pytest.mark.parametrize(
    ("samples", "words"),
    [([RAMP, RAMP[:0]], "empty"), ([[1.0], [2.0]], "four or more"), ([[3.0] * 9, [3.0] * 4], "are equal")],
)
def test_what_does_not_exist_is_nan_with_a_reason(samples: list, words: str) -> None:
    result = anderson_darling(samples)
    assert math.isnan(result.statistic)
    assert words in result.reason


def test_images_without_pixels_are_not_compared() -> None:
    result = compare_distributions(value_counts(RAMP), value_counts(RAMP[:0]))
    assert math.isnan(result.wasserstein)
    assert math.isnan(result.kolmogorov_smirnov)
    assert math.isnan(result.qq_slope)
    assert "no pixel" in result.reason


def clustered(generator: np.random.Generator, patches: int = 24) -> list[ValueCounts]:
    """Patches that differ from each other, with pixels that repeat each other."""
    levels = generator.normal(1000, 150, patches)
    return [value_counts(generator.normal(level, 50, 400).clip(0, 4000).astype(np.uint16)) for level in levels]


def test_permuting_patches_keeps_the_level_where_pixels_do_not() -> None:
    generator = np.random.default_rng(5)
    results = [
        anderson_darling_permutation([clustered(generator) for _ in range(2)], paired=False, permutations=59)
        for _ in range(40)
    ]
    assert np.mean([result.p_value <= 0.05 for result in results]) > 0.9
    assert np.mean([result.p_permutation <= 0.05 for result in results]) < 0.15
    p_values = [result.p_permutation for result in results]
    assert kstest(p_values, "uniform").statistic < 0.25


def test_permutation_finds_a_difference_of_paired_patches() -> None:
    generator = np.random.default_rng(6)
    real = clustered(generator)
    brighter = [ValueCounts(np.roll(counts.counts, 40)) for counts in real]
    paired = anderson_darling_permutation([real, brighter], paired=True)
    unpaired = anderson_darling_permutation([real, brighter], paired=False)
    assert paired.p_permutation == pytest.approx(0.001)
    assert unpaired.p_permutation > 0.05
    pooled = anderson_darling([sum(part[1:], part[0]) for part in (real, brighter)])
    assert (paired.statistic, paired.capped, paired.n) == (pooled.statistic, pooled.capped, pooled.n)
    assert (paired.units, paired.permutations) == ((24, 24), 999)


def test_permutation_of_single_numbers_is_that_of_scipy() -> None:
    from scipy.stats import PermutationMethod

    generator = np.random.default_rng(7)
    first, second = generator.normal(0, 1, 12), generator.normal(0.8, 1, 15)
    ours = anderson_darling_permutation([first[:, None], second[:, None]], paired=False, permutations=4999)
    method = PermutationMethod(n_resamples=4999, rng=generator)
    theirs = anderson_ksamp([first, second], variant="midrank", method=method)
    assert ours.p_permutation == pytest.approx(theirs.pvalue, abs=0.02)
    assert ours.statistic == pytest.approx(theirs.statistic, rel=1e-9)


def test_three_pairs_cannot_be_significant() -> None:
    real = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    far = [[101.0, 102.0], [103.0, 104.0], [105.0, 106.0]]
    result = anderson_darling_permutation([real, far], paired=True, permutations=3999)
    assert result.p_permutation == pytest.approx(2 / 8, abs=0.03)


def test_equal_seeds_give_equal_p_values() -> None:
    units = [clustered(np.random.default_rng(seed)) for seed in (8, 9)]
    first, again = (anderson_darling_permutation(units, paired=False, permutations=200, seed=3) for _ in range(2))
    assert first == again


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: anderson_darling([RAMP]), "two or more"),
        (lambda: anderson_darling([RAMP, [math.nan]]), "finite"),
        (lambda: anderson_darling_permutation([[RAMP]], paired=False), "two or more samples"),
        (lambda: anderson_darling_permutation([[RAMP], []], paired=False), "a unit each"),
        (lambda: anderson_darling_permutation([[RAMP], [RAMP] * 2], paired=True), "the same number"),
        (lambda: anderson_darling_permutation([[RAMP], [RAMP[:0]]], paired=True), "no number"),
        (lambda: anderson_darling_permutation([[RAMP], [RAMP]], paired=True, permutations=0), "one or more"),
        (lambda: histogram([]), "without a pixel"),
        (lambda: histogram([value_counts(RAMP)], bins=0), "one bin or more"),
    ],
)
def test_senseless_input_is_refused(call: object, words: str) -> None:
    with pytest.raises(AgreementError, match=words):
        call()
