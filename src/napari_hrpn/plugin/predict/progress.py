"""How far a prediction has come: a bar of tiles, the time left, and the last thing worth saying."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QLabel, QProgressBar, QVBoxLayout

from napari_hrpn.plugin.parts.message_panel import MessagePanel
from napari_hrpn.plugin.parts.words import time_in_words

if TYPE_CHECKING:
    from napari_hrpn.plugin.predict.run import Progress

_MEGA = 1e6


class ProgressPanel(MessagePanel):
    """A progress bar, a line of numbers, and a message."""

    def __init__(self) -> None:
        super().__init__()
        self.bar = QProgressBar()
        self.bar.setToolTip("Tiles on disk, of those wanted")
        self.numbers_label = QLabel()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for widget in (self.bar, self.numbers_label, self.message_label):
            layout.addWidget(widget)
        self.clear()

    def clear(self) -> None:
        """Show no progress."""
        self.bar.setRange(0, 1)
        self.bar.setValue(0)
        self.bar.setFormat("")
        self.bar.setVisible(False)
        self.numbers_label.setVisible(False)

    def start(self) -> None:
        """Show that something has begun, of which nothing is known yet."""
        self.clear()
        self.bar.setRange(0, 0)
        self.bar.setVisible(True)

    def show_progress(self, progress: Progress) -> None:
        """Show how far it is."""
        self.bar.setRange(0, max(1, progress.total))
        self.bar.setValue(progress.finished)
        self.bar.setFormat(f"{progress.finished} of {progress.total} tiles, %p %")
        words = [f"{progress.predicted_px / _MEGA:,.1f} Mpx done"]
        if progress.seconds_left is not None and progress.finished < progress.total:
            words.append(f"{time_in_words(progress.seconds_left)} left")
        self.numbers_label.setText(", ".join(words))
        self.numbers_label.setVisible(True)

    def stop(self) -> None:
        """Keep what was reached, and say nothing of the time left."""
        if self.bar.maximum() == 0:
            self.clear()
        self.numbers_label.setText(self.numbers_label.text().split(", ")[0])


def words_of_the_end(progress: Progress | None, store: str) -> str:
    """What to say of a prediction that was stopped."""
    if progress is None:
        return f"Stopped before the first tile of {store}."
    done = f"{progress.finished} of {progress.total} tiles"
    return f"Stopped: {done} are done and kept in {store}. Predict goes on from them."
