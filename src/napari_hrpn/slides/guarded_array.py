"""Lazy levels whose every read is guarded: a failure reaches the user as one sentence, never as zeros."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

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
    """What a file format has to offer of a level."""

    shape: tuple[int, int, int]  # Channels, height, width
    dtype: np.dtype  # As it is stored
    chunks: tuple[int, int, int]  # The block that it reads best
    read: Callable[[slice, slice, slice], np.ndarray]  # Pixels (c, y, x) of some channels, rows and columns


def brightest_sample(colours: PixelSource) -> PixelSource:
    """One dye that was stored as a coloured photograph: the maximum over red, green and blue."""

    def read(_: slice, rows: slice, columns: slice) -> np.ndarray:
        brightest: np.ndarray = colours.read(slice(0, colours.shape[0]), rows, columns).max(axis=0, keepdims=True)
        return brightest

    return PixelSource((1, *colours.shape[1:]), colours.dtype, (1, *colours.chunks[1:]), read)


class GuardedPixels:
    """An array-like around a source that turns any failure of a read into a `SlideError`."""

    ndim = 3

    def __init__(self, source: PixelSource, path: Location) -> None:
        self._source = source
        self._path = path
        self.shape = source.shape
        self.dtype = accepted_dtype(source.dtype, path)

    def __getitem__(self, key: tuple[int | slice, ...]) -> np.ndarray:
        ranges = [_as_range(part, length) for part, length in zip(key, self.shape, strict=True)]
        if any(len(part) == 0 for part in ranges):
            block = np.empty([len(part) for part in ranges], self.dtype)
        else:
            block = self._read(*(slice(min(part), max(part) + 1) for part in ranges))
            block = block[tuple(slice(None, None, part.step) for part in ranges)]
        return block[tuple(0 if not isinstance(part, slice) else slice(None) for part in key)]

    def _read(self, channels: slice, rows: slice, columns: slice) -> np.ndarray:
        where = f"channel {channels.start}, rows {rows.start} to {rows.stop} and columns {columns.start} to"
        with reading_errors(f"{self._path.name}: {where} {columns.stop} cannot be read"):
            block = self._source.read(channels, rows, columns)
        wanted = tuple(part.stop - part.start for part in (channels, rows, columns))
        if block.shape != wanted:
            raise SlideError(
                f"{self._path.name} gave {block.shape} pixels where {wanted} were expected: the file is damaged, copy "
                "it again from where it came."
            )
        return block.astype(self.dtype, copy=False)


def _as_range(part: int | slice, length: int) -> range:
    if isinstance(part, slice):
        return range(*part.indices(length))
    index = int(part) % length
    return range(index, index + 1)


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


class ArrayLike(Protocol):
    """What a lazy array is made of."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length along each axis."""

    @property
    def dtype(self) -> np.dtype:
        """Type of a pixel."""

    def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray: ...


def lazy_level(source: PixelSource, path: Location) -> da.Array:
    """A lazy array over a source, in blocks that follow the file's own."""
    return from_guarded(GuardedPixels(source, path), _merged_chunks(source), "slide")


def from_guarded(pixels: ArrayLike, chunks: tuple[int, int, int], name: str) -> da.Array:
    """A lazy array over an array-like, made without looking at its pixels."""
    return da.from_array(
        pixels,
        chunks=tuple(map(min, chunks, pixels.shape)),
        # a name of its own spares dask from hashing the file
        name=f"{name}-{uuid.uuid4().hex}",
        asarray=False,
        fancy=False,
        lock=False,
        meta=np.empty((0, 0, 0), pixels.dtype),
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
