"""A folder that a widget proposes and the user may change."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QWidget
from superqt import QElidingLabel

from napari_hrpn.plugin.parts.form_rows import browse_button


class FolderForm(QWidget):
    """Shows a folder and lets the user choose another; `changed` says that one was chosen."""

    changed = Signal()

    def __init__(self, purpose: str, tooltip: str, button_tooltip: str, unknown: str = "") -> None:
        super().__init__()
        self._purpose, self._tooltip, self._unknown = purpose, tooltip, unknown
        self._chosen: Path | None = None
        self._proposed: Path | None = None
        self._label = QElidingLabel()
        self._label.setElideMode(Qt.TextElideMode.ElideMiddle)
        button = browse_button(button_tooltip)
        button.clicked.connect(self._ask)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._label, 1)
        row.addWidget(button)
        self._show()

    @property
    def chosen(self) -> Path | None:
        """The folder that was chosen, if any."""
        return self._chosen

    @property
    def shown(self) -> Path | None:
        """The folder that is chosen or proposed."""
        return self._chosen or self._proposed

    def propose(self, folder: Path | None) -> None:
        """Show what is going to be used as long as nothing is chosen."""
        self._proposed = folder
        self._show()

    def choose(self, folder: Path | None) -> None:
        """Use a folder."""
        self._chosen = folder
        self._show()
        self.changed.emit()

    def _ask(self) -> None:
        shown = self.shown
        start = "" if shown is None else str(shown if shown.is_dir() else shown.parent)
        if folder := QFileDialog.getExistingDirectory(self, self._purpose, start):
            self.choose(Path(folder))

    def _show(self) -> None:
        words = self._unknown if self.shown is None else str(self.shown)
        if words != self._label.text():
            self._label.setText(words)
            self.setToolTip(f"{self._tooltip}\n{words}")
