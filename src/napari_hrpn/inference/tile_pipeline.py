"""Steps of a tile: reading, resampling, predicting, writing, and the clock that times them.

If a slide is resampled, every pixel of the network's grid depends only on its position on the slide, never on the tile:
resampled tiles fit together as exactly as the others.
"""

from __future__ import annotations

import math
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.analysis.tissue.vessel_distance import vessel_distance
from napari_hrpn.core import Box, Stopped, reflected
from napari_hrpn.core.errors import PredictionError
from napari_hrpn.inference.cpu.heap import free_memory, is_out_of_memory
from napari_hrpn.inference.ensemble import mean_and_sd, with_error_model
from napari_hrpn.inference.unlike import Blocks
from napari_hrpn.slides import known_pixels, with_known_pixels
from napari_hrpn.slides.resampling import resampled, resampling

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import dask.array as da
    from numpy.typing import NDArray

    from napari_hrpn.core import Tile
    from napari_hrpn.inference.plan import Plan
    from napari_hrpn.inference.predictor import Predictor, Ready
    from napari_hrpn.inference.store import PredictionStore
    from napari_hrpn.models import IntensityScaling
    from napari_hrpn.settings.vessel_distance import VesselDistance
    from napari_hrpn.slides import ChunkCache, Slide

    ReadPiece = tuple[Tile, Ready | None]
    """Part of a tile that is computed at once, and its pixels; None if memory did not suffice to read them ahead."""

_ROWS = 256


class TilePipeline:
    """Steps of the tiles of a plan; each step raises `Stopped` once the run is to end."""

    SPENT = ("pixels_kept", "pixels_run", "seconds_reading", "seconds_waiting", "seconds_computing", "seconds_writing")

    def __init__(
        self,
        plan: Plan,
        slide: Slide,
        predictors: Sequence[Predictor],
        stop: threading.Event,
        chunks: ChunkCache,
    ) -> None:
        self._plan, self._predictors, self._stop = plan, predictors, stop
        self._level, self._chunks = slide.levels[plan.sampling.level], chunks
        self.halted = threading.Event()
        self.largest_piece = plan.largest_piece
        self._unknown: dict[Box, NDArray[np.int64]] = {}
        self._spent: dict[str, float] = dict.fromkeys(self.SPENT, 0)
        self._lock = threading.Lock()

    @property
    def stopping(self) -> bool:
        """Whether no more work may begin."""
        return self._stop.is_set() or self.halted.is_set()

    def read(self, tile: Tile) -> list[ReadPiece]:
        """Read the network's input for the pieces of a tile."""
        self._raise_if_stopping()
        return [(piece, self._read_ahead(piece)) for piece in self._plan.pieces(tile)]

    def predict(self, tile: Tile, pieces: list[ReadPiece]) -> NDArray[np.generic]:
        """Predict a tile, in the store's type; shape (c, y, x)."""
        self._raise_if_stopping()
        plan, core = self._plan, tile.core
        blank = plan.as_stored(np.array(plan.background, np.float32))
        whole = np.empty((len(blank), core.height, core.width), plan.dtype)
        whole[...] = blank[:, None, None]
        for piece, pixels in pieces:
            self._fill(_part(whole, core, piece.core), self.levels(piece, pixels))
        return whole

    def write(self, store: PredictionStore, tile: Tile, pixels: NDArray[np.generic]) -> NDArray[np.generic] | None:
        """Write the chunks that only this tile touches; returns what `PredictionStore.write` returns."""
        with self.clock("writing"):
            return store.write(tile.core, pixels)

    @property
    def spent(self) -> dict[str, Any]:
        """Work of all tiles so far: pixels, seconds (which overlap), and pixels that are not grey levels."""
        unknown = sum(self._unknown.values(), np.zeros(len(self._plan.channels), np.int64))
        return {**self._spent, "unknown_px": unknown}

    @contextmanager
    def clock(self, part: str) -> Iterator[None]:
        """Time a step."""
        start = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self._spent[f"seconds_{part}"] += time.perf_counter() - start

    def _raise_if_stopping(self) -> None:
        if self.stopping:
            raise Stopped

    def _read_ahead(self, tile: Tile) -> Ready | None:
        """Read a piece ahead; None if there is no memory for it beside the tiles in flight."""
        if self._too_large(tile):
            return None
        try:
            return self._read(tile)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            return None

    def _read(self, tile: Tile) -> Ready:
        with self.clock("reading"):
            pixels, unknown = self._plan.sampling.read(self._level, self._chunks, self._plan.channels, tile.core)
            if unknown.any():
                # by piece, so that one that is read again, in quarters, is not counted twice
                self._unknown[tile.core] = unknown
            if len(self._predictors) > 1:
                # each member scales them in its own way
                return pixels
            return self._predictors[0].ready(pixels, self._plan.scalings[0].scale_inputs)

    def _scaled(self, scaling: IntensityScaling, pixels: NDArray[np.generic]) -> NDArray[np.float32]:
        """Scale a strip; checking for a stop here, several times per tile on a processor, lets a run end soon."""
        self._raise_if_stopping()
        return scaling.scale_inputs(pixels)

    def _fill(self, target: NDArray[np.generic], levels: NDArray[np.float32]) -> None:
        """Fill a part of a tile, few rows at a time, since rounding takes extra memory."""
        for top in range(0, levels.shape[1], _ROWS):
            target[:, top : top + _ROWS] = self._plan.as_stored(levels[:, top : top + _ROWS])

    def _levels_of(self, member: int, core: Box, pixels: Ready, blocks: Blocks | None) -> NDArray[np.float32]:
        """Grey levels of the probe that one network predicts; its features are compared in the same pass."""
        scaling, sampling, predictor = self._plan.scalings[member], self._plan.sampling, self._predictors[member]
        watching = {}
        if blocks is not None and predictor.training is not None:
            watching["watch"] = partial(blocks.compare, training=predictor.training)
        output = predictor.run(pixels, sampling.halo, partial(self._scaled, scaling), **watching)
        levels = sampling.to_core(output, core)
        for top in range(0, len(levels), _ROWS):
            levels[top : top + _ROWS] = scaling.unscale_output(levels[top : top + _ROWS])
        return levels

    def levels(self, tile: Tile, pixels: Ready | None = None) -> NDArray[np.float32]:
        """Predict a piece, reading what was not read ahead; when memory runs out, in quarters, as all later pieces.

        Channels of the result are the grey levels of a single network, or mean and standard deviation of several or of
        the errors on held-out tumours, and the distance from the training if that is asked for.
        """
        self._raise_if_stopping()
        if self._too_large(tile):
            return self._in_quarters(tile)
        try:
            pixels = self._read(tile) if pixels is None else pixels
            blocks = self._blocks(tile.core)
            with self.clock("computing"):
                members = (
                    self._levels_of(number, tile.core, pixels, blocks) for number in range(len(self._predictors))
                )
                levels = next(members)[None] if len(self._predictors) == 1 else mean_and_sd(members)
                levels = with_error_model(levels, self._plan.errors)
                if blocks is not None:
                    levels = np.concatenate([levels, blocks.on_pixels()[None]])
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        else:
            self._spent["pixels_kept"] += tile.core.area
            self._spent["pixels_run"] += math.prod(pixels.shape[-2:])
            return levels
        self.largest_piece = max(self._plan.smallest_piece, self.largest_piece // 2)
        free_memory(self._predictors[0].device)
        return self._in_quarters(tile)

    def _blocks(self, core: Box) -> Blocks | None:
        plan = self._plan
        compared = plan.compared
        return None if compared is None else Blocks(plan.sampling, core, compared, (plan.grid.height, plan.grid.width))

    def _too_large(self, tile: Tile) -> bool:
        return max(tile.core.height, tile.core.width) > self.largest_piece

    def _in_quarters(self, tile: Tile) -> NDArray[np.float32]:
        core, device = tile.core, self._predictors[0].device
        grid, smallest = self._plan.grid, self._plan.smallest_piece
        quarters = tile.quarters(grid.halo, grid.stride, smallest)
        if len(quarters) == 1:
            msg = f"a tile of {smallest} px does not fit into the memory of {device}; free some or use another device."
            raise PredictionError(msg)
        self._unknown.pop(core, None)
        whole = np.empty((len(self._plan.background), core.height, core.width), np.float32)
        for quarter in quarters:
            _part(whole, core, quarter.core)[...] = self.levels(quarter)
        return whole


def _part(whole: NDArray[Any], core: Box, box: Box) -> NDArray[Any]:
    """View of the pixels of a core that lie in a box."""
    return whole[..., box.y0 - core.y0 : box.y1 - core.y0, box.x0 - core.x0 : box.x1 - core.x0]


@dataclass(frozen=True)
class DistanceInput:
    """The distance to vessels as an input of the network, derived from the vessels of a slide."""

    settings: VesselDistance
    threshold: float  # grey level above which a pixel is vessel
    pixel_um: tuple[float, float]  # of the network's grid
    vessels: int  # index among the stains that are read
    index: int  # among the network's inputs

    @property
    def margin(self) -> int:
        """Pixels of the network's grid that are read around what the network sees."""
        return self.settings.margin(self.pixel_um)

    def inserted(self, pixels: NDArray[np.generic]) -> NDArray[np.generic]:
        """Stains without the margin, shape (c, y, x), and the distance at its place among them."""
        margin = self.margin
        inner = slice(margin, -margin), slice(margin, -margin)
        distance = vessel_distance(pixels[self.vessels], self.threshold, self.pixel_um, self.settings)
        return np.insert(pixels[:, *inner], self.index, distance[inner].astype(pixels.dtype), axis=0)


@dataclass(frozen=True)
class Sampling:
    """Mapping between cores of the slide and the network's grid, and the reading of the network's input."""

    # Pixels of the network's grid per pixel of the slide, along y and x; 1 without resampling
    factors: tuple[float, float]
    # Halo and stride in pixels of the network's grid
    halo: int
    stride: int
    padding: str = "reflect"  # Pixels beyond the slide's border: mirrored, or zero
    # Grey level of each input in place of a pixel that is not a grey level (see `known_pixels`): the background of the
    # channel, since glass is where stains have no signal, while 0 may be a level that no slide has
    fill: tuple[float, ...] = ()
    level: int = 0  # Level of the slide that is read
    level_factors: tuple[float, float] = (1.0, 1.0)  # Pixels of the network's grid per pixel of that level
    distance: DistanceInput | None = None

    @property
    def resamples(self) -> bool:
        """Whether the network's grid differs from the slide's."""
        return self.factors != (1.0, 1.0)

    @property
    def reach_px(self) -> int:
        """Pixels of the slide around a pixel whose prediction it may decide."""
        margin = 0 if self.distance is None else self.distance.margin
        return math.ceil((self.halo + margin) / min(self.factors))

    def seen_by_network(self, core: Box) -> Box:
        """Box that the network runs on, in pixels of its own grid: aligned to the stride, with the halo."""
        rows = self._seen(core.y0, core.y1, self.factors[0])
        columns = self._seen(core.x0, core.x1, self.factors[1])
        return Box(*rows, *columns)

    def _seen(self, start: int, stop: int, factor: float) -> tuple[int, int]:
        reach = 0.0 if factor == 1 else 1 + factor
        first = math.floor((start * factor - reach) / self.stride) * self.stride
        last = first + math.ceil((stop * factor + reach - first) / self.stride) * self.stride
        return first - self.halo, last + self.halo

    def read(
        self, level: da.Array, chunks: ChunkCache, channels: Sequence[int], core: Box
    ) -> tuple[NDArray[np.generic], NDArray[np.int64]]:
        """Read the network's input for a core, and count its pixels that are not grey levels, by channel."""
        seen = self.seen_by_network(core)
        if self.distance is None:
            return self._read_grid(level, chunks, channels, seen, core)
        pixels, unknown = self._read_grid(level, chunks, channels, seen.grown(self.distance.margin), core)
        return self.distance.inserted(pixels), unknown

    def _read_grid(
        self, level: da.Array, chunks: ChunkCache, channels: Sequence[int], box: Box, core: Box
    ) -> tuple[NDArray[np.generic], NDArray[np.int64]]:
        """Read the stains in a box of the network's grid."""
        steps = [grid / total for grid, total in zip(self.level_factors, self.factors, strict=True)]
        edges = ((core.y0, steps[0]), (core.y1, steps[0]), (core.x0, steps[1]), (core.x1, steps[1]))
        counted = Box(*(round(edge / step) for edge, step in edges))
        if self.level_factors == (1.0, 1.0):
            return self._read_box(level, chunks, channels, box, counted)
        down, rows = resampling(box.y0, box.y1, self.level_factors[0])
        right, columns = resampling(box.x0, box.x1, self.level_factors[1])
        pixels, unknown = self._read_box(level, chunks, channels, Box(*down, *right), counted)
        return resampled(pixels, rows, columns), unknown

    def to_core(self, output: NDArray[np.float32], core: Box) -> NDArray[np.float32]:
        """Resample and cut the network's output, without its halo, to a core of the slide."""
        if not self.resamples:
            return output[: core.height, : core.width]
        inner = self.seen_by_network(core).grown(-self.halo)
        _, rows = resampling(core.y0, core.y1, 1 / self.factors[0], (inner.y0, inner.y1))
        _, columns = resampling(core.x0, core.x1, 1 / self.factors[1], (inner.x0, inner.x1))
        pixels: NDArray[np.float32] = resampled(output[None], rows, columns)[0]
        return pixels

    def _read_box(
        self, level: da.Array, chunks: ChunkCache, channels: Sequence[int], box: Box, core: Box
    ) -> tuple[NDArray[np.generic], NDArray[np.int64]]:
        height, width = level.shape[1:]
        rows, columns = reflected(box.y0, box.y1, height), reflected(box.x0, box.x1, width)
        top, left = int(rows.min()), int(columns.min())
        window = slice(top, int(rows.max()) + 1), slice(left, int(columns.max()) + 1)
        read = [chunks.read(level, slice(channel, channel + 1), *window)[0] for channel in channels]
        pixels = np.stack([np.take(np.take(plane, rows - top, 0), columns - left, 1) for plane in read])
        if self.padding == "zero":
            outside_rows = (np.arange(box.y0, box.y1) < 0) | (np.arange(box.y0, box.y1) >= height)
            outside_columns = (np.arange(box.x0, box.x1) < 0) | (np.arange(box.x0, box.x1) >= width)
            pixels[:, outside_rows] = 0
            pixels[:, :, outside_columns] = 0
        known = known_pixels(pixels)
        if known is None:
            return pixels, np.zeros(len(channels), np.int64)
        inside = known[:, core.y0 - box.y0 : core.y1 - box.y0, core.x0 - box.x0 : core.x1 - box.x0]
        return with_known_pixels(pixels, self.fill), np.count_nonzero(~inside, axis=(1, 2))
