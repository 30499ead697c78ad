"""Regions measured off the GUI thread: the one that moves at once and coarsely, all of them exactly.

The newest request wins; nothing queues up behind it.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_hrpn.analysis import Colocalization, RoiImages, RoiMeasurement, colocalize_roi, measure_roi, preview_roi
from napari_hrpn.plugin.background import BackgroundRun
from napari_hrpn.plugin.roi_correlation.listed_rois import ListedRoi
from napari_hrpn.slides import ChunkCache

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Generator, Sequence

    Work = Callable[[threading.Event], Generator[Any, None, None]]

_FIRST_PX, _LEAST_PX, MOST_PX = 2.0**18, 2.0**14, 2.0**20
_KEPT_BYTES = 256 << 20
# for so long, pixels that were read stay good
_FRESH_S = 3.0
# what reading and counting may take, so that drawing still comes within 50 ms; so long the window waits for it, and
# draws the plot before the images, which take longer
_PATIENCE_S = 0.02
# a finer level has four times the pixels; one that was slow may have read from the disk what is in memory now
_FAST_S = _PATIENCE_S / 4
_FAST_IN_A_ROW, _SLOW_IN_A_ROW = 12, 3


@dataclass(frozen=True, eq=False)
class _Preview:
    """What is asked for while a region moves."""

    images: RoiImages
    listed: ListedRoi  # The region as it is at this moment
    density_range: tuple[float, float] | None  # Of the plot that is shown
    most_px: float  # How many pixels can be afforded
    cache: ChunkCache  # What was read while it moved


@dataclass(frozen=True, eq=False)
class Measured:
    """A region and its numbers."""

    images: RoiImages
    listed: ListedRoi  # The region as it was
    measurement: RoiMeasurement | Exception  # The numbers, or why there are none
    seconds: float  # How long it took


class Previews(QObject):
    """Measures the newest region that it was asked for, at the level that can be afforded.

    `measured` carries a `Measured`.
    """

    measured = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._waiting: deque[_Preview] = deque(maxlen=1)
        self._run: BackgroundRun | None = None
        self._cache = ChunkCache(_KEPT_BYTES)
        self._most_px = _FIRST_PX
        self._asked = 0.0
        self._fast = self._slow = 0

    @property
    def is_busy(self) -> bool:
        """Whether a region is being measured."""
        return self._run is not None

    def ask(self, images: RoiImages, listed: ListedRoi, density_range: tuple[float, float] | None) -> None:
        """Measure a region; another one that waits is forgotten."""
        now = time.monotonic()
        if now - self._asked > _FRESH_S:
            # a prediction that is being made may have gone on
            self.forget()
        self._asked = now
        self._waiting.append(_Preview(images, listed, density_range, self._most_px, self._cache))
        if self._run is None:
            self._start().hand_out(_PATIENCE_S)

    def forget(self) -> None:
        """Read anew from now on: the pixels may be others."""
        self._cache = ChunkCache(_KEPT_BYTES)

    def abandon(self) -> None:
        """End what runs, and say no more of it."""
        self._waiting.clear()
        if self._run is not None:
            self._run.abandon()
            self._run = None

    def _start(self) -> BackgroundRun:
        self._run = run = BackgroundRun(self._measure_waiting, is_polite=False)
        run.yielded.connect(self._take)
        run.finished.connect(self._go_on)
        run.start()
        return run

    def _measure_waiting(self, stop: threading.Event) -> Generator[Measured, None, None]:
        while self._waiting and not stop.is_set():
            yield _preview(self._waiting.popleft())

    def _take(self, measured: Measured) -> None:
        self._fast = self._fast + 1 if measured.seconds < _FAST_S else 0
        self._slow = self._slow + 1 if measured.seconds > _PATIENCE_S else 0
        if self._slow == _SLOW_IN_A_ROW:
            self._slow, self._most_px = 0, max(self._most_px / 2, _LEAST_PX)
        elif self._fast == _FAST_IN_A_ROW:
            self._fast, self._most_px = 0, min(self._most_px * 2, MOST_PX)
        self.measured.emit(measured)

    def _go_on(self) -> None:
        self._run = None
        if self._waiting:
            self._start()


class _InBackground(QObject):
    """Looks at regions one after the other; `finished` says that all are done."""

    finished = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._run: BackgroundRun | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a region is being looked at."""
        return self._run is not None

    def abandon(self) -> None:
        """End what runs, and say no more of it."""
        if self._run is not None:
            self._run.abandon()
            self._run = None

    def _start(self, work: Work, take: Callable[[Any], object]) -> None:
        self._run = BackgroundRun(work)
        self._run.yielded.connect(take)
        self._run.finished.connect(self._end)
        self._run.start()

    def _end(self) -> None:
        self._run = None
        self.finished.emit()


class Measurements(_InBackground):
    """Measures regions one after the other from every pixel.

    `measured` carries a `Measured`, `finished` says that all are.
    """

    measured = Signal(object)

    def measure(self, images: RoiImages, rois: Sequence[ListedRoi]) -> None:
        """Measure these regions now, in place of those that were to be measured."""
        self.abandon()
        if not rois:
            return

        def work(stop: threading.Event) -> Generator[Measured | None, None, None]:
            """Measure one after the other."""
            for listed in rois:
                yield from _measure(images, listed, stop)
                if stop.is_set():
                    return

        self._start(work, self._take)

    def _take(self, measured: Measured | None) -> None:
        if measured is not None:
            self.measured.emit(measured)


class Colocalizations(_InBackground):
    """Computes Manders and Costes of regions, one after the other.

    `found` carries a region, as it was, and what was found or why nothing was; `finished` says that all are done.
    """

    found = Signal(object, object)

    def compute(self, images: RoiImages, rois: Sequence[ListedRoi]) -> None:
        """Compute those of these regions now, in place of those that were to be computed."""
        self.abandon()

        def work(stop: threading.Event) -> Generator[tuple[ListedRoi, object], None, None]:
            """Compute one after the other."""
            for listed in rois:
                if stop.is_set():
                    return
                yield listed, _colocalized(images, listed)

        self._start(work, lambda news: self.found.emit(*news))


def _colocalized(images: RoiImages, listed: ListedRoi) -> tuple[Colocalization, ...] | Exception:
    try:
        return colocalize_roi(images, listed.roi)
    except ValueError as error:
        return error


def _preview(wanted: _Preview) -> Measured:
    start = time.perf_counter()
    found: RoiMeasurement | Exception
    try:
        found = preview_roi(
            wanted.images,
            wanted.listed.roi,
            read=wanted.cache.read,
            most_px=wanted.most_px,
            density_range=wanted.density_range,
        )
    except ValueError as error:
        found = error
    return Measured(wanted.images, wanted.listed, found, time.perf_counter() - start)


def _measure(images: RoiImages, listed: ListedRoi, stop: threading.Event) -> Generator[Measured | None, None, None]:
    start = time.perf_counter()
    tiles = measure_roi(images, listed.roi)
    found: RoiMeasurement | Exception
    try:
        while True:
            next(tiles)
            if stop.is_set():
                return
            yield None
    except StopIteration as end:
        found = end.value
    except ValueError as error:
        found = error
    finally:
        tiles.close()
    yield Measured(images, listed, found, time.perf_counter() - start)
