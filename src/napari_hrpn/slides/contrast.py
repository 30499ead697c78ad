"""Contrast from percentiles of a coarse stored level, of which only a few blocks are ever read."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.slides.chunk_cache import ChunkCache

if TYPE_CHECKING:
    import dask.array as da

    from napari_hrpn.slides.slide import Slide

LOW_PERCENT, HIGH_PERCENT = 0.1, 99.8
_MOST_PIXELS = 4 * 2**20
_ENOUGH_VALUES = 2**20
# on smaller levels nuclei and vessels have melted into their surroundings
_SMALLEST_PX = 512
_LARGEST_BLOCK_BYTES = 64 * 2**20


def contrast_limits(slide: Slide) -> tuple[tuple[float, float], ...]:
    """Darkest and brightest value to show, for each channel.

    Parameters
    ----------
    slide : Slide
        The slide; at most about 4 million pixels of a channel are read.

    Returns
    -------
    tuple of tuple of float
        Lower and upper limit per channel, the first below the second: the 0.1 and 99.8 percentiles of the
        coarsest stored level of at least 512 px, or of blocks spread evenly over it; the range of the type where
        even one block takes more than 64 MB, and for brightfield.

    Raises
    ------
    SlideError
        If the pixels cannot be read.
    """
    large = [level for level in slide.levels[: slide.stored_levels] if max(level.shape[1:]) >= _SMALLEST_PX]
    level = large[-1] if large else slide.levels[0]
    block_bytes = math.prod(level.chunksize) * level.dtype.itemsize
    if slide.is_brightfield or block_bytes > _LARGEST_BLOCK_BYTES:
        return (value_range(level.dtype),) * len(slide.channel_names)
    sample = _sample(level)
    return tuple(_limits(channel, level.dtype) for channel in sample)


def _sample(level: da.Array) -> np.ndarray:
    """Pixels of shape (c, n): the whole level if it is small, else blocks spread evenly over it."""
    channels, height, width = level.shape
    if height * width <= _MOST_PIXELS:
        whole: np.ndarray = level.compute(scheduler="synchronous")
        return whole.reshape(channels, -1)
    rows, columns = level.chunks[1], level.chunks[2]
    blocks = len(rows) * len(columns)
    count = min(blocks, max(1, _MOST_PIXELS // (level.chunksize[1] * level.chunksize[2])))
    # a grid, so that a slide with tissue on one side only is met as well as one with tissue in the middle
    down = max(1, min(len(rows), round(math.sqrt(count * len(rows) / len(columns)))))
    across = max(1, min(len(columns), count // down))
    # which makes the graph of a level once, not for every block
    cache = ChunkCache(_LARGEST_BLOCK_BYTES)
    parts = []
    for row in _evenly(len(rows), down):
        for column in _evenly(len(columns), across):
            top, left = sum(rows[:row]), sum(columns[:column])
            place = slice(top, top + rows[row]), slice(left, left + columns[column])
            parts.append(cache.read(level, slice(0, channels), *place).reshape(channels, -1))
    return np.concatenate(parts, axis=1)


def _evenly(count: int, wanted: int) -> list[int]:
    """Middle blocks of `wanted` equal parts of `count`."""
    return sorted({int((part + 0.5) * count / wanted) for part in range(wanted)})


def _limits(values: np.ndarray, dtype: np.dtype) -> tuple[float, float]:
    # a million values place the 99.8 percentile as well as four
    values = values[:: max(1, values.size // _ENOUGH_VALUES)]
    values = values[np.isfinite(values)]
    if not values.size:
        return value_range(dtype)
    low, high = (float(limit) for limit in np.percentile(values, [LOW_PERCENT, HIGH_PERCENT]))
    if high <= low:
        # nearly all is background: show what is not
        low, high = float(values.min()), float(values.max())
    if high <= low:
        high = low + (1.0 if np.issubdtype(dtype, np.integer) else max(1e-6, abs(low) * 1e-3))
    return low, high


def value_range(dtype: np.dtype) -> tuple[float, float]:
    """Lowest and highest value of a type of pixel; 0 and 1 for floating point."""
    if np.issubdtype(dtype, np.integer):
        info = np.iinfo(dtype)
        return float(info.min), float(info.max)
    return 0.0, 1.0
