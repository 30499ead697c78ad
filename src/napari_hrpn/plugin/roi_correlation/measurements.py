"""Measurement of regions in background threads: a coarse preview of a dragged region, and exact numbers of all.

Of several regions that wait for a preview, only the newest is measured.
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
# pixels that were read are used for this time; a running prediction may change them later
_FRESH_S = 3.0
# time for reading and counting, which leaves enough to draw within 50 ms; the window waits this long for the numbers,
# and so draws the plot before the images, which take longer
_PATIENCE_S = 0.02
# a finer level has four times the pixels, so a measurement must be that much faster before a finer one is tried;
# several slow ones are needed for a coarser level, as the first may have waited for the disk
_FAST_S = _PATIENCE_S / 4
_FAST_IN_A_ROW, _SLOW_IN_A_ROW = 12, 3

Measured: TypeAlias = "RoiMeasurement | ValueError"
"""The numbers of a region, or the error that explains why there are none."""


class Previews(QObject):
    """Measures the newest region at the finest level that is fast enough.

    `measured` carries the region as it was measured, and its numbers or an error.
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
        """Measure a region, with the range of the current plot; a region that waits is dropped."""
        now = time.monotonic()
        if now - self._asked > _FRESH_S:
            # a running prediction may have finished more tiles
            self.forget()
        self._asked = now
        self._waiting.append((images, listed, density_range))
        if self._run is None:
            self._start().hand_out(_PATIENCE_S)

    def forget(self) -> None:
        """Drop the pixels that were read: they may have changed."""
        self._cache = ChunkCache(_KEPT_BYTES)

    def abandon(self) -> None:
        """Stop measuring, and emit no signal any more."""
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
    """Measures regions from every pixel, one after the other in the background, and remembers their numbers.

    `measured` carries the digest of a region whose numbers, or error, are `known` now.
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
        """Measure those of these regions that are not known, and forget all other regions."""
        self.abandon()
        self.known = {listed.digest: self.known[listed.digest] for listed in rois if listed.digest in self.known}
        parts = [_measurement_part(images, listed) for listed in rois if listed.digest not in self.known]
        if parts:
            self._run = BackgroundRun(in_turn(parts, {}))
            self._run.yielded.connect(self._take)
            self._run.finished.connect(self._end)
            self._run.start()

    def abandon(self) -> None:
        """Stop measuring, and emit no signal any more."""
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
    """Make the part that computes Manders' and Costes' coefficients of a region."""
    words = f"Computing the co-localisation of {listed.name}"
    return step(words, _area(listed), _colocalized, images, listed)


def _measure(images: RoiImages, roi: Region) -> Generator[Progress, None, Measured]:
    try:
        return (yield from measure_roi(images, roi))
    except ValueError as error:
        # an error of one region must not stop the measurement of the others
        return error


def _colocalized(images: RoiImages, listed: ListedRoi) -> tuple[Colocalization, ...] | ValueError:
    try:
        return colocalize_roi(images, listed.roi)
    except ValueError as error:
        return error


def _area(listed: ListedRoi) -> float:
    low, high = listed.roi.extent
    return float((high - low).prod())
