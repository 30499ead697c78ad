"""Distributions of grey levels: histograms, Q-Q points, and distances between distributions.

All numbers are computed from counts of grey levels, so a slide is not read again. The positions of pixels do not
matter.
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
        Edges of the equally wide bins. A grey level on an edge belongs to the bin above it, on the last edge below it.
    counts : numpy.ndarray of int64, shape (images, bins)
        Number of pixels of each image in each bin.
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
        Grey levels at these percentiles; always values of pixels.
    slope, intercept : float
        Q-Q line, predicted = intercept + slope x real, fitted by least squares to the percentiles 1 to 99, so that a
        few hot pixels do not change it. They are 1 and 0 for equal distributions; a slope below 1 means that the
        prediction has too little contrast. NaN if the real percentiles are all the same.
    n_real, n_predicted : int
        Number of pixels.
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
    """Differences between the distributions of a real and a predicted image: sizes first, then a test.

    Two images can have equal distributions and yet agree nowhere.

    Attributes
    ----------
    wasserstein : float
        See `wasserstein`; in grey levels.
    qq_slope, qq_intercept : float
        See `QuantilePairs`.
    kolmogorov_smirnov : float
        See `kolmogorov_smirnov`; 0 to 1.
    anderson_darling : AndersonDarling
        Test with a flag for capped p-values; its p-value assumes independent pixels, which they are not.
    n_real, n_predicted : int
        Number of pixels.
    reason : str
        Why a number is NaN; empty if none is.
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
        Histograms of the same region.

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
        Largest number of bins. If all grey levels are whole numbers, bins are a whole number of grey levels wide and
        begin half a grey level below the darkest, so that each contains equally many grey levels.
    whole : bool
        Whether to use such bins in any case: for an integer image next to one of floating point.

    Returns
    -------
    SharedHistogram
        Histograms, exact if the counts are.

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
        Histograms of the same region.

    Returns
    -------
    QuantilePairs
        Points and line; NaN, with a reason, for numbers that do not exist.
    """
    x, y = (image.percentile(_LINE_PERCENTILES) for image in (real, predicted))
    # scaled to 1 at most, so that no square overflows or underflows
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
    """Wasserstein-1 distance: the mean change of grey levels per pixel that makes the distributions equal.

    It is the area between the two cumulative distributions. It is at least the difference of the means, and equals it
    if one image is the other plus a constant. It does not depend on where pixels differ.

    Parameters
    ----------
    first, second : ValueCounts
        Of two images, of any size.

    Returns
    -------
    float
        Distance in grey levels, 0 or more; NaN if an image has no pixel.
    """
    if not (first.n and second.n):
        return math.nan
    table = shared_values([first, second])
    first_shares, second_shares = table.cumulative_shares
    return float(np.abs(first_shares - second_shares)[:-1] @ np.diff(table.values))


def kolmogorov_smirnov(first: ValueCounts, second: ValueCounts) -> float:
    """Kolmogorov-Smirnov statistic: the largest difference between the two cumulative distributions.

    There is deliberately no p-value: it would count every pixel as an independent observation, while neighbouring
    pixels are correlated. With 10^5 pixels, any two images differ "significantly".

    Parameters
    ----------
    first, second : ValueCounts
        Of two images, of any size.

    Returns
    -------
    float
        Statistic from 0 for equal distributions to 1 if all pixels of one image are darker; NaN if an image has
        no pixel.
    """
    if not (first.n and second.n):
        return math.nan
    first_shares, second_shares = shared_values([first, second]).cumulative_shares
    return float(np.abs(first_shares - second_shares).max())


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
