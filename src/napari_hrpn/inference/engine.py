"""The tile engine: read, compute and write side by side, one tile after another, whatever the slide's size.

Each tile passes three small pools of threads: readers, the network, a writer. Few tiles are on their way at once, so
memory stays constant, and a tile is reported only when it is on disk.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from napari_hrpn.inference.cpu.heap import free_memory, thread_on_main_heap
from napari_hrpn.inference.devices import choose_device
from napari_hrpn.inference.errors import PredictionWarning
from napari_hrpn.inference.plan import make_plan
from napari_hrpn.inference.predictor import Predictor
from napari_hrpn.inference.settings import PredictionSettings
from napari_hrpn.inference.tile_pipeline import TilePipeline
from napari_hrpn.inference.tile_progress import Tally, open_store
from napari_hrpn.inference.tile_queue import TileQueue
from napari_hrpn.slides import ChunkCache, as_location

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping

    from napari_hrpn.inference.reports import PredictionReport, TileReport
    from napari_hrpn.inference.tile_pipeline import WrittenTile
    from napari_hrpn.models import Checkpoint
    from napari_hrpn.slides import Slide
    from napari_hrpn.slides.location import PlaceLike

READERS = 2
# one is written, one computed, one read ahead: more would go on where the user no longer looks
IN_FLIGHT = 3
DECODING_THREADS = 8
KEPT_BYTES = 64 << 20
"""Two rows of chunks of 512 px and 16 bit, two stains, on a slide 16,000 px wide: what rows of tiles share."""
THREAD_NAME = "napari-hrpn"


def predict_slide(
    slide: Slide,
    checkpoint: Checkpoint,
    store: PlaceLike,
    settings: PredictionSettings | None = None,
    *,
    roles: Mapping[str, int] | None = None,
    overwrite: bool = False,
    focus: Callable[[], tuple[float, float] | None] | None = None,
    stop: threading.Event | None = None,
) -> Generator[TileReport, None, PredictionReport]:
    """Predict the probe channel of a slide, tile by tile.

    Parameters
    ----------
    slide : Slide
        What to predict.
    checkpoint : Checkpoint
        What to predict it with.
    store : str, pathlib.Path or UPath
        Folder of the predicted slide, an OME-Zarr, or its address in object storage. One that an earlier run left
        unfinished is completed.
    settings : PredictionSettings, optional
        How.
    roles : mapping of str to int, optional
        Channel of each input role, such as ``{"nuclei": 0, "vessels": 1}``; guessed from the names where left out.
    overwrite : bool
        Replace a prediction made from another slide, checkpoint or settings.
    focus : callable, optional
        Returns the (y, x) in full-resolution pixels whose tiles come next, or None; called from another thread.
    stop : threading.Event, optional
        Once set, the run ends: what is computed is given up, what is written is kept; the same call goes on from there.

    Yields
    ------
    TileReport
        After each tile, once it is on disk.

    Returns
    -------
    PredictionReport
        What was done, and where the time went.

    Raises
    ------
    PredictionError, SlideError
        In one sentence; finished tiles are kept.
    """
    settings, path = settings or PredictionSettings(), as_location(store)
    predictor = Predictor(checkpoint, choose_device(settings.device).name, settings.precision)
    plan = make_plan(slide, checkpoint, predictor, path, settings, roles, is_watched=focus is not None)
    for sentence in plan.warnings:
        warnings.warn(sentence, PredictionWarning, stacklevel=2)
    target = open_store(path, slide, plan, checkpoint.card, overwrite=overwrite)
    with closing(target):
        tally = Tally(plan, target, settings.region)
        chunks = ChunkCache(KEPT_BYTES, min(DECODING_THREADS, os.cpu_count() or 1))
        run = TilePipeline(plan, slide, predictor, target, stop or threading.Event(), chunks)
        try:
            yield from _tile_by_tile(run, TileQueue(tally.pending, focus), tally)
        finally:
            free_memory(predictor.device)
        tally.check_slide(slide)
        for sentence in tally.warnings(slide, run.spent):
            warnings.warn(sentence, PredictionWarning, stacklevel=2)
    return tally.report(run.spent, predictor.device)


def _tile_by_tile(run: TilePipeline, tiles: TileQueue, tally: Tally) -> Generator[TileReport, None, None]:
    """Keep a few tiles on their way through the pools, and report each as it arrives on disk."""
    readers, writer = ThreadPoolExecutor(READERS, THREAD_NAME), ThreadPoolExecutor(1, THREAD_NAME)
    network = thread_on_main_heap(THREAD_NAME)
    with _ending(run, readers), _ending(run, network), _ending(run, writer):
        on_their_way: deque[Future[TileReport | None]] = deque()
        while True:
            while len(on_their_way) < IN_FLIGHT and (tile := run.next_of(tiles)) is not None:
                read = readers.submit(run.read, tile)
                predicted = network.submit(run.predict, tile, read)
                written = writer.submit(run.write, tile, predicted)
                on_their_way.append(writer.submit(_recorded, tally, written))
            if not on_their_way:
                return
            report = on_their_way.popleft().result()
            if report is not None:
                yield report


def _recorded(tally: Tally, written: Future[WrittenTile | None]) -> TileReport | None:
    tile = written.result()
    return None if tile is None else tally.record(tile)


@contextmanager
def _ending(run: TilePipeline, pool: ThreadPoolExecutor) -> Iterator[None]:
    """Whatever ends the run, only the work that a pool has begun comes to its end."""
    try:
        yield
    except BaseException:
        run.halted.set()
        raise
    finally:
        pool.shutdown(wait=True)
