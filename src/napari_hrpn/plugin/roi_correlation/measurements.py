"""Measurement of regions off the GUI thread: the dragged one at once and coarsely, all of them exactly.

The newest request wins; nothing queues up behind it.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, TypeAlias

from qtpy.QtCore import QObject, Signal

from napari_hrpn.analysis import RoiImages, RoiMeasurement, colocalize_roi, measure_roi, preview_roi
from napari_hrpn.plugin.background import BackgroundRun
from napari_hrpn.plugin.parts.measure_bar import Finished, Part, in_turn, step
from napari_hrpn.plugin.roi_correlation.regions import ListedRoi
from napari_hrpn.slides import ChunkCache

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator, Sequence

    from napari_hrpn.analysis import Colocalization
    from napari_hrpn.core import Progress
    from napari_hrpn.slides import Region

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

Measured: TypeAlias = "RoiMeasurement | ValueError"
"""The numbers of a region, or why there are none."""


class Previews(QObject):
    """Measures the newest region that it was asked for, at the level that can be afforded.

    `measured` carries the region as it was, and its numbers or why there are none.
    """

    measured = Signal(object, object)

    def __init__(self) -> None:
        super().__init__()
        self._waiting: deque[tuple[RoiImages, ListedRoi, tuple[float, float] | None]] = deque(maxlen=1)
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
        """Measure a region, with the range of the plot that is shown; another one that waits is forgotten."""
        now = time.monotonic()
        if now - self._asked > _FRESH_S:
            # a prediction that is being made may have gone on
            self.forget()
        self._asked = now
        self._waiting.append((images, listed, density_range))
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

    def _measure_waiting(self, stop: threading.Event) -> Generator[tuple[ListedRoi, Measured, float], None, None]:
        while self._waiting and not stop.is_set():
            images, listed, density_range = self._waiting.popleft()
            start = time.perf_counter()
            found: Measured
            try:
                found = preview_roi(
                    images, listed.roi, cache=self._cache, most_px=self._most_px, density_range=density_range
                )
            except ValueError as error:
                found = error
            yield listed, found, time.perf_counter() - start

    def _take(self, found: tuple[ListedRoi, Measured, float]) -> None:
        listed, measurement, seconds = found
        self._fast = self._fast + 1 if seconds < _FAST_S else 0
        self._slow = self._slow + 1 if seconds > _PATIENCE_S else 0
        if self._slow == _SLOW_IN_A_ROW:
            self._slow, self._most_px = 0, max(self._most_px / 2, _LEAST_PX)
        elif self._fast == _FAST_IN_A_ROW:
            self._fast, self._most_px = 0, min(self._most_px * 2, MOST_PX)
        self.measured.emit(listed, measurement)

    def _go_on(self) -> None:
        self._run = None
        if self._waiting:
            self._start()


class Measurements(QObject):
    """Measures regions from every pixel, one after the other and without a word, and remembers their numbers.

    `measured` carries the digest of a region whose numbers, or why there are none, are `known` now.
    """

    measured = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[str, Measured] = {}
        self._run: BackgroundRun | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a region is being measured."""
        return self._run is not None

    def measure(self, images: RoiImages, rois: Sequence[ListedRoi]) -> None:
        """Measure what is not known of these regions, in place of those that were to be measured; forget all others."""
        self.abandon()
        self.known = {one.digest: self.known[one.digest] for one in rois if one.digest in self.known}
        parts = [_measurement_part(images, one) for one in rois if one.digest not in self.known]
        if parts:
            self._run = BackgroundRun(in_turn(parts, {}))
            self._run.yielded.connect(self._take)
            self._run.finished.connect(self._end)
            self._run.start()

    def abandon(self) -> None:
        """End what runs, and say no more of it."""
        if self._run is not None:
            self._run.abandon()
            self._run = None

    def _take(self, news: object) -> None:
        if isinstance(news, Finished):
            self.known[str(news.key)] = news.result
            self.measured.emit(news.key)

    def _end(self) -> None:
        self._run = None


def _measurement_part(images: RoiImages, listed: ListedRoi) -> Part:
    return Part(listed.digest, listed.name, _area(listed), lambda _: _measure(images, listed.roi))


def colocalization_part(images: RoiImages, listed: ListedRoi) -> Part:
    """Manders and Costes of a region, to be computed in a thread."""
    words = f"Computing the co-localisation of {listed.name}"
    return step(words, _area(listed), _colocalized, images, listed)


def _measure(images: RoiImages, roi: Region) -> Generator[Progress, None, Measured]:
    try:
        return (yield from measure_roi(images, roi))
    except ValueError as error:
        # the other regions are measured all the same
        return error


def _colocalized(images: RoiImages, listed: ListedRoi) -> tuple[Colocalization, ...] | ValueError:
    try:
        return colocalize_roi(images, listed.roi)
    except ValueError as error:
        return error


def _area(listed: ListedRoi) -> float:
    low, high = listed.roi.extent
    return float((high - low).prod())
