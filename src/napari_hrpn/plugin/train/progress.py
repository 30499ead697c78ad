"""How far a training has come: epochs, batches, the time left, warnings, and the last thing worth saying."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QLabel, QProgressBar, QVBoxLayout

from napari_hrpn.plugin.parts.messages import MessagePanel, ToneLabel, time_in_words

if TYPE_CHECKING:
    from napari_hrpn.plugin.train.run import StepNews
    from napari_hrpn.training import CutReport, EpochReport


class TrainingProgress(MessagePanel):
    """Two progress bars, a line of numbers, what to be warned of in the slides and in the training, and a message."""

    def __init__(self) -> None:
        super().__init__()
        self.epoch_bar = QProgressBar()
        self.epoch_bar.setToolTip("Finished epochs, of those at most")
        self.batch_bar = QProgressBar()
        self.batch_bar.setToolTip("Batches of this epoch; before the first, what is looked at for patches")
        self.numbers_label = QLabel()
        self.warning_label = ToneLabel()
        self.quality_label = ToneLabel()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for widget in (self.epoch_bar, self.batch_bar, self.numbers_label, self.quality_label, self.warning_label):
            layout.addWidget(widget)
        layout.addWidget(self.message_label)
        self.numbers_label.setWordWrap(True)
        self.clear()

    def clear(self) -> None:
        """Show no progress."""
        for bar in (self.epoch_bar, self.batch_bar):
            bar.setRange(0, 1)
            bar.setValue(0)
            bar.setFormat("")
            bar.setVisible(False)
        self.numbers_label.setVisible(False)

    def start(self) -> None:
        """Show that something has begun, of which nothing is known yet."""
        self.clear()
        self.batch_bar.setRange(0, 0)
        self.batch_bar.setVisible(True)

    def show_cutting(self, report: CutReport) -> None:
        """Show how far the slides are cut."""
        _show(self.batch_bar, report.done, report.total, "looking for patches, %p %")
        self._show_numbers(f"{report.patches:,} patches so far; now {report.slide}")

    def show_step(self, news: StepNews) -> None:
        """Show a step."""
        report = news.report
        _show(self.epoch_bar, report.epoch - 1, report.epochs, f"epoch {report.epoch} of {report.epochs}")
        _show(self.batch_bar, report.step, report.steps, "batch %v of %m")
        self._show_numbers(
            f"{time_in_words(report.seconds_left)} left, {time_in_words(report.seconds)} so far, "
            f"{report.patches_per_second:.3g} patches/s"
        )

    def show_epoch(self, report: EpochReport) -> None:
        """Show the end of an epoch."""
        self.show_epochs(report.record.epoch, report.epochs)
        left = f"{time_in_words(report.seconds_left)} left, {time_in_words(report.record.seconds)} so far"
        self._show_numbers(f"{left}, {report.record.patches_per_second:.3g} patches/s")

    def show_epochs(self, done: int, epochs: int) -> None:
        """Show how many epochs are finished."""
        _show(self.epoch_bar, done, epochs, "%v of %m epochs")

    def stop(self) -> None:
        """Keep what was reached, and say nothing of the time left."""
        self.batch_bar.setRange(0, 1)
        self.batch_bar.setVisible(False)
        self.numbers_label.setVisible(False)

    def _show_numbers(self, text: str) -> None:
        self.numbers_label.setText(text)
        self.numbers_label.setVisible(True)


def _show(bar: QProgressBar, value: int, most: int, words: str) -> None:
    bar.setRange(0, max(1, most))
    bar.setValue(value)
    bar.setFormat(words)
    bar.setVisible(True)
