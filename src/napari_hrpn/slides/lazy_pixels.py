"""Lazy pixels of levels, read when they are needed, and a cache of decoded chunks.

A failed read gives an error of one sentence, never zeros. No chunk is decoded twice within a short time.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import dask
import dask.array as da
import numpy as np

from napari_hrpn.slides.errors import SlideError, reading_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_hrpn.slides.location import Location

    Key = tuple[str, *tuple[int, ...]]

SMALLEST_CHUNK = 512
_SMALLEST_CHUNK_AREA = 2**16
_LARGEST_MERGED_CHUNK_BYTES = 64 * 2**20
_ACCEPTED = {"uint8", "uint16", "uint32", "int8", "int16", "int32", "float32", "float64"}
_CONVERTED = {"bool": "uint8", "float16": "float32"}


@dataclass(frozen=True, eq=False)
class PixelSource:
    """Array-like of a level (c, y, x) whose pixels are read when they are needed."""

    shape: tuple[int, int, int]
    dtype: np.dtype
    chunks: tuple[int, int, int]  # size of the blocks that are read fastest
    read: Callable[[slice, slice, slice], np.ndarray]  # reads pixels of some channels, rows and columns
    ndim: int = 3

    def __getitem__(self, chunk: tuple[slice, slice, slice]) -> np.ndarray:
        # dask reads whole chunks and cuts the requested part out of them
        return self.read(*chunk)

    def lazy(self) -> da.Array:
        """A lazy array, made without reading pixels."""
        chunks, meta = tuple(map(min, self.chunks, self.shape)), np.empty((0, 0, 0), self.dtype)
        # name=False, because dask would hash all pixels to make a name
        return da.from_array(self, chunks=chunks, name=False, fancy=False, meta=meta)

    def lazy_level(self, path: Location) -> da.Array:
        """A lazy array of a stored level, in blocks made of whole stored chunks."""
        return replace(self.guarded(path), chunks=self._merged_chunks()).lazy()

    def _merged_chunks(self) -> tuple[int, int, int]:
        """Blocks to read: as many stored chunks as make 512 px, if that takes little memory."""
        channels, height, width = self.chunks
        # blocks of a slide with few rows are wider, because it would have millions of tiny ones
        wanted = max(SMALLEST_CHUNK, _SMALLEST_CHUNK_AREA // self.shape[1])
        wide = _enough(width, self.shape[2], wanted)
        row_bytes = max(1, channels * wide * np.dtype(self.dtype).itemsize)
        wanted = max(SMALLEST_CHUNK, _SMALLEST_CHUNK_AREA // wide)
        rows = min(wanted, max(height, _LARGEST_MERGED_CHUNK_BYTES // row_bytes))
        return channels, _enough(height, self.shape[1], rows), wide

    def guarded(self, path: Location) -> PixelSource:
        """The same pixels in an accepted type; any error while reading becomes a `SlideError`."""
        dtype = accepted_dtype(self.dtype, path)

        def read(*parts: slice) -> np.ndarray:
            """Pixels of shape (c, y, x), of the accepted type."""
            channels, rows, columns = parts
            region = f"channel {channels.start}, rows {rows.start} to {rows.stop} and columns {columns.start} to"
            with reading_errors(f"{path.name}: {region} {columns.stop} cannot be read"):
                block = self.read(*parts)
            expected_shape = tuple(part.stop - part.start for part in parts)
            if block.shape != expected_shape:
                raise SlideError(
                    f"{path.name} gave {block.shape} pixels, expected {expected_shape}: the file is damaged, copy it "
                    "again from its source."
                )
            return block.astype(dtype, copy=False)

        return replace(self, dtype=dtype, read=read)

    def brightest(self) -> PixelSource:
        """A dye that is stored as a coloured photograph, as the maximum over red, green and blue."""

        def read(_: slice, rows: slice, columns: slice) -> np.ndarray:
            """Pixels of shape (1, y, x)."""
            brightest: np.ndarray = self.read(slice(0, self.shape[0]), rows, columns).max(axis=0, keepdims=True)
            return brightest

        return replace(self, shape=(1, *self.shape[1:]), chunks=(1, *self.chunks[1:]), read=read)


def _enough(native: int, length: int, wanted: int) -> int:
    if native >= length or wanted >= length:
        return length
    return native if native >= wanted else math.ceil(wanted / native) * native


def accepted_dtype(dtype: np.dtype, path: Location) -> np.dtype:
    """Type to which pixels of a stored type are converted when read."""
    name = np.dtype(dtype).newbyteorder("=").name
    name = _CONVERTED.get(name, name)
    if name in _ACCEPTED:
        return np.dtype(name)
    raise SlideError(
        f"{path.name} holds pixels of type {name}, expected 8, 16 or 32 bit integers or floating point: "
        "convert it to uint16 or float32."
    )


class _Touched(NamedTuple):
    """Chunk that a part of an axis meets: its number and size, and the shared pixels in chunk and in part."""

    number: int
    size: int
    of_chunk: slice
    of_part: slice


class ChunkCache:
    """Cache through which parts of lazy arrays are read; several threads may read at once.

    Parameters
    ----------
    kept_bytes : int
        Memory for decoded chunks; those that were used most recently are kept.
    threads : int
        Number of chunks that one read decodes at the same time.
    """

    def __init__(self, kept_bytes: int, threads: int = 1) -> None:
        self._kept_bytes, self._bytes, self._threads = kept_bytes, 0, threads
        self._chunks: OrderedDict[Key, Future[NDArray[Any]]] = OrderedDict()
        self._lock = threading.Lock()

    def clear(self) -> None:
        """Discard all chunks."""
        with self._lock:
            self._chunks.clear()
            self._bytes = 0

    def read(self, array: da.Array, *parts: slice) -> NDArray[Any]:
        """Read a part of an array.

        Parameters
        ----------
        array : dask.array.Array
            Array, such as a level of a slide or one of its channels.
        *parts : slice
            Part along each axis, with a start and a stop within the array.

        Returns
        -------
        numpy.ndarray
            Pixels of ``array[parts]``.
        """
        pixels = np.empty([part.stop - part.start for part in parts], array.dtype)
        chunks = list(product(*map(_touched, array.chunks, parts)))

        def paste(touched: Sequence[_Touched]) -> None:
            """Copy the requested pixels of one chunk to their place."""
            pixels[tuple(one.of_part for one in touched)] = self._shared(array, touched)

        if min(self._threads, len(chunks)) > 1:
            with ThreadPoolExecutor(min(self._threads, len(chunks))) as pool:
                # a list is made so that errors of the threads are raised here
                list(pool.map(paste, chunks))
        else:
            for touched in chunks:
                paste(touched)
        return pixels

    def _shared(self, array: da.Array, touched: Sequence[_Touched]) -> NDArray[Any]:
        """Requested pixels of one chunk."""
        numbers = tuple(part.number for part in touched)
        is_kept = math.prod(part.size for part in touched) * array.dtype.itemsize <= self._kept_bytes
        chunk = self._chunk(array, numbers) if is_kept else decoded(array, numbers)
        return chunk[tuple(part.of_chunk for part in touched)]

    def _chunk(self, array: da.Array, index: tuple[int, ...]) -> NDArray[Any]:
        key = array.name, *index
        with self._lock:
            is_known = key in self._chunks
            chunk = self._chunks.setdefault(key, Future())
            self._chunks.move_to_end(key)
        if not is_known:
            self._decode(array, key, chunk)
        return chunk.result()

    def _decode(self, array: da.Array, key: Key, chunk: Future[NDArray[Any]]) -> None:
        try:
            chunk.set_result(decoded(array, key[1:]))
        except BaseException as error:
            # threads that wait for this chunk fail too; later ones try again
            with self._lock:
                if self._chunks.get(key) is chunk:
                    del self._chunks[key]
            chunk.set_exception(error)
            return
        with self._lock:
            # the cache may have been cleared in the meantime
            if self._chunks.get(key) is chunk:
                self._bytes += chunk.result().nbytes
                self._forget_oldest()

    def _forget_oldest(self) -> None:
        while self._bytes > self._kept_bytes:
            oldest = next(key for key, chunk in self._chunks.items() if chunk.done())
            self._bytes -= self._chunks.pop(oldest).result().nbytes


def decoded(array: da.Array, index: tuple[int, ...]) -> NDArray[Any]:
    """One chunk of an array, decoded in the calling thread."""
    key = (array.name, *index)
    # twice as fast as `array.blocks[...].compute()`, which makes and optimises another graph
    return np.asarray(dask.get(array.__dask_graph__().cull({key}), key))


def _touched(chunks: Sequence[int], part: slice) -> list[_Touched]:
    starts = np.cumsum((0, *chunks)).tolist()
    first, last = np.searchsorted(starts, part.start, "right") - 1, np.searchsorted(starts, part.stop, "left")
    found = []
    for number in range(int(first), int(last)):
        start, stop = starts[number : number + 2]
        low, high = max(part.start, start), min(part.stop, stop)
        found.append(_Touched(number, stop - start, *(slice(low - zero, high - zero) for zero in (start, part.start))))
    return found
