"""Co-localisation coefficients of a real and a predicted signal, like those of Fiji's Coloc 2.

Coefficients with thresholds need all pixels of a region in memory; those without are computed from `PairCounts` and
exist for whole slides too.

The rule: grey levels below zero, which networks predict in dark places, count as zero, because a signal cannot be
negative. The reason in the result states their number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.analysis.counts.joint_histogram import pair_counts
from napari_hrpn.analysis.counts.moments import checked_pair
from napari_hrpn.analysis.statistics.agreement import correlation
from napari_hrpn.analysis.statistics.regression import regression

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_hrpn.analysis.counts.intensity_histogram import ValueBins
    from napari_hrpn.analysis.counts.joint_histogram import PairCounts
    from napari_hrpn.analysis.statistics.regression import Regression

# an r below this counts as not positive, as in Coloc 2
_NO_CORRELATION = 0.0001
_FLOAT_STEPS = 65_535
_ROUNDING = 1e-12
# Costes' thresholds of so many pixels take a few seconds and 2 GB
MOST_COLOCALIZED_PX = 2**24


@dataclass(frozen=True)
class Manders:
    """Manders' coefficients and overlap of two signals, without thresholds.

    Attributes
    ----------
    m1, m2 : float
        Share of the real signal in pixels where the predicted one is above zero, and vice versa (Manders
        et al. 1993), 0 to 1. If the camera has an offset, both are 1.
    overlap : float
        Manders' overlap coefficient, sum(y p) / sqrt(sum(y^2) sum(p^2)).
    n : int
        Number of pixels.
    reason : str
        Why a number is NaN, and how many grey levels below zero count as zero; empty if neither applies.
    """

    m1: float
    m2: float
    overlap: float
    n: int
    reason: str = ""


@dataclass(frozen=True)
class Colocalization:
    """Co-localisation of a real and a predicted signal.

    Attributes
    ----------
    manders_m1, manders_m2, overlap : float
        As in `Manders`.
    thresholded_m1, thresholded_m2 : float
        M1 and M2, counting only pixels where the other signal reaches its Costes threshold (and is above zero).
    icq : float
        Li's intensity correlation quotient, -0.5 to 0.5: the share of pixels in which both signals are on the same
        side of their means, less one half. A pixel at a mean counts as on the same side.
    costes_slope, costes_intercept : float
        Line p = intercept + slope y along which the thresholds are lowered: the orthogonal line of `Regression`, with
        grey levels below zero counted as zero.
    costes_threshold_real, costes_threshold_predicted : float
        Grey levels; the pixels below them (in either image) are no longer positively correlated (Costes et al.
        2004).
    n : int
        Number of pixels.
    reason : str
        Why a number is NaN or doubtful, and how many grey levels below zero count as zero; else empty.
    """

    manders_m1: float
    manders_m2: float
    thresholded_m1: float
    thresholded_m2: float
    overlap: float
    icq: float
    costes_slope: float
    costes_intercept: float
    costes_threshold_real: float
    costes_threshold_predicted: float
    n: int
    reason: str = ""


def manders(pairs: PairCounts) -> Manders:
    """Manders' coefficients without thresholds.

    Parameters
    ----------
    pairs : PairCounts
        Counts of the pixels.

    Returns
    -------
    Manders
        NaN, with a reason, if a signal is zero everywhere.
    """
    signal = pairs.signal
    if not signal.n:
        return Manders(math.nan, math.nan, math.nan, 0, "there is no pixel")
    squares = Fraction(signal.real_squared), Fraction(signal.predicted_squared)
    m1 = float(pairs.real_where_predicted / signal.real) if signal.real else math.nan
    m2 = float(pairs.predicted_where_real / signal.predicted) if signal.predicted else math.nan
    empty = [name for name, total in (("real", signal.real), ("predicted", signal.predicted)) if not total]
    reasons = [f"the {' and the '.join(empty)} image is zero everywhere"] if empty else []
    reasons += [_negative_words(pairs.negative)] if pairs.negative else []
    overlap = correlation(*squares, Fraction(signal.product))
    return Manders(_share_of(m1), _share_of(m2), overlap, signal.n, "; ".join(reasons))


def _negative_words(negative: int) -> str:
    """Sentence about grey levels below zero that count as zero."""
    return f"{negative:,} negative {'pixel counts' if negative == 1 else 'pixels count'} as 0"


def too_large_words(area: int) -> str:
    """Sentence about a region that is too large for Costes' thresholds."""
    return (
        f"The region spans {area / 1e6:.0f} million pixels, expected {MOST_COLOCALIZED_PX / 1e6:.0f} million at most "
        "for Costes' thresholds: choose a smaller one."
    )


def _share_of(share: float) -> float:
    """A share limited to 0 to 1, because rounding of floating-point sums may exceed that slightly."""
    return min(max(share, 0.0), 1.0) if math.isfinite(share) else share


def colocalization(
    real: NDArray[Any],
    predicted: NDArray[Any],
    mask: NDArray[np.bool_] | None = None,
    *,
    stop_at_rise: bool = False,
) -> Colocalization:
    """Co-localisation of two images, like Fiji's Coloc 2.

    The Costes thresholds are lowered from the brightest pixel along the orthogonal line, one grey level at a time,
    until the pixels below them are no longer positively correlated.

    Parameters
    ----------
    real, predicted : numpy.ndarray
        Pixels of one shape, integer or floating point; thresholds for floating point take 65,535 steps.
    mask : numpy.ndarray of bool, optional
        Mask of the same shape; pixels where it is False are left out.
    stop_at_rise : bool
        Whether the search also ends where r is higher than one step before, like the "Costes" stepper of Coloc 2. Then
        a single bright pixel off the line can end it at the first step, especially in images of 16 bits.

    Returns
    -------
    Colocalization
        Coefficients; NaN, with a reason, for those that do not exist.

    Raises
    ------
    AgreementError
        If the images cannot be compared.
    """
    y, p = checked_pair(np.asarray(real), np.asarray(predicted), mask)
    negative = sum(int(np.count_nonzero(pixels < 0)) for pixels in (y, p))
    if negative:
        y, p = np.maximum(y, 0), np.maximum(p, 0)
    pairs = replace(pair_counts(y, p), negative=negative)
    plain, line = manders(pairs), regression(pairs.sums, pairs.both_zero)
    (first, second), doubt = _costes_thresholds(y, p, pairs.real.bins, line, stop_at_rise=stop_at_rise)
    return Colocalization(
        manders_m1=plain.m1,
        manders_m2=plain.m2,
        thresholded_m1=_share(y, p, second) if math.isfinite(plain.m1) else math.nan,
        thresholded_m2=_share(p, y, first) if math.isfinite(plain.m2) else math.nan,
        overlap=plain.overlap,
        icq=_icq(y, p, pairs),
        costes_slope=line.orthogonal_slope,
        costes_intercept=line.orthogonal_intercept,
        costes_threshold_real=first,
        costes_threshold_predicted=second,
        n=plain.n,
        reason="; ".join(filter(None, (plain.reason, doubt))),
    )


def _share(signal: NDArray[Any], other: NDArray[Any], threshold: float) -> float:
    if math.isnan(threshold):
        return math.nan
    chosen = signal[(other >= threshold) & (other > 0)]
    return _share_of(float(chosen.sum(dtype=np.float64) / signal.sum(dtype=np.float64)))


def _icq(y: NDArray[Any], p: NDArray[Any], pairs: PairCounts) -> float:
    if not pairs.n:
        return math.nan
    above, below = (
        [compare(values, float(total / pairs.n)) for values, total in ((y, pairs.sums.real), (p, pairs.sums.predicted))]
        for compare in (np.greater, np.less)
    )
    opposite = np.count_nonzero(above[0] & below[1]) + np.count_nonzero(below[0] & above[1])
    return 0.5 - int(opposite) / pairs.n


def _costes_thresholds(
    y: NDArray[Any], p: NDArray[Any], bins: ValueBins, line: Regression, *, stop_at_rise: bool
) -> tuple[tuple[float, float], str]:
    """Thresholds of both images, and the reason if they do not exist or are doubtful."""
    none = (math.nan, math.nan)
    if math.isnan(line.pearson_r):
        return none, line.reason
    if not line.pearson_r > 0:
        return none, "the images are not positively correlated, so there are no Costes thresholds"
    walk = _walk(y, p, line)
    removed = np.maximum(*(_step_of_removal(part, bins, steps) for part, steps in zip((y, p), walk, strict=True)))
    r = _r_of_the_rest(y, p, removed, len(walk[0]))
    ends = np.flatnonzero((r < _NO_CORRELATION) | (stop_at_rise & (r > np.concatenate([[1.0], r[:-1]]))))
    if not len(ends):
        return none, "the pixels stay correlated down to the darkest, so there are no Costes thresholds"
    first, second = (float(steps[ends[0]]) for steps in walk)
    if first > float(y.mean()) or second > float(p.mean()):
        return (first, second), "a Costes threshold is above the mean of its image, so few pixels reach it"
    if first < float(y.min()) or second < float(p.min()):
        return (first, second), "a Costes threshold is below the darkest pixel, so all pixels reach it"
    return (first, second), ""


def _walk(y: NDArray[Any], p: NDArray[Any], line: Regression) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Falling thresholds of both images at each step; the image along which the line is flatter has even steps."""
    slope, intercept = line.orthogonal_slope, line.orthogonal_intercept
    if slope < 1:
        first = _even_steps(y)
        second = first * slope + intercept
    else:
        second = _even_steps(p)
        first = (second - intercept) / slope
    return _grey_levels(first, y.dtype), _grey_levels(second, p.dtype)


def _even_steps(pixels: NDArray[Any]) -> NDArray[np.float64]:
    low, high = float(pixels.min()), float(pixels.max())
    if pixels.dtype.kind == "f" or high - low > _FLOAT_STEPS:
        return np.linspace(high, low, _FLOAT_STEPS + 1)[:-1]
    return np.arange(high, min(high, 1.0) - 0.5, -1.0)


def _grey_levels(thresholds: NDArray[np.float64], dtype: np.dtype) -> NDArray[np.float64]:
    if dtype.kind == "f":
        return thresholds
    ends = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return np.clip(np.floor(thresholds + 0.5), *ends)


def _step_of_removal(pixels: NDArray[Any], bins: ValueBins, thresholds: NDArray[np.float64]) -> NDArray[np.intp]:
    """First step at which each pixel is no longer below the threshold; the number of steps if there is none."""
    if bins.binned:
        return np.searchsorted(-thresholds, -pixels.astype(np.float64))
    return np.searchsorted(-thresholds, -bins.levels)[bins.index(pixels)]


def _r_of_the_rest(y: NDArray[Any], p: NDArray[Any], removed: NDArray[np.intp], steps: int) -> NDArray[np.float64]:
    """Pearson r of the pixels that are below a threshold, at each step; NaN if one image is constant there."""
    # deviations from a whole number near the mean: rounding errors are small, and sums of integers stay exact
    a, b = (_in_unit(values.astype(np.float64) - np.rint(values.mean(dtype=np.float64))) for values in (y, p))
    n, sum_a, sum_b, aa, bb, ab = (
        np.cumsum(np.bincount(removed, weights, steps + 1)[::-1])[::-1][1:]
        for weights in (None, a, b, a * a, b * b, a * b)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        spread_a, spread_b = aa - sum_a**2 / n, bb - sum_b**2 / n
        r = (ab - sum_a * sum_b / n) / np.sqrt(spread_a * spread_b)
    # NaN also where only rounding errors are left of the variance of a constant image
    return np.where((spread_a > _ROUNDING * aa) & (spread_b > _ROUNDING * bb), r, math.nan)


def _in_unit(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values divided by a power of two, which is exact, so that no square overflows or underflows."""
    return np.asarray(np.ldexp(values, -math.frexp(float(np.abs(values).max()))[1]))
