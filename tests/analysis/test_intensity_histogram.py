import math
from itertools import pairwise

import numpy as np
import pytest

from napari_hrpn.analysis import AgreementError, ValueCounts, value_counts
from napari_hrpn.analysis.counts.intensity_histogram import bins_between, bins_of_types

PERCENTILES = [*np.linspace(0, 100, 501), 99.9, 99.99, 100 / 3]


def image(dtype: type, seed: int = 0, size: int = 200) -> np.ndarray:
    generator = np.random.default_rng(seed)
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    skewed = generator.gamma(1, (high - low) / 40, (size, size)) + low
    return np.clip(skewed, low, high).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16])
@pytest.mark.parametrize("size", [1, 2, 7, 200])
def test_statistics_of_integers_are_those_of_numpy(dtype: type, size: int) -> None:
    pixels = image(dtype, size=size)
    counts = value_counts(pixels)
    assert not counts.binned
    assert (counts.n, counts.total) == (pixels.size, int(pixels.sum(dtype=np.int64)))
    assert counts.total_squared == int((pixels.astype(np.int64) ** 2).sum())
    assert counts.mean == pytest.approx(pixels.mean(dtype=np.float64), rel=1e-14)
    expected = np.percentile(pixels, PERCENTILES, method="inverted_cdf")
    np.testing.assert_array_equal(counts.percentile(PERCENTILES), expected)
    np.testing.assert_array_equal(counts.percentile(PERCENTILES, interpolated=True), np.percentile(pixels, PERCENTILES))
    for value in (pixels.min(), float(np.median(pixels)) + 0.5, pixels.max()):
        assert counts.at_least(float(value)) == np.count_nonzero(pixels >= value)


def test_one_percentile_is_a_number() -> None:
    assert float(value_counts(np.array([4, 9, 1], np.uint8)).percentile(50)) == 4


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32, np.int64])
def test_any_tiling_gives_the_same_counts(dtype: type) -> None:
    pixels = image(np.int16).astype(dtype)
    bins = value_counts(pixels).bins
    generator = np.random.default_rng(1)
    edges = [0, *sorted(generator.integers(1, 200, 5)), 200]
    tiles = [pixels[slice(*rows), slice(*columns)] for rows in pairwise(edges) for columns in pairwise(edges)]
    total = value_counts(pixels[:0], bins=bins)
    for index in generator.permutation(len(tiles)):
        total = total + value_counts(tiles[index], bins=bins)
    assert total == value_counts(pixels)
    assert total != value_counts(pixels[1:], bins=bins)


def test_only_pixels_of_the_mask_count() -> None:
    pixels = image(np.uint16)
    mask = np.random.default_rng(2).random(pixels.shape) < 0.3
    assert value_counts(pixels, mask) == value_counts(pixels[mask])


def test_floating_point_is_off_by_half_a_step_at_most() -> None:
    pixels = np.random.default_rng(3).normal(5, 200, (300, 300))
    counts = value_counts(pixels)
    assert counts.binned
    assert counts.step == 2.0**-5  # the smallest power of two with which 65,536 steps are enough
    assert np.ptp(pixels) / 65_534 < counts.step
    expected = np.percentile(pixels, PERCENTILES, method="inverted_cdf")
    assert np.abs(counts.percentile(PERCENTILES) - expected).max() <= counts.step * 0.500001
    assert counts.mean == pytest.approx(pixels.mean(), abs=counts.step)
    assert counts.total_squared == pytest.approx((pixels**2).sum(), rel=1e-6)


def test_wide_integers_of_a_small_range_stay_exact() -> None:
    pixels = image(np.uint16).astype(np.int64) + 10**9
    counts = value_counts(pixels)
    assert (counts.step, counts.low, counts.total) == (1, pixels.min(), int(pixels.sum()))
    np.testing.assert_array_equal(
        counts.percentile(PERCENTILES), np.percentile(pixels, PERCENTILES, method="inverted_cdf")
    )


def test_sums_over_ten_billion_bright_pixels_are_exact() -> None:
    counts = value_counts(np.full((1000, 1000), 65_535, np.uint16))
    for _ in range(14):
        counts = counts + counts
    n = 10**6 * 2**14
    assert (counts.n, counts.total, counts.total_squared) == (n, n * 65_535, n * 65_535**2)
    assert counts.mean == 65_535


def test_bins_of_two_types_hold_both() -> None:
    bins = bins_of_types(np.dtype(np.uint16), np.dtype(np.int16))
    assert bins is not None
    assert (bins.low, bins.low + bins.number - 1) == (-32_768, 65_535)
    assert bins_of_types(np.dtype(np.uint8), np.dtype(np.float32)) is None


def test_without_pixels_there_is_no_percentile() -> None:
    counts = value_counts(np.empty(0, np.uint8))
    assert counts.n == 0
    assert math.isnan(counts.mean)
    assert np.isnan(counts.percentile([0, 50])).all()


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_pixels_that_are_not_finite_are_refused_unless_masked(wrong: float) -> None:
    pixels = np.array([1.0, wrong, 3.0])
    with pytest.raises(AgreementError, match="not finite"):
        value_counts(pixels)
    assert value_counts(pixels, np.array([True, False, True])).n == 2


@pytest.mark.parametrize("pixels", [np.array([-0.5]), np.array([10.6]), np.array([11]), np.array([2.0, 1e300])])
def test_pixels_beyond_the_bins_are_refused(pixels: np.ndarray) -> None:
    with pytest.raises(AgreementError, match="expected 0 to 10"):
        value_counts(pixels, bins=bins_between(0, 10, whole=pixels.dtype.kind != "f"))


@pytest.mark.parametrize("q", [-1, 100.1, math.nan, [5, 101]])
def test_senseless_percentiles_are_refused(q: float) -> None:
    with pytest.raises(AgreementError, match="0 to 100"):
        value_counts(np.arange(3)).percentile(q)


@pytest.mark.parametrize("ends", [(1, 0), (0, math.inf), (math.nan, 1)])
def test_senseless_ranges_are_refused(ends: tuple[float, float]) -> None:
    with pytest.raises(AgreementError, match="range"):
        bins_between(*ends, whole=False)


def test_counts_of_different_bins_are_not_pooled() -> None:
    with pytest.raises(AgreementError, match="different bins"):
        _ = ValueCounts(np.zeros(4, np.int64)) + ValueCounts(np.zeros(5, np.int64))


@pytest.mark.parametrize("largest", [0.7, 40.0, 3000.0])
def test_whole_grey_levels_are_values_of_bins_of_floating_point(largest: float) -> None:
    pixels = np.random.default_rng(4).uniform(0.3, largest, 5000)
    counts = value_counts(pixels)
    values = counts.low + counts.step * np.arange(len(counts.counts))
    levels = np.arange(np.ceil(values[0]), np.floor(values[-1]) + 1)
    assert np.isin(levels, values).all()
    assert counts.low <= pixels.min()
    assert values[-1] >= pixels.max()
    assert len(counts.counts) <= 65_536
