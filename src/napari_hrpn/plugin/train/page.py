"""Progress page of a training: curves, a preview, and at the end the card of the checkpoint."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from qtpy.QtCore import QUrl, Signal
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QPushButton, QTextBrowser, QVBoxLayout, QWidget

from napari_hrpn.plugin.parts.messages import MessagePanel, ToneLabel, time_in_words
from napari_hrpn.plugin.train.curves import TrainingCurves, agreement_in_words
from napari_hrpn.plugin.train.preview import TrainingPreview

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_hrpn.plugin.train.job import RunFolderState
    from napari_hrpn.plugin.train.run import EpochNews, StepNews, TrainingOutcome
    from napari_hrpn.training import CutReport, EpochRecord, EpochReport


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


_USE, _USE_SO_FAR = "Use for prediction", "Use the best so far"
_CARD_PX = 170


class TrainingPage(QWidget):
    """Curves, preview, card, and two buttons.

    `chosen` carries the checkpoint that is to be used for prediction.
    """

    chosen = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.checkpoint: Path | None = None
        self.folder: Path | None = None
        self.curves = TrainingCurves()
        self.agreement_label = QLabel()
        self.agreement_label.setWordWrap(True)
        self.agreement_label.setToolTip(
            "Pearson's r and R² over the validation patches. Blurred inputs are fitted to these very patches by least "
            "squares: a network that stays below them has learnt too little."
        )
        self.preview = TrainingPreview()
        self.card_view = QTextBrowser()
        self.card_view.setMinimumHeight(_CARD_PX)
        self.card_view.setToolTip("What the checkpoint was trained on, and what it reached: it is stored in its file")
        self.use_button = QPushButton(_USE)
        self.use_button.setToolTip("Choose the best epoch's checkpoint in the widget Predict QD")
        self.folder_button = QPushButton("Open folder")
        self.folder_button.setToolTip("Show checkpoint, history and settings in the file manager")
        self.empty_label = QLabel("Nothing is trained yet.")
        self._lay_out()
        self.use_button.clicked.connect(self._choose)
        self.folder_button.clicked.connect(self._open_folder)
        self.clear()

    def clear(self) -> None:
        """Show nothing; what is on disk stays."""
        self.checkpoint = self.folder = None
        self.curves.clear()
        self.curves.setVisible(False)
        self._show_agreement(())
        self.preview.clear()
        self.empty_label.setVisible(True)
        self._show_card("")

    def begin(self, place: RunFolderState) -> None:
        """Show a run that begins or goes on."""
        self.checkpoint, self.folder = None, place.folder
        self.empty_label.setVisible(False)
        self.curves.setVisible(True)
        self.curves.show_history(place.history, place.best_epoch)
        self._show_agreement(place.history, place.best_epoch)
        self._show_card("")
        self._offer_best(place.best_epoch)

    def show_step(self, news: StepNews) -> None:
        """Let the curve move."""
        report = news.report
        self.curves.add_step(report.epoch - 1 + report.step / max(1, report.steps), news.mean_loss)

    def show_epoch(self, news: EpochNews) -> None:
        """Add an epoch and renew the preview."""
        self.curves.add_epoch(news.report.record, news.report.best_epoch)
        self._show_agreement(self.curves.records, news.report.best_epoch)
        self._offer_best(news.report.best_epoch)
        self.preview.show_pictures(news.pictures, news.report.record.epoch)

    def show_outcome(self, outcome: TrainingOutcome) -> None:
        """Show what a run left."""
        result = outcome.result
        self.checkpoint, self.folder = result.checkpoint, result.folder
        self.empty_label.setVisible(False)
        self.curves.setVisible(True)
        if self.curves.records != list(result.history):
            self.curves.show_history(result.history, result.best_epoch)
        self._show_agreement(result.history, result.best_epoch)
        self.use_button.setText(_USE)
        self._show_card(outcome.card)

    def _offer_best(self, best_epoch: int) -> None:
        """Offer the checkpoint of the best epoch while the training goes on."""
        if best_epoch and self.folder is not None:
            self.checkpoint = self.folder / "checkpoint.safetensors"
            self.use_button.setText(_USE_SO_FAR)
        self.use_button.setVisible(self.checkpoint is not None)

    def _show_agreement(self, records: Sequence[EpochRecord], best_epoch: int = 0) -> None:
        """Say how well the best epoch predicts the validation patches, and what a blur reaches."""
        best = next((record for record in records if record.epoch == best_epoch), None)
        lines = [] if best is None else agreement_in_words(best)
        if best is not None and lines:
            lines[0] = f"Best epoch {best.epoch}, on the validation patches: {lines[0]}"
        self.agreement_label.setText("\n".join(lines))
        self.agreement_label.setVisible(bool(lines))

    def _show_card(self, card: str) -> None:
        # headings of a page would be huge in a dock
        self.card_view.setMarkdown(re.sub(r"^#", "###", card, flags=re.MULTILINE))
        self.card_view.setVisible(bool(card))
        self.use_button.setVisible(self.checkpoint is not None)
        self.folder_button.setVisible(self.folder is not None)

    def _lay_out(self) -> None:
        buttons = QHBoxLayout()
        buttons.addWidget(self.use_button)
        buttons.addWidget(self.folder_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for widget in (self.empty_label, self.curves, self.agreement_label, self.preview):
            layout.addWidget(widget)
        layout.addLayout(buttons)
        layout.addWidget(self.card_view, 1)
        layout.addStretch()

    def _choose(self) -> None:
        self.chosen.emit(self.checkpoint)

    def _open_folder(self) -> None:
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(self.folder)))
