"""Reads boxes of a slide and keeps the chunks they touch for a while, so that tiles side by side decode none twice."""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import Future
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.tiling import Box

if TYPE_CHECKING:
    import dask.array as da
    from numpy.typing import NDArray

KEPT_BYTES = 64 << 20
"""Two rows of chunks of 512 px and 16 bit, two stains, on a slide 16,000 px wide: what rows of tiles share."""

Key = tuple[int, int, int]


class ChunkReader:
    """Pixels of one level of a slide; several threads may read at once.

    Parameters
    ----------
    level : dask.array.Array
        Shape (c, y, x).
    kept_bytes : int
        Decoded chunks that are kept, those that were used last.
    """

    def __init__(self, level: da.Array, kept_bytes: int = KEPT_BYTES) -> None:
        self._level, self._kept_bytes = level, kept_bytes
        self._starts = [np.cumsum((0, *chunks)) for chunks in level.chunks]
        self._chunks: OrderedDict[Key, Future[NDArray[np.generic]]] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width = self._level.shape[1:]
        return height, width

    def read(self, channel: int, box: Box) -> NDArray[np.generic]:
        """Read a box of a channel.

        Parameters
        ----------
        channel : int
            Index of the stain.
        box : Box
            Inside of the slide, in its pixels.

        Returns
        -------
        numpy.ndarray
            Shape (y, x) of the box.
        """
        of_channels, of_rows, of_columns = self._starts
        plane = int(np.searchsorted(of_channels, channel, "right")) - 1
        pixels = np.empty((box.height, box.width), self._level.dtype)
        for row, column in product(_touched(of_rows, box.y0, box.y1), _touched(of_columns, box.x0, box.x1)):
            y0, y1 = max(box.y0, int(of_rows[row])), min(box.y1, int(of_rows[row + 1]))
            x0, x1 = max(box.x0, int(of_columns[column])), min(box.x1, int(of_columns[column + 1]))
            there = self._part((plane, row, column), channel, Box(y0, y1, x0, x1))
            pixels[y0 - box.y0 : y1 - box.y0, x0 - box.x0 : x1 - box.x0] = there
        return pixels

    def _part(self, key: Key, channel: int, box: Box) -> NDArray[np.generic]:
        """What of a box lies in a chunk."""
        first, top, left = (int(starts[index]) for starts, index in zip(self._starts, key, strict=True))
        last, bottom, right = (int(starts[index + 1]) for starts, index in zip(self._starts, key, strict=True))
        if (last - first) * (bottom - top) * (right - left) * self._level.dtype.itemsize > self._kept_bytes:
            # a file without tiles: what is not asked for may never be read
            part = self._level[channel, box.y0 : box.y1, box.x0 : box.x1]
            return np.asarray(part.compute(scheduler="synchronous"))
        return self._chunk(key)[channel - first, box.y0 - top : box.y1 - top, box.x0 - left : box.x1 - left]

    def _chunk(self, key: Key) -> NDArray[np.generic]:
        with self._lock:
            known = self._chunks.get(key)
            chunk = self._chunks.setdefault(key, Future())
            self._chunks.move_to_end(key)
        if known is None:
            self._decode(key, chunk)
        return chunk.result()

    def _decode(self, key: Key, chunk: Future[NDArray[np.generic]]) -> None:
        try:
            chunk.set_result(np.asarray(self._level.blocks[key].compute(scheduler="synchronous")))
        except BaseException as error:
            # who waits for it fails as well; who comes later tries again
            with self._lock:
                self._chunks.pop(key, None)
            chunk.set_exception(error)
            return
        with self._lock:
            self._forget()

    def _forget(self) -> None:
        decoded = {key: chunk.result().nbytes for key, chunk in self._chunks.items() if chunk.done()}
        surplus = sum(decoded.values()) - self._kept_bytes
        for key, size in decoded.items():
            if surplus <= 0:
                return
            del self._chunks[key]
            surplus -= size


def _touched(starts: NDArray[np.int_], first: int, last: int) -> range:
    """Chunks that some pixels of an axis lie in."""
    return range(int(np.searchsorted(starts, first, "right")) - 1, int(np.searchsorted(starts, last, "left")))
