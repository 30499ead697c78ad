"""Job of a training: slides, settings, drawn regions, and the folder of the run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_hrpn.core.files import replaced_file
from napari_hrpn.plugin.parts.messages import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from napari_hrpn.plugin.viewer.drawn_regions import Drawn
    from napari_hrpn.training import EpochRecord, RunFolder, SlideEntry, TrainingSettings

_NEW, UNFINISHED, FINISHED, _OTHER = "new", "unfinished", "finished", "other"
_REGIONS = "regions"


@dataclass(frozen=True)
class TrainingJob:
    """What the form says."""

    entries: tuple[SlideEntry, ...]  # The slides; with all their regions once these are written
    # What is drawn on each slide and not written yet; None where there is nothing to write
    regions: tuple[Drawn | None, ...]
    settings: TrainingSettings
    drawn: Path  # Folder of the regions that were drawn
    beside: Path  # Folder that the run's is made in, where the user has chosen none
    folder: Path | None = None  # The run's, if it is chosen
    is_fresh: bool = False  # Whether a run that is there is left alone, though it is this very one
    validate: str | None = None  # As a run that was loaded has it
    is_checked: bool = False  # Whether its warnings are known and shown

    def written(self) -> TrainingJob:
        """Write the regions that are drawn; those of a large label image take seconds."""
        entries = tuple(
            entry if regions is None else replace(entry, regions=regions.write(self.drawn))
            for entry, regions in zip(self.entries, self.regions, strict=True)
        )
        return replace(self, entries=entries, regions=(None,) * len(entries))

    def expected_entries(self, folder: Path) -> tuple[SlideEntry, ...]:
        """Entries whose drawn regions lie in the folder of a run."""
        kept = folder.absolute() / _REGIONS
        return tuple(
            replace(entry, regions=kept / entry.regions.name)
            if entry.regions is not None and entry.regions.parent == self.drawn
            else entry
            for entry in self.entries
        )

    def keep_regions(self, folder: Path) -> tuple[SlideEntry, ...]:
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
        return self.expected_entries(folder)


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
        if place.standing == _NEW or (place.standing != _OTHER and not job.is_fresh):
            return place
    msg = f"{job.beside} has no room for a folder of the training; choose one for the run."
    raise UserError(msg)


def refuse_other(place: RunFolderState) -> None:
    """Keep a run from going where something else is."""
    if place.standing == _OTHER:
        msg = f"{place.folder} holds something else than this training; choose another folder, or press Reset."
        raise UserError(msg)


def _place(job: TrainingJob, folder: Path) -> RunFolderState:
    from napari_hrpn.training import RunFolder, TrainingError

    run = RunFolder(folder)
    try:
        if not run.is_run:
            return RunFolderState(folder, _NEW if _is_free(folder) else _OTHER)
        if not _is_of(run, job):
            return RunFolderState(folder, _OTHER)
        state = run.state()
    except (TrainingError, OSError):
        return RunFolderState(folder, _OTHER)
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
