"""Mean and standard deviation over regions, always with the number of regions."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class MeanAndSd:
    """Mean and standard deviation of a number over regions.

    Attributes
    ----------
    mean : float
        NaN where no region has the number.
    sd : float
        With n - 1; NaN for fewer than two.
    n : int
        Regions that have the number.
    """

    mean: float
    sd: float
    n: int


def mean_and_sd(values: Iterable[float]) -> MeanAndSd:
    """Mean and standard deviation over regions.

    Parameters
    ----------
    values : iterable of float
        One for each region; those that are not finite are left out.

    Returns
    -------
    MeanAndSd
        With the number of regions that count.

    Examples
    --------
    >>> mean_and_sd([0.25, 0.75, 0.5, float("nan")])
    MeanAndSd(mean=0.5, sd=0.25, n=3)
    """
    finite = [value for value in values if math.isfinite(value)]
    return MeanAndSd(
        statistics.fmean(finite) if finite else math.nan,
        statistics.stdev(finite) if len(finite) > 1 else math.nan,
        len(finite),
    )
