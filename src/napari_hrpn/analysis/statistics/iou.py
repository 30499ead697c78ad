"""Intersection over union of bright areas at every threshold, from the joint histogram.

A pixel is foreground at a threshold or above; both images are cut at the same grey level.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_hrpn.analysis.counts.joint_histogram import PairCounts

# of 256 grey levels each holds many pixels: only ties that clearly move a point along the curve are worth a mark
_LARGEST_TIE = 0.05
_LARGEST_GROWTH = 0.5


@dataclass(frozen=True)
class IouPoint:
    """Overlap at one threshold; A is where the real image reaches it, B where the predicted one does.

    Attributes
    ----------
    percentile : float
        Of the real image, 0 to 100, that the threshold is; NaN where the threshold was given as a grey level.
    threshold : float
        Grey level.
    iou : float
        Pixels in both A and B over those in any; NaN where there are none. The "MIoU" of the paper's equation 8.
    mean_iou : float
        Mean of `iou` and of that of the background; NaN where either does not exist.
    real_fraction, predicted_fraction : float
        Share of the pixels in A and in B.
    chance : float
        `iou` to be expected of two masks as large as A and B that have nothing to do with each other,
        f g / (f + g - f g) with f and g the two fractions; 0 where neither holds a pixel.
    mean_chance : float
        The mean of that and of the same of the background, whose fractions are 1 - f and 1 - g; NaN as `mean_iou`.
    tied : bool
        Whether pixels of one grey level make A clearly larger than the percentile says: everything, or more by a
        twentieth of all pixels or by half its size. In an image with many zeros all low percentiles mean
        "everything", and `iou` is trivially 1 there.
    n : int
        Pixels.
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
        Of all pixels.
    percentiles : sequence of float
        0 to 100, interpolated as `numpy.percentile` does.

    Returns
    -------
    tuple of IouPoint
        In the order of `percentiles`.

    Raises
    ------
    AgreementError
        If a percentile is not 0 to 100.
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
        Of all pixels.
    threshold : float
        Grey level; of pixels that were binned, one that is as good as that of the bin.

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
    """Compare A with its size if no two pixels had the same grey level."""
    expected = n - math.ceil((n - 1) * (percentile / 100))
    added = real - expected
    return added > 0 and (real == n or added > min(_LARGEST_TIE * n, _LARGEST_GROWTH * expected))
