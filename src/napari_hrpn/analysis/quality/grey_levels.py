"""Grey levels of a channel, and whether they are saturated, cut off at zero, stretched or too few."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.slides import known_pixels

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SPIKE_PX = 20
_SPIKE_TIMES = 3
_ENOUGH_PER_VALUE = 50
_FEWEST_VALUES = 4


@dataclass(frozen=True)
class GreyLevels:
    """Grey levels of a channel in the blocks that were checked."""

    n: int
    # smallest and largest value
    lowest: float
    highest: float
    # share of pixels at the largest value, if it is the largest of the pixel type or unusually frequent; else 0
    saturated: float
    zeros: float  # share of pixels that are 0
    levels: int
    typical_levels: int  # number of different values between the 1st and the 99th percentile
    # mean distance of neighbouring values where pixels are dense: 1 for values of a camera, more for values that were
    # stretched and have gaps between them; NaN for floating point
    spacing: float
    bits_used: int | None  # bits needed for all values at this spacing; None for floating point


def grey_levels(pixels: NDArray[Any]) -> GreyLevels:
    """Measure the grey levels of a channel."""
    values, counts = _counted(pixels)
    if not len(values):
        return GreyLevels(0, math.nan, math.nan, math.nan, math.nan, 0, 0, math.nan, None)
    n = int(counts.sum())
    is_integer = pixels.dtype.kind in "iu"
    spacing = _spacing(values, counts) if is_integer else math.nan
    low, high = _range(values, counts, 0.01, 0.99)
    return GreyLevels(
        n=n,
        lowest=float(values[0]),
        highest=float(values[-1]),
        saturated=_saturated(values, counts, pixels.dtype) / n,
        zeros=int(counts[values == 0].sum()) / n,
        levels=len(values),
        typical_levels=high - low + 1,
        spacing=spacing,
        bits_used=_bits((float(values[-1]) - min(0.0, float(values[0]))) / spacing) if is_integer else None,
    )


def _counted(pixels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    if pixels.dtype.kind == "u" and pixels.dtype.itemsize <= 2:
        counts = np.bincount(pixels.ravel())
        values = np.flatnonzero(counts)
        return values, counts[values]
    known = known_pixels(pixels)
    values, counts = np.unique(pixels if known is None else pixels[known], return_counts=True)
    return values, counts


def _range(values: NDArray[Any], counts: NDArray[np.int64], low: float, high: float) -> tuple[int, int]:
    """Indices of the values at two quantiles."""
    cumulative = np.cumsum(counts)
    first, last = np.searchsorted(cumulative, [low * cumulative[-1], high * cumulative[-1]])
    return int(first), min(int(last), len(values) - 1)


def _saturated(values: NDArray[Any], counts: NDArray[np.int64], dtype: np.dtype) -> int:
    top = int(counts[-1])
    if len(values) < 2:
        return 0
    if dtype.kind in "iu" and values[-1] == np.iinfo(dtype).max:
        return top
    below = int(counts[-6:-1].max())
    # a camera with fewer bits, or a later correction, clips below the largest value of the pixel type
    return top if top >= _SPIKE_PX and top > _SPIKE_TIMES * below else 0


def _spacing(values: NDArray[Any], counts: NDArray[np.int64]) -> float:
    first, last = _range(values, counts, 0.05, 0.95)
    occupied = last - first + 1
    # with so many pixels per value, a value that does not occur is missing for a reason and not by chance
    if occupied >= _FEWEST_VALUES and counts[first : last + 1].sum() >= _ENOUGH_PER_VALUE * occupied:
        return (int(values[last]) - int(values[first])) / (occupied - 1)
    return float(max(1, np.gcd.reduce(np.diff(values.astype(np.int64))))) if len(values) > 1 else 1.0


def _bits(largest: float) -> int:
    # values that were stretched by a factor that is no whole number were rounded
    return max(1, math.ceil(math.log2(round(largest) + 1)))
