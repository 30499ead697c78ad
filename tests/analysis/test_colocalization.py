import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage, stats
from skimage.measure import manders_coloc_coeff, manders_overlap_coeff

from napari_hrpn.analysis import AgreementError, Colocalization, colocalization, manders, pair_counts, regression


def images(dtype: type = np.uint8, gain: float = 0.7, size: int = 80) -> tuple[np.ndarray, np.ndarray]:
    """Blobs over noise, the second dimmer than the first."""
    generator = np.random.default_rng(0)
    blobs = ndimage.gaussian_filter(generator.random((size, size)), 3)
    blobs = ((blobs - blobs.min()) / np.ptp(blobs)) ** 4 * 200
    y = np.maximum(blobs + generator.normal(6, 8, blobs.shape), 0)
    p = np.maximum(gain * blobs + generator.normal(4, 8, blobs.shape), 0)
    return y.astype(dtype), p.astype(dtype)


def stepped_by_hand(
    y: np.ndarray, p: np.ndarray, slope: float, intercept: float, *, stop_at_rise: bool
) -> tuple[float, float]:
    """Costes's walk as its authors describe it: one threshold after the other, r of the pixels below each anew."""
    top, last = float((y if slope < 1 else p).max()), 1.0
    while True:
        first, second = (top, top * slope + intercept) if slope < 1 else ((top - intercept) / slope, top)
        first, second = (min(max(math.floor(each + 0.5), 0), 255) for each in (first, second))
        below = (y < first) | (p < second)
        varied = below.any() and np.ptp(y[below]) > 0 and np.ptp(p[below]) > 0
        r = stats.pearsonr(y[below].astype(float), p[below].astype(float)).statistic if varied else math.nan
        top -= 1
        if r < 0.0001 or (stop_at_rise and r > last):
            return first, second
        last = r


def test_numbers_of_the_known_table() -> None:
    result = colocalization(np.array([0, 1, 2, 3, 4]), np.array([5, 0, 0, 1, 2]))
    assert (result.manders_m1, result.manders_m2) == pytest.approx((0.7, 0.375))
    assert result.overlap == pytest.approx(0.366667, abs=5e-7)
    assert result.icq == pytest.approx(0.1)
    line = colocalization(np.arange(1, 6), np.array([2, 1, 4, 3, 7]))
    assert (line.costes_slope, line.costes_intercept) == pytest.approx((1.570196, -1.310589), abs=5e-7)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_manders_is_that_of_scikit_image(dtype: type) -> None:
    y, p = images(dtype)
    result = colocalization(y, p)
    assert result.manders_m1 == pytest.approx(manders_coloc_coeff(y.astype(float), p > 0), rel=1e-9)
    assert result.manders_m2 == pytest.approx(manders_coloc_coeff(p.astype(float), y > 0), rel=1e-9)
    assert result.overlap == pytest.approx(manders_overlap_coeff(y.astype(float), p.astype(float)), rel=1e-9)
    plain = manders(pair_counts(y, p))
    assert (plain.m1, plain.m2, plain.overlap) == (result.manders_m1, result.manders_m2, result.overlap)


@pytest.mark.parametrize("gain", [0.4, 0.7, 1.1])
@pytest.mark.parametrize("stop_at_rise", [True, False])
def test_costes_thresholds_are_those_of_a_step_by_step_walk(gain: float, *, stop_at_rise: bool) -> None:
    y, p = images(gain=gain)
    result = colocalization(y, p, stop_at_rise=stop_at_rise)
    expected = stepped_by_hand(y, p, result.costes_slope, result.costes_intercept, stop_at_rise=stop_at_rise)
    assert (result.costes_threshold_real, result.costes_threshold_predicted) == expected
    assert 0 < expected[0] < y.max()
    assert result.thresholded_m1 == pytest.approx(y[p >= expected[1]].sum() / y.sum())
    assert result.thresholded_m2 == pytest.approx(p[y >= expected[0]].sum() / p.sum())


def test_costes_line_is_the_orthogonal_one() -> None:
    y, p = images()
    pairs = pair_counts(y, p)
    line, result = regression(pairs.sums, pairs.both_zero), colocalization(y, p)
    assert (result.costes_slope, result.costes_intercept) == (line.orthogonal_slope, line.orthogonal_intercept)


def test_floating_point_is_stepped_through_finely() -> None:
    y, p = images()
    whole, shrunk = colocalization(y, p), colocalization(y / 1000, p / 1000)
    assert shrunk.costes_threshold_real == pytest.approx(whole.costes_threshold_real / 1000, abs=0.002)
    assert (shrunk.manders_m1, shrunk.icq) == pytest.approx((whole.manders_m1, whole.icq))


def test_icq_is_one_half_for_equal_images_and_minus_one_half_for_mirrored_ones() -> None:
    y = np.array([0, 1, 8, 9])
    assert colocalization(y, y).icq == 0.5
    assert colocalization(y, 9 - y).icq == -0.5


def test_only_pixels_of_the_mask_count() -> None:
    y, p = images()
    mask = np.random.default_rng(1).random(y.shape) < 0.4
    assert colocalization(y, p, mask) == colocalization(y[mask], p[mask])


def missing(result: Colocalization) -> set[str]:
    return {name for name, value in vars(result).items() if isinstance(value, float) and math.isnan(value)}


THRESHOLDED = {"thresholded_m1", "thresholded_m2", "costes_threshold_real", "costes_threshold_predicted"}


def test_uncorrelated_images_have_no_costes_thresholds() -> None:
    y = np.array([0, 1, 8, 9])
    result = colocalization(y, 9 - y)
    assert missing(result) == THRESHOLDED
    assert "not positively correlated" in result.reason


def test_images_that_stay_correlated_have_no_costes_thresholds() -> None:
    y = np.arange(1, 500, dtype=np.uint16)
    result = colocalization(y, y)
    assert missing(result) == THRESHOLDED
    assert "stay correlated" in result.reason


def test_one_bright_pixel_off_the_line_ends_the_walk_only_if_asked() -> None:
    y, p = images()
    y[0, 0], p[0, 0] = 100, 255
    top = colocalization(y, p, stop_at_rise=True)
    assert top.costes_threshold_real > 60
    assert "above the mean" in top.reason
    assert colocalization(y, p).costes_threshold_real < 40


def test_empty_images_say_so() -> None:
    y = np.array([0, 1, 8, 9])
    blank = colocalization(y, 0 * y)
    assert missing(blank) == THRESHOLDED | {"manders_m2", "overlap"}
    assert blank.manders_m1 == 0
    assert "predicted image is zero" in blank.reason
    assert "no pixel" in colocalization(y[:0], y[:0]).reason


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_negative_pixels_count_as_zero_in_every_number_and_are_told_of(dtype: type) -> None:
    y, p = (image.astype(dtype) for image in images())
    p -= 12
    found, clipped = colocalization(y, p), colocalization(y, np.maximum(p, 0))
    negative = f"{np.count_nonzero(p < 0):,} negative pixels count as 0"
    assert found == replace(clipped, reason="; ".join(filter(None, (negative, clipped.reason))))
    pairs = pair_counts(y, p)
    streamed = manders(pair_counts(y[:70], p[:70], bins=pairs.bins) + pair_counts(y[70:], p[70:], bins=pairs.bins))
    signal = np.maximum(p.astype(float), 0)
    overlap = (y * signal).sum() / math.sqrt((y.astype(float) ** 2).sum() * (signal**2).sum())
    assert (streamed.m1, streamed.m2) == pytest.approx((found.manders_m1, found.manders_m2), rel=1e-12)
    assert streamed.overlap == pytest.approx(overlap, rel=1e-12)
    assert found.overlap == pytest.approx(overlap, rel=1e-12)
    assert streamed.reason == negative


def test_images_of_different_size_are_refused() -> None:
    with pytest.raises(AgreementError, match="one size"):
        colocalization(np.zeros((3, 4)), np.zeros((4, 3)))
