"""Distributions of grey levels: histogram, quantiles, and distances between them.

All of it follows from counts of grey levels, so a whole slide costs no second look. Where a pixel lies counts for
nothing here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.analysis.counts.intensity_histogram import MOST_WHOLE, shared_values
from napari_hrpn.analysis.statistics.anderson_darling import AndersonDarling, anderson_darling
from napari_hrpn.core.errors import AgreementError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_hrpn.analysis.counts.intensity_histogram import ValueCounts

_PERCENTILES = (*map(float, range(100)), 99.5, 99.9, 99.99, 100.0)
_LINE_PERCENTILES = np.arange(1.0, 100.0)


@dataclass(frozen=True, eq=False)
class SharedHistogram:
    """Histograms of images over the same bins.

    Attributes
    ----------
    edges : numpy.ndarray of float, shape (bins + 1,)
        Of the bins, which are equally wide; a grey level on an edge belongs above it, the last one below.
    counts : numpy.ndarray of int64, shape (images, bins)
        Pixels.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]

    @property
    def shares(self) -> NDArray[np.float64]:
        """Share of each image's pixels in each bin; NaN for an image without pixels."""
        n = self.counts.sum(axis=1, keepdims=True)
        return np.asarray(self.counts / np.where(n, n, math.nan))


@dataclass(frozen=True)
class QuantilePairs:
    """Q-Q points of a predicted against a real image.

    Attributes
    ----------
    percentiles : tuple of float
        0 to 100 in whole numbers, and 99.5, 99.9 and 99.99.
    real, predicted : tuple of float
        Grey levels below or at which so many percent of the pixels are; always of a pixel.
    slope, intercept : float
        Of the Q-Q line, predicted = intercept + slope x real: least squares over the percentiles 1 to 99, so that a
        few hot pixels do not turn it. 1 and 0 for equal distributions; a slope below 1 tells of a prediction whose
        dark and bright pixels differ too little. NaN where the real percentiles are all the same.
    n_real, n_predicted : int
        Pixels.
    reason : str
        Why a number is NaN; empty where none is.
    """

    percentiles: tuple[float, ...]
    real: tuple[float, ...]
    predicted: tuple[float, ...]
    slope: float
    intercept: float
    n_real: int
    n_predicted: int
    reason: str = ""


@dataclass(frozen=True)
class DistributionComparison:
    """How far the distributions of a real and a predicted image are apart: sizes first, then a test.

    Two images can be equally distributed and agree nowhere.

    Attributes
    ----------
    wasserstein : float
        See `wasserstein`; in grey levels.
    qq_slope, qq_intercept : float
        See `QuantilePairs`.
    kolmogorov_smirnov : float
        See `kolmogorov_smirnov`; 0 to 1.
    anderson_darling : AndersonDarling
        With a cap flag; its p-value takes pixels for independent, which they are not.
    n_real, n_predicted : int
        Pixels.
    reason : str
        Why a number is NaN; empty where none is.
    """

    wasserstein: float
    qq_slope: float
    qq_intercept: float
    kolmogorov_smirnov: float
    anderson_darling: AndersonDarling
    n_real: int
    n_predicted: int
    reason: str = ""


def compare_distributions(real: ValueCounts, predicted: ValueCounts) -> DistributionComparison:
    """Compare the distributions of the grey levels of two images.

    Parameters
    ----------
    real, predicted : ValueCounts
        Of the same region.

    Returns
    -------
    DistributionComparison
        Sizes of the difference, and a test.
    """
    pairs, test = quantile_pairs(real, predicted), anderson_darling([real, predicted])
    return DistributionComparison(
        wasserstein=wasserstein(real, predicted),
        qq_slope=pairs.slope,
        qq_intercept=pairs.intercept,
        kolmogorov_smirnov=kolmogorov_smirnov(real, predicted),
        anderson_darling=test,
        n_real=real.n,
        n_predicted=predicted.n,
        reason="; ".join(dict.fromkeys(reason for reason in (pairs.reason, test.reason) if reason)),
    )


def histogram(images: Sequence[ValueCounts], bins: int = 256, *, whole: bool = False) -> SharedHistogram:
    """Histograms of images over the same bins, from the darkest to the brightest pixel of all.

    Parameters
    ----------
    images : sequence of ValueCounts
        One or more.
    bins : int
        At most so many; where all grey levels are whole numbers, bins are a whole number of grey levels wide and
        begin half a grey level below the darkest, so that each holds equally many.
    whole : bool
        Whether bins are so in any case: for an image of whole numbers beside one of floating point.

    Returns
    -------
    SharedHistogram
        Exact for exact counts.

    Raises
    ------
    AgreementError
        If there is no image, no pixel, or no bin.
    """
    table = shared_values(images) if images else None
    if table is None or not len(table.values) or bins < 1:
        msg = f"there are {len(images)} images without a pixel, or {bins} bins; expected pixels and one bin or more"
        raise AgreementError(msg)
    edges = _edges(table.values, bins, whole=whole)
    index = np.clip(np.searchsorted(edges, table.values, side="right") - 1, 0, len(edges) - 2)
    counts = [np.bincount(index, weights=row, minlength=len(edges) - 1) for row in table.counts]
    return SharedHistogram(edges, np.array(counts).astype(np.int64))


def quantile_pairs(real: ValueCounts, predicted: ValueCounts) -> QuantilePairs:
    """Q-Q points and line of a predicted against a real image.

    Parameters
    ----------
    real, predicted : ValueCounts
        Of the same region.

    Returns
    -------
    QuantilePairs
        NaN, with a reason, for what does not exist.
    """
    x, y = (image.percentile(_LINE_PERCENTILES) for image in (real, predicted))
    # in a unit of its own, so that no square overflows or vanishes
    unit = float(np.abs(x - x.mean()).max()) if x[0] != x[-1] else math.nan
    deviation = (x - x.mean()) / unit
    slope = float(deviation @ (y - y.mean())) / float(deviation @ deviation) / unit
    reason = (
        "" if x[0] != x[-1] else "the percentiles 1 to 99 of the real image are all the same, so there is no Q-Q line"
    )
    if not (real.n and predicted.n):
        slope, reason = math.nan, "an image has no pixel"
    return QuantilePairs(
        percentiles=_PERCENTILES,
        real=tuple(map(float, real.percentile(_PERCENTILES))),
        predicted=tuple(map(float, predicted.percentile(_PERCENTILES))),
        slope=slope,
        intercept=float(y.mean() - slope * x.mean()),
        n_real=real.n,
        n_predicted=predicted.n,
        reason=reason,
    )


def wasserstein(first: ValueCounts, second: ValueCounts) -> float:
    """Wasserstein-1 distance: how many grey levels a pixel has to change, on average, to make the distributions equal.

    The area between the two cumulative distributions. It is no less than the difference of the means, and equal to
    it where one image is the other plus a constant; it does not say where pixels differ.

    Parameters
    ----------
    first, second : ValueCounts
        Of two images, of any size.

    Returns
    -------
    float
        In grey levels, 0 or more; NaN where an image has no pixel.
    """
    if not (first.n and second.n):
        return math.nan
    table = shared_values([first, second])
    one, other = table.cumulative_shares
    return float(np.abs(one - other)[:-1] @ np.diff(table.values))


def kolmogorov_smirnov(first: ValueCounts, second: ValueCounts) -> float:
    """Kolmogorov-Smirnov statistic: the largest difference between the two cumulative distributions.

    There is no p-value on purpose: it would count every pixel as a new observation, while neighbouring pixels
    repeat each other. At 10^5 pixels, any two images differ "significantly".

    Parameters
    ----------
    first, second : ValueCounts
        Of two images, of any size.

    Returns
    -------
    float
        0 for equal distributions to 1 where one image is darker than the other throughout; NaN where an image has
        no pixel.
    """
    if not (first.n and second.n):
        return math.nan
    one, other = shared_values([first, second]).cumulative_shares
    return float(np.abs(one - other).max())


def _edges(values: NDArray[np.float64], bins: int, *, whole: bool) -> NDArray[np.float64]:
    low, high = float(values[0]), float(values[-1])
    if max(high, -low) < MOST_WHOLE and (whole or np.all(values == np.rint(values))):
        low, high = math.floor(low), math.ceil(high)
        width = math.ceil((high - low + 1) / bins)
        return np.asarray(low - 0.5 + width * np.arange(math.ceil((high - low + 1) / width) + 1), np.float64)
    if low == high:
        room = max(0.5, bins * float(np.spacing(abs(low))))
        low, high = low - room, high + room
    return np.asarray(np.linspace(low, high, bins + 1), np.float64)
