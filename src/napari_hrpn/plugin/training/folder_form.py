"""Where a training goes: a folder beside the first slide, unless the user chooses another."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QWidget
from superqt import QElidingLabel

from napari_hrpn.plugin.forms.form_rows import browse_button


class TrainingFolderForm(QWidget):
    """Shows the folder of the run and lets the user choose another."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._chosen: Path | None = None
        self._proposed: Path | None = None
        self._label = QElidingLabel()
        self._label.setElideMode(Qt.TextElideMode.ElideMiddle)
        self._button = browse_button("Choose another folder for the run: a new or empty one, or that of this very run")
        self._button.clicked.connect(self._ask)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._label, 1)
        row.addWidget(self._button)
        self._show()

    @property
    def chosen(self) -> Path | None:
        """The folder that the user has chosen, or in which a run was begun."""
        return self._chosen

    @property
    def shown(self) -> Path | None:
        """The folder that is chosen or proposed."""
        return self._chosen or self._proposed

    def propose(self, folder: Path | None) -> None:
        """Show what is going to be used as long as the user has chosen nothing."""
        self._proposed = folder
        self._show()

    def choose(self, folder: Path | None) -> None:
        """Use a folder, or with None again what is proposed."""
        self._chosen = folder
        self._show()
        self.changed.emit()

    def _ask(self) -> None:
        start = self.shown
        folder = QFileDialog.getExistingDirectory(self, "Folder for the run", str(start.parent if start else ""))
        if folder:
            self.choose(Path(folder))

    def _show(self) -> None:
        folder = "A folder beside the first slide" if self.shown is None else str(self.shown)
        if folder != self._label.text():
            self._label.setText(folder)
            self.setToolTip(f"Checkpoint, history, and all it takes to go on, are kept in\n{folder}")
