"""Lazy levels with guarded reads: a failure reaches the user as one sentence, never as zeros."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import dask.array as da
import numpy as np

from napari_hrpn.slides.errors import SlideError, reading_errors

if TYPE_CHECKING:
    from napari_hrpn.slides.location import Location

SMALLEST_CHUNK = 512
_SMALLEST_CHUNK_AREA = 2**16
_LARGEST_MERGED_CHUNK_BYTES = 64 * 2**20
_ACCEPTED = {"uint8", "uint16", "uint32", "int8", "int16", "int32", "float32", "float64"}
_CONVERTED = {"bool": "uint8", "float16": "float32"}


@dataclass(frozen=True, eq=False)
class PixelSource:
    """An array-like of a level (c, y, x), whose pixels are read when they are asked for."""

    shape: tuple[int, int, int]
    dtype: np.dtype
    chunks: tuple[int, int, int]  # The block that it reads best
    read: Callable[[slice, slice, slice], np.ndarray]  # Pixels of some channels, rows and columns
    ndim: int = 3

    def __getitem__(self, key: tuple[int | slice, ...]) -> np.ndarray:
        ranges = [_as_range(part, length) for part, length in zip(key, self.shape, strict=True)]
        if all(ranges):
            channels, rows, columns = (slice(min(part), max(part) + 1) for part in ranges)
            block = self.read(channels, rows, columns)[tuple(slice(None, None, part.step) for part in ranges)]
        else:
            block = np.empty([len(part) for part in ranges], self.dtype)
        return block[tuple(slice(None) if isinstance(part, slice) else 0 for part in key)]


def _as_range(part: int | slice, length: int) -> range:
    if isinstance(part, slice):
        return range(*part.indices(length))
    index = int(part) % length
    return range(index, index + 1)


def brightest_sample(colours: PixelSource) -> PixelSource:
    """One dye that was stored as a coloured photograph: the maximum over red, green and blue."""

    def read(_: slice, rows: slice, columns: slice) -> np.ndarray:
        """Pixels of shape (1, y, x)."""
        brightest: np.ndarray = colours.read(slice(0, colours.shape[0]), rows, columns).max(axis=0, keepdims=True)
        return brightest

    return PixelSource((1, *colours.shape[1:]), colours.dtype, (1, *colours.chunks[1:]), read)


def guarded(source: PixelSource, path: Location) -> PixelSource:
    """A source of pixels of an accepted type that turns any failure of a read into a `SlideError`."""
    dtype = accepted_dtype(source.dtype, path)

    def read(*parts: slice) -> np.ndarray:
        """Pixels of shape (c, y, x), of the accepted type."""
        channels, rows, columns = parts
        where = f"channel {channels.start}, rows {rows.start} to {rows.stop} and columns {columns.start} to"
        with reading_errors(f"{path.name}: {where} {columns.stop} cannot be read"):
            block = source.read(channels, rows, columns)
        wanted = tuple(part.stop - part.start for part in parts)
        if block.shape != wanted:
            raise SlideError(
                f"{path.name} gave {block.shape} pixels where {wanted} were expected: the file is damaged, copy "
                "it again from where it came."
            )
        return block.astype(dtype, copy=False)

    return replace(source, dtype=dtype, read=read)


def accepted_dtype(dtype: np.dtype, path: Location) -> np.dtype:
    """Type in which pixels of a stored type are handed out."""
    name = np.dtype(dtype).newbyteorder("=").name
    name = _CONVERTED.get(name, name)
    if name in _ACCEPTED:
        return np.dtype(name)
    raise SlideError(
        f"{path.name} holds pixels of type {name}, expected 8, 16 or 32 bit integers or floating point: "
        "convert it to uint16 or float32."
    )


def lazy_level(source: PixelSource, path: Location) -> da.Array:
    """A lazy array over what a file has of a level, in blocks that follow the file's own."""
    return lazy_array(replace(guarded(source, path), chunks=_merged_chunks(source)), "slide")


def lazy_array(source: PixelSource, name: str) -> da.Array:
    """A lazy array over a source, made without looking at its pixels."""
    return da.from_array(
        source,
        chunks=tuple(map(min, source.chunks, source.shape)),
        # a name of its own spares dask from hashing the file
        name=f"{name}-{uuid.uuid4().hex}",
        asarray=False,
        fancy=False,
        lock=False,
        meta=np.empty((0, 0, 0), source.dtype),
    )


def _merged_chunks(source: PixelSource) -> tuple[int, int, int]:
    """Blocks to read: the file's own, as many together as make 512 px, if that stays small."""
    channels, height, width = source.chunks
    # a slide of a few rows is not cut into millions of tiny blocks
    wanted = max(SMALLEST_CHUNK, _SMALLEST_CHUNK_AREA // source.shape[1])
    wide = _enough(width, source.shape[2], wanted)
    row_bytes = max(1, channels * wide * np.dtype(source.dtype).itemsize)
    wanted = max(SMALLEST_CHUNK, _SMALLEST_CHUNK_AREA // wide)
    rows = min(wanted, max(height, _LARGEST_MERGED_CHUNK_BYTES // row_bytes))
    return channels, _enough(height, source.shape[1], rows), wide


def _enough(native: int, length: int, wanted: int) -> int:
    if native >= length or wanted >= length:
        return length
    return native if native >= wanted else math.ceil(wanted / native) * native
