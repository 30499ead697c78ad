"""Slides that wait, slides at work and their tiles: what is sent to workers, and what is recorded when it comes back.

Workers write only chunks that are a tile's alone. What tiles share (coarse levels, the record of what is finished)
is written here, by one process, so whatever dies, a prediction holds what its record says.
"""

from __future__ import annotations

import warnings
from collections import deque
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from napari_hrpn.inference.cluster.progress import Progress
from napari_hrpn.inference.cluster.reports import EndedSlide, TileOfMany
from napari_hrpn.inference.cluster.task_pool import TaskPool, result_of
from napari_hrpn.inference.cluster.worker import SlidePlace, look_over, predict_tile
from napari_hrpn.inference.errors import PredictionError, PredictionWarning
from napari_hrpn.inference.reports import Spent
from napari_hrpn.inference.tile_progress import Tally, open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from distributed import Future

    from napari_hrpn.core import Tile
    from napari_hrpn.inference.cluster.reports import SlideRequest
    from napari_hrpn.inference.cluster.worker import Work
    from napari_hrpn.inference.plan import Plan
    from napari_hrpn.inference.settings import PredictionSettings
    from napari_hrpn.inference.store import PredictionStore
    from napari_hrpn.models import ModelCard


@dataclass(eq=False)
class _SlideAtWork:
    """A slide that is being looked over or predicted."""

    number: int
    order: SlideRequest
    place: SlidePlace
    plan: Future
    store: PredictionStore | None = None
    tally: Tally | None = None
    new_tiles: int = 0
    spent: Spent = field(default_factory=Spent)
    devices: set[str] = field(default_factory=set)

    def close(self) -> None:
        """Record nothing more."""
        if self.store is not None:
            self.store.close()

    def ended(self, error: Exception | None = None) -> EndedSlide:
        """Sum up."""
        if self.tally is not None and error is None:
            for sentence in self.tally.warnings(self.order.slide, self.spent):
                warnings.warn(sentence, PredictionWarning, stacklevel=2)
            try:
                self.tally.check_slide(self.order.slide)
            except PredictionError as changed:
                error = changed
        report = self.tally.report(self.spent, ", ".join(sorted(self.devices))) if self.tally else None
        return EndedSlide(self.number, report, self.new_tiles, error)


class ClusterRun:
    """One run over many slides."""

    def __init__(
        self,
        crew: TaskPool,
        plugin: str,
        orders: Sequence[Callable[[], SlideRequest]],
        settings: PredictionSettings,
        card: ModelCard,
    ) -> None:
        self._crew, self._plugin, self._settings, self._card = crew, plugin, settings, card
        self._orders = deque(enumerate(orders))
        self._at_work: set[_SlideAtWork] = set()
        self._tiles: deque[tuple[_SlideAtWork, Tile]] = deque()
        self._slide_of: dict[Future, _SlideAtWork] = {}
        self._ended: deque[EndedSlide] = deque()
        self._progress = Progress(len(orders))
        self._stopped = False

    @property
    def is_over(self) -> bool:
        """Whether nothing is on its way and nothing is left to be sent."""
        return not (self._crew.busy or self._tiles or self._orders or self._ended)

    def begin_nothing_more(self) -> None:
        """Only what workers are doing now comes to its end."""
        if not self._stopped:
            self._stopped = True
            self._orders.clear()
            self._tiles.clear()
            self._crew.drop_what_is_not_begun()

    def send(self) -> None:
        """Keep the workers busy; the next slides begin as soon as there are no tiles of the first ones left to send."""
        while self._crew.has_room:
            if self._tiles:
                slide, tile = self._tiles.popleft()
                sent = self._crew.send(predict_tile, self._plugin, slide.place, slide.plan, tile)
                self._slide_of[sent] = slide
            elif self._orders and sum(slide.tally is None for slide in self._at_work) < self._crew.processes:
                self._begin(*self._orders.popleft())
            else:
                return

    def receive(self) -> Iterator[TileOfMany | EndedSlide]:
        """Wait a moment for a task to come back, and report what it brought."""
        task = self._crew.next_back() if self._crew.busy else None
        slide = None if task is None else self._slide_of.pop(task)
        if task is not None and slide in self._at_work:
            try:
                brought = result_of(task, slide.order.slide.source.name)
                if task is slide.plan:
                    self._look_at(slide, brought)
                else:
                    yield self._record(slide, brought)
            except CancelledError:
                raise
            except Exception as error:
                self._end(slide, error)
        while self._ended:
            yield self._ended.popleft()

    def unfinished(self) -> Iterator[EndedSlide]:
        """What was begun but not ended before a stop."""
        yield from (slide.ended() for slide in sorted(self._at_work, key=lambda slide: slide.number) if slide.tally)

    def _begin(self, number: int, open_order: Callable[[], SlideRequest]) -> None:
        try:
            order = open_order()
        except Exception as error:
            self._progress.leave_out()
            self._ended.append(EndedSlide(number, error=error))
            return
        place = SlidePlace.of(order)
        plan = self._crew.send(look_over, self._plugin, place, urgent=True)
        self._slide_of[plan] = slide = _SlideAtWork(number, order, place, plan)
        self._at_work.add(slide)

    def _look_at(self, slide: _SlideAtWork, plan: Plan) -> None:
        if self._stopped:
            return
        for sentence in plan.warnings:
            warnings.warn(sentence, PredictionWarning, stacklevel=2)
        order, overwrite = slide.order, slide.order.overwrite
        store = open_store(slide.place.store, order.slide, plan, self._card, overwrite=overwrite)
        slide.store, slide.tally = store, Tally(plan, store, self._settings.region)
        self._progress.add(slide.tally)
        self._tiles.extend((slide, tile) for tile in slide.tally.pending)
        if not slide.tally.pending:
            self._end(slide)

    def _record(self, slide: _SlideAtWork, work: Work) -> TileOfMany:
        assert slide.tally is not None
        assert work.written is not None
        report = slide.tally.record(work.written)
        slide.spent += work.spent
        slide.devices.add(work.device)
        slide.new_tiles += 1
        if report.finished == report.total:
            self._end(slide)
        return self._progress.after(slide.place.store, report)

    def close(self) -> None:
        """Let other programs go on with what was not ended."""
        for slide in self._at_work:
            slide.close()

    def _end(self, slide: _SlideAtWork, error: Exception | None = None) -> None:
        self._at_work.discard(slide)
        slide.close()
        if slide.tally is None:
            self._progress.leave_out()
        elif error is not None:
            self._progress.give_up(slide.tally)
            self._tiles = deque((other, tile) for other, tile in self._tiles if other is not slide)
        self._ended.append(slide.ended(error))
