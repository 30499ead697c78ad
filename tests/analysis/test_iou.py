import math

import numpy as np
import pytest
from sklearn.metrics import jaccard_score

from napari_hrpn.analysis import AgreementError, iou_at, iou_curve, pair_counts

RAMP = np.arange(10, dtype=np.uint8)
PERCENTILES = [0, 1, 5, 25, 50, 75, 90, 97.5, 99, 99.9, 100]


def images(dtype: type, size: int = 150) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    y = np.maximum(generator.gamma(1, 60, (size, size)) - 30, 0)
    p = np.maximum(0.8 * y + generator.normal(0, 15, y.shape), 0)
    return np.minimum(y, 255).astype(dtype), np.minimum(p, 255).astype(dtype)


def test_numbers_of_the_known_table() -> None:
    middle, high = iou_curve(pair_counts(RAMP, np.minimum(RAMP, 6)), [50, 90])
    assert middle.iou == 1.0
    assert (high.iou, high.mean_iou) == (0.0, 0.45)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
def test_every_point_is_that_of_masks_cut_by_hand(dtype: type) -> None:
    y, p = images(dtype)
    for point in iou_curve(pair_counts(y, p), PERCENTILES):
        threshold = np.percentile(y, point.percentile)
        a, b = (y >= threshold).ravel(), (p >= threshold).ravel()
        assert point.threshold == threshold
        assert point.iou == pytest.approx(jaccard_score(a, b), rel=1e-12)
        background = (~a & ~b).sum() / (~a | ~b).sum() if (~a | ~b).any() else math.nan
        assert point.mean_iou == pytest.approx((point.iou + background) / 2, rel=1e-12, nan_ok=True)
        assert (point.real_fraction, point.predicted_fraction, point.n) == (a.mean(), b.mean(), y.size)
        assert iou_at(pair_counts(y, p), threshold).iou == point.iou


@pytest.mark.parametrize("gain", [0.5, 1.0, 1.6])
def test_chance_is_the_overlap_of_permuted_masks_however_large_the_predicted_one_is(gain: float) -> None:
    generator = np.random.default_rng(1)
    y = generator.integers(0, 40_000, 200_000).astype(np.uint16)
    pairs = pair_counts(y, (gain * y).astype(np.uint16))
    for point in iou_curve(pairs, [0, 10, 50, 90]):
        a = y >= point.threshold
        b = generator.permutation(gain * y >= point.threshold)
        assert point.chance == pytest.approx((a & b).sum() / (a | b).sum(), abs=0.005)
        background = (~a & ~b).sum() / (~a | ~b).sum() if (~a | ~b).any() else math.nan
        assert point.mean_chance == pytest.approx((point.chance + background) / 2, abs=0.005, nan_ok=True)
        assert math.isnan(point.mean_chance) == math.isnan(point.mean_iou)
        f, g = point.real_fraction, point.predicted_fraction
        assert point.chance == pytest.approx(f * g / (f + g - f * g) if g else 0)


@pytest.mark.parametrize("dark", [0, 3])
def test_the_curve_begins_with_the_share_of_predicted_pixels_that_are_no_darker_than_the_darkest_real_one(
    dark: int,
) -> None:
    y = np.random.default_rng(6).poisson(60, 40_000).astype(np.uint16)
    p = y - np.uint16(dark)
    (first,) = iou_curve(pair_counts(y, p), [0])
    assert first.iou == np.mean(p >= y.min())
    assert (first.iou == 1) == (dark == 0)


def test_low_percentiles_of_many_zeros_are_tied() -> None:
    y = np.r_[np.zeros(300), np.arange(1, 701)].astype(np.uint16)
    points = {point.percentile: point for point in iou_curve(pair_counts(y, y), [0, 5, 20, 29, 40, 99, 100])}
    assert {percentile for percentile, point in points.items() if point.tied} == {5, 20, 29}
    assert points[20].real_fraction == 1.0


def test_bright_ties_are_marked_though_they_are_few() -> None:
    y = np.r_[np.arange(9900), np.full(100, 20_000)].astype(np.uint16)
    points = {point.percentile: point for point in iou_curve(pair_counts(y, y), [50, 98, 99.9])}
    assert {percentile for percentile, point in points.items() if point.tied} == {99.9}


def test_percentiles_of_distinct_values_are_not_tied() -> None:
    y = np.random.default_rng(2).permutation(5000).astype(np.uint16)
    assert not any(point.tied for point in iou_curve(pair_counts(y, y)))


def test_empty_union_has_no_iou() -> None:
    point = iou_at(pair_counts(RAMP, RAMP), 50)
    assert math.isnan(point.iou)
    assert math.isnan(point.mean_iou)
    assert (point.real_fraction, point.predicted_fraction, point.chance, point.tied) == (0, 0, 0, False)
    assert math.isnan(point.percentile)


def test_no_pixel_gives_no_number() -> None:
    (point,) = iou_curve(pair_counts(RAMP[:0], RAMP[:0]), [50])
    assert point.n == 0
    assert math.isnan(point.iou)
    assert math.isnan(point.threshold)


def test_whole_curve_by_default_and_senseless_percentiles_refused() -> None:
    pairs = pair_counts(RAMP, RAMP)
    assert [point.percentile for point in iou_curve(pairs)] == list(range(101))
    with pytest.raises(AgreementError, match="0 to 100"):
        iou_curve(pairs, [101])
