"""Where a training goes, and what is there already.

Nothing of Qt or napari is touched here, and torch is imported inside functions alone, since that takes seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_hrpn.plugin.parts.user_error import UserError
from napari_hrpn.plugin.train.job import FINISHED, NEW, OTHER, UNFINISHED, TrainingJob

if TYPE_CHECKING:
    from pathlib import Path

    from napari_hrpn.training import EpochRecord, RunFolder

_FOLDER_NAME = "training"
_MOST_FOLDERS = 1000


@dataclass(frozen=True)
class RunFolderState:
    """Where a run goes."""

    folder: Path
    standing: str  # What is in it: nothing, this very training, or something else
    history: tuple[EpochRecord, ...] = ()
    best_epoch: int = 0


def find_place(job: TrainingJob) -> RunFolderState:
    """Decide on the folder of a run, and look what is in it."""
    if job.folder is not None:
        return _place(job, job.folder)
    for number in range(1, _MOST_FOLDERS):
        place = _place(job, job.beside / (_FOLDER_NAME if number == 1 else f"{_FOLDER_NAME}-{number}"))
        if place.standing == NEW or (place.standing != OTHER and not job.is_fresh):
            return place
    msg = f"{job.beside} has no room for a folder of the training; choose one for the run."
    raise UserError(msg)


def refuse_other(place: RunFolderState) -> None:
    """Keep a run from going where something else is."""
    if place.standing == OTHER:
        msg = f"{place.folder} holds something else than this training; choose another folder, or press Reset."
        raise UserError(msg)


def _place(job: TrainingJob, folder: Path) -> RunFolderState:
    from napari_hrpn.training import RunFolder, TrainingError

    run = RunFolder(folder)
    try:
        if not run.is_run:
            return RunFolderState(folder, NEW if _is_free(folder) else OTHER)
        if not _is_of(run, job):
            return RunFolderState(folder, OTHER)
        state = run.state()
    except (TrainingError, OSError):
        return RunFolderState(folder, OTHER)
    is_over = state.complete and state.is_over(job.settings)
    return RunFolderState(folder, FINISHED if is_over else UNFINISHED, state.history, state.best_epoch)


def _is_free(folder: Path) -> bool:
    if not folder.exists():
        return True
    from napari_hrpn.training.checks import OF_A_RUN, OF_THE_SYSTEM

    names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    return names <= OF_A_RUN | OF_THE_SYSTEM


def _is_of(run: RunFolder, job: TrainingJob) -> bool:
    from napari_hrpn.training import RunRequest

    there, wanted = run.request(), RunRequest(job.expected_entries(run.path), job.settings, job.validate)
    return there is not None and there.matches(wanted)
