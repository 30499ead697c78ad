"""What the training widget does off the GUI thread: finds processors and recipes, trains, loads runs.

Nothing of Qt or napari is touched here, and torch is imported inside functions alone, since that takes seconds.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from napari_hrpn.plugin.parts.devices import find_devices
from napari_hrpn.plugin.parts.messages import leave_to_the_form
from napari_hrpn.plugin.parts.user_error import UserError
from napari_hrpn.plugin.train.job import FINISHED
from napari_hrpn.plugin.train.pictures import PreviewPictures, preview_pictures
from napari_hrpn.plugin.train.run_folder_state import find_place, refuse_other
from napari_hrpn.plugin.train.training_estimate import alone

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator, Mapping
    from pathlib import Path

    from napari_hrpn.inference import Device
    from napari_hrpn.plugin.train.job import TrainingJob
    from napari_hrpn.training import (
        CutReport,
        EpochReport,
        RunRequest,
        StepReport,
        TrainingResult,
        TrainingSettings,
    )

_SECONDS_BETWEEN_STEPS = 0.1


@dataclass(frozen=True)
class TrainingReadiness:
    """What the form needs to know and takes seconds to find out."""

    devices: tuple[Device, ...]
    recipes: Mapping[tuple[str, str], TrainingSettings]  # Settings by model and recipe
    # How many can train together, by the name of the first
    most_devices: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Warned:
    """What is worth a warning, one sentence each."""

    sentences: tuple[str, ...]


@dataclass(frozen=True)
class StepNews:
    """A step, with the mean loss of its epoch so far."""

    report: StepReport
    mean_loss: float


@dataclass(frozen=True, eq=False)
class EpochNews:
    """An epoch, with its preview as pictures."""

    report: EpochReport
    pictures: PreviewPictures


@dataclass(frozen=True)
class TrainingOutcome:
    """What a run left, with the card of its checkpoint as Markdown; empty where there is none."""

    result: TrainingResult
    card: str


@dataclass(frozen=True)
class LoadedRun:
    """A run that was read from its folder, with its request and what it left so far."""

    request: RunRequest
    outcome: TrainingOutcome


def find_training_readiness() -> TrainingReadiness:
    """Load what is slow to load, and look for processors and recipes."""
    devices = find_devices()
    from napari_hrpn.training import recipe_settings
    from napari_hrpn.training.devices import most_devices

    names = itertools.product(("hrpn", "ganda"), ("fast", "paper"))
    recipes = {(model, recipe): recipe_settings(recipe, model) for model, recipe in names}
    return TrainingReadiness(devices, recipes, {device.name: most_devices(device.name) for device in devices})


def train(job: TrainingJob, stop: threading.Event) -> Generator[Any, None, TrainingOutcome]:
    """Train, or go on with a training."""
    from napari_hrpn.training import TrainingWarning, train_model
    from napari_hrpn.training.checks import check_training

    job = job.written()
    place = find_place(job)
    refuse_other(place)
    entries = job.keep_regions(place.folder)
    yield place
    leave_to_the_form(TrainingWarning, __name__)
    if not (job.is_checked or place.standing == FINISHED):
        yield Warned(check_training(entries, job.settings, place.folder, job.validate).warnings)
    with alone(stop):
        run = train_model(entries, place.folder, job.settings, validate=job.validate, stop=stop)
        with contextlib.closing(run):
            result = yield from _followed(run, job.settings.channels)
    return TrainingOutcome(result, _card(result))


def load_run(folder: Path) -> LoadedRun:
    """Read what a run was asked for, and what it left."""
    from napari_hrpn.training import RunFolder

    run = RunFolder(folder)
    request = run.request()
    if request is None:
        msg = f"{folder} holds no training; choose the folder of a run, with a file run.json in it."
        raise UserError(msg)
    result = run.result()
    return LoadedRun(request, TrainingOutcome(result, _card(result)))


def _followed(
    run: Generator[Any, None, TrainingResult], channels: tuple[str, ...]
) -> Generator[CutReport | StepNews | EpochNews, None, TrainingResult]:
    """Reports as the widget shows them, steps and cells no more often than it can."""
    from napari_hrpn.training import EpochReport, StepReport

    told, epoch, total, count = 0.0, 0, 0.0, 0
    while True:
        try:
            report = next(run)
        except StopIteration as end:
            result: TrainingResult = end.value
            return result
        if isinstance(report, EpochReport):
            yield EpochNews(report, preview_pictures(report.preview, channels))
            continue
        if isinstance(report, StepReport):
            if report.epoch != epoch:
                told, epoch, total, count = 0.0, report.epoch, 0.0, 0
            total, count = total + report.loss, count + 1
        if time.monotonic() - told >= _SECONDS_BETWEEN_STEPS:
            told = time.monotonic()
            yield StepNews(report, total / count) if isinstance(report, StepReport) else report


def _card(result: TrainingResult) -> str:
    if result.checkpoint is None:
        return ""
    from napari_hrpn.models import load_checkpoint

    return load_checkpoint(result.checkpoint).card.summary()
