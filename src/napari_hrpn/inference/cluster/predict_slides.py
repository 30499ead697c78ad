"""Many slides predicted on many processes: one task per tile, few of them on their way.

Workers write only chunks that are a tile's alone. What tiles share (coarse levels, the record of what is finished)
is written here, by one process, so whatever dies, a prediction holds what its record says.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from concurrent.futures import CancelledError
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from napari_hrpn.core.errors import PredictionError
from napari_hrpn.inference.cluster.task_pool import TaskPool
from napari_hrpn.inference.engine import Tally
from napari_hrpn.settings import PredictionSettings

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

    import numpy as np
    from distributed import Client, Future
    from numpy.typing import NDArray

    from napari_hrpn.core import Tile
    from napari_hrpn.inference.cluster.worker import SameSlide
    from napari_hrpn.inference.engine import PredictionReport, TileReport
    from napari_hrpn.inference.plan import Plan
    from napari_hrpn.models import Checkpoint, ModelCard
    from napari_hrpn.slides import Location, Slide


@dataclass(frozen=True, eq=False)
class SlideRequest:
    """One slide to be predicted."""

    slide: Slide  # Opened from a file or folder that the workers see under the same path
    # Folder of the predicted slide, which they see under the same path too, or its address in object storage
    store: Location
    roles: Mapping[str, int] | None = None  # Channel of each input role; guessed from the names where None
    overwrite: bool = False  # Replace a prediction made from another slide, checkpoint or settings


@dataclass(frozen=True)
class TileOfMany:
    """One more tile is on disk."""

    store: Location  # The prediction that it is of
    tile: TileReport  # How far that prediction is
    # Tiles of all slides on disk, those of earlier runs included, and tiles wanted; slides that were not looked over
    # yet count as many as the others on average
    finished: int
    total: int
    pixels: int  # Pixels of all tiles that this run computed
    seconds: float  # Time since the start of this run
    seconds_left: float | None  # Expected time to the end of all slides


@dataclass(frozen=True, eq=False)
class EndedSlide:
    """Nothing more happens to a slide in this run."""

    number: int  # Which of the orders it was, from 0
    report: PredictionReport | None = None  # What was done; None where nothing could be
    new_tiles: int = 0  # Tiles that this run added
    error: Exception | None = None  # Why it ended before its end, unless it was stopped


def predict_slides(
    orders: Sequence[Callable[[], SlideRequest]],
    checkpoint: Checkpoint,
    client: Client,
    settings: PredictionSettings | None = None,
    *,
    stop: threading.Event | None = None,
) -> Generator[TileOfMany | EndedSlide, None, None]:
    """Predict the probe channel of slides on the workers of a cluster, tile by tile.

    The predictions are those of `predict_slide` with the same core size, to the bit on processors of one kind.
    """
    from napari_hrpn.inference.cluster.worker import PredictingWorker

    machines = Counter(address.rsplit(":", 1)[0] for address in client.nthreads())
    neighbours = max(machines.values(), default=1)
    plugin = PredictingWorker(checkpoint, settings or PredictionSettings(), neighbours)
    pool = TaskPool(client, plugin)
    # no task is left on the workers when others may go on with what was not ended
    with closing(_ClusterRun(pool, orders, checkpoint.card)) as run, pool:
        while not run.is_over:
            if stop is not None and stop.is_set():
                run.begin_nothing_more()
            run.send()
            yield from run.receive()
        yield from run.unfinished()


@dataclass(eq=False)
class _SlideAtWork:
    """A slide that is being looked over or predicted."""

    number: int
    request: SlideRequest
    same: SameSlide
    store: Location
    plan: Future
    tally: Tally | None = None
    devices: set[str] = field(default_factory=set)


class _ClusterRun:
    """Slides that wait, slides at work and their tiles: what is sent to workers, what is recorded when it is back."""

    def __init__(self, pool: TaskPool, orders: Sequence[Callable[[], SlideRequest]], card: ModelCard) -> None:
        self._pool, self._card = pool, card
        self._orders = deque(enumerate(orders))
        self._at_work: set[_SlideAtWork] = set()
        self._tiles: deque[tuple[_SlideAtWork, Tile]] = deque()
        self._sent: dict[Future, tuple[_SlideAtWork, Tile | None]] = {}
        self._ended: deque[EndedSlide] = deque()
        self._tallies: list[Tally] = []
        self._unknown, self._pixels, self._started, self._is_stopped = len(orders), 0, 0.0, False

    @property
    def is_over(self) -> bool:
        """Whether nothing is on its way and nothing is left to be sent."""
        return not (self._pool.busy or self._tiles or self._orders or self._ended)

    def begin_nothing_more(self) -> None:
        """Only what workers are doing now comes to its end."""
        if not self._is_stopped:
            self._is_stopped = True
            self._orders.clear()
            self._tiles.clear()
            self._pool.drop_what_is_not_begun()

    def send(self) -> None:
        """Keep the workers busy; the next slides begin as soon as there are no tiles of the first ones left to send."""
        while self._pool.has_room:
            if self._tiles:
                slide, tile = self._tiles.popleft()
                sent = self._pool.call("predict", slide.same, slide.store, slide.plan, tile)
                self._sent[sent] = slide, tile
            elif self._orders and sum(slide.tally is None for slide in self._at_work) < self._pool.processes:
                self._begin(*self._orders.popleft())
            else:
                return

    def receive(self) -> Iterator[TileOfMany | EndedSlide]:
        """Wait a moment for a task to come back, and report what it brought."""
        task = self._pool.next_back() if self._pool.busy else None
        if task is not None:
            slide, tile = self._sent.pop(task)
            try:
                brought = self._pool.fetch(task, slide.request.slide.source.name)
                if slide in self._at_work and tile is None:
                    self._look_at(slide, brought)
                elif slide in self._at_work and tile is not None:
                    yield self._record(slide, tile, *brought)
            except CancelledError:
                raise
            except Exception as error:
                if slide in self._at_work:
                    self._end(slide, error)
        while self._ended:
            yield self._ended.popleft()

    def unfinished(self) -> Iterator[EndedSlide]:
        """What was begun but not ended before a stop."""
        yield from (_ended(slide) for slide in sorted(self._at_work, key=lambda slide: slide.number) if slide.tally)

    def close(self) -> None:
        """Let other programs go on with what was not ended."""
        for slide in self._at_work:
            if slide.tally is not None:
                slide.tally.close()

    def _begin(self, number: int, open_order: Callable[[], SlideRequest]) -> None:
        from napari_hrpn.inference.cluster.worker import SameSlide

        try:
            request = open_order()
        except Exception as error:
            self._unknown -= 1
            self._ended.append(EndedSlide(number, error=error))
            return
        same, store = SameSlide.of(request.slide), request.store.absolute()
        plan = self._pool.call("look_over", same, store, request.roles, urgent=True)
        slide = _SlideAtWork(number, request, same, store, plan)
        self._sent[plan] = slide, None
        self._at_work.add(slide)

    def _look_at(self, slide: _SlideAtWork, plan: Plan) -> None:
        if self._is_stopped:
            return
        request = slide.request
        tally = Tally(request.slide, plan, self._card, slide.store, overwrite=request.overwrite)
        if not self._tallies:
            # until now workers were starting, which says nothing about their speed
            self._started = time.perf_counter()
        self._unknown -= 1
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
        return self._news(slide.store, report)

    def _news(self, store: Location, report: TileReport) -> TileOfMany:
        finished, known = (sum(getattr(tally, name) for tally in self._tallies) for name in ("finished", "total"))
        total = known + round(self._unknown * known / len(self._tallies))
        seconds = time.perf_counter() - self._started
        left = seconds / sum(tally.new for tally in self._tallies) * (total - finished)
        return TileOfMany(store, report, finished, total, self._pixels, seconds, left)

    def _end(self, slide: _SlideAtWork, error: Exception | None = None) -> None:
        self._at_work.discard(slide)
        self._ended.append(_ended(slide, error))
        if slide.tally is None:
            self._unknown -= 1
            return
        slide.tally.close()
        if error is not None:
            # tiles that the slide will not have are wanted no more
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
