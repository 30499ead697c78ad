"""Pyramid of coarser levels: means of 2 x 2 pixels, exact for integers, lazy and of bounded memory.

The rule for floating-point slides: NaN, infinity and values beyond 1e12 are no grey levels, because no detector counts
that far and programs write such values for "no data". Statistics of a slide leave them out, a coarser pixel is the mean
of the grey levels beneath it, and a network gets the background of the channel instead. Integers are not checked.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np

from napari_hrpn.slides.lazy_pixels import PixelSource

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_hrpn.slides.slide import Slide

MOST_BYTES = 64 << 20
_BLOCK = 512
_ROWS = 256
_LARGEST = 1e12


def known_pixels(pixels: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Find the pixels that are grey levels, and not NaN, infinite or beyond 1e12.

    Parameters
    ----------
    pixels : numpy.ndarray
        Pixels of any shape and type.

    Returns
    -------
    numpy.ndarray of bool or None
        True for grey levels; None if all pixels are.
    """
    if pixels.dtype.kind != "f":
        return None
    # the comparison is also False for NaN
    known: NDArray[np.bool_] = np.abs(pixels) <= _LARGEST
    return None if known.all() else known


def with_known_pixels(pixels: NDArray[Any], fill: Sequence[float]) -> NDArray[Any]:
    """Replace pixels that are no grey levels.

    Parameters
    ----------
    pixels : numpy.ndarray
        Shape (c, y, x).
    fill : sequence of float
        Grey level that replaces them, one per channel.

    Returns
    -------
    numpy.ndarray
        Pixels with replaced values; the same array if there are none.
    """
    known = known_pixels(pixels)
    return pixels if known is None else np.where(known, pixels, np.asarray(fill, pixels.dtype)[:, None, None])


def halve(block: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 pixels; at an odd border, and next to pixels that are no grey levels, of the valid ones.

    Parameters
    ----------
    block : numpy.ndarray
        Shape (..., y, x), integers or floating point; it begins at an even row and column of its level.

    Returns
    -------
    numpy.ndarray
        Shape (..., ceil(y / 2), ceil(x / 2)), of the same type; integers are rounded half up.
    """
    height, width = block.shape[-2:]
    halved = np.empty((*block.shape[:-2], -(-height // 2), -(-width // 2)), block.dtype)
    # few rows at once, so that their sums fit into the processor's cache
    for top in range(0, height, _ROWS):
        halved[..., top // 2 : (top + _ROWS) // 2, :] = _halved(block[..., top : top + _ROWS, :])
    return halved


def _halved(rows: np.ndarray) -> np.ndarray:
    wide = _wider(rows.dtype)
    sums = _sums_of_four(rows, wide)
    if np.issubdtype(rows.dtype, np.integer):
        return (sums + 2) // 4
    means = sums / 4
    # a single pixel that is no grey level makes the mean of the four invalid
    if known_pixels(means) is None:
        return means
    known = known_pixels(rows)
    counts = _sums_of_four(np.ones(rows.shape, bool) if known is None else known, wide)
    sums = _sums_of_four(rows if known is None else np.where(known, rows, 0), wide)
    known_means: np.ndarray = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    return known_means


def _sums_of_four(values: np.ndarray, wide: np.dtype) -> np.ndarray:
    values = _even(values, -2)
    values = _even(np.add(values[..., ::2, :], values[..., 1::2, :], dtype=wide), -1)
    sums: np.ndarray = np.add(values[..., ::2], values[..., 1::2], dtype=wide)
    return sums


def _even(values: np.ndarray, axis: int) -> np.ndarray:
    """Repeat the last pixel along an odd axis, so that it counts as a pair and the mean is not changed."""
    return np.concatenate([values, np.take(values, [-1], axis)], axis) if values.shape[axis] % 2 else values


def _wider(dtype: np.dtype) -> np.dtype:
    """A type that holds the sum of four pixels and the rounding."""
    if np.issubdtype(dtype, np.floating):
        return np.dtype(np.float64)
    kind = "i" if np.issubdtype(dtype, np.signedinteger) else "u"
    return np.dtype(f"{kind}{min(8, 2 * dtype.itemsize)}")


def coarser_levels(finest: da.Array, smallest: int = 512) -> tuple[da.Array, ...]:
    """Coarser levels of a pyramid, each half as fine as the one before, until one fits into `smallest` pixels.

    Parameters
    ----------
    finest : dask.array.Array
        Shape (c, y, x).
    smallest : int
        Largest side of the coarsest level in pixels.

    Returns
    -------
    tuple of dask.array.Array
        Levels, finest first, without `finest`; empty if that is small enough. Reading a block of any level takes the
        memory of a few blocks, and reads all pixels of `finest` beneath it.
    """
    levels: list[da.Array] = []
    source = PixelSource(
        finest.shape,
        finest.dtype,
        (finest.chunksize[0], _BLOCK, _BLOCK),
        # in the calling thread
        lambda *parts: finest[parts].compute(scheduler="synchronous"),
    )
    while max(source.shape[1:]) > smallest:
        source = _half_as_fine(source)
        levels.append(source.lazy())
    return tuple(levels)


def _half_as_fine(finer: PixelSource) -> PixelSource:
    """Source of a level half as fine, which reads the finer one block by block."""
    count, height, width = finer.shape

    def read(channels: slice, rows: slice, columns: slice) -> np.ndarray:
        block = np.empty([part.stop - part.start for part in (channels, rows, columns)], finer.dtype)
        for top, left in product(*(range(part.start, part.stop, _BLOCK) for part in (rows, columns))):
            bottom, right = min(top + _BLOCK, rows.stop), min(left + _BLOCK, columns.stop)
            beneath = slice(2 * top, min(2 * bottom, height)), slice(2 * left, min(2 * right, width))
            there = slice(top - rows.start, bottom - rows.start), slice(left - columns.start, right - columns.start)
            block[:, *there] = halve(finer.read(channels, *beneath))
        return block

    return replace(finer, shape=(count, -(-height // 2), -(-width // 2)), read=read)


def glance(slide: Slide, channels: Sequence[int], pixel_size_um: float) -> Slide:
    """Slide with its computed coarse levels in memory, for functions that read them several times.

    Each read of a computed level reads all pixels beneath it. Stored levels are left on disk.

    Parameters
    ----------
    slide : Slide
        The slide; it is not changed.
    channels : sequence of int
        Indices of the channels that are needed.
    pixel_size_um : float
        Pixel size of the finest level that is needed, as for `Slide.level_for`.

    Returns
    -------
    Slide
        Slide with only these channels, in this order. Levels of up to 64 MiB are read; finer ones are still computed.

    Raises
    ------
    SlideError
        If the slide cannot be read.
    """
    levels = tuple(level[list(channels)] for level in slide.levels)
    computed = range(max(slide.level_for(pixel_size_um), slide.stored_levels), len(levels))
    finest = next((index for index in computed if levels[index].nbytes <= MOST_BYTES), None)
    if finest is not None:
        levels = (*levels[:finest], *_held(levels[finest:]))
    names = tuple(slide.channel_names[channel] for channel in channels)
    return replace(slide, levels=levels, channel_names=names)


def _held(levels: Sequence[da.Array]) -> Iterator[da.Array]:
    pixels = levels[0].compute()
    for level in levels:
        yield da.from_array(pixels, chunks=level.chunks, name=False)
        pixels = halve(pixels)
