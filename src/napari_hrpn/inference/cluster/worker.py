"""What happens in a worker process: a slide is looked over, a tile is read, predicted and written.

Tasks are small and carry paths, a plan and a tile; what is large (the network, open slides) stays with the process.
"""

from __future__ import annotations

import math
import threading
import uuid
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import psutil
import torch
from distributed import WorkerPlugin, get_worker

from napari_hrpn.inference.cluster.slide_reference import SameSlide, check_there
from napari_hrpn.inference.cpu.heap import free_memory, thread_on_main_heap
from napari_hrpn.inference.devices import choose_device
from napari_hrpn.inference.engine import IN_FLIGHT, KEPT_BYTES, THREAD_NAME
from napari_hrpn.inference.errors import PredictionError
from napari_hrpn.inference.plan import budget_bytes, make_plan
from napari_hrpn.inference.predictor import Predictor
from napari_hrpn.inference.store import PredictionStore
from napari_hrpn.inference.store_request import is_request, recorded_request
from napari_hrpn.inference.tile_pipeline import TilePipeline
from napari_hrpn.slides import ChunkCache

if TYPE_CHECKING:
    from distributed import Worker

    from napari_hrpn.core import Tile
    from napari_hrpn.inference.cluster.reports import SlideRequest
    from napari_hrpn.inference.plan import Plan
    from napari_hrpn.inference.reports import Spent
    from napari_hrpn.inference.settings import PredictionSettings
    from napari_hrpn.inference.tile_pipeline import ReadPiece, WrittenTile
    from napari_hrpn.models import Checkpoint
    from napari_hrpn.slides import Location, Slide

_OPEN_SLIDES = 4


@dataclass(frozen=True)
class SlidePlace:
    """Where workers find a slide and put its prediction."""

    slide: SameSlide  # How workers open it
    store: Location
    roles: tuple[tuple[str, int], ...] | None  # Channel of each input role; None where they are to be guessed

    @classmethod
    def of(cls, order: SlideRequest) -> SlidePlace:
        """Where the slide and the prediction of an order are."""
        roles = None if order.roles is None else tuple(order.roles.items())
        return cls(SameSlide.of(order.slide, None), order.store.absolute(), roles)


@dataclass(frozen=True, eq=False)
class Work:
    """What a worker hands over for a tile."""

    written: WrittenTile | None  # To be recorded; None when the worker was told to stop
    spent: Spent
    device: str  # Where the network ran


def look_over(name: str, place: SlidePlace) -> Plan:
    """Decide everything about a slide; a task."""
    plugin: PredictingWorker = get_worker().plugins[name]
    return plugin.look_over(place)


def predict_tile(name: str, place: SlidePlace, plan: Plan, tile: Tile) -> Work:
    """Predict a tile and write the chunks that are its alone; a task."""
    plugin: PredictingWorker = get_worker().plugins[name]
    return plugin.predict(place, plan, tile)


class PredictingWorker(WorkerPlugin):
    """What a worker process keeps from tile to tile: the network, its thread, the slides it has open."""

    def __init__(self, checkpoint: Checkpoint, settings: PredictionSettings, neighbours: int) -> None:
        self.name = f"napari-hrpn-{uuid.uuid4().hex}"
        self._checkpoint, self._settings, self._neighbours = checkpoint, settings, neighbours

    def setup(self, worker: Worker) -> None:
        """Begin in a process."""
        self._threads, self._limit = worker.state.nthreads, worker.memory_manager.memory_limit
        self._lock, self._stop = threading.Lock(), threading.Event()
        # a tile is read, one is computed, one is written: more at once would only take memory
        self._room = threading.BoundedSemaphore(IN_FLIGHT)
        self._slides: OrderedDict[SlidePlace, Slide] = OrderedDict()
        self._chunks = ChunkCache(KEPT_BYTES, self._threads)
        self._largest_piece: int | None = None
        self._network: ThreadPoolExecutor | None = None
        self._predictor: Predictor | None = None

    def teardown(self, worker: Worker) -> None:  # noqa: ARG002
        """End in a process; a tile that is being computed comes to its end."""
        self._stop.set()
        if self._network is not None:
            self._network.submit(free_memory, self._predictor.device if self._predictor else "cpu")
            self._network.shutdown(wait=False)

    def look_over(self, place: SlidePlace) -> Plan:
        """Make the plan of a slide."""
        slide, predictor = self._slide(place), self._ready()
        roles = None if place.roles is None else dict(place.roles)
        arguments = slide, self._checkpoint, predictor, place.store, self._settings, roles
        return self._thread().submit(make_plan, *arguments).result()

    def predict(self, place: SlidePlace, plan: Plan, tile: Tile) -> Work:
        """Do the steps of a tile, short of recording it."""
        predictor = self._ready()
        with self._room:
            store = _store(place, plan)
            run = TilePipeline(
                self._with_piece(plan), self._slide(place, plan), predictor, store, self._stop, self._chunks
            )
            read: Future[list[ReadPiece]] = Future()
            read.set_result(run.read(tile))
            predicted = self._thread().submit(run.predict, tile, read)
            predicted.result()
            self._largest_piece = run.largest_piece
            # somebody may have replaced the prediction meanwhile, and shall not get this tile into theirs
            _check_store(place, plan)
            written = run.write(tile, predicted)
        return Work(written, run.spent, predictor.device)

    def _with_piece(self, plan: Plan) -> Plan:
        """The plan, with pieces no larger than those that memory was found to suffice for."""
        piece = plan.largest_piece if self._largest_piece is None else min(plan.largest_piece, self._largest_piece)
        return replace(plan, largest_piece=max(piece, plan.smallest_piece))

    def _slide(self, place: SlidePlace, plan: Plan | None = None) -> Slide:
        with self._lock:
            slide = self._slides.pop(place, None) or _opened(place, plan)
            self._slides[place] = slide
            while len(self._slides) > _OPEN_SLIDES:
                self._slides.popitem(last=False)
        return slide

    def _thread(self) -> ThreadPoolExecutor:
        """The one thread on which the network runs."""
        assert self._network is not None
        return self._network

    def _ready(self) -> Predictor:
        """The network, built on its thread when it is first needed."""
        with self._lock:
            if self._network is None:
                self._network = thread_on_main_heap(THREAD_NAME)
            if self._predictor is None:
                self._predictor = self._network.submit(self._built).result()
        return self._predictor

    def _built(self) -> Predictor:
        torch.set_num_threads(self._threads)
        device = choose_device(self._settings.device)
        # decided once: later, what this process holds itself would look like memory that others took
        available = min(psutil.virtual_memory().available / self._neighbours, self._limit or math.inf)
        budget = budget_bytes(self._settings, device, available)
        self._settings = replace(self._settings, memory_gb=budget / 1e9)
        return Predictor(self._checkpoint, device.name, self._settings.precision)


def _opened(place: SlidePlace, plan: Plan | None) -> Slide:
    return (place.slide if plan is None else replace(place.slide, identity=plan.request["slide"])).opened()


def _store(place: SlidePlace, plan: Plan) -> PredictionStore:
    check_there(place.store)
    _check_store(place, plan)
    return PredictionStore(place.store)


def _check_store(place: SlidePlace, plan: Plan) -> None:
    if not is_request(recorded_request(place.store), plan.request):
        msg = f"{place.store} was replaced while it was predicted; run the same command again if this was not meant."
        raise PredictionError(msg)
