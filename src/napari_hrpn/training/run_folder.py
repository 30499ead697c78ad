"""Run folder of a training: request, history, checkpoint, and everything to go on with.

Every file is replaced in one step, and the state last: whatever kills the program, the folder is that of some moment.
"""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import safetensors
from safetensors.torch import save

from napari_hrpn.core.errors import TrainingError
from napari_hrpn.core.files import locked_folder, replaced_file, save_json
from napari_hrpn.models.checkpoint_header import read_record
from napari_hrpn.settings import TrainingSettings
from napari_hrpn.training.entries import SlideEntry
from napari_hrpn.training.reports import EpochRecord, TrainingResult

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from torch import Tensor

_FORMAT = "napari-hrpn training 1"
# these may change from one run to the next: they do not decide what a step does
_FREE = ("epochs", "max_minutes", "device")
_HARMLESS = {"patches", "regions", "Thumbs.db", "desktop.ini"}


@dataclass(frozen=True)
class RunRequest:
    """What a run was asked for.

    Attributes
    ----------
    entries : tuple of SlideEntry
        The slides.
    settings : TrainingSettings
        How.
    validate : str or None
        The tumour held out for validation, if it was named.
    """

    entries: tuple[SlideEntry, ...]
    settings: TrainingSettings
    validate: str | None = None

    def matches(self, other: RunRequest) -> bool:
        """Whether a run of one may go on as the other: all that decides its steps is equal."""
        return self._decisive() == other._decisive()

    def _decisive(self) -> RunRequest:
        standard = TrainingSettings()
        free = {name: getattr(standard, name) for name in _FREE}
        entries = tuple(_entry(_plain(entry)) for entry in self.entries)
        return replace(self, entries=entries, settings=replace(self.settings, **free))


@dataclass(frozen=True)
class RunState:
    """How far a run is, beside the tensors."""

    # Finished epochs, and finished steps of the next one
    epoch: int = 0
    step: int = 0
    history: tuple[EpochRecord, ...] = ()
    best_epoch: int = 0  # The one whose weights the checkpoint has; 0 before the first
    seconds: float = 0.0
    # Of the unfinished epoch: sum of its steps' losses, time without patches, time
    error_sum: float = 0.0
    waiting_seconds: float = 0.0
    epoch_seconds: float = 0.0
    complete: bool = False  # Whether the training came to its end
    reason: str = ""  # Why it ended early

    def is_over(self, settings: TrainingSettings) -> bool:
        """Whether there is nothing more to do for some settings, be it for epochs or for time."""
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
        self.patches = self.path / "patches"
        self.regions = self.path / "regions"
        self._request, self._history = self.path / "run.json", self.path / "history.csv"
        self._state = self.path / "state.safetensors"

    def foreign_file(self) -> str | None:
        """Name of something in the folder that is of no run; None where there is nothing.

        Returns
        -------
        str or None
            The first by name.
        """
        names = sorted(path.name for path in self.path.iterdir()) if self.path.exists() else []
        return next((name for name in names if not name.startswith(".") and name not in _HARMLESS), None)

    def request(self) -> RunRequest | None:
        """What was asked for here; None where nothing was.

        Returns
        -------
        RunRequest or None
            Paths are absolute.

        Raises
        ------
        TrainingError
            In one sentence, when the file is damaged or of something else.
        """
        if not self._request.is_file():
            return None
        try:
            return read_record(_Saved, json.loads(self._request.read_text(encoding="utf-8-sig"))).request()
        except (OSError, ArithmeticError, RecursionError, TypeError, ValueError) as error:
            msg = f"{self._request} does not describe a training ({error}); choose another folder for the run."
            raise TrainingError(msg) from error

    def refuse_other(self, request: RunRequest) -> None:
        """Refuse what does not go on with the run that is here, if there is one.

        Parameters
        ----------
        request : RunRequest
            What is asked for.

        Raises
        ------
        TrainingError
            When the run here is of other slides or settings.
        """
        there = self.request()
        if there is not None and not there.matches(request):
            msg = f"{self.path} holds a training of other slides or settings; choose another folder, or repeat its own."
            raise TrainingError(msg)

    def begin(self, request: RunRequest) -> None:
        """Write down what is asked for.

        Parameters
        ----------
        request : RunRequest
            Of a new run, or of one that goes on.

        Raises
        ------
        TrainingError
            When another run is here, or the folder cannot be written.
        """
        self.refuse_other(request)
        content = {
            "format": _FORMAT,
            "slides": [_plain(entry) for entry in request.entries],
            "validate": request.validate,
            "settings": asdict(request.settings),
        }
        try:
            save_json(self._request, content)
        except OSError as error:
            msg = f"{self.path} cannot be written ({error.strerror}); choose another folder for the run."
            raise TrainingError(msg) from error

    def locked(self) -> AbstractContextManager[None]:
        """Keep other programs from training here at the same time."""
        return locked_folder(self.path, TrainingError, "training in", "run")

    def state(self) -> RunState:
        """How far the run is; at its start where nothing was kept.

        Returns
        -------
        RunState
            Without the tensors.
        """
        try:
            with safetensors.safe_open(self._state, framework="pt") as file:
                found: dict[str, Any] = json.loads((file.metadata() or {})["state"])
            history = tuple(EpochRecord(**record) for record in found.pop("history"))
            return RunState(history=history, **found)
        except FileNotFoundError:
            return RunState()
        except (safetensors.SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            msg = f"{self._state} is damaged; delete it to begin the training anew."
            raise TrainingError(msg) from error

    def tensors(self) -> dict[str, Tensor]:
        """Everything that decides the steps to come; empty at the start of a run.

        Returns
        -------
        dict of str to Tensor
            On the CPU.
        """
        if not self._state.exists():
            return {}
        with safetensors.safe_open(self._state, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)

    def keep(self, state: RunState, tensors: Mapping[str, Tensor]) -> None:
        """Keep a moment of the run, in one step.

        Parameters
        ----------
        state : RunState
            How far it is.
        tensors : mapping of str to Tensor
            Everything that decides the steps to come.
        """
        held = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        if state.history:
            self._write_history(state.history)
        with replaced_file(self._state) as partial:
            partial.write_bytes(save(held, metadata={"state": json.dumps(asdict(state))}))

    def check_checkpoint(self, state: RunState) -> None:
        """Refuse a run that is over and whose checkpoint is gone.

        Parameters
        ----------
        state : RunState
            How far it is.

        Raises
        ------
        TrainingError
            In one sentence.
        """
        if state.best_epoch and not self.checkpoint.is_file():
            msg = (
                f"the training in {self.path} is complete, but its {self.checkpoint.name} is gone; put the file back, "
                "or train in another folder."
            )
            raise TrainingError(msg)

    def result(self, state: RunState | None = None) -> TrainingResult:
        """What the run has left so far.

        Parameters
        ----------
        state : RunState, optional
            How far it is, where that is known.

        Returns
        -------
        TrainingResult
            Complete or not.
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


def _plain(entry: SlideEntry) -> dict[str, Any]:
    regions = None if entry.regions is None else str(entry.regions.absolute())
    return {**asdict(entry), "path": str(entry.path.absolute()), "regions": regions}


@dataclass(frozen=True)
class _Saved:
    """What is in ``run.json``."""

    format: Literal["napari-hrpn training 1"]
    slides: tuple[Any, ...]
    settings: Any
    validate: str | None

    def request(self) -> RunRequest:
        settings = read_record(TrainingSettings, self.settings)
        return RunRequest(tuple(map(_entry, self.slides)), settings, self.validate)


def _entry(plain: Any) -> SlideEntry:  # noqa: ANN401 (out of JSON)
    if not isinstance(plain, dict):
        raise TypeError("a slide is not described by names and values")
    paths = {name: Path(plain[name]) for name in ("path", "regions") if isinstance(plain.get(name), str)}
    return read_record(SlideEntry, {**plain, **paths})
