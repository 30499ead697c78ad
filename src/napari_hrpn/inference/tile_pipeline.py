"""The three steps of a tile (read, predict, write), and the clock that times them.

They know nothing of other tiles: what is done and what is left is the tally's to say.
"""

from __future__ import annotations

import math
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.inference.cpu.heap import free_memory, is_out_of_memory
from napari_hrpn.inference.errors import PredictionError
from napari_hrpn.inference.reports import Spent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from numpy.typing import NDArray

    from napari_hrpn.core import Box, Tile
    from napari_hrpn.inference.plan import Plan
    from napari_hrpn.inference.predictor import Predictor, Ready
    from napari_hrpn.inference.store import PredictionStore
    from napari_hrpn.inference.tile_queue import TileQueue
    from napari_hrpn.slides import ChunkCache, Slide

    ReadPiece = tuple[Tile, Ready | None]
    """What is computed at once, and its pixels; None where they are not read yet, for want of memory."""

_ROWS = 256


class _Stopped(Exception):  # noqa: N818 (not an error)
    """The run is ending: the tile that is being computed is given up."""


@dataclass(frozen=True, eq=False)
class WrittenTile:
    """A tile whose own chunks are on disk, but which is not recorded yet."""

    tile: Tile
    shared: NDArray[np.generic] | None  # What is still to be written, as `PredictionStore.write` returned it


class TilePipeline:
    """The steps of a plan's tiles."""

    def __init__(
        self,
        plan: Plan,
        slide: Slide,
        predictor: Predictor,
        store: PredictionStore,
        stop: threading.Event,
        chunks: ChunkCache,
    ) -> None:
        self._plan, self._predictor, self._store, self._stop = plan, predictor, store, stop
        self._level, self._chunks = slide.levels[0], chunks
        self.halted = threading.Event()
        self.largest_piece = plan.largest_piece
        self._pixels_kept = self._pixels_run = 0
        self._unknown: dict[Box, NDArray[np.int64]] = {}
        self._seconds = dict.fromkeys(("reading", "waiting", "computing", "writing"), 0.0)
        self._lock = threading.Lock()

    @property
    def stopping(self) -> bool:
        """Whether no more work is to be begun."""
        return self._stop.is_set() or self.halted.is_set()

    def next_of(self, tiles: TileQueue) -> Tile | None:
        """Take the next tile, unless the run is ending."""
        return None if self.stopping else tiles.take()

    def read(self, tile: Tile) -> list[ReadPiece]:
        """Read what the network sees for the pieces of a tile."""
        if self.stopping:
            return []
        return [(piece, self._read_ahead(piece)) for piece in self._plan.pieces(tile)]

    def predict(self, tile: Tile, read: Future[list[ReadPiece]]) -> NDArray[np.generic] | None:
        """Predict a tile, in the store's type; None when the run is ending."""
        with self._clock("waiting"):
            pieces = read.result()
        if self.stopping:
            return None
        try:
            return self._predicted_pieces(tile, pieces)
        except _Stopped:
            return None

    def _predicted_pieces(self, tile: Tile, pieces: list[ReadPiece]) -> NDArray[np.generic]:
        plan, core = self._plan, tile.core
        whole = np.full((core.height, core.width), plan.as_stored(np.float32(plan.background)), plan.dtype)
        for piece, pixels in pieces:
            self._store_levels(_part(whole, core, piece.core), self._predicted(piece, pixels))
        return whole

    def write(self, tile: Tile, predicted: Future[NDArray[np.generic] | None]) -> WrittenTile | None:
        """Write the chunks that are a tile's alone; None when the run is ending."""
        pixels = predicted.result()
        if pixels is None:
            return None
        with self._clock("writing"):
            return WrittenTile(tile, self._store.write(tile.core, pixels))

    @property
    def spent(self) -> Spent:
        """What the tiles took so far."""
        seconds = {f"seconds_{part}": passed for part, passed in self._seconds.items()}
        unknown = sum(self._unknown.values(), np.zeros(len(self._plan.channels), np.int64))
        return Spent(self._pixels_kept, self._pixels_run, **seconds, unknown_px=tuple(unknown.tolist()))

    def _read_ahead(self, tile: Tile) -> Ready | None:
        """Read a piece before its turn; None where there is no memory for it beside those that are on their way."""
        if self._too_large(tile):
            return None
        try:
            return self._read(tile)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            return None

    def _read(self, tile: Tile) -> Ready:
        with self._clock("reading"):
            pixels, unknown = self._plan.sampling.read(self._level, self._chunks, self._plan.channels, tile.core)
            if unknown.any():
                # of a piece that is read again, in quarters, it counts once
                self._unknown[tile.core] = unknown
            return self._predictor.ready(pixels, self._plan.scaling.scale_inputs)

    def _scaled(self, pixels: NDArray[np.generic]) -> NDArray[np.float32]:
        """Make the network's numbers of a strip; on a processor there are several in a tile, so it ends soon."""
        if self.stopping:
            raise _Stopped
        return self._plan.scaling.scale_inputs(pixels)

    def _store_levels(self, target: NDArray[np.generic], output: NDArray[np.float32]) -> None:
        """Put the network's output into a part of a tile, few rows at once: they need several times their memory."""
        for top in range(0, len(output), _ROWS):
            levels = self._plan.scaling.unscale_output(output[top : top + _ROWS])
            target[top : top + _ROWS] = self._plan.as_stored(levels)

    def _predicted(self, tile: Tile, pixels: Ready | None) -> NDArray[np.float32]:
        """Run the network on a piece; after it ran out of memory, on its quarters, now and for all pieces to come."""
        if self.stopping:
            raise _Stopped
        if self._too_large(tile):
            return self._in_quarters(tile)
        try:
            pixels = self._read(tile) if pixels is None else pixels
            with self._clock("computing"):
                output = self._predictor.run(pixels, self._plan.sampling.halo, self._scaled)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        else:
            self._pixels_kept += tile.core.area
            self._pixels_run += math.prod(pixels.shape[-2:])
            return self._plan.sampling.to_core(output, tile.core)
        self.largest_piece = max(self._plan.smallest_piece, self.largest_piece // 2)
        free_memory(self._predictor.device)
        return self._in_quarters(tile)

    def _too_large(self, tile: Tile) -> bool:
        return max(tile.core.height, tile.core.width) > self.largest_piece

    def _in_quarters(self, tile: Tile) -> NDArray[np.float32]:
        core, device = tile.core, self._predictor.device
        grid, smallest = self._plan.grid, self._plan.smallest_piece
        quarters = tile.quarters(grid.halo, grid.stride, smallest)
        if len(quarters) == 1:
            msg = f"a tile of {smallest} px does not fit into the memory of {device}; free some or use another device."
            raise PredictionError(msg)
        self._unknown.pop(core, None)
        whole = np.empty((core.height, core.width), np.float32)
        for quarter in quarters:
            _part(whole, core, quarter.core)[...] = self._predicted(quarter, None)
        return whole

    @contextmanager
    def _clock(self, part: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self._seconds[part] += time.perf_counter() - start


def _part(whole: NDArray[Any], core: Box, box: Box) -> NDArray[Any]:
    """A view of what lies in a box of a core."""
    return whole[box.y0 - core.y0 : box.y1 - core.y0, box.x0 - core.x0 : box.x1 - core.x0]
