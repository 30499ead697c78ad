"""Run folder of a training: request, history, checkpoint, and the state from which it resumes.

Every file is replaced in one step, and the state last: however the program is killed, the files belong together.
"""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors
from safetensors.torch import save

from napari_hrpn.core.errors import TrainingError
from napari_hrpn.core.files import locked_folder, replaced_file, save_json
from napari_hrpn.models import save_checkpoint
from napari_hrpn.models.checkpoint_header import read_record
from napari_hrpn.settings import TrainingSettings, recipe_settings
from napari_hrpn.settings.networks import NO_AUGMENTATION
from napari_hrpn.training.reports import EpochRecord, TrainingResult
from napari_hrpn.training.run_request import RunRequest, SavedRequest, plain_entry
from napari_hrpn.training.start import absolute_start, open_start

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from torch import Tensor

    from napari_hrpn.models import Checkpoint

_FORMAT = "napari-hrpn training 1"
# folders that this program may make before the run begins, and files that Windows adds
_HARMLESS = {"patches", "regions", "Thumbs.db", "desktop.ini"}


@dataclass(frozen=True)
class RunState:
    """Progress of a run; weights and optimiser are kept beside it, as tensors."""

    # finished epochs, and finished steps of the next one
    epoch: int = 0
    step: int = 0
    history: tuple[EpochRecord, ...] = ()
    best_epoch: int = 0  # the epoch whose weights the checkpoint has; 0 before the first
    seconds: float = 0.0
    # of the unfinished epoch: sum of its steps' losses, time spent waiting for patches, time in all
    error_sum: float = 0.0
    waiting_seconds: float = 0.0
    epoch_seconds: float = 0.0
    complete: bool = False  # whether the training came to its end
    reason: str = ""  # why it ended early

    def is_over(self, settings: TrainingSettings) -> bool:
        """Whether the training has reached the epochs or the time of some settings."""
        limit = settings.max_minutes
        is_out_of_time = limit is not None and self.seconds >= 60 * limit and self.epoch > 0
        return self.epoch >= settings.epochs or is_out_of_time


class RunFolder:
    """A training run on disk.

    Parameters
    ----------
    path : str or Path
        The folder; it need not exist.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.checkpoint = self.path / "checkpoint.safetensors"
        # a copy of the checkpoint that the training begins with, so that it resumes once the file is gone or changed
        self.start = self.path / "start.safetensors"
        self.patches = self.path / "patches"
        self.regions = self.path / "regions"
        self._request, self._history = self.path / "run.json", self.path / "history.csv"
        self._state = self.path / "state.safetensors"

    def foreign_file(self) -> str | None:
        """Name a file in the folder that does not belong to a run.

        Returns
        -------
        str or None
            The first name in alphabetical order; None if there is no such file.
        """
        names = sorted(path.name for path in self.path.iterdir()) if self.path.exists() else []
        return next((name for name in names if not name.startswith(".") and name not in _HARMLESS), None)

    def request(self) -> RunRequest | None:
        """Read the request of the run in this folder.

        Returns
        -------
        RunRequest or None
            The request, with absolute paths; None if there is no run.

        Raises
        ------
        TrainingError
            If the file is damaged or not of a training.
        """
        saved = self._saved()
        return None if saved is None else saved.request()

    def as_begun(self, request: RunRequest) -> RunRequest:
        """Request without augmentation, if the run in this folder is older than its options.

        Parameters
        ----------
        request : RunRequest
            A request of today.

        Returns
        -------
        RunRequest
            With the recipe's augmentation off that the run was begun without, so that the run can be resumed.
        """
        settings = request.settings
        usual = recipe_settings(settings.recipe, settings.model)
        unasked = {name for name in self._lacking() if getattr(settings, name) == getattr(usual, name)}
        off = {name: NO_AUGMENTATION[name] for name in unasked}
        return replace(request, settings=replace(settings, **off))

    def _lacking(self) -> set[str]:
        """Options that did not exist when the run in this folder began."""
        saved = self._saved()
        return set() if saved is None else NO_AUGMENTATION.keys() - saved.settings.keys()

    def _saved(self) -> SavedRequest | None:
        if not self._request.is_file():
            return None
        try:
            saved = read_record(SavedRequest, json.loads(self._request.read_text(encoding="utf-8-sig")))
            saved.request()
        except (OSError, ArithmeticError, RecursionError, TypeError, ValueError) as error:
            msg = f"{self._request} does not describe a training ({error}); choose another folder for the run."
            raise TrainingError(msg) from error
        return saved

    def refuse_other(self, request: RunRequest) -> None:
        """Refuse a request that does not resume the run in this folder, if there is one.

        Parameters
        ----------
        request : RunRequest
            The new request.

        Raises
        ------
        TrainingError
            If the run in this folder has other slides or settings.
        """
        former = self.request()
        if former is not None and not former.matches(request):
            msg = f"{self.path} holds a training of other slides or settings; choose another folder, or use the same."
            raise TrainingError(msg)

    def started_from(self, settings: TrainingSettings) -> Checkpoint | None:
        """Read the checkpoint that the training begins with.

        Parameters
        ----------
        settings : TrainingSettings
            Settings of the training.

        Returns
        -------
        Checkpoint or None
            The copy in this folder if there is one, else the named file; None for random weights.

        Raises
        ------
        TrainingError
            If it does not fit the settings.
        CheckpointError
            If it cannot be read.
        """
        return open_start(settings, self.start)

    def begin(self, request: RunRequest, start: Checkpoint | None = None) -> None:
        """Write the request of a run, and a copy of its start.

        Parameters
        ----------
        request : RunRequest
            Request of a new run, or of one that is resumed.
        start : Checkpoint, optional
            The checkpoint that the training begins with.

        Raises
        ------
        TrainingError
            If another run is in this folder, or the folder cannot be written.
        """
        self.refuse_other(request)
        # what an old run lacks shows how it was begun
        settings = {
            name: value
            for name, value in asdict(absolute_start(request.settings)).items()
            if name not in self._lacking()
        }
        content = {
            "format": _FORMAT,
            "slides": [plain_entry(entry) for entry in request.entries],
            "validate": request.validate,
            "settings": settings,
        }
        try:
            save_json(self._request, content)
            if start is not None and not self.start.is_file():
                save_checkpoint(start, self.start)
        except OSError as error:
            msg = f"{self.path} cannot be written ({error.strerror}); choose another folder for the run."
            raise TrainingError(msg) from error

    def locked(self) -> AbstractContextManager[None]:
        """Keep other programs from training here at the same time."""
        return locked_folder(self.path, TrainingError, "training in", "run")

    def state(self) -> RunState:
        """Read the progress of the run.

        Returns
        -------
        RunState
            The last state that was kept, without the tensors; that of the start if none was.
        """
        try:
            with safetensors.safe_open(self._state, framework="pt") as file:
                saved: dict[str, Any] = json.loads((file.metadata() or {})["state"])
            history = tuple(EpochRecord(**record) for record in saved.pop("history"))
            return RunState(history=history, **saved)
        except FileNotFoundError:
            return RunState()
        except (safetensors.SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            msg = f"{self._state} is damaged; delete it to begin the training anew."
            raise TrainingError(msg) from error

    def tensors(self) -> dict[str, Tensor]:
        """Read weights and states of the optimisers, which decide the next steps.

        Returns
        -------
        dict of str to Tensor
            Tensors on the CPU by name; none at the start of a run.
        """
        if not self._state.exists():
            return {}
        with safetensors.safe_open(self._state, framework="pt") as file:
            # copied, since a file whose bytes are in use cannot be replaced on Windows
            return {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (not a mapping)

    def keep(self, state: RunState, tensors: Mapping[str, Tensor]) -> None:
        """Write the state of the run, in one step.

        Parameters
        ----------
        state : RunState
            Progress of the run.
        tensors : mapping of str to Tensor
            Weights and states of the optimisers, as for `Learner.load`.
        """
        held = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        if state.history:
            self._write_history(state.history)
        with replaced_file(self._state) as partial:
            partial.write_bytes(save(held, metadata={"state": json.dumps(asdict(state))}))

    def check_checkpoint(self, state: RunState) -> None:
        """Refuse a complete run whose checkpoint is missing.

        Parameters
        ----------
        state : RunState
            Progress of the run.

        Raises
        ------
        TrainingError
            If the checkpoint is missing.
        """
        if state.best_epoch and not self.checkpoint.is_file():
            msg = (
                f"the training in {self.path} is complete, but its {self.checkpoint.name} is gone; put the file back, "
                "or train in another folder."
            )
            raise TrainingError(msg)

    def result(self, state: RunState | None = None) -> TrainingResult:
        """Result of the run so far.

        Parameters
        ----------
        state : RunState, optional
            Progress of the run; by default it is read from the folder.

        Returns
        -------
        TrainingResult
            Result of a complete or an unfinished training.
        """
        state = self.state() if state is None else state
        checkpoint = self.checkpoint if self.checkpoint.is_file() else None
        return TrainingResult(self.path, checkpoint, state.history, state.best_epoch, state.complete, state.reason)

    def _write_history(self, history: tuple[EpochRecord, ...]) -> None:
        with (
            replaced_file(self._history, sync=False) as partial,
            partial.open("w", newline="", encoding="utf-8") as file,
        ):
            table = csv.DictWriter(file, [column.name for column in fields(EpochRecord)])
            table.writeheader()
            table.writerows(asdict(record) for record in history)
