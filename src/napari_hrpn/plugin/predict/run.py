"""What a prediction from the viewer does off the GUI thread: reads checkpoints, drives the engine, fills the levels.

Nothing of Qt or napari is touched here, and torch is imported here alone, since that takes seconds.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.core import TileGrid
from napari_hrpn.plugin.parts.devices import find_devices
from napari_hrpn.plugin.parts.form_warnings import leave_to_the_form
from napari_hrpn.slides import open_slide
from napari_hrpn.slides.contrast import HIGH_PERCENT, LOW_PERCENT

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Generator, Mapping
    from pathlib import Path

    from napari_hrpn.core import Box, Tile
    from napari_hrpn.inference import Device, PredictionReport, PredictionSettings, PredictionStore, TileReport
    from napari_hrpn.models import Checkpoint
    from napari_hrpn.plugin.viewer import LiveLevels
    from napari_hrpn.slides import Slide


@dataclass(frozen=True)
class Readiness:
    """What the form needs to know and takes seconds to find out."""

    devices: tuple[Device, ...]


@dataclass(frozen=True)
class ReadCheckpoint:
    """What the form keeps of a checkpoint."""

    path: Path
    checkpoint: Checkpoint  # Without its weights, which are large
    digest: str  # Fingerprint, which the weights decide too


@dataclass(frozen=True)
class Job:
    """One press of the button."""

    slide: Slide
    roles: Mapping[str, int]  # Channel of each input role
    # What to predict with, and where to
    checkpoint: Path
    store: Path
    request: Mapping[str, Any]  # What is known to decide the pixels, as `find_output` gives it
    settings: PredictionSettings
    overwrite: bool = False  # Whether another prediction may be replaced


@dataclass(frozen=True)
class Outcome:
    """What a run left."""

    report: PredictionReport
    slide: Slide | None  # The prediction, once it is complete


@dataclass(frozen=True)
class Progress:
    """How far a prediction has come; what it tells of is loaded and can be shown."""

    # Tiles on disk, and tiles wanted
    finished: int
    total: int
    earlier: int  # How many of those on disk were finished by an earlier run
    predicted_px: int  # Pixels of the tiles on disk
    seconds_left: float | None  # Expected time to the end
    contrast: tuple[float, float] | None  # Percentiles of the finished pixels


def find_readiness() -> Readiness:
    """Load what is slow to load, and look for processors."""
    return Readiness(find_devices())


def read_card(path: Path) -> ReadCheckpoint:
    """Read what a checkpoint says of itself."""
    from napari_hrpn.models import load_checkpoint

    checkpoint = load_checkpoint(path)
    return ReadCheckpoint(path, replace(checkpoint, weights={}), checkpoint.digest)


def predict(
    job: Job,
    levels: LiveLevels,
    focus: Callable[[], tuple[float, float] | None],
    stop: threading.Event,
) -> Generator[Progress, None, Outcome]:
    """Predict a slide, and load each tile into the levels that are shown."""
    filling = _Filling(job, levels)
    from napari_hrpn.inference import PredictionWarning, predict_slide
    from napari_hrpn.models import load_checkpoint

    leave_to_the_form(PredictionWarning, __name__)
    if not job.overwrite and job.store.exists() and filling.open():
        yield filling.progress(None)
    run = predict_slide(
        job.slide,
        load_checkpoint(job.checkpoint),
        job.store,
        job.settings,
        roles=job.roles,
        overwrite=job.overwrite,
        focus=focus,
        stop=stop,
    )
    with contextlib.closing(run):
        report = yield from filling.follow(run)
    filling.open()
    return Outcome(report, open_slide(report.path) if report.complete else None)


class _Filling:
    """Keeps what is shown up with the store."""

    def __init__(self, job: Job, levels: LiveLevels) -> None:
        self._job = job
        self._levels = levels
        self._cores: set[Box] = set()
        self._is_open = False
        self._finished = self._total = self._earlier = 0

    def follow(self, run: Generator[TileReport, None, PredictionReport]) -> Generator[Progress, None, PredictionReport]:
        """Turn the engine's reports into progress that can be shown."""
        is_first = True
        while True:
            try:
                report = next(run)
            except StopIteration as end:
                result: PredictionReport = end.value
                return result
            if is_first:
                # the engine may have replaced what was there, so it is opened only now
                self.open()
                self._earlier, is_first = report.finished - 1, False
            self._load(report.tile)
            self._finished, self._total = report.finished, report.total
            yield self.progress(report.seconds_left)

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

    def progress(self, seconds_left: float | None) -> Progress:
        """Say how far it is."""
        pixels = self._levels.loaded_pixels()
        pixels = pixels[np.isfinite(pixels)]
        contrast = None
        if pixels.size:
            low, high = (float(limit) for limit in np.percentile(pixels, (LOW_PERCENT, HIGH_PERCENT)))
            contrast = (low, high) if high > low else None
        predicted_px = sum(core.area for core in self._cores)
        return Progress(self._finished, self._total, self._earlier, predicted_px, seconds_left, contrast)

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

    def _load(self, tile: Tile) -> None:
        if tile.core not in self._cores:
            self._levels.load(tile.core)
            self._cores.add(tile.core)
