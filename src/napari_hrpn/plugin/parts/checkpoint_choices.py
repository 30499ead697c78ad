"""Drop-down list of checkpoints: the bundled ones, and files that a button adds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QFileDialog

from napari_hrpn.plugin.parts.forms import browse_button, offer
from napari_hrpn.settings.networks import BUNDLED

if TYPE_CHECKING:
    from magicgui.widgets import ComboBox


class CheckpointChoices:
    """Choices of a list, whose values are names of bundled checkpoints and paths; `button` asks for a file.

    `none` is the title of the choice of no checkpoint, which stands first.
    """

    def __init__(self, none: str = "Choose one …") -> None:
        self._choices: list[tuple[str, str | None]] = [
            (none, None),
            *((title, name) for name, title in BUNDLED.items()),
        ]
        self.button = browse_button("Choose a checkpoint file (.safetensors)")
        self.button.changed.connect(self._ask)

    def offer(self, box: ComboBox, checkpoint: str | None) -> None:
        """Offer the choices in a list, and choose one, which may be a new file; no signal is emitted."""
        self._box = box
        if checkpoint not in [value for _, value in self._choices]:
            path = Path(str(checkpoint))
            # all trainings name their checkpoint alike, so the folder of the run is shown too
            title = f"{path.parent.name}/{path.name}" if path.stem == "checkpoint" else path.name
            self._choices.append((title, checkpoint))
        offer(box, self._choices, checkpoint)

    def _ask(self) -> None:
        name, _ = QFileDialog.getOpenFileName(
            self._box.native, "Checkpoint", "", "Checkpoints (*.safetensors);;All files (*)"
        )
        if name:
            self.offer(self._box, str(Path(name)))
            self._box.changed.emit(self._box.value)
