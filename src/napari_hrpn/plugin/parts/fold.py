"""Fold for the part of a form that few people need."""

from __future__ import annotations

from typing import TYPE_CHECKING

from superqt import QCollapsible

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget


class Fold(QCollapsible):
    """A heading that folds and unfolds a widget; what is folded away does not get the Tab key."""

    def __init__(self, title: str, contents: QWidget) -> None:
        super().__init__(title, expandedIcon="▾", collapsedIcon="▸")
        self.addWidget(contents)
        contents.setEnabled(False)
        self.toggled.connect(contents.setEnabled)
