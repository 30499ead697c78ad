"""How far many slides are together, before all of them have been looked over."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from napari_hrpn.inference.cluster.reports import TileOfMany

if TYPE_CHECKING:
    from napari_hrpn.inference.reports import TileReport
    from napari_hrpn.inference.tile_progress import Tally
    from napari_hrpn.slides import Location


class Progress:
    """Counts tiles of many slides."""

    def __init__(self, slides: int) -> None:
        self._unknown, self._known = slides, 0
        self._finished = self._total = self._new = self._pixels = 0
        self._started = time.perf_counter()

    def leave_out(self) -> None:
        """Count a slide no more that was never looked over."""
        self._unknown -= 1

    def add(self, tally: Tally) -> None:
        """Count the tiles of a slide that was looked over."""
        if not self._known:
            # until now workers were starting, which says nothing about their speed
            self._started = time.perf_counter()
        self._unknown, self._known = self._unknown - 1, self._known + 1
        self._finished, self._total = self._finished + tally.finished, self._total + tally.total

    def give_up(self, tally: Tally) -> None:
        """Count the tiles no more that a slide will not have."""
        self._total -= tally.total - tally.finished

    def after(self, store: Location, report: TileReport) -> TileOfMany:
        """Report one more tile."""
        self._finished, self._new = self._finished + 1, self._new + 1
        self._pixels += report.pixels
        total = self._total + round(self._unknown * self._total / self._known)
        seconds = time.perf_counter() - self._started
        left = seconds / self._new * (total - self._finished)
        return TileOfMany(store, report, self._finished, total, self._pixels, seconds, left)
