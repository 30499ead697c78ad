"""Progress bar of a run, with a line of numbers and a message below it."""

from __future__ import annotations

from qtpy.QtWidgets import QLabel, QProgressBar, QVBoxLayout

from napari_hrpn.plugin.parts.messages import MessagePanel


class ProgressPanel(MessagePanel):
    """A bar, a line of numbers, and a message; bar and numbers take no room where nothing has run."""

    def __init__(self, tooltip: str) -> None:
        super().__init__()
        self.bar, self.numbers_label = QProgressBar(), QLabel()
        self.bar.setToolTip(tooltip)
        self.numbers_label.setWordWrap(True)
        self.rows = QVBoxLayout(self)
        self.rows.setContentsMargins(0, 0, 0, 0)
        for widget in (self.bar, self.numbers_label, self.message_label):
            self.rows.addWidget(widget)
        self.clear()

    def clear(self) -> None:
        """Show no progress."""
        self.bar.setVisible(False)
        self.numbers_label.setVisible(False)

    def start(self) -> None:
        """Show that something has begun, of which nothing is known yet."""
        self.clear()
        self.bar.setRange(0, 0)
        self.bar.setVisible(True)

    def show_progress(self, done: int, total: int, words: str, numbers: str) -> None:
        """Show how far it is."""
        show_bar(self.bar, done, total, words)
        self.numbers_label.setText(numbers)
        self.numbers_label.setVisible(True)


def show_bar(bar: QProgressBar, done: int, total: int, words: str) -> None:
    """Show a bar with words on it."""
    bar.setRange(0, max(1, total))
    bar.setValue(done)
    bar.setFormat(words)
    bar.setVisible(True)
