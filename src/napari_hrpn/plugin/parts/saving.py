"""Folders and files that widgets write: what is proposed, what the user chooses, whole or not at all."""

from __future__ import annotations

import csv
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs
from magicgui.widgets import FileEdit
from qtpy.QtWidgets import QFileDialog, QMenu, QPushButton, QWidget

from napari_hrpn.core.plain_text import csv_cell
from napari_hrpn.plugin.parts.forms import BROWSE_BUTTON_PX
from napari_hrpn.reports import plain_text
from napari_hrpn.slides import Location
from napari_hrpn.slides.writers.output_path import partial_output

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from matplotlib.figure import Figure

    Row = Mapping[str, Any]

_DPI = 200
FIGURES = "PNG (*.png);;SVG (*.svg)"
TABLES = "CSV (*.csv)"


def folder_beside(source: Location | None) -> Path:
    """Folder of a slide's file, if it is of this machine and can be written; else that of the user's documents."""
    if isinstance(source, Path) and source.is_absolute():
        beside = source.parent
        if beside.is_dir() and os.access(beside, os.W_OK):
            return beside
    return platformdirs.user_documents_path()


class FolderField(FileEdit):
    """A folder that a widget proposes and the user may change; `changed` says that one was chosen."""

    def __init__(self, title: str, tooltip: str, button_tooltip: str, unknown: str = "") -> None:
        self._explanation = tooltip
        self._chosen: Path | None = None
        self._proposed: Path | None = None
        super().__init__(mode="d", nullable=True, label=title, tooltip=tooltip)
        self.choose_btn.text, self.choose_btn.tooltip = "…", button_tooltip
        self.choose_btn.native.setFixedWidth(BROWSE_BUTTON_PX)
        self.line_edit.native.setPlaceholderText(unknown)
        # a path that is being typed is none yet
        self.line_edit.changed.disconnect()
        self.line_edit.native.editingFinished.connect(self._take_typed)
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
        """Use a folder; None takes back what was chosen."""
        self._chosen = folder
        self._show()
        self.changed.emit(folder)

    def get_value(self) -> Path | None:
        """The folder that is chosen or proposed."""
        return self.shown

    def set_value(self, value: Any) -> None:  # noqa: ANN401 (what the dialog gives)
        """Use a folder."""
        self.choose(Path(value) if value else None)

    def _take_typed(self) -> None:
        text = self.line_edit.value.strip()
        if text != str(self.shown or ""):
            self.choose(Path(text).expanduser().absolute() if text else None)

    def _show(self) -> None:
        self.line_edit.value = str(self.shown or "")
        self.line_edit.tooltip = f"{self._explanation}\n{self.shown or self.line_edit.native.placeholderText()}"


def save_button(actions: Sequence[tuple[str, str, Callable[[], None]]]) -> QPushButton:
    """A button with a menu of what can be saved."""
    button = QPushButton("Save …")
    button.setToolTip("Save tables as CSV and plots as PNG or SVG")
    menu = QMenu(button)
    menu.setToolTipsVisible(True)
    for title, tooltip, action in actions:
        entry = menu.addAction(title)
        if entry is not None:
            entry.setToolTip(tooltip)
            # Qt tells whether it is checked
            entry.triggered.connect(lambda _checked=False, action=action: action())
    button.setMenu(menu)
    return button


def ask_where(parent: QWidget, title: str, proposal: Path, kinds: str) -> tuple[Path, bool] | None:
    """Ask where to save something."""
    chosen, kind = QFileDialog.getSaveFileName(parent, title, str(proposal), kinds)
    if not chosen:
        return None
    path = Path(chosen)
    if path.suffix.lower() in [part.split(")")[0] for part in kinds.split("*")[1:]]:
        # the dialog has asked where this very file exists
        return path, True
    return path.with_name(path.name + (ending_of(kind) or ".csv")), False


def write_table(rows: Sequence[Row], path: Path, *, overwrite: bool = False) -> None:
    """Write rows as CSV; what does not exist is an empty field."""
    with (
        partial_output(path, None, overwrite=overwrite) as partial,
        partial.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(map(csv_cell, rows[0]))
        writer.writerows([csv_cell(_field(value)) for value in row.values()] for row in rows)


def write_figure(figure: Figure, path: Path, *, overwrite: bool = False) -> None:
    """Write a figure as PNG or SVG, by the ending of the path."""
    plain_text(figure)
    with partial_output(path, None, overwrite=overwrite) as partial:
        figure.savefig(partial, format=path.suffix.lower().lstrip("."), dpi=_DPI, facecolor=figure.get_facecolor())


def ending_of(kind: str) -> str:
    """Ending of the first kind of file in the words of a dialog."""
    return kind[kind.find("*") + 1 : kind.find(")")]


def _field(value: object) -> object:
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else value
