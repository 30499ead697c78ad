"""Mean and standard deviation of a number over regions or slides, with the number of values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class MeanAndSd:
    """Mean and standard deviation of a number over regions or slides.

    Attributes
    ----------
    mean : float
        Mean of the values; NaN if there are none.
    sd : float
        Standard deviation with n - 1; NaN for fewer than two.
    n : int
        Number of values that exist.
    """

    mean: float
    sd: float
    n: int


def mean_and_sd(values: Iterable[float]) -> MeanAndSd:
    """Mean and standard deviation of the values that exist.

    Parameters
    ----------
    values : iterable of float
        One value for each region or slide. NaN, for a number that does not exist, is left out; infinity counts.

    Returns
    -------
    MeanAndSd
        Mean, SD and number of values; if a value is infinite, so is the mean, and the SD is NaN.

    Examples
    --------
    >>> mean_and_sd([0.25, 0.75, 0.5, float("nan")])
    MeanAndSd(mean=0.5, sd=0.25, n=3)
    """
    existing = [value for value in values if not math.isnan(value)]
    if not existing:
        return MeanAndSd(math.nan, math.nan, 0)
    with np.errstate(over="ignore", invalid="ignore"):
        mean = float(np.mean(existing))
    sd = _sd(existing) if len(existing) > 1 and math.isfinite(mean) else math.nan
    return MeanAndSd(mean, sd, len(existing))


def _sd(values: list[float]) -> float:
    """Standard deviation; values are scaled by a power of two, so that no square overflows or underflows."""
    exponent = math.frexp(max(map(abs, values)))[1]
    return float(np.ldexp(np.std(np.ldexp(values, -exponent), ddof=1), exponent))
