"""Intersection over union (IoU) of bright areas at every threshold, from the joint histogram.

A pixel at the threshold or above is foreground; both images have the same threshold.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_hrpn.analysis.counts.joint_histogram import PairCounts

# with 256 grey levels ties are frequent: only those that clearly move a point along the curve are marked
_LARGEST_TIE = 0.05
_LARGEST_GROWTH = 0.5


@dataclass(frozen=True)
class IouPoint:
    """Overlap at one threshold; A is the area where the real image reaches it, B that of the predicted image.

    Attributes
    ----------
    percentile : float
        Percentile of the real image, 0 to 100, at the threshold; NaN if the threshold was stated as a grey level.
    threshold : float
        Grey level.
    iou : float
        Pixels in both A and B over pixels in A or B; NaN if there are none. This is "MIoU" in equation 8 of the paper.
    mean_iou : float
        Mean of `iou` and of the IoU of the background; NaN if either does not exist.
    real_fraction, predicted_fraction : float
        Share of the pixels in A and in B.
    chance : float
        Expected `iou` of two independent masks of the size of A and B, f g / (f + g - f g) with f and g the two
        fractions; 0 if both are empty.
    mean_chance : float
        Mean of `chance` and of that of the background, whose fractions are 1 - f and 1 - g; NaN like `mean_iou`.
    tied : bool
        Whether pixels of equal grey level make A clearly larger than the percentile requires: if A is the whole image,
        or larger by a twentieth of all pixels or by half its size. In an image with many zeros, A is the whole image
        at all low percentiles, and `iou` is trivially 1 there.
    n : int
        Number of pixels.
    """

    percentile: float
    threshold: float
    iou: float
    mean_iou: float
    real_fraction: float
    predicted_fraction: float
    chance: float
    mean_chance: float
    tied: bool
    n: int


def iou_curve(pairs: PairCounts, percentiles: Sequence[float] = tuple(range(101))) -> tuple[IouPoint, ...]:
    """Overlap at percentiles of the real image.

    Parameters
    ----------
    pairs : PairCounts
        Counts of the pixels.
    percentiles : sequence of float
        0 to 100, interpolated as `numpy.percentile` does.

    Returns
    -------
    tuple of IouPoint
        Points in the order of `percentiles`.

    Raises
    ------
    AgreementError
        If a percentage is not 0 to 100.
    """
    thresholds = pairs.real.percentile(list(percentiles), interpolated=True)
    return tuple(
        _point(pairs, float(threshold), float(percentile))
        for percentile, threshold in zip(percentiles, thresholds, strict=True)
    )


def iou_at(pairs: PairCounts, threshold: float) -> IouPoint:
    """Overlap at any grey level.

    Parameters
    ----------
    pairs : PairCounts
        Counts of the pixels.
    threshold : float
        Grey level; if pixels were binned, it is accurate to a bin.

    Returns
    -------
    IouPoint
        Its percentile is NaN, and it is never `tied`.
    """
    return _point(pairs, float(threshold), math.nan)


def _point(pairs: PairCounts, threshold: float, percentile: float) -> IouPoint:
    n = pairs.n
    if not n:
        nan = math.nan
        return IouPoint(percentile, threshold, nan, nan, nan, nan, nan, nan, tied=False, n=0)
    real, predicted, both = (counts.at_least(threshold) for counts in (pairs.real, pairs.predicted, pairs.smaller))
    either = real + predicted - both
    iou = both / either if either else math.nan
    background = (n - either) / (n - both) if n > both else math.nan
    chance = _chance(real / n, predicted / n)
    return IouPoint(
        percentile=percentile,
        threshold=threshold,
        iou=iou,
        mean_iou=(iou + background) / 2,
        real_fraction=real / n,
        predicted_fraction=predicted / n,
        chance=chance,
        mean_chance=(chance + _chance(1 - real / n, 1 - predicted / n)) / 2 if n > both else math.nan,
        tied=not math.isnan(percentile) and _is_tied(real, n, percentile),
        n=n,
    )


def _chance(first: float, second: float) -> float:
    both = first * second
    return both / (first + second - both) if both else 0.0


def _is_tied(real: int, n: int, percentile: float) -> bool:
    """Whether A is clearly larger than it would be if no two pixels had the same grey level."""
    expected = n - math.ceil((n - 1) * (percentile / 100))
    added = real - expected
    return added > 0 and (real == n or added > min(_LARGEST_TIE * n, _LARGEST_GROWTH * expected))
