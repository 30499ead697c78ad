"""Coarser levels from finer ones: the mean of 2x2 pixels, exact for integers, lazy and of bounded memory."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np

from napari_hrpn.slides.guarded_array import ArrayLike, from_guarded
from napari_hrpn.slides.known_pixels import known_pixels

_BLOCK = 512
_ROWS = 256


def halve(block: np.ndarray) -> np.ndarray:
    """Mean of each 2x2 pixels; at an odd edge, and beside pixels that are no grey levels, of the pixels there are.

    Parameters
    ----------
    block : numpy.ndarray
        Shape (..., y, x), integers or floats; it starts at an even row and column of its level.

    Returns
    -------
    numpy.ndarray
        Shape (..., ceil(y / 2), ceil(x / 2)), same type; integers are rounded half up.
    """
    height, width = block.shape[-2:]
    halved = np.empty((*block.shape[:-2], -(-height // 2), -(-width // 2)), block.dtype)
    # few rows at once: their sums stay in the processor's cache
    for top in range(0, height, _ROWS):
        halved[..., top // 2 : (top + _ROWS) // 2, :] = _halved(block[..., top : top + _ROWS, :])
    return halved


def _halved(rows: np.ndarray) -> np.ndarray:
    wide = _wider(rows.dtype)
    sums = _pair_sums(_pair_sums(rows, -2, wide), -1, wide)
    if np.issubdtype(rows.dtype, np.integer):
        return (sums + 2) // 4
    means = sums / 4
    # one that is none makes the mean of the four none
    return means if known_pixels(means) is None else _mean_of_known(rows, wide)


def _mean_of_known(rows: np.ndarray, wide: np.dtype) -> np.ndarray:
    known = known_pixels(rows)
    if known is None:
        known = np.ones(rows.shape, bool)
    counts = _pair_sums(_pair_sums(known, -2, wide), -1, wide)
    sums = _pair_sums(_pair_sums(np.where(known, rows, 0), -2, wide), -1, wide)
    means: np.ndarray = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    return means


def _pair_sums(values: np.ndarray, axis: int, wide: np.dtype) -> np.ndarray:
    if values.shape[axis] % 2:
        # the last pixel counted twice weighs as much as a pair, so the mean is that of the pixels there are
        values = np.concatenate([values, np.take(values, [-1], axis)], axis)
    even: tuple[Any, ...] = (..., slice(0, None, 2)) + (slice(None),) * (-axis - 1)
    odd: tuple[Any, ...] = (..., slice(1, None, 2)) + (slice(None),) * (-axis - 1)
    summed: np.ndarray = np.add(values[even], values[odd], dtype=wide)
    return summed


def _wider(dtype: np.dtype) -> np.dtype:
    """A type that holds the sum of four pixels and the rounding."""
    if np.issubdtype(dtype, np.floating):
        return np.dtype(np.float64)
    kind = "i" if np.issubdtype(dtype, np.signedinteger) else "u"
    return np.dtype(f"{kind}{min(8, 2 * dtype.itemsize)}")


class _HalvedPixels:
    """An array-like that is half as fine as another one and reads it block by block."""

    ndim = 3

    def __init__(self, finer: ArrayLike) -> None:
        self._finer = finer
        channels, height, width = finer.shape
        self.shape = (channels, -(-height // 2), -(-width // 2))
        self.dtype = finer.dtype

    def __getitem__(self, key: tuple[int | slice, ...]) -> np.ndarray:
        if any(not isinstance(part, slice) for part in key):
            whole = tuple(part if isinstance(part, slice) else slice(part, part + 1) for part in key)
            return self[whole][tuple(slice(None) if isinstance(part, slice) else 0 for part in key)]
        ranges = [range(*part.indices(n)) for part, n in zip(key, self.shape, strict=True)]  # type: ignore[union-attr]
        channels, rows, columns = (slice(part.start, max(part.stop, part.start)) for part in ranges)
        block = np.empty([part.stop - part.start for part in (channels, rows, columns)], self.dtype)
        for top in range(rows.start, rows.stop, _BLOCK):
            for left in range(columns.start, columns.stop, _BLOCK):
                bottom, right = min(top + _BLOCK, rows.stop), min(left + _BLOCK, columns.stop)
                finer = self._finer[channels, 2 * top : 2 * bottom, 2 * left : 2 * right]
                block[:, top - rows.start : bottom - rows.start, left - columns.start : right - columns.start] = halve(
                    np.asarray(finer)
                )
        return block[tuple(slice(None, None, part.step) for part in ranges)]


class _ComputedPixels:
    """A dask array sliced into computed blocks, in the thread that asks."""

    def __init__(self, array: da.Array) -> None:
        self._array = array
        self.shape = array.shape
        self.dtype = array.dtype

    def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray:
        block: np.ndarray = self._array[key].compute(scheduler="synchronous")
        return block


def coarser_levels(finest: da.Array, smallest: int = 512) -> tuple[da.Array, ...]:
    """The levels above a level, each half as fine as the one before, until one fits into `smallest` pixels.

    Parameters
    ----------
    finest : dask.array.Array
        Shape (c, y, x).
    smallest : int
        Longer side of the coarsest level at most, in pixels.

    Returns
    -------
    tuple of dask.array.Array
        Finest first, without `finest`; empty where that is small enough. Reading a block of any level takes
        the memory of a few blocks, and reads all the pixels of `finest` that lie under it.
    """
    levels: list[da.Array] = []
    pixels: ArrayLike = _ComputedPixels(finest)
    while max(pixels.shape[1:]) > smallest:
        pixels = _HalvedPixels(pixels)
        levels.append(from_guarded(pixels, (finest.chunksize[0], _BLOCK, _BLOCK), "coarser"))
    return tuple(levels)
