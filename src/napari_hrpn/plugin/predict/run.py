"""Prediction from the viewer, off the GUI thread: reads checkpoints, runs the engine, fills the levels.

Nothing of Qt or napari is touched here, and torch is imported here alone, since that takes seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.core import TileGrid, relayed
from napari_hrpn.plugin.parts.messages import warned_in_form
from napari_hrpn.plugin.predict.job import ReadCheckpoint
from napari_hrpn.slides import open_slide
from napari_hrpn.slides.metadata import HIGH_PERCENT, LOW_PERCENT

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Generator
    from pathlib import Path

    from napari_hrpn.core import Box
    from napari_hrpn.inference import PredictionReport, PredictionStore, TileReport
    from napari_hrpn.plugin.predict.job import Job
    from napari_hrpn.plugin.viewer import LiveLevels
    from napari_hrpn.slides import Slide


@dataclass(frozen=True)
class PredictionProgress:
    """How far a prediction has come; its tiles are loaded and can be shown."""

    finished: int  # tiles on disk
    total: int  # tiles wanted
    earlier: int  # how many of those on disk were finished by an earlier run
    predicted_px: int  # pixels of the tiles on disk
    seconds_left: float | None  # expected time to the end
    contrast: tuple[float, float] | None  # percentiles of the finished pixels


def read_checkpoint(path: Path | None) -> ReadCheckpoint:
    """Read what a checkpoint says of itself: that of a file, or the bundled one."""
    from napari_hrpn.models import bundled_checkpoint, load_checkpoint

    path = path or bundled_checkpoint()
    checkpoint = load_checkpoint(path)
    return ReadCheckpoint(path, replace(checkpoint, weights={}), checkpoint.digest)


def predict(
    job: Job,
    levels: LiveLevels,
    focus: Callable[[], tuple[float, float] | None],
    stop: threading.Event,
) -> Generator[PredictionProgress, None, tuple[PredictionReport, Slide | None]]:
    """Predict a slide, and load each tile into the levels that are shown; the slide is the complete prediction."""
    filling = _Filling(job, levels)
    from napari_hrpn.inference import PredictionWarning, predict_slide
    from napari_hrpn.models import load_checkpoint

    if not job.overwrite and job.store.exists() and filling.open():
        yield filling.progress(None)
    run = predict_slide(
        job.slide,
        load_checkpoint(job.read.path),
        job.store,
        job.settings,
        roles=job.roles,
        overwrite=job.overwrite,
        focus=focus,
        stop=stop,
    )
    report = yield from relayed(warned_in_form(PredictionWarning, run), filling.take)
    filling.open()
    return report, open_slide(report.path) if report.complete else None


class _Filling:
    """Keeps what is shown up with the store."""

    def __init__(self, job: Job, levels: LiveLevels) -> None:
        self._job = job
        self._levels = levels
        self._cores: set[Box] = set()
        self._is_open = self._is_begun = False
        self._finished = self._total = self._earlier = 0

    def take(self, report: TileReport) -> PredictionProgress:
        """Load the tile that the engine reports, and say how far it is."""
        if not self._is_begun:
            # the engine may have replaced what was there, so it is opened only now
            self.open()
            self._earlier, self._is_begun = report.finished - 1, True
        if report.tile.core not in self._cores:
            self._levels.load(report.tile.core)
            self._cores.add(report.tile.core)
        self._finished, self._total = report.finished, report.total
        return self.progress(report.seconds_left)

    def open(self) -> bool:
        """Attach the store, once, and load what is finished in it; False if there is none that fits."""
        from napari_hrpn.inference import PredictionStore

        if self._is_open:
            return True
        try:
            store = PredictionStore(self._job.store)
        except (ValueError, KeyError, TypeError, OSError):
            return False
        if [level.shape[1:] for level in store.levels] != [plane.shape for plane in self._levels.planes]:
            return False
        self._levels.attach(store.levels)
        self._is_open = True
        self._load_finished(store)
        return True

    def progress(self, seconds_left: float | None) -> PredictionProgress:
        """Say how far it is."""
        pixels = self._levels.loaded_pixels()
        pixels = pixels[np.isfinite(pixels)]
        contrast = None
        if pixels.size:
            low, high = (float(limit) for limit in np.percentile(pixels, (LOW_PERCENT, HIGH_PERCENT)))
            contrast = (low, high) if high > low else None
        predicted_px = sum(core.area for core in self._cores)
        return PredictionProgress(self._finished, self._total, self._earlier, predicted_px, seconds_left, contrast)

    def _load_finished(self, store: PredictionStore) -> None:
        """Load what earlier runs left anywhere on the slide; those of the region count as progress."""
        core, region = store.request.get("core"), self._job.settings.region
        if not isinstance(core, int):
            return
        grid = TileGrid(*self._job.slide.shape, core, halo=0, stride=1)
        self._cores = {tile.core for tile in grid if store.finished(tile.core)}
        self._levels.load_finished(self._cores)
        wanted = tuple(grid) if region is None else grid.within(region)
        self._finished = self._earlier = sum(tile.core in self._cores for tile in wanted)
        self._total = len(wanted)
