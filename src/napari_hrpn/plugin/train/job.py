"""Training job: request of the form, folder of the run, expected time and memory, and the run itself.

No function here uses Qt, so that all can run in another thread; they import torch, which takes seconds.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from napari_hrpn.core import relayed
from napari_hrpn.core.files import replaced_file
from napari_hrpn.plugin.parts.messages import UserError, time_in_words, warned_in_form
from napari_hrpn.plugin.parts.options_form import find_devices
from napari_hrpn.slides import SlideError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence
    from pathlib import Path

    from napari_hrpn.inference import Device
    from napari_hrpn.plugin.viewer.drawn_regions import Drawn
    from napari_hrpn.training import (
        CutReport,
        EpochRecord,
        EpochReport,
        RunRequest,
        SlideEntry,
        StepReport,
        TrainingResult,
        TrainingSettings,
    )
    from napari_hrpn.training.checks import Checked

    _Report: TypeAlias = CutReport | StepReport | EpochReport

_NEW, UNFINISHED, _FINISHED, _OTHER = "new", "unfinished", "finished", "other"
_REGIONS = "regions"
_FOLDER_NAME = "training"
_MOST_FOLDERS = 1000
_SECONDS_BETWEEN_REPORTS = 0.1
_GIGABYTE = 1e9
_FINISHED_WORDS = "This training is finished: choose more epochs, or press Reset to begin another one."
_TRAINS = threading.Lock()


@dataclass(frozen=True)
class TrainingJob:
    """A training as the form describes it."""

    entries: tuple[SlideEntry, ...]  # the slides; with all their regions once these are written
    regions: tuple[Drawn | None, ...]  # regions drawn on each slide that are not written yet
    settings: TrainingSettings
    drawn: Path  # folder of the drawn regions
    beside: Path  # folder in which a run folder is made, if the user has chosen none
    folder: Path | None = None  # the run folder, if the user has chosen one
    is_fresh: bool = False  # whether a new run folder is made even if there is an unfinished run of this training
    validate: str | None = None  # tumour to validate on, from a loaded run
    is_checked: bool = False  # whether its warnings are shown already

    def written(self) -> TrainingJob:
        """Write the drawn regions, which takes seconds for a large label image."""
        entries = tuple(
            entry if regions is None else replace(entry, regions=regions.write(self.drawn))
            for entry, regions in zip(self.entries, self.regions, strict=True)
        )
        return replace(self, entries=entries, regions=(None,) * len(entries))

    def entries_in(self, folder: Path) -> tuple[SlideEntry, ...]:
        """Entries whose drawn regions lie in the folder of a run."""
        kept = folder.absolute() / _REGIONS
        return tuple(
            replace(entry, regions=kept / entry.regions.name)
            if entry.regions is not None and entry.regions.parent == self.drawn
            else entry
            for entry in self.entries
        )

    def keep_regions(self, folder: Path) -> None:
        """Copy drawn regions into the folder of a run."""
        regions = [entry.regions for entry in self.entries if entry.regions is not None]
        try:
            for source in (path for path in regions if path.parent == self.drawn):
                (folder / _REGIONS).mkdir(parents=True, exist_ok=True)
                with replaced_file(folder / _REGIONS / source.name, sync=False) as partial:
                    partial.write_bytes(source.read_bytes())
        except OSError as error:
            msg = f"{folder} cannot be written ({error.strerror}); choose another folder for the run."
            raise UserError(msg) from error


@dataclass(frozen=True)
class RunFolderState:
    """Folder of a run and its content: nothing, this training, or something else."""

    folder: Path
    standing: str
    history: tuple[EpochRecord, ...] = ()
    best_epoch: int = 0

    def refuse_other(self) -> None:
        """Refuse a folder that holds something else."""
        if self.standing == _OTHER:
            msg = f"{self.folder} holds something else than this training; choose another folder, or press Reset."
            raise UserError(msg)


def _choose_run_folder(job: TrainingJob) -> RunFolderState:
    """Choose the folder of a run, and find out what it holds."""
    if job.folder is not None:
        return _run_folder_state(job, job.folder)
    for number in range(1, _MOST_FOLDERS):
        run_folder = _run_folder_state(job, job.beside / (_FOLDER_NAME if number == 1 else f"{_FOLDER_NAME}-{number}"))
        if run_folder.standing == _NEW or (run_folder.standing != _OTHER and not job.is_fresh):
            return run_folder
    msg = f"{job.beside} has too many folders of trainings; choose a folder for the run."
    raise UserError(msg)


def _run_folder_state(job: TrainingJob, folder: Path) -> RunFolderState:
    from napari_hrpn.training import RunFolder, RunRequest, TrainingError

    run = RunFolder(folder)
    try:
        request = run.request()
        if request is None:
            return RunFolderState(folder, _OTHER if run.foreign_file() else _NEW)
        if not request.matches(run.as_begun(RunRequest(job.entries_in(folder), job.settings, job.validate))):
            return RunFolderState(folder, _OTHER)
        state = run.state()
    except (TrainingError, OSError):
        return RunFolderState(folder, _OTHER)
    is_over = state.complete and state.is_over(job.settings)
    return RunFolderState(folder, _FINISHED if is_over else UNFINISHED, state.history, state.best_epoch)


def look_ahead(
    job: TrainingJob, stop: threading.Event
) -> Generator[RunFolderState | tuple[int | None, ...], None, tuple[str, tuple[str, ...]] | None]:
    """Yield the folder of a training and the patches of each slide; returns a description and warnings."""
    job = job.written()
    if stop.is_set():
        return None
    run = _choose_run_folder(job)
    yield run
    counts = []
    for entry in job.entries:
        counts.append(_patches(entry, job.settings))
        if stop.is_set():
            return None
    yield tuple(counts)
    run.refuse_other()
    from napari_hrpn.training.checks import check_training

    checked = check_training(job.entries, job.settings, run.folder, job.validate)
    with _alone(stop) as is_alone:
        if not is_alone:
            return None
        words = _FINISHED_WORDS if run.standing == _FINISHED else _prospect(job.settings, checked, run.history)
        return words, checked.warnings


def steps_per_epoch(settings: TrainingSettings, patches: int) -> int:
    """Steps of an epoch with so many patches; with random crops an estimate, since they depend on the cut cells."""
    from napari_hrpn.training.data.patch_sampler import FEWEST_STEPS

    steps = max(1, -(-patches // settings.batch))
    return settings.steps_per_epoch or max(FEWEST_STEPS, steps) if settings.sampling == "crops" else steps


def _patches(entry: SlideEntry, settings: TrainingSettings) -> int | None:
    from napari_hrpn.training import TrainingError, count_patches, open_entry

    try:
        return count_patches(open_entry(entry, settings), settings)
    except (SlideError, TrainingError):
        # the check of all slides shows the sentence
        return None


def _prospect(settings: TrainingSettings, checked: Checked, history: Sequence[EpochRecord]) -> str:
    """Describe the patches, steps, time and memory of a training."""
    from napari_hrpn.training import count_patches, estimate

    split = checked.split
    trained, validated = (
        sum(count_patches(slide, settings) for slide in part) for part in (split.train, split.judged_on)
    )
    steps = steps_per_epoch(settings, trained)
    expected = estimate(settings, steps, settings.device, validation_patches=validated)
    seconds = expected.seconds
    if history:
        # the speed of a run that is resumed is known
        seconds = history[-1].seconds / len(history) * max(0, settings.epochs - len(history))
    disk = f", {_bytes(checked.cache_bytes)} on disk for patches" if checked.cache_bytes else ""
    return (
        f"{trained:,} patches to learn from and {validated:,} to validate: about {steps:,} steps per epoch, "
        f"{time_in_words(seconds)}, {_bytes(expected.memory_bytes)} more memory{disk}. {split.note}"
    ).strip()


def _bytes(count: int) -> str:
    return f"{count / _GIGABYTE:.1f} GB" if count >= _GIGABYTE / 10 else f"{max(1, round(count / 1e6))} MB"


@contextlib.contextmanager
def _alone(stop: threading.Event) -> Iterator[bool]:
    """Wait until no other training or estimate runs in this program: they share torch's random numbers."""
    while not (is_alone := _TRAINS.acquire(timeout=0.1)) and not stop.is_set():
        pass
    try:
        yield is_alone
    finally:
        if is_alone:
            _TRAINS.release()


def find_training_devices() -> tuple[tuple[Device, ...], Mapping[str, int]]:
    """Import slow packages and find the devices; returns also, by device, how many can train together from it on."""
    devices = find_devices()
    from napari_hrpn.training.multi_device import most_devices

    return devices, {device.name: most_devices(device.name) for device in devices}


def train(job: TrainingJob, stop: threading.Event) -> Generator[Any, None, tuple[TrainingResult, str]]:
    """Start or resume a training: yields its folder, warnings and reports; returns its result and the card."""
    from napari_hrpn.training import TrainingWarning, train_model
    from napari_hrpn.training.checks import check_training

    job = job.written()
    run_folder = _choose_run_folder(job)
    run_folder.refuse_other()
    job.keep_regions(run_folder.folder)
    entries = job.entries_in(run_folder.folder)
    yield run_folder
    if not (job.is_checked or run_folder.standing == _FINISHED):
        yield check_training(entries, job.settings, run_folder.folder, job.validate).warnings
    with _alone(stop):
        run = train_model(entries, run_folder.folder, job.settings, validate=job.validate, stop=stop)
        result = yield from relayed(warned_in_form(TrainingWarning, run), _Thinned())
    return result, _card(result)


def load_run(folder: Path) -> tuple[RunRequest, TrainingResult, str]:
    """Read the request and the result of a run, and the card of its checkpoint."""
    from napari_hrpn.training import RunFolder

    run = RunFolder(folder)
    request = run.request()
    if request is None:
        msg = f"{folder} holds no training; choose the folder of a run, with a file run.json in it."
        raise UserError(msg)
    result = run.result()
    return request, result, _card(result)


class _Thinned:
    """Passes reports at most ten times a second, and the end of every epoch."""

    def __init__(self) -> None:
        self._shown = 0.0

    def __call__(self, report: _Report) -> _Report | None:
        from napari_hrpn.training import EpochReport

        if isinstance(report, EpochReport):
            # the first step of the next epoch is passed
            self._shown = 0.0
            return report
        if time.monotonic() - self._shown < _SECONDS_BETWEEN_REPORTS:
            return None
        self._shown = time.monotonic()
        return report


def _card(result: TrainingResult) -> str:
    """Card of a checkpoint as Markdown; empty if there is none."""
    if result.checkpoint is None:
        return ""
    from napari_hrpn.models import load_checkpoint

    return load_checkpoint(result.checkpoint).card.summary()
