"""Folders for what widgets write: what is proposed, and a field in which the user may choose another."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs
from magicgui.widgets import FileEdit

from napari_hrpn.plugin.parts.form_rows import BROWSE_BUTTON_PX

if TYPE_CHECKING:
    from napari_hrpn.slides import Location


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
