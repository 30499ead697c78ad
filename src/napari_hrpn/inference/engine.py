"""Tile engine that reads, computes and writes in parallel, for slides of any size.

Each tile passes three small pools of threads: readers, the network, a writer. Few tiles are in flight at once, so
memory stays constant, and a tile is reported only when it is on disk.
"""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.core import Stopped
from napari_hrpn.core.errors import PredictionError, PredictionWarning
from napari_hrpn.inference.cpu.heap import free_memory, thread_on_main_heap
from napari_hrpn.inference.ensemble import checked_members, ensemble_title
from napari_hrpn.inference.plan import make_plan
from napari_hrpn.inference.plan_warnings import unknown_warnings
from napari_hrpn.inference.prediction_recipe import prediction_recipe
from napari_hrpn.inference.predictor import Predictor, choose_device
from napari_hrpn.inference.store import PredictionStore
from napari_hrpn.inference.tile_pipeline import TilePipeline
from napari_hrpn.inference.unlike import check_comparable, fit_of_blocks, shown_distances
from napari_hrpn.recipes import save_output_recipe
from napari_hrpn.settings import PredictionSettings
from napari_hrpn.slides import ChunkCache, as_location, slide_fingerprint, slide_identity
from napari_hrpn.slides.channel_roles import predicted_name
from napari_hrpn.slides.predictions import FINGERPRINT

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from numpy.typing import NDArray

    from napari_hrpn.analysis import ErrorModel
    from napari_hrpn.core import Tile
    from napari_hrpn.inference.fit import Fit
    from napari_hrpn.inference.plan import Plan
    from napari_hrpn.inference.tile_pipeline import ReadPiece
    from napari_hrpn.models import Checkpoint
    from napari_hrpn.slides import Location, Slide
    from napari_hrpn.slides.location import PlaceLike

    Focus = Callable[[], tuple[float, float] | None]

READERS = 2
# one tile is written, one computed, one read ahead; with more, tiles would still be computed where the user has left
IN_FLIGHT = 3
DECODING_THREADS = 8
KEPT_BYTES = 64 << 20
"""Memory for chunks that rows of tiles share: two rows of 512 px and 16 bit, two stains, on a slide 16,000 px wide."""
THREAD_NAME = "napari-hrpn"


@dataclass(frozen=True)
class TileReport:
    """One more tile is on disk.

    Attributes
    ----------
    tile : Tile
        The tile.
    finished, total : int
        Tiles on disk, those of earlier runs included, and all tiles of the prediction.
    pixels : int
        Pixels of the tile that were computed; the others hold no tissue and were filled.
    seconds : float
        Time since the start of this run.
    seconds_left : float or None
        Expected time to the end; None until a tile has been computed.
    """

    tile: Tile
    finished: int
    total: int
    pixels: int
    seconds: float
    seconds_left: float | None


@dataclass(frozen=True)
class PredictionReport:
    """Result of a run and how its time was spent; the parts overlap, so they may add up to more than `seconds`.

    Attributes
    ----------
    path : pathlib.Path or UPath
        The prediction.
    finished, total : int
        Tiles on disk and all tiles of the prediction.
    complete : bool
        Whether the whole slide is predicted.
    core, halo : int
        Side of a core and width of the halo in pixels.
    device : str
        Device that ran the network.
    pixels_kept, pixels_run : int
        Predicted pixels of this run's computed tiles, and pixels that the network ran on for them.
    seconds : float
        Time of the whole run.
    seconds_reading, seconds_waiting, seconds_computing, seconds_writing : float
        Time for reading and decoding; of the network waiting for pixels; of the network computing; for writing.
    unknown_px : tuple of int
        For each input, the pixels of this run's computed tiles that are not grey levels (see `Sampling`).
    checkpoint : str
        Title of the checkpoint.
    fit : Fit or None
        How far the slide is from those trained on, by the grey levels of its stains.
    unlike : Fit or None
        The same by the network's features, if this was asked for: the distance is the 95th percentile over the tissue
        that is predicted.
    """

    path: Location
    finished: int
    total: int
    complete: bool
    core: int
    halo: int
    device: str
    pixels_kept: int
    pixels_run: int
    seconds: float
    seconds_reading: float
    seconds_waiting: float
    seconds_computing: float
    seconds_writing: float
    unknown_px: tuple[int, ...] = ()
    checkpoint: str = ""
    fit: Fit | None = None
    unlike: Fit | None = None


def predict_slide(
    slide: Slide,
    checkpoint: Checkpoint | Sequence[Checkpoint],
    store: PlaceLike,
    settings: PredictionSettings | None = None,
    *,
    roles: Mapping[str, int] | None = None,
    errors: ErrorModel | None = None,
    overwrite: bool = False,
    focus: Focus | None = None,
    stop: threading.Event | None = None,
) -> Generator[TileReport, None, PredictionReport]:
    """Predict the probe channel of a slide, tile by tile.

    Parameters
    ----------
    slide : Slide
        Slide to predict.
    checkpoint : Checkpoint or sequence of Checkpoint
        Network to predict it with. Several are an ensemble: the prediction is their mean, and a second channel, "sd",
        is the standard deviation between them (ddof=1), both in grey levels. They must have been trained alike. If the
        settings ask for the channel "unlike", it has the distance from the training that is furthest.
    store : str, pathlib.Path or UPath
        Folder of the predicted slide, an OME-Zarr, or its address in object storage. A prediction that an earlier run
        left unfinished is completed.
    settings : PredictionSettings, optional
        How to predict it.
    roles : mapping of str to int, optional
        Channel of each input role, such as ``{"nuclei": 0, "vessels": 1}``; guessed from the names if left out.
    errors : ErrorModel, optional
        Errors of these networks on tumours that they have not learnt from, such as those of a study. Then "sd" is
        nowhere smaller than these errors at the predicted grey level; a single network has this channel, too.
    overwrite : bool
        Replace a prediction made from another slide, checkpoint or settings.
    focus : callable, optional
        Returns the (y, x) in full-resolution pixels whose tiles come next, or None; called from another thread.
    stop : threading.Event, optional
        Once set, the run ends: tiles in flight are given up, written ones are kept; the same call resumes from them.

    Yields
    ------
    TileReport
        After each tile, once it is on disk.

    Returns
    -------
    PredictionReport
        What was done, and how the time was spent.

    Raises
    ------
    PredictionError, SlideError
        In one sentence; finished tiles are kept.
    """
    settings, path = settings or PredictionSettings(), as_location(store)
    members = checked_members(checkpoint if isinstance(checkpoint, Sequence) else (checkpoint,))
    check_comparable(members, settings)
    device = choose_device(settings.device).name
    predictors = [Predictor(member, device, settings.precision) for member in members]
    plan = make_plan(slide, members, predictors, path, settings, roles, errors=errors, is_watched=focus is not None)
    with closing(Tally(slide, plan, members, path, overwrite=overwrite)) as tally:
        chunks = ChunkCache(KEPT_BYTES, min(DECODING_THREADS, os.cpu_count() or 1))
        run = TilePipeline(plan, slide, predictors, stop or threading.Event(), chunks)
        try:
            yield from _tile_by_tile(run, tally, focus or (lambda: None))
        finally:
            free_memory(device)
        tally.add(run.spent)
        tally.check()
    return tally.report(device)


def _tile_by_tile(run: TilePipeline, tally: Tally, focus: Focus) -> Generator[TileReport, None, None]:
    """Keep a few tiles in flight through the pools, and report each once it is on disk."""
    tiles, in_flight = list(tally.pending), deque[Future[TileReport]]()
    with (
        ThreadPoolExecutor(READERS, THREAD_NAME) as readers,
        # the only heap whose freed blocks glibc keeps for the next tile
        thread_on_main_heap(THREAD_NAME) as network,
        ThreadPoolExecutor(1, THREAD_NAME) as writer,
    ):
        try:
            while True:
                while tiles and len(in_flight) < IN_FLIGHT and not run.stopping:
                    tile = _next_tile(tiles, focus())
                    read = readers.submit(run.read, tile)
                    predicted = network.submit(_predicted, run, tile, read)
                    in_flight.append(writer.submit(_recorded, run, tally, tile, predicted))
                if not in_flight:
                    return
                try:
                    report = in_flight.popleft().result()
                except Stopped:
                    continue
                yield report
        except BaseException:
            # tiles that wait in the pools are given up; leaving the block waits for those that run
            run.halted.set()
            raise


def _next_tile(tiles: list[Tile], focus: tuple[float, float] | None) -> Tile:
    """Take the tile that is nearest to the centre of the user's view."""
    if focus is None:
        return tiles.pop(0)
    return tiles.pop(min(range(len(tiles)), key=lambda number: tiles[number].core.distance_to(*focus)))


def _predicted(run: TilePipeline, tile: Tile, read: Future[list[ReadPiece]]) -> NDArray[np.generic]:
    with run.clock("waiting"):
        pieces = read.result()
    return run.predict(tile, pieces)


def _recorded(run: TilePipeline, tally: Tally, tile: Tile, predicted: Future[NDArray[np.generic]]) -> TileReport:
    return tally.record(tile, run.write(tally.store, tile, predicted.result()))


class Tally:
    """Record of which tiles of a plan are on disk, and of the time and pixels spent on them."""

    def __init__(
        self, slide: Slide, plan: Plan, members: Sequence[Checkpoint], path: Location, *, overwrite: bool
    ) -> None:
        for sentence in plan.warnings:
            warnings.warn(sentence, PredictionWarning, stacklevel=3)
        self.store = PredictionStore.open(
            path,
            slide,
            plan.request,
            dtype=plan.dtype,
            name=predicted_name(members[0].card.target),
            further=plan.further,
            title=ensemble_title(members),
            trained_on=tuple(dict.fromkeys(tumour for member in members for tumour in member.card.seen)),
            overwrite=overwrite,
        )
        self._slide, self._plan, self._card = slide, plan, members[0].card
        tiles = tuple(plan.grid) if plan.region is None else plan.grid.within(plan.region)
        self.pending = [tile for tile in tiles if not self.store.finished(tile.core)]
        if self.pending:
            save_output_recipe(prediction_recipe(slide, plan, members, self.store.path), self.store.path)
        self.total, self.finished, self.new = len(tiles), len(tiles) - len(self.pending), 0
        self._to_compute = {tile: sum(piece.core.area for piece in plan.pieces(tile)) for tile in self.pending}
        self._computed, self._all = 0, sum(self._to_compute.values())
        self._spent: dict[str, Any] = {"unknown_px": np.zeros(len(plan.channels), np.int64)}
        self._started = time.perf_counter()

    def close(self) -> None:
        """Release the store."""
        self.store.close()

    def record(self, tile: Tile, shared: NDArray[np.generic] | None) -> TileReport:
        """Write the chunks that a tile shares with others, record it as finished, and report it."""
        self.store.record(tile.core, shared)
        computed = self._to_compute[tile]
        self.finished, self.new = self.finished + 1, self.new + 1
        self._computed += computed
        elapsed = time.perf_counter() - self._started
        left = elapsed / self._computed * (self._all - self._computed) if self._computed else None
        return TileReport(tile, self.finished, self.total, computed, elapsed, left)

    def add(self, spent: Mapping[str, Any]) -> None:
        """Add time and pixels that were spent on tiles."""
        for name, amount in spent.items():
            self._spent[name] = self._spent.get(name, 0) + amount

    def check(self) -> None:
        """Warn of unknown pixels; refuse, and mark all tiles as unfinished, if the slide has changed meanwhile."""
        slide, request = self._slide, self._plan.request
        unknown = self._spent["unknown_px"].tolist()
        for sentence in unknown_warnings(slide, self._plan.channels, unknown, self._plan.sampling.reach_px):
            warnings.warn(sentence, PredictionWarning, stacklevel=3)
        made_from = request["slide"], request[FINGERPRINT]
        if self.new and (slide_identity(slide), slide_fingerprint(slide)) != made_from:
            self.store.forget()
            msg = (
                f"{slide.source.name} was changed while it was predicted, so {self.store.path} may mix two slides and "
                "counts as unfinished; predict it again, overwriting it."
            )
            raise PredictionError(msg)

    def report(self, device: str) -> PredictionReport:
        """Report of the whole run."""
        spent = dict.fromkeys(TilePipeline.SPENT, 0) | self._spent
        return PredictionReport(
            path=self.store.path,
            finished=self.finished,
            total=self.total,
            complete=self.store.complete,
            core=self._plan.grid.core,
            halo=self._plan.grid.halo,
            device=device,
            seconds=time.perf_counter() - self._started,
            checkpoint=self.store.title,
            fit=self._plan.fit,
            unlike=self._unlike(),
            **{**spent, "unknown_px": tuple(spent["unknown_px"].tolist())},
        )

    def _unlike(self) -> Fit | None:
        if self._plan.compared is None:
            return None
        part = "" if self.store.complete else "the predicted part of "
        return fit_of_blocks(shown_distances(self.store.levels), self._card, f"{part}{self._slide.source.name}")
