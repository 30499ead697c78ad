"""Mean and standard deviation of a number over regions or slides, always with how many have it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class MeanAndSd:
    """A number over regions or slides.

    Attributes
    ----------
    mean : float
        NaN where it exists for none of them.
    sd : float
        Standard deviation with n - 1; NaN for fewer than two.
    n : int
        For how many it exists.
    """

    mean: float
    sd: float
    n: int


def mean_and_sd(values: Iterable[float]) -> MeanAndSd:
    """Mean and standard deviation of what exists.

    Parameters
    ----------
    values : iterable of float
        One for each region or slide; NaN where the number does not exist; infinity counts.

    Returns
    -------
    MeanAndSd
        Infinite, with an SD of NaN, where a value is.

    Examples
    --------
    >>> mean_and_sd([0.25, 0.75, 0.5, float("nan")])
    MeanAndSd(mean=0.5, sd=0.25, n=3)
    """
    there = [value for value in values if not math.isnan(value)]
    if not there:
        return MeanAndSd(math.nan, math.nan, 0)
    with np.errstate(over="ignore", invalid="ignore"):
        mean = float(np.mean(there))
    sd = _sd(there) if len(there) > 1 and math.isfinite(mean) else math.nan
    return MeanAndSd(mean, sd, len(there))


def _sd(values: list[float]) -> float:
    """In a unit of their own, so that no square overflows or vanishes."""
    exponent = math.frexp(max(map(abs, values)))[1]
    return float(np.ldexp(np.std(np.ldexp(values, -exponent), ddof=1), exponent))
