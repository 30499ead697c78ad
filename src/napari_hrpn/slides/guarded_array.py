"""Lazy levels whose every read is guarded: a failure reaches the user as one sentence, never as zeros."""

from __future__ import annotations

import math
import uuid
from typing import TYPE_CHECKING, Protocol

import dask.array as da
import numpy as np

from napari_hrpn.slides.errors import SlideError

if TYPE_CHECKING:
    from napari_hrpn.slides.location import Location

SMALLEST_CHUNK = 512
_SMALLEST_CHUNK_AREA = 2**16
_LARGEST_MERGED_CHUNK_BYTES = 64 * 2**20

_ACCEPTED = {"uint8", "uint16", "uint32", "int8", "int16", "int32", "float32", "float64"}
# who raises where a network or a store fails, and not the file
_NETWORKS = {"aiobotocore", "aiohttp", "azure", "botocore", "gcsfs"}
_CONVERTED: dict[str, np.dtype] = {"bool": np.dtype(np.uint8), "float16": np.dtype(np.float32)}


class PixelSource(Protocol):
    """What a file format has to offer: its shape, its type, the block it reads best, and a read."""

    shape: tuple[int, int, int]
    dtype: np.dtype
    chunks: tuple[int, int, int]

    def read(self, channels: slice, rows: slice, columns: slice) -> np.ndarray:
        """Pixels of a block, of shape (c, y, x)."""


class BrightestSample:
    """One dye that was stored as a coloured photograph: the maximum over red, green and blue."""

    def __init__(self, colours: PixelSource) -> None:
        self._colours = colours
        self.shape = (1, *colours.shape[1:])
        self.dtype = colours.dtype
        self.chunks = (1, *colours.chunks[1:])

    def read(self, channels: slice, rows: slice, columns: slice) -> np.ndarray:  # noqa: ARG002
        """Pixels of a block, of shape (1, y, x)."""
        block = self._colours.read(slice(0, self._colours.shape[0]), rows, columns)
        brightest: np.ndarray = block.max(axis=0, keepdims=True)
        return brightest


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
        try:
            block = self._source.read(channels, rows, columns)
        except SlideError:
            raise
        except Exception as error:
            where = (
                f"channel {channels.start}, rows {rows.start} to {rows.stop} and columns {columns.start} to "
                f"{columns.stop}"
            )
            raise SlideError(f"{self._path.name}: {where} cannot be read ({reason(error)}).") from error
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


def reason(error: BaseException) -> str:
    """Why a read failed, as a clause to stand in brackets."""
    if isinstance(error, MemoryError):
        return "there is not enough memory for it: convert the file with `napari-hrpn convert`"
    if isinstance(error, FileNotFoundError):
        return "the file is gone: put it back where it was opened"
    if isinstance(error, PermissionError):
        return "it may not be read: ask its owner for the permission"
    said = " ".join(str(error).split()).rstrip(".")[:160] or type(error).__name__
    if isinstance(error, ConnectionError | TimeoutError) or type(error).__module__.partition(".")[0] in _NETWORKS:
        return f"{said}: check the network and your credentials, and try again"
    return f"{said}: the file may be damaged or incomplete, copy it again from where it came"


def accepted_dtype(dtype: np.dtype, path: Location) -> np.dtype:
    """Type in which pixels of a stored type are handed out."""
    name = np.dtype(dtype).newbyteorder("=").name
    if name in _CONVERTED:
        return _CONVERTED[name]
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
    pixels = GuardedPixels(source, path)
    return from_guarded(pixels, _merged_chunks(source), "slide")


def from_guarded(pixels: ArrayLike, chunks: tuple[int, int, int], name: str) -> da.Array:
    """A lazy array over an array-like, made without looking at its pixels."""
    return da.from_array(
        pixels,
        chunks=tuple(min(chunk, length) for chunk, length in zip(chunks, pixels.shape, strict=True)),
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
