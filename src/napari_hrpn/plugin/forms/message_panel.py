"""The last thing worth saying, under what a form or a bar shows."""

from __future__ import annotations

from qtpy.QtWidgets import QLabel, QWidget

from napari_hrpn.plugin.forms.words import breakable


class MessagePanel(QWidget):
    """A widget with a label for a sentence; a subclass lays it out."""

    def __init__(self) -> None:
        super().__init__()
        self.message = ""
        self.message_label = QLabel()
        self.message_label.setWordWrap(True)

    def say(self, sentence: str) -> None:
        """Show a sentence.

        Parameters
        ----------
        sentence : str
            For the user; the former one goes. An empty one takes no room.
        """
        self.message = sentence
        self.message_label.setText(breakable(sentence))
        self.message_label.setVisible(bool(sentence))
