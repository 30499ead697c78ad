"""The last thing worth saying, under what a form or a bar shows."""

from __future__ import annotations

from qtpy.QtWidgets import QWidget

from napari_hrpn.plugin.parts.tone_label import TEXT, ToneLabel


class MessagePanel(QWidget):
    """A widget with a label for a sentence; a subclass lays it out."""

    def __init__(self) -> None:
        super().__init__()
        self.message = ""
        self.message_label = ToneLabel(TEXT)

    def say(self, sentence: str, tone: str = TEXT) -> None:
        """Show a sentence."""
        self.message = sentence
        self.message_label.say(sentence, tone)
