"""Prediction job: region, folder for a new or a resumed prediction, and the run itself.

The functions from `read_checkpoint` on run in another thread: they use nothing of Qt or napari, and import torch, which
takes seconds.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Shapes

from napari_hrpn.core import TileGrid, relayed, rounded_up
from napari_hrpn.core.plain_text import NOT_IN_FILE_NAMES, no_device
from napari_hrpn.plugin.parts.messages import UserError, warned_in_form
from napari_hrpn.plugin.viewer import file_title, shapes_box, slide_title, visible_box
from napari_hrpn.slides import open_slide, prediction_record, slide_identity
from napari_hrpn.slides.metadata import HIGH_PERCENT, LOW_PERCENT

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
    from pathlib import Path

    import napari
    from napari.layers import Image
    from numpy.typing import NDArray

    from napari_hrpn.analysis import ErrorModel
    from napari_hrpn.core import Box
    from napari_hrpn.inference import PredictionReport, PredictionSettings, PredictionStore, TileReport
    from napari_hrpn.models import Checkpoint
    from napari_hrpn.plugin.viewer import LiveLevels
    from napari_hrpn.slides import Slide

IN_VIEW, IN_SHAPES = "view", "shapes"
_SMALL_VIEW_PX, _SMALL_CORE_PX = 1024, 512
"""Tiles of 512 px cover a small view with less excess than tiles of 1,024 px."""
_NOT_DECISIVE = ("device", "largest_core", "memory_gb", "region")


@dataclass(frozen=True)
class ReadCheckpoint:
    """A checkpoint as the form keeps it."""

    path: Path
    checkpoint: Checkpoint  # without its weights, which are large; of an ensemble the first, with the title of all
    digest: str  # hash of the checkpoint, or of all members of the ensemble, including their weights
    halo: int  # pixels around a tile that the networks see, at most
    others: tuple[Path, ...]  # further members of an ensemble
    members: tuple[Checkpoint, ...]  # all, without their weights
    errors: ErrorModel | None = None  # of the networks of a study, on held-out tumours

    @property
    def has_sd(self) -> bool:
        """Whether the prediction has a channel with its standard deviation."""
        return bool(self.others) or self.errors is not None


@dataclass(frozen=True)
class Job:
    """A prediction as the form describes it."""

    slide: Slide
    roles: Mapping[str, int]  # channel of each input role
    read: ReadCheckpoint
    settings: PredictionSettings
    store: Path  # a prediction to resume, or a new folder
    request: Mapping[str, Any]  # all that decides the pixels, as recorded in the store
    replaceable: Path | None  # a prediction of the same slide by the same checkpoint with other settings
    overwrite: bool = False  # whether another prediction may be replaced

    def replacing(self) -> Job:
        """Return the job that replaces a prediction with other settings, if there is one."""
        return self if self.replaceable is None else replace(self, store=self.replaceable, overwrite=True)


def with_region(settings: PredictionSettings, viewer: napari.Viewer, kind: str, reference: Image) -> PredictionSettings:
    """Return the settings with the region to predict: all, the view, or the selected shapes."""
    box: Box | None = None
    if kind == IN_VIEW:
        box = visible_box(viewer, reference)
        if not box.area:
            raise UserError("The slide is not in view: move to it, or predict the whole slide.")
    elif kind == IN_SHAPES:
        box = _box_of_shapes(viewer, reference)
    if box is not None and max(box.height, box.width) <= _SMALL_VIEW_PX:
        settings = replace(settings, largest_core=_SMALL_CORE_PX)
    return replace(settings, region=box)


def _box_of_shapes(viewer: napari.Viewer, reference: Image) -> Box:
    layers = [layer for layer in viewer.layers if isinstance(layer, Shapes)]
    active = viewer.layers.selection.active
    shapes = active if isinstance(active, Shapes) else next(iter(reversed(layers)), None)
    if shapes is None:
        raise UserError("There is no shapes layer: add one, draw around the region, and select the shape.")
    box = shapes_box(shapes, reference, viewer)
    if box is None:
        raise UserError(f"No shape of {shapes.name!r} lies on the slide: draw one around the region to predict.")
    return box


def store_name(slide: Slide) -> str:
    """Name of the folder that holds the first prediction of a slide."""
    return f"{_stem(slide)}.ome.zarr"


def find_job(
    folder: Path, slide: Slide, roles: Mapping[str, int], read: ReadCheckpoint, settings: PredictionSettings
) -> Job:
    """Find the folder of a prediction: that of the same prediction, to resume it, or a new one."""
    request = _request(slide, roles, read, settings)
    free, replaceable = None, None
    for index, path in enumerate(_names(folder, slide, read.checkpoint.card.title)):
        if not path.exists():
            if index == 1 and replaceable is not None:
                # the name with the checkpoint's title is for another checkpoint; other settings get a number
                continue
            free = free or path
            if index:
                break
            continue
        record = prediction_record(path)
        if record is not None and all(record.request.get(key) == value for key, value in request.items()):
            return Job(slide, roles, read, settings, path, request, None)
        if record is not None and (record.slide, record.checkpoint) == (request["slide"], request["checkpoint"]):
            replaceable = replaceable or path
    assert free is not None
    return Job(slide, roles, read, settings, free, request, replaceable)


def _names(folder: Path, slide: Slide, title: str) -> Iterator[Path]:
    yield folder / store_name(slide)
    stem = f"{_stem(slide)}-{file_title(title)}"
    yield folder / f"{stem}.ome.zarr"
    for number in itertools.count(2):
        yield folder / f"{stem}-{number}.ome.zarr"


def _stem(slide: Slide) -> str:
    indices = (("series", slide.series or None), ("z", slide.z), ("t", slide.t))
    plane = "".join(f"-{name}{index}" for name, index in indices if index is not None)
    return no_device(f"{re.sub(NOT_IN_FILE_NAMES, '_', slide_title(slide))}{plane}.predicted")


def _request(
    slide: Slide, roles: Mapping[str, int], read: ReadCheckpoint, settings: PredictionSettings
) -> dict[str, Any]:
    decisive = {key: value for key, value in asdict(settings).items() if key not in _NOT_DECISIVE}
    if settings.core is None:
        # a resumed run keeps the core of the first one
        del decisive["core"]
    reach = read.halo if settings.halo is None else settings.halo
    decisive["halo"] = rounded_up(reach, read.checkpoint.settings.stride)
    return {
        "slide": slide_identity(slide),
        "checkpoint": read.digest,
        "channels": [roles[role] for role in read.checkpoint.card.stains],
        "pixel_size_um": list(slide.pixel_size_um or ()) if slide.pixel_size_is_given else None,
        # that of a prediction without one is found to be None
        "error_model": None if read.errors is None else read.errors.facts,
        **decisive,
        "unlike": [member.features.digest for member in read.members if member.features] if settings.unlike else None,
    }


@dataclass(frozen=True)
class PredictionProgress:
    """Progress of a prediction; its finished tiles are loaded and can be shown."""

    finished: int  # tiles on disk
    total: int  # tiles of the region
    earlier: int  # tiles on disk that an earlier run has finished
    predicted_px: int  # pixels of the tiles on disk
    seconds_left: float | None  # expected time to the end
    # percentiles of the finished pixels of each channel
    contrast: tuple[tuple[float, float] | None, ...]


def read_checkpoint(*names: str, study: Path | None = None) -> ReadCheckpoint:
    """Read cards and settings of a checkpoint, a file or a bundled one, or of several that are an ensemble.

    If they are the networks of a study, their errors on held-out tumours are read, too.
    """
    from napari_hrpn.inference.ensemble import checked_members, ensemble_digest, ensemble_title
    from napari_hrpn.models import checkpoint_path, halo_of, load_checkpoint

    paths = [checkpoint_path(name) for name in names]
    members = checked_members([load_checkpoint(path) for path in paths], names if study is None else ())
    digest = ensemble_digest([member.digest for member in members])
    card = replace(members[0].card, title=ensemble_title(members))
    halo = max(halo_of(member.settings) for member in members)
    light = tuple(replace(member, weights={}) for member in members)
    errors = _errors_of(study, members)
    return ReadCheckpoint(paths[0], replace(light[0], card=card), digest, halo, tuple(paths[1:]), light, errors)


def _errors_of(study: Path | None, members: Sequence[Checkpoint]) -> ErrorModel | None:
    from napari_hrpn.experiments import study_error_model

    return None if study is None else study_error_model(study, members)


def read_study(folder: Path) -> tuple[str, ...]:
    """Paths of the networks of a study's folds."""
    from napari_hrpn.experiments import fold_checkpoints

    return tuple(map(str, fold_checkpoints(folder)))


def predict(
    job: Job,
    levels: Sequence[LiveLevels],
    focus: Callable[[], tuple[float, float] | None],
    stop: threading.Event,
) -> Generator[PredictionProgress, None, tuple[PredictionReport, Slide | None]]:
    """Predict a slide, and load each tile into the levels of all channels; returns the prediction if it is complete."""
    filling = _Filling(job, levels)
    from napari_hrpn.inference import PredictionWarning, predict_slide
    from napari_hrpn.models import load_checkpoint

    if not job.overwrite and job.store.exists() and filling.open():
        yield filling.progress(None)
    first, *others = (load_checkpoint(path) for path in (job.read.path, *job.read.others))
    run = predict_slide(
        job.slide,
        [first, *others] if others else first,
        job.store,
        job.settings,
        roles=job.roles,
        errors=job.read.errors,
        overwrite=job.overwrite,
        focus=focus,
        stop=stop,
    )
    report = yield from relayed(warned_in_form(PredictionWarning, run), filling.take)
    filling.open()
    return report, open_slide(report.path) if report.complete else None


def _contrast(pixels: NDArray[Any]) -> tuple[float, float] | None:
    pixels = pixels[np.isfinite(pixels)]
    if not pixels.size:
        return None
    low, high = (float(limit) for limit in np.percentile(pixels, (LOW_PERCENT, HIGH_PERCENT)))
    return (low, high) if high > low else None


class _Filling:
    """Loads the tiles of a store into the levels that are shown."""

    def __init__(self, job: Job, channels: Sequence[LiveLevels]) -> None:
        self._job = job
        self._channels = channels
        self._cores: set[Box] = set()
        self._is_open = self._is_begun = False
        self._finished = self._total = self._earlier = 0

    def take(self, report: TileReport) -> PredictionProgress:
        """Load the tile of a report, and return the progress."""
        if not self._is_begun:
            # the engine may have replaced a former store, so the store is opened only now
            self.open()
            self._earlier, self._is_begun = report.finished - 1, True
        if report.tile.core not in self._cores:
            for levels in self._channels:
                levels.load(report.tile.core)
            self._cores.add(report.tile.core)
        self._finished, self._total = report.finished, report.total
        return self.progress(report.seconds_left)

    def open(self) -> bool:
        """Attach the store, once, and load its finished tiles; False if there is no store of this size."""
        from napari_hrpn.inference import PredictionStore

        if self._is_open:
            return True
        try:
            store = PredictionStore(self._job.store)
        except (ValueError, KeyError, TypeError, OSError):
            return False
        shapes = [(len(self._channels), *plane.shape) for plane in self._channels[0].planes]
        if [level.shape for level in store.levels] != shapes:
            return False
        for levels in self._channels:
            levels.attach(store.levels)
        self._is_open = True
        self._load_finished(store)
        return True

    def progress(self, seconds_left: float | None) -> PredictionProgress:
        """Progress, with the contrast of the finished pixels."""
        contrast = tuple(_contrast(levels.loaded_pixels()) for levels in self._channels)
        predicted_px = sum(core.area for core in self._cores)
        return PredictionProgress(self._finished, self._total, self._earlier, predicted_px, seconds_left, contrast)

    def _load_finished(self, store: PredictionStore) -> None:
        """Load the tiles that earlier runs have finished on the whole slide; those of the region count as progress."""
        core, region = store.request.get("core"), self._job.settings.region
        if not isinstance(core, int):
            return
        grid = TileGrid(*self._job.slide.shape, core, halo=0, stride=1)
        self._cores = {tile.core for tile in grid if store.finished(tile.core)}
        for levels in self._channels:
            levels.load_finished(self._cores)
        tiles = tuple(grid) if region is None else grid.within(region)
        self._finished = self._earlier = sum(tile.core in self._cores for tile in tiles)
        self._total = len(tiles)
