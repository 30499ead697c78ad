"""Which checkpoint: the bundled one, a file, or the one that was just trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QWidget

from napari_hrpn.plugin.background import NewestTask, once
from napari_hrpn.plugin.parts.choice_box import ChoiceBox
from napari_hrpn.plugin.parts.form_rows import browse_button
from napari_hrpn.plugin.parts.user_error import sentence_of
from napari_hrpn.plugin.predict.run import read_card

if TYPE_CHECKING:
    from napari_hrpn.models import Checkpoint
    from napari_hrpn.plugin.predict.run import ReadCheckpoint

_BUNDLED = "bundled"


class CheckpointForm(QWidget):
    """Asks for a checkpoint, and reads its card in the background.

    `changed` says that `chosen` is another one, `refused` carries the sentence that says why there is none.
    """

    changed = Signal()
    refused = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._choices: list[tuple[str, str | Path]] = [("Bundled, from synthetic tumours", _BUNDLED)]
        self._reading = NewestTask()
        self.chosen: ReadCheckpoint | None = None
        self.box = ChoiceBox("Trained network that predicts")
        self._button = browse_button("Choose a checkpoint file (.safetensors)")
        self._button.clicked.connect(self._ask)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.box, 1)
        row.addWidget(self._button)
        self.box.offer(self._choices)
        self.box.changed.connect(self.read)

    def use(self, path: Path) -> None:
        """Choose a checkpoint file."""
        if path not in [value for _, value in self._choices]:
            self._choices.append((_title(path), path))
            self.box.offer(self._choices)
        if self.box.value == path:
            self.read()
        self.box.choose(path)

    def read(self) -> None:
        """Read the card of what is chosen."""
        self.chosen = None
        self.changed.emit()
        self._reading.do(once(_read, self.box.value), self._take, self._refuse)

    def abandon(self) -> None:
        """Stop reading, before the widget goes away."""
        self._reading.abandon()

    @property
    def path(self) -> Path | None:
        """File of what is chosen; None until it is read."""
        return None if self.chosen is None else self.chosen.path

    @property
    def checkpoint(self) -> Checkpoint | None:
        """What is chosen, without its weights; None until it is read."""
        return None if self.chosen is None else self.chosen.checkpoint

    def _take(self, read: ReadCheckpoint) -> None:
        self.chosen = read
        self.box.setToolTip(f"Trained network that predicts:\n{read.checkpoint.card.title}\n{read.path}")
        self.changed.emit()

    def _refuse(self, error: BaseException) -> None:
        self.refused.emit(sentence_of(error))

    def _ask(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Checkpoint", "", "Checkpoints (*.safetensors);;All files (*)")
        if name:
            self.use(Path(name))


def _title(path: Path) -> str:
    # every training calls its checkpoint the same
    return f"{path.parent.name}/{path.name}" if path.stem == "checkpoint" else path.name


def _read(choice: str | Path) -> ReadCheckpoint:
    if isinstance(choice, Path):
        return read_card(choice)
    from napari_hrpn.models import bundled_checkpoint

    return read_card(bundled_checkpoint())
