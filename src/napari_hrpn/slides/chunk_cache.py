"""Cache of decoded chunks of slides, so that none is decoded twice within a short time."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import dask
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import dask.array as da
    from numpy.typing import NDArray

    Key = tuple[str, *tuple[int, ...]]


class _Touched(NamedTuple):
    """A chunk that a part of an axis meets: its number, first pixel and size, and the pixels that both share."""

    number: int
    start: int
    size: int
    shared: slice


class ChunkCache:
    """Reads parts of lazy arrays; several threads may read at once.

    Parameters
    ----------
    kept_bytes : int
        Decoded chunks that are kept, those that were used last.
    threads : int
        Chunks that one read decodes at once.
    """

    def __init__(self, kept_bytes: int, threads: int = 1) -> None:
        self._kept_bytes, self._bytes, self._threads = kept_bytes, 0, threads
        self._chunks: OrderedDict[Key, Future[NDArray[Any]]] = OrderedDict()
        self._lock = threading.Lock()

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._chunks.clear()
            self._bytes = 0

    def read(self, array: da.Array, *parts: slice) -> NDArray[Any]:
        """Read a part of an array.

        Parameters
        ----------
        array : dask.array.Array
            Such as a level of a slide, or a channel of it.
        *parts : slice
            Along each axis, with a start and a stop within the array.

        Returns
        -------
        numpy.ndarray
            As ``array[parts]``.
        """
        pixels = np.empty([part.stop - part.start for part in parts], array.dtype)
        chunks = list(product(*map(_touched, array.chunks, parts)))

        def paste(touched: Sequence[_Touched]) -> None:
            """Put what is asked for of one chunk in its place."""
            place = tuple(_moved(one.shared, part.start) for one, part in zip(touched, parts, strict=True))
            pixels[place] = self._shared(array, touched)

        if min(self._threads, len(chunks)) > 1:
            with ThreadPoolExecutor(min(self._threads, len(chunks))) as pool:
                # as a list: what one of them raised is raised here
                list(pool.map(paste, chunks))
        else:
            for touched in chunks:
                paste(touched)
        return pixels

    def _shared(self, array: da.Array, touched: Sequence[_Touched]) -> NDArray[Any]:
        """What of a chunk is asked for."""
        if math.prod(one.size for one in touched) * array.dtype.itemsize > self._kept_bytes:
            # a file without tiles: what is not asked for may never be read; in this thread, as those of dask would stay
            return np.asarray(array[tuple(one.shared for one in touched)].compute(scheduler="synchronous"))
        chunk = self._chunk(array, tuple(one.number for one in touched))
        return chunk[tuple(_moved(one.shared, one.start) for one in touched)]

    def _chunk(self, array: da.Array, place: tuple[int, ...]) -> NDArray[Any]:
        key = array.name, *place
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
            # who waits for it fails as well; who comes later tries again
            with self._lock:
                if self._chunks.get(key) is chunk:
                    del self._chunks[key]
            chunk.set_exception(error)
            return
        with self._lock:
            # all may have been forgotten meanwhile
            if self._chunks.get(key) is chunk:
                self._bytes += chunk.result().nbytes
                self._forget_oldest()

    def _forget_oldest(self) -> None:
        while self._bytes > self._kept_bytes:
            oldest = next(key for key, chunk in self._chunks.items() if chunk.done())
            self._bytes -= self._chunks.pop(oldest).result().nbytes


def decoded(array: da.Array, place: tuple[int, ...]) -> NDArray[Any]:
    """One chunk of an array, decoded in the thread that asks."""
    key = (array.name, *place)
    # twice as quick as `array.blocks[...].compute()`, which makes and optimises a graph of its own
    return np.asarray(dask.get(array.__dask_graph__().cull({key}), key))


def _touched(chunks: Sequence[int], part: slice) -> list[_Touched]:
    starts = np.cumsum((0, *chunks)).tolist()
    first, last = np.searchsorted(starts, part.start, "right") - 1, np.searchsorted(starts, part.stop, "left")
    found = []
    for number in range(int(first), int(last)):
        start, stop = starts[number : number + 2]
        found.append(_Touched(number, start, stop - start, slice(max(part.start, start), min(part.stop, stop))))
    return found


def _moved(part: slice, start: int) -> slice:
    return slice(part.start - start, part.stop - start)
