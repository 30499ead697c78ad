"""Sentences in the colours of the theme: grey for what is only told, yellow for warnings, red for problems."""

from __future__ import annotations

from typing import TYPE_CHECKING

import napari
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QLabel

from napari_hrpn.plugin.parts.words import breakable

if TYPE_CHECKING:
    from typing import Final

TEXT, _QUIET, WARNING, PROBLEM = "text", "quiet", "warning", "problem"
ON_DARK: Final = {TEXT: "#f0f1f2", _QUIET: "#a3a7ae", WARNING: "#e3b617", PROBLEM: "#ff8f85"}
ON_LIGHT: Final = {TEXT: "#1e1e21", _QUIET: "#63666b", WARNING: "#775400", PROBLEM: "#b00012"}


class ToneLabel(QLabel):
    """A sentence in one of four tones, readable in dark and light themes; it takes no room where it is empty."""

    def __init__(self, tone: str = _QUIET) -> None:
        super().__init__()
        self._tone = tone
        self._colour = ""
        self.setWordWrap(True)
        self.say("")

    def say(self, sentence: str, tone: str | None = None) -> None:
        """Show a sentence."""
        self._tone = tone or self._tone
        self._paint()
        self.setText(breakable(sentence))
        self.setVisible(bool(sentence))

    def changeEvent(self, event: QEvent | None) -> None:  # noqa: N802 (Qt's name)
        """Follow the theme."""
        super().changeEvent(event)
        if event is not None and event.type() == QEvent.Type.StyleChange:
            self._paint()

    def _paint(self) -> None:
        viewer = napari.current_viewer()
        colours = ON_LIGHT if viewer is not None and viewer.theme == "light" else ON_DARK
        colour = colours[self._tone]
        if colour != self._colour:
            # a new style sheet is a change of style itself
            self._colour = colour
            self.setStyleSheet(f"color: {colour}")
