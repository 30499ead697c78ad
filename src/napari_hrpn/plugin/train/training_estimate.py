"""What is to be expected of a training: patches, time, memory, disk, and whether it can start at all.

Nothing of Qt or napari is touched here, and torch is imported inside functions alone, since that takes seconds.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_hrpn.plugin.train.run_folder_state import RunFolderState, find_place, refuse_other
from napari_hrpn.slides import SlideError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from napari_hrpn.plugin.train.job import TrainingJob
    from napari_hrpn.training import EpochRecord, SlideEntry, TrainingSettings
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
    with alone(stop) as is_alone:
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
def alone(stop: threading.Event) -> Iterator[bool]:
    """Wait until nothing else trains or is timed in this program: they share torch's random numbers."""
    while not (is_alone := _TRAINS.acquire(timeout=0.1)) and not stop.is_set():
        pass
    try:
        yield is_alone
    finally:
        if is_alone:
            _TRAINS.release()
