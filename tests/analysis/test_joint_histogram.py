from itertools import pairwise

import numpy as np
import pytest

from napari_hrpn.analysis import AgreementError, AgreementSums, PairBins, PairCounts, pair_counts, value_counts
from napari_hrpn.analysis.counts.intensity_histogram import bins_between
from napari_hrpn.analysis.counts.moments import update

TYPES = [
    (np.uint8, np.uint8),
    (np.uint16, np.uint16),
    (np.uint16, np.uint8),
    (bool, bool),
    (bool, np.uint8),
    (np.int16, np.int16),
    (np.int8, np.uint16),
    (np.int32, np.int32),
]


def images(real: type, predicted: type, size: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """Dark, zero-rich and correlated."""
    generator = np.random.default_rng(0)
    y = np.maximum(generator.gamma(1, 30, (size, size)) - 10, 0)
    p = np.maximum(0.7 * y + generator.normal(0, 10, y.shape), 0)
    return np.minimum(y, 120).astype(real), np.minimum(p, 120).astype(predicted)


def by_hand(y: np.ndarray, p: np.ndarray, bins: PairBins) -> dict[str, object]:
    wide_y, wide_p = y.astype(np.int64), p.astype(np.int64)
    return {
        "real": value_counts(wide_y, bins=bins.values).counts.tolist(),
        "predicted": value_counts(wide_p, bins=bins.values).counts.tolist(),
        "smaller": value_counts(np.minimum(wide_y, wide_p), bins=bins.values).counts.tolist(),
        "product": int((wide_y * wide_p).sum()),
        "both_zero": int(((wide_y == 0) & (wide_p == 0)).sum()),
        "real_where_predicted": int(wide_y[wide_p > 0].sum()),
        "predicted_where_real": int(wide_p[wide_y > 0].sum()),
    }


def numbers(pairs: PairCounts) -> dict[str, object]:
    return {
        "real": pairs.real.counts.tolist(),
        "predicted": pairs.predicted.counts.tolist(),
        "smaller": pairs.smaller.counts.tolist(),
        "product": pairs.sums.product,
        "both_zero": pairs.both_zero,
        "real_where_predicted": pairs.real_where_predicted,
        "predicted_where_real": pairs.predicted_where_real,
    }


@pytest.mark.parametrize(("real", "predicted"), TYPES)
def test_record_is_what_is_counted_by_hand(real: type, predicted: type) -> None:
    y, p = images(real, predicted)
    pairs = pair_counts(y, p)
    assert numbers(pairs) == by_hand(y, p, pairs.bins)
    assert pairs.sums == update(AgreementSums(), y, p)
    assert pairs.n == y.size


@pytest.mark.parametrize(("real", "predicted"), TYPES)
def test_any_tiling_and_order_gives_an_equal_record(real: type, predicted: type) -> None:
    y, p = images(real, predicted)
    mask = np.random.default_rng(1).random(y.shape) < 0.6
    mask[:40] = True
    bins = PairBins(pair_counts(y, p).bins.values, (0, 100))
    whole = pair_counts(y, p, mask, bins)
    generator = np.random.default_rng(2)
    for _ in range(3):
        edges = [0, *sorted(generator.integers(1, 120, 4)), 120]
        boxes = [(slice(*rows), slice(*columns)) for rows in pairwise(edges) for columns in pairwise(edges)]
        total = pair_counts(y[:0], p[:0], bins=bins)
        for index in generator.permutation(len(boxes)):
            box = boxes[index]
            total = total + pair_counts(y[box], p[box], mask[box], bins)
        assert total == whole
    assert whole == pair_counts(y[mask], p[mask], bins=bins)
    assert whole != pair_counts(y, p, bins=bins)


def test_more_pixels_than_fit_into_a_piece_are_all_counted() -> None:
    generator = np.random.default_rng(3)
    y, p = generator.integers(0, 65_536, (2, 700, 900)).astype(np.uint16)
    mask = np.zeros(y.shape, bool)
    mask[500:, :450] = True
    pairs = pair_counts(y, p, mask)
    assert pairs.n == 200 * 450
    assert numbers(pairs) == by_hand(y[mask], p[mask], pairs.bins)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_density_is_numpys_histogram(dtype: type) -> None:
    # floating point that is binned would fall on either side of the edge of a cell
    y, p = (pixels.astype(dtype) + dtype(0.5) for pixels in images(np.uint8, np.uint8))
    values = pair_counts(y, p).bins.values
    density = pair_counts(y, p, bins=PairBins(values, (0, 256))).density
    expected, _, _ = np.histogram2d(y.ravel(), p.ravel(), bins=256, range=((0, 256), (0, 256)))
    assert density is not None
    np.testing.assert_array_equal(density, expected)


def test_pixels_beyond_the_density_are_in_its_outermost_cells() -> None:
    y, p = images(np.uint16, np.uint16)
    density = pair_counts(y, p, bins=PairBins(pair_counts(y, p).bins.values, (10, 20))).density
    assert density is not None
    assert density.sum() == y.size
    assert density[0, 0] == np.count_nonzero((y <= 10) & (p <= 10))
    assert density[255].sum() == np.count_nonzero(y >= 20)


def test_sums_of_floating_point_are_those_of_the_pixels_not_of_the_bins() -> None:
    generator = np.random.default_rng(4)
    y = generator.normal(0, 1, 20_000)
    p = y + generator.normal(0, 0.1, y.size)
    p[:100] = y[:100] = 0
    pairs = pair_counts(y, p, bins=PairBins(bins_between(-6, 6, whole=False)))
    assert pairs.sums == update(AgreementSums(), y, p)
    assert pairs.both_zero == 100
    assert float(pairs.real_where_predicted) == pytest.approx(np.maximum(y, 0)[p > 0].sum(), rel=1e-12)
    assert float(pairs.predicted_where_real) == pytest.approx(np.maximum(p, 0)[y > 0].sum(), rel=1e-12)
    assert pairs.signal == update(AgreementSums(), np.maximum(y, 0), np.maximum(p, 0))
    assert pairs.negative == np.count_nonzero(y < 0) + np.count_nonzero(p < 0)
    assert pairs.smaller.at_least(0.5) == pytest.approx(np.count_nonzero((y >= 0.5) & (p >= 0.5)), abs=3)


def test_sums_over_ten_billion_bright_pixels_are_exact() -> None:
    tile = np.full((1000, 1000), 65_535, np.uint16)
    pairs = pair_counts(tile, tile - np.uint16(1))
    for _ in range(14):
        pairs = pairs + pairs
    n = 10**6 * 2**14
    assert (pairs.n, pairs.sums.product, pairs.sums.squared_error) == (n, n * 65_535 * 65_534, n)
    assert pairs.real_where_predicted == pairs.real.total == n * 65_535
    assert pairs.smaller.at_least(65_534) == n


def test_images_that_cannot_be_compared_are_refused() -> None:
    y = np.zeros((4, 5), np.uint8)
    for real, predicted, mask, words in (
        (y, y[1:], None, "one size"),
        (y, y, np.ones((4, 4), bool), "mask"),
        (y, y + 0j, None, "type complex"),
        (y, np.where(y == 0, np.nan, 0.0), None, "not finite"),
    ):
        with pytest.raises(AgreementError, match=words):
            pair_counts(real, predicted, mask)


def test_records_of_different_densities_are_not_pooled() -> None:
    y = np.zeros(4, np.uint8)
    values = pair_counts(y, y).bins.values
    with pytest.raises(AgreementError, match="densit"):
        _ = pair_counts(y, y) + pair_counts(y, y, bins=PairBins(values, (0, 5)))
    with pytest.raises(AgreementError, match="range of the density"):
        PairBins(values, (5, 5))
