"""Training from the widget, off the GUI thread: expected time and memory, reports, and runs that are loaded."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from napari_hrpn.core import relayed
from napari_hrpn.plugin.parts.messages import UserError, warned_in_form
from napari_hrpn.plugin.parts.options_form import find_devices
from napari_hrpn.plugin.train.job import FINISHED, RunFolderState, find_place, refuse_other
from napari_hrpn.plugin.train.preview import PreviewPictures, preview_pictures
from napari_hrpn.slides import SlideError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
    from pathlib import Path

    from napari_hrpn.inference import Device
    from napari_hrpn.plugin.train.job import TrainingJob
    from napari_hrpn.settings.training import TrainingSettings
    from napari_hrpn.training import (
        CutReport,
        EpochRecord,
        EpochReport,
        RunRequest,
        SlideEntry,
        StepReport,
        TrainingResult,
    )
    from napari_hrpn.training.checks import Checked

_TRAINS = threading.Lock()


@dataclass(frozen=True)
class PatchCounts:
    """Patches of each slide, in the order of the form; None for a slide that cannot be used."""

    counts: tuple[int | None, ...]


@dataclass(frozen=True)
class Prospect:
    """What is to be expected of a training."""

    # Those that are learnt from, and those that the epoch is chosen by
    training_patches: int
    validation_patches: int
    steps: int
    seconds: float
    memory_bytes: int  # At its peak, above what is taken before
    disk_bytes: int  # That cutting patches still takes
    warnings: tuple[str, ...]
    split_note: str  # How validation was chosen


def look_ahead(
    job: TrainingJob, stop: threading.Event
) -> Generator[RunFolderState | PatchCounts, None, Prospect | None]:
    """Find out what a training would be: where it goes, how long it takes, and whether it can start at all."""
    job = job.written()
    if stop.is_set():
        return None
    place = find_place(job)
    yield place
    counts = []
    for entry in job.entries:
        counts.append(_patches(entry, job.settings))
        if stop.is_set():
            return None
    yield PatchCounts(tuple(counts))
    refuse_other(place)
    from napari_hrpn.training.checks import check_training

    checked = check_training(job.entries, job.settings, place.folder, job.validate)
    with _alone(stop) as is_alone:
        return _prospect(job, checked, place.history) if is_alone else None


def steps_per_epoch(settings: TrainingSettings, patches: int) -> int:
    """Steps of an epoch over so many patches; with random crops roughly, since only the feed knows their pixels."""
    from napari_hrpn.training.data.patch_sampler import FEWEST_STEPS

    steps = max(1, -(-patches // settings.batch))
    return settings.steps_per_epoch or max(FEWEST_STEPS, steps) if settings.sampling == "crops" else steps


def _patches(entry: SlideEntry, settings: TrainingSettings) -> int | None:
    from napari_hrpn.training import TrainingError, count_patches, open_entry

    try:
        return count_patches(open_entry(entry, settings), settings)
    except (SlideError, TrainingError):
        # the check of all slides says it in a sentence
        return None


def _prospect(job: TrainingJob, checked: Checked, history: Sequence[EpochRecord]) -> Prospect:
    from napari_hrpn.training import count_patches, estimate

    settings, split = job.settings, checked.split
    learnt, judged = (sum(count_patches(slide, settings) for slide in part) for part in (split.train, split.validation))
    steps = steps_per_epoch(settings, learnt)
    expected = estimate(settings, steps, settings.device, validation_patches=judged)
    return Prospect(
        training_patches=learnt,
        validation_patches=judged,
        steps=steps,
        seconds=_seconds_left(expected.seconds, settings.epochs, history),
        memory_bytes=expected.memory_bytes,
        disk_bytes=checked.cache_bytes,
        warnings=checked.warnings,
        split_note=split.note,
    )


def _seconds_left(expected: float, epochs: int, history: Sequence[EpochRecord]) -> float:
    """Time of a run that goes on, by the pace of its finished epochs; as expected where there are none."""
    if not history:
        return expected
    return history[-1].seconds / len(history) * max(0, epochs - len(history))


@contextlib.contextmanager
def _alone(stop: threading.Event) -> Iterator[bool]:
    """Wait until nothing else trains or is timed in this program: they share torch's random numbers."""
    while not (is_alone := _TRAINS.acquire(timeout=0.1)) and not stop.is_set():
        pass
    try:
        yield is_alone
    finally:
        if is_alone:
            _TRAINS.release()


_SECONDS_BETWEEN_STEPS = 0.1


@dataclass(frozen=True)
class TrainingReadiness:
    """What the form needs to know and takes seconds to find out."""

    devices: tuple[Device, ...]
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
    """Load what is slow to load, and look for processors."""
    devices = find_devices()
    from napari_hrpn.training.devices import most_devices

    return TrainingReadiness(devices, {device.name: most_devices(device.name) for device in devices})


def train(job: TrainingJob, stop: threading.Event) -> Generator[Any, None, TrainingOutcome]:
    """Train, or go on with a training."""
    from napari_hrpn.training import TrainingWarning, train_model
    from napari_hrpn.training.checks import check_training

    job = job.written()
    place = find_place(job)
    refuse_other(place)
    entries = job.keep_regions(place.folder)
    yield place
    if not (job.is_checked or place.standing == FINISHED):
        yield Warned(check_training(entries, job.settings, place.folder, job.validate).warnings)
    with _alone(stop):
        run = train_model(entries, place.folder, job.settings, validate=job.validate, stop=stop)
        result = yield from relayed(warned_in_form(TrainingWarning, run), _news_of(job.settings.channels))
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


def _news_of(
    channels: tuple[str, ...],
) -> Callable[[CutReport | StepReport | EpochReport], CutReport | StepNews | EpochNews | None]:
    """Reports as the widget shows them, steps and cells no more often than it can."""
    from napari_hrpn.training import EpochReport, StepReport

    shown, epoch, total, count = 0.0, 0, 0.0, 0

    def news(report: CutReport | StepReport | EpochReport) -> CutReport | StepNews | EpochNews | None:
        nonlocal shown, epoch, total, count
        if isinstance(report, EpochReport):
            return EpochNews(report, preview_pictures(report.preview, channels))
        if isinstance(report, StepReport):
            if report.epoch != epoch:
                shown, epoch, total, count = 0.0, report.epoch, 0.0, 0
            total, count = total + report.loss, count + 1
        if time.monotonic() - shown < _SECONDS_BETWEEN_STEPS:
            return None
        shown = time.monotonic()
        return StepNews(report, total / count) if isinstance(report, StepReport) else report

    return news


def _card(result: TrainingResult) -> str:
    if result.checkpoint is None:
        return ""
    from napari_hrpn.models import load_checkpoint

    return load_checkpoint(result.checkpoint).card.summary()
