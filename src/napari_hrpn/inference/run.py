"""The three steps of a tile (read, predict, write), and the clock that times them."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.inference.errors import PredictionError
from napari_hrpn.inference.memory import free_memory, is_out_of_memory
from napari_hrpn.inference.reports import PredictionReport, TileReport

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from numpy.typing import NDArray

    from napari_hrpn.inference.plan import Plan
    from napari_hrpn.inference.store import PredictionStore
    from napari_hrpn.inference.tile_queue import TileQueue
    from napari_hrpn.tiling import Box, Tile


class Run:
    """One run over the tiles of a plan that the store does not have yet.

    Parameters
    ----------
    plan : Plan
        What is done.
    store : PredictionStore
        Where it goes.
    region : Box or None
        Only the tiles that meet it.
    stop : threading.Event
        Set by the caller to end the run after the tile being computed.
    """

    def __init__(self, plan: Plan, store: PredictionStore, region: Box | None, stop: threading.Event) -> None:
        self._plan, self._store, self._stop = plan, store, stop
        self.halted = threading.Event()
        tiles = tuple(plan.grid) if region is None else plan.grid.within(region)
        self.pending = [tile for tile in tiles if not store.finished(tile.core)]
        self._total, self._finished = len(tiles), len(tiles) - len(self.pending)
        self._to_compute = sum(not plan.is_blank(tile) for tile in self.pending)
        self._computed = self._pixels_kept = self._pixels_run = 0
        self._largest_piece = plan.largest_piece
        self._seconds = dict.fromkeys(("reading", "waiting", "computing", "writing"), 0.0)
        self._lock = threading.Lock()
        self._started = time.perf_counter()

    @property
    def stopping(self) -> bool:
        """Whether no more work is to be begun."""
        return self._stop.is_set() or self.halted.is_set()

    def next_of(self, tiles: TileQueue) -> Tile | None:
        """Take the next tile, unless the run is ending."""
        return None if self.stopping else tiles.take()

    def read(self, tile: Tile) -> NDArray[np.float32] | None:
        """Read and scale what the network sees for a tile; nothing for one that is blank or too large at once."""
        if self.stopping or self._plan.is_blank(tile) or self._too_large(tile):
            return None
        return self._read(tile)

    def predict(self, tile: Tile, read: Future[NDArray[np.float32] | None]) -> NDArray[np.generic] | None:
        """Predict a tile, in the store's type; None when the run is ending."""
        with self._clock("waiting"):
            pixels = read.result()
        if self.stopping:
            return None
        plan = self._plan
        if plan.is_blank(tile):
            return plan.as_stored(np.full((tile.core.height, tile.core.width), plan.background, np.float32))
        return plan.as_stored(plan.scaling.unscale_output(self._predicted(tile, pixels)))

    def write(self, tile: Tile, predicted: Future[NDArray[np.generic] | None]) -> TileReport | None:
        """Write a tile and report it; None when the run is ending."""
        pixels = predicted.result()
        if pixels is None:
            return None
        with self._clock("writing"):
            self._store.write(tile.core, pixels)
        blank = self._plan.is_blank(tile)
        self._finished += 1
        self._computed += not blank
        elapsed = time.perf_counter() - self._started
        left = elapsed / self._computed * (self._to_compute - self._computed) if self._computed else None
        return TileReport(tile, self._finished, self._total, blank, elapsed, left)

    def report(self) -> PredictionReport:
        """Sum the run up."""
        return PredictionReport(
            path=self._store.path,
            finished=self._finished,
            total=self._total,
            complete=self._store.complete,
            core=self._plan.grid.core,
            halo=self._plan.grid.halo,
            device=self._plan.predictor.device,
            pixels_kept=self._pixels_kept,
            pixels_run=self._pixels_run,
            seconds=time.perf_counter() - self._started,
            seconds_reading=self._seconds["reading"],
            seconds_waiting=self._seconds["waiting"],
            seconds_computing=self._seconds["computing"],
            seconds_writing=self._seconds["writing"],
        )

    def _read(self, tile: Tile) -> NDArray[np.float32]:
        with self._clock("reading"):
            pixels = self._plan.sampling.read(self._plan.slide.levels[0], self._plan.channels, tile.core)
            return self._plan.scaling.scale_inputs(pixels)

    def _predicted(self, tile: Tile, pixels: NDArray[np.float32] | None) -> NDArray[np.float32]:
        """Run the network on a tile; after it ran out of memory, on its quarters, now and for all tiles to come."""
        if self._too_large(tile):
            return self._in_quarters(tile)
        pixels = self._read(tile) if pixels is None else pixels
        try:
            with self._clock("computing"):
                output = self._plan.predictor.run(pixels, self._plan.sampling.halo)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        else:
            self._pixels_kept += tile.core.area
            self._pixels_run += pixels[0].size
            return self._plan.sampling.to_core(output, tile.core)
        self._largest_piece = max(self._plan.smallest_piece, self._largest_piece // 2)
        free_memory(self._plan.predictor.device)
        return self._in_quarters(tile)

    def _too_large(self, tile: Tile) -> bool:
        return max(tile.core.height, tile.core.width) > self._largest_piece

    def _in_quarters(self, tile: Tile) -> NDArray[np.float32]:
        core, device = tile.core, self._plan.predictor.device
        grid, smallest = self._plan.grid, self._plan.smallest_piece
        quarters = tile.quarters(grid.halo, grid.stride, smallest)
        if len(quarters) == 1:
            msg = f"a tile of {smallest} px does not fit into the memory of {device}; free some or use another device."
            raise PredictionError(msg)
        whole = np.empty((core.height, core.width), np.float32)
        for quarter in quarters:
            box = quarter.core
            whole[box.y0 - core.y0 : box.y1 - core.y0, box.x0 - core.x0 : box.x1 - core.x0] = self._predicted(
                quarter, None
            )
        return whole

    @contextmanager
    def _clock(self, part: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self._seconds[part] += time.perf_counter() - start
