"""Drop-down list of checkpoints: the bundled ones, recent files, and files that a button adds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QFileDialog

from napari_hrpn.plugin.parts.forms import browse_button, offer
from napari_hrpn.plugin.parts.remembered import remember, remembered
from napari_hrpn.settings.networks import BUNDLED

if TYPE_CHECKING:
    from magicgui.widgets import ComboBox

_RECENT, _MOST_RECENT = "recent checkpoints", 8


class CheckpointChoices:
    """Choices of a list, whose values are names of bundled checkpoints and paths; `button` asks for a file.

    `none` is the title of the choice of no checkpoint, which stands first.
    """

    def __init__(self, none: str = "Choose one …") -> None:
        self._choices: list[tuple[str, str | None]] = [
            (none, None),
            *((title, name) for name, title in BUNDLED.items()),
            *((_title(path), path) for path in _recent()),
        ]
        self.button = browse_button("Choose a checkpoint file (.safetensors)")
        self.button.changed.connect(self._ask)

    def offer(self, box: ComboBox, checkpoint: str | None) -> None:
        """Offer the choices in a list, and choose one, which may be a new file; no signal is emitted."""
        self._box = box
        if checkpoint not in [value for _, value in self._choices]:
            self._choices.append((_title(str(checkpoint)), checkpoint))
        if checkpoint is not None and checkpoint not in BUNDLED:
            recent = [checkpoint, *(path for path in _recent() if path != checkpoint)]
            remember(_RECENT, recent[:_MOST_RECENT])
        offer(box, self._choices, checkpoint)

    def _ask(self) -> None:
        name, _ = QFileDialog.getOpenFileName(
            self._box.native, "Checkpoint", folder_of_recent(), "Checkpoints (*.safetensors);;All files (*)"
        )
        if name:
            self.offer(self._box, str(Path(name)))
            self._box.changed.emit(self._box.value)


def folder_of_recent() -> str:
    """Folder of the checkpoint file that was used last, where the next one may be; empty if there was none."""
    return next((str(Path(path).parent) for path in _recent()), "")


def _recent() -> list[str]:
    found = remembered(_RECENT)
    return [path for path in found if isinstance(path, str)] if isinstance(found, list) else []


def _title(checkpoint: str) -> str:
    path = Path(checkpoint)
    # all trainings name their checkpoint alike, so the folder of the run is shown too
    return f"{path.parent.name}/{path.name}" if path.stem == "checkpoint" else path.name
