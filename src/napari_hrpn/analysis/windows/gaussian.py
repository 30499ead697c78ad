"""Gaussian intervals of an ensemble: which pixels they cover, interval score, and CRPS, for each pixel."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import ndtr, ndtri

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_hrpn.analysis.windows import Values

LEVELS = (50, 80, 90, 95)
"""Nominal coverage of the intervals, in per cent."""
SCORED = 80
"""Interval whose width and score are reported."""
SPREAD, SCORE, CRPS = "SD", "interval score", "CRPS"
_ROWS = 256


def covered(level: int) -> str:
    """Name of the values that are 1 where the interval of a nominal coverage holds the real grey level."""
    return f"coverage of {level} %"


NAMES = (*map(covered, LEVELS), SPREAD, SCORE, CRPS)


def half_width(level: int) -> float:
    """Half the width of the interval of a nominal coverage, in standard deviations."""
    return float(ndtri(0.5 + level / 200))


def gaussian_maps(real: NDArray[Any], predicted: NDArray[Any], sd: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Values of each pixel, by name; few rows are computed at a time."""
    found: dict[str, NDArray[Any]] = {covered(level): np.empty(sd.shape, bool) for level in LEVELS}
    found |= {name: np.empty(sd.shape) for name in (SPREAD, SCORE, CRPS)}
    for top in range(0, len(sd), _ROWS):
        rows = slice(top, top + _ROWS)
        error, spread = absolute_error(real[rows], predicted[rows]), sd[rows].astype(np.float64)
        for level in LEVELS:
            found[covered(level)][rows] = error <= half_width(level) * spread
        found[SPREAD][rows] = spread
        found[SCORE][rows] = interval_score(error, spread, SCORED)
        found[CRPS][rows] = crps(error, spread)
    return found


def absolute_error(real: NDArray[Any], predicted: NDArray[Any]) -> Values:
    """Absolute difference in double precision."""
    difference: Values = np.abs(real.astype(np.float64) - predicted)
    return difference


def interval_score(error: Values, sd: Values, level: int) -> Values:
    """Width of the interval, and what is missed beyond its end, times 2 / (1 - coverage) (Gneiting, Raftery 2007)."""
    half = half_width(level) * sd
    return 2 * half + 200 / (100 - level) * np.maximum(error - half, 0)


def crps(error: Values, sd: Values) -> Values:
    """Continuous ranked probability score of a Gaussian; the absolute error where the deviation is zero."""
    ratio = np.divide(error, sd, out=np.full(error.shape, math.inf), where=sd > 0)
    density = np.exp(-0.5 * ratio**2) / math.sqrt(2 * math.pi)
    score: Values = error * (2 * ndtr(ratio) - 1) + sd * (2 * density - 1 / math.sqrt(math.pi))
    return score
