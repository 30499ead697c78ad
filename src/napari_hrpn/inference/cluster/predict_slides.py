"""Prediction of many slides on many processes: one task per tile, few of them in flight.

Workers write only chunks that belong to a single tile. Chunks that tiles share, on coarse levels, and the record of
finished tiles are written here, by one process: whichever process dies, a prediction holds what its record says.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import CancelledError
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from napari_hrpn.core.errors import PredictionError
from napari_hrpn.inference.cluster.task_pool import TaskPool
from napari_hrpn.inference.engine import Tally
from napari_hrpn.inference.ensemble import checked_members
from napari_hrpn.inference.unlike import check_comparable
from napari_hrpn.settings import PredictionSettings

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Generator, Iterator, Mapping

    import numpy as np
    from distributed import Client, Future
    from numpy.typing import NDArray

    from napari_hrpn.analysis import ErrorModel
    from napari_hrpn.core import Tile
    from napari_hrpn.inference.cluster.worker import SlideReference
    from napari_hrpn.inference.engine import PredictionReport, TileReport
    from napari_hrpn.inference.plan import Plan
    from napari_hrpn.models import Checkpoint
    from napari_hrpn.slides import Location, Slide


@dataclass(frozen=True, eq=False)
class SlideRequest:
    """One slide to be predicted."""

    slide: Slide  # Opened from a file or folder that the workers see under the same path
    # Folder of the predicted slide, which the workers see under the same path too, or its address in object storage
    store: Location
    roles: Mapping[str, int] | None = None  # Channel of each input role; guessed from the names where None
    overwrite: bool = False  # Replace a prediction made from another slide, checkpoint or settings


@dataclass(frozen=True)
class TileOfMany:
    """One more tile of many slides is on disk."""

    store: Location  # The prediction of the tile
    tile: TileReport  # Progress of that prediction
    # Tiles of all slides on disk, those of earlier runs included, and tiles of all slides in total; a slide without a
    # plan yet counts with the average of the others
    finished: int
    total: int
    pixels: int  # Pixels of all tiles that this run computed
    seconds: float  # Time since the start of this run
    seconds_left: float | None  # Expected time to the end of all slides


@dataclass(frozen=True, eq=False)
class EndedSlide:
    """A slide is complete, has failed or was stopped: nothing more happens to it in this run."""

    number: int  # Index of its request, from 0
    report: PredictionReport | None = None  # What was done; None if nothing could be done
    new_tiles: int = 0  # Tiles that this run added
    error: Exception | None = None  # Why the slide failed; None if it is complete or was stopped


def predict_slides(
    requests: Sequence[Callable[[], SlideRequest]],
    checkpoint: Checkpoint | Sequence[Checkpoint],
    client: Client,
    settings: PredictionSettings | None = None,
    *,
    errors: ErrorModel | None = None,
    stop: threading.Event | None = None,
) -> Generator[TileOfMany | EndedSlide, None, None]:
    """Predict the probe channel of slides on the workers of a cluster, tile by tile.

    The predictions are those of `predict_slide` with the same core size, to the bit on processors of one kind. Each
    request is a function, called when the slide's turn comes, so that a slide that cannot be opened ends alone.
    """
    from napari_hrpn.inference.cluster.worker import PredictingWorker

    machines = Counter(address.rsplit(":", 1)[0] for address in client.nthreads())
    # workers on one machine share its memory
    neighbours = max(machines.values(), default=1)
    settings = settings or PredictionSettings()
    members = checked_members(checkpoint if isinstance(checkpoint, Sequence) else (checkpoint,))
    check_comparable(members, settings)
    plugin = PredictingWorker(members, settings, neighbours, errors)
    pool = TaskPool(client, plugin)
    # the pool ends its tasks before the run releases the locks, after which another program may write the stores
    with closing(_ClusterRun(pool, requests, members)) as run, pool:
        while not run.is_over:
            if stop is not None and stop.is_set():
                run.cancel_waiting()
            run.send()
            yield from run.receive()
        yield from run.unfinished()


@dataclass(eq=False)
class _SlideAtWork:
    """A slide that is being planned or predicted; it has a tally once its plan is made."""

    number: int
    request: SlideRequest
    reference: SlideReference
    store: Location
    plan: Future
    tally: Tally | None = None
    devices: set[str] = field(default_factory=set)


class _ClusterRun:
    """State of a run: requests and tiles that wait, slides at work, tasks in flight, and results to report."""

    def __init__(
        self, pool: TaskPool, requests: Sequence[Callable[[], SlideRequest]], members: Sequence[Checkpoint]
    ) -> None:
        self._pool, self._members = pool, members
        self._requests = deque(enumerate(requests))
        self._at_work: set[_SlideAtWork] = set()
        self._tiles: deque[tuple[_SlideAtWork, Tile]] = deque()
        self._sent: dict[Future, tuple[_SlideAtWork, Tile | None]] = {}
        self._ended: deque[EndedSlide] = deque()
        self._tallies: list[Tally] = []
        self._unplanned, self._pixels, self._started, self._is_stopped = len(requests), 0, 0.0, False

    @property
    def is_over(self) -> bool:
        """Whether no task is in flight and nothing is left to send or report."""
        return not (self._pool.busy or self._tiles or self._requests or self._ended)

    def cancel_waiting(self) -> None:
        """Cancel everything except the tasks that workers are doing now."""
        if not self._is_stopped:
            self._is_stopped = True
            self._requests.clear()
            self._tiles.clear()
            self._pool.cancel_waiting()

    def send(self) -> None:
        """Keep the workers busy; the next slides begin as soon as all tiles of the earlier ones are sent."""
        while self._pool.has_room:
            if self._tiles:
                slide, tile = self._tiles.popleft()
                sent = self._pool.call("predict", slide.reference, slide.store, slide.plan, tile)
                self._sent[sent] = slide, tile
            elif self._requests and sum(slide.tally is None for slide in self._at_work) < self._pool.processes:
                self._begin(*self._requests.popleft())
            else:
                return

    def receive(self) -> Iterator[TileOfMany | EndedSlide]:
        """Wait a moment for a task to finish, and report its result."""
        task = self._pool.next_finished() if self._pool.busy else None
        if task is not None:
            slide, tile = self._sent.pop(task)
            try:
                result = self._pool.fetch(task, slide.request.slide.source.name)
                if slide in self._at_work and tile is None:
                    self._start_tiles(slide, result)
                elif slide in self._at_work and tile is not None:
                    yield self._record(slide, tile, *result)
            except CancelledError:
                raise
            except Exception as error:
                if slide in self._at_work:
                    self._end(slide, error)
        while self._ended:
            yield self._ended.popleft()

    def unfinished(self) -> Iterator[EndedSlide]:
        """Slides that were begun but not finished before a stop."""
        yield from (_ended(slide) for slide in sorted(self._at_work, key=lambda slide: slide.number) if slide.tally)

    def close(self) -> None:
        """Release unfinished predictions, so that other programs may resume them."""
        for slide in self._at_work:
            if slide.tally is not None:
                slide.tally.close()

    def _begin(self, number: int, open_request: Callable[[], SlideRequest]) -> None:
        from napari_hrpn.inference.cluster.worker import SlideReference

        try:
            request = open_request()
        except Exception as error:
            self._unplanned -= 1
            self._ended.append(EndedSlide(number, error=error))
            return
        reference, store = SlideReference.of(request.slide), request.store.absolute()
        plan = self._pool.call("plan_slide", reference, store, request.roles, urgent=True)
        slide = _SlideAtWork(number, request, reference, store, plan)
        self._sent[plan] = slide, None
        self._at_work.add(slide)

    def _start_tiles(self, slide: _SlideAtWork, plan: Plan) -> None:
        if self._is_stopped:
            return
        request = slide.request
        tally = Tally(request.slide, plan, self._members, slide.store, overwrite=request.overwrite)
        if not self._tallies:
            # the time in which the workers start says nothing about their speed
            self._started = time.perf_counter()
        self._unplanned -= 1
        self._tallies.append(tally)
        self._tiles.extend((slide, tile) for tile in tally.pending)
        slide.tally = tally
        if not tally.pending:
            self._end(slide)

    def _record(
        self, slide: _SlideAtWork, tile: Tile, shared: NDArray[np.generic] | None, spent: Mapping[str, Any], device: str
    ) -> TileOfMany:
        assert slide.tally is not None
        report = slide.tally.record(tile, shared)
        slide.tally.add(spent)
        slide.devices.add(device)
        self._pixels += report.pixels
        if report.finished == report.total:
            self._end(slide)
        return self._progress(slide.store, report)

    def _progress(self, store: Location, report: TileReport) -> TileOfMany:
        finished, planned = (sum(getattr(tally, name) for tally in self._tallies) for name in ("finished", "total"))
        total = planned + round(self._unplanned * planned / len(self._tallies))
        seconds = time.perf_counter() - self._started
        left = seconds / sum(tally.new for tally in self._tallies) * (total - finished)
        return TileOfMany(store, report, finished, total, self._pixels, seconds, left)

    def _end(self, slide: _SlideAtWork, error: Exception | None = None) -> None:
        self._at_work.discard(slide)
        self._ended.append(_ended(slide, error))
        if slide.tally is None:
            self._unplanned -= 1
            return
        slide.tally.close()
        if error is not None:
            # tiles that this slide will never have must not count as work that is left
            slide.tally.total = slide.tally.finished
            self._tiles = deque((other, tile) for other, tile in self._tiles if other is not slide)


def _ended(slide: _SlideAtWork, error: Exception | None = None) -> EndedSlide:
    if slide.tally is None:
        return EndedSlide(slide.number, error=error)
    if error is None:
        try:
            slide.tally.check()
        except PredictionError as changed:
            error = changed
    return EndedSlide(slide.number, slide.tally.report(", ".join(sorted(slide.devices))), slide.tally.new, error)
