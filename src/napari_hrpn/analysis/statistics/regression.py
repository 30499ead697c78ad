"""Regression lines through real and predicted pixels: gain, offset and scatter of a prediction.

There is no p-value, because pixels are not independent of each other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from napari_hrpn.analysis.counts.moments import as_float, exact_root
from napari_hrpn.analysis.statistics.agreement import correlation, deviations
from napari_hrpn.core.errors import AgreementError

if TYPE_CHECKING:
    from napari_hrpn.analysis.counts.moments import AgreementSums


@dataclass(frozen=True)
class Regression:
    """Lines p = intercept + slope y through real (y) and predicted (p) pixels, and the scatter around them."""

    # ordinary least squares, which assumes that all scatter is in the prediction
    slope: float
    intercept: float
    residual_sd: float  # standard deviation of the prediction about that line, sqrt(SSE / (n - 2)), in grey levels
    pearson_r: float  # Pearson correlation over all pixels, -1 to 1
    # square of r: the share of the prediction's variance that the line explains. The R2 of `Agreement` differs: it
    # measures how close the prediction itself is to the real image
    r2: float
    # Pearson correlation over the pixels that are not zero in both, as the Fiji plugin "Colocalization Threshold"
    # gives it
    r_total: float
    # line with the smallest squared distances at right angles (Deming regression with equal errors), which assumes
    # equal scatter in both images
    orthogonal_slope: float
    orthogonal_intercept: float
    n: int
    reason: str = ""  # why a number is NaN; empty where none is


def regression(sums: AgreementSums, both_zero: int = 0) -> Regression:
    """Fit the lines.

    Parameters
    ----------
    sums : AgreementSums
        Sums over all pixels, such as the `sums` of a `PairCounts`.
    both_zero : int
        Number of pixels that are zero in both images, such as its `both_zero`.

    Returns
    -------
    Regression
        Lines; NaN, with a reason, for numbers that do not exist.

    Raises
    ------
    AgreementError
        If `both_zero` is larger than the number of pixels.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_hrpn.analysis.counts.moments import AgreementSums, update
    >>> y = np.arange(10)
    >>> line = regression(update(AgreementSums(), y, 2 * y + 3))
    >>> line.slope, line.intercept, line.residual_sd
    (2.0, 3.0, 0.0)
    """
    if not 0 <= both_zero <= sums.n:
        msg = f"{both_zero} pixels are zero in both images of {sums.n}; expected no more than all"
        raise AgreementError(msg)
    if sums.n == 0:
        nan = math.nan
        return Regression(nan, nan, nan, nan, nan, nan, nan, nan, 0, "there is no pixel")
    real, predicted, both = deviations(sums)
    slope = both / real if real else None
    orthogonal = _orthogonal_slope(real, predicted, both)
    left = predicted - both * both / real if real else Fraction(0)
    pearson_r = correlation(real, predicted, both)
    return Regression(
        slope=math.nan if slope is None else as_float(slope),
        intercept=math.nan if slope is None else as_float(Fraction(sums.predicted - slope * sums.real) / sums.n),
        residual_sd=exact_root(left / (sums.n - 2)) if real and sums.n > 2 else math.nan,
        pearson_r=pearson_r,
        r2=pearson_r**2,
        r_total=_r_total(sums, both_zero),
        orthogonal_slope=orthogonal,
        orthogonal_intercept=_through_means(sums, orthogonal),
        n=sums.n,
        reason=_reason(sums, (real, predicted, both), both_zero),
    )


def _orthogonal_slope(real: Fraction, predicted: Fraction, both: Fraction) -> float:
    """Slope of the first principal axis, by the formula without a difference of nearly equal numbers."""
    if both == 0:
        return 0.0 if real > predicted else math.nan
    larger = max(real, predicted)
    difference, twice = float((predicted - real) / larger), float(2 * both / larger)
    root = math.hypot(difference, twice)
    return (difference + root) / (twice or math.nan) if difference > 0 else twice / (root - difference)


def _through_means(sums: AgreementSums, slope: float) -> float:
    if not math.isfinite(slope):
        return math.nan
    return as_float(Fraction(sums.predicted - Fraction(slope) * sums.real) / sums.n)


def _r_total(sums: AgreementSums, both_zero: int) -> float:
    """Pearson r without pixels that are zero in both; they contribute nothing to sums, so only `n` changes."""
    return correlation(*deviations(replace(sums, n=sums.n - both_zero))) if sums.n > both_zero else math.nan


def _reason(sums: AgreementSums, spread: tuple[Fraction, Fraction, Fraction], both_zero: int) -> str:
    real, predicted, both = spread
    reasons = []
    if not real:
        reasons.append("the real image is constant, so no line and no r exist")
    elif not predicted:
        reasons.append("the predicted image is constant, so no r exists")
    elif not both and predicted >= real:
        reasons.append("the images are not correlated, so the orthogonal line has no slope")
    if real and sums.n < 3:
        reasons.append("two pixels leave no residual")
    if real and predicted and math.isnan(_r_total(sums, both_zero)):
        reasons.append("without the pixels that are zero in both, an image is constant, so r_total does not exist")
    return "; ".join(reasons)
