"""Progress page of a training: curves, a preview, and at the end the card of the checkpoint."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Qt, QUrl, Signal
from qtpy.QtGui import QDesktopServices, QImage, QPixmap
from qtpy.QtWidgets import (
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QSizePolicy,
    QTextBrowser,
    QVBoxLayout,
    QWidget,
)

from napari_hrpn.plugin.parts.messages import ToneLabel, time_in_words
from napari_hrpn.plugin.parts.runs import ProgressPanel, push_button, show_bar
from napari_hrpn.plugin.train.curves import TrainingCurves, agreement_in_words

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from qtpy.QtGui import QResizeEvent

    from napari_hrpn.plugin.train.job import RunFolderState
    from napari_hrpn.training import CutReport, EpochReport, Preview, StepReport, TrainingResult

_COLOURS = {"nuclei": (0.25, 0.45, 1.0), "vessels": (0.1, 1.0, 0.2)}
_OTHER_COLOURS = ((1.0, 0.25, 0.25), (1.0, 0.85, 0.1), (1.0, 0.3, 1.0))
_LOW_PERCENT, _HIGH_PERCENT = 0.5, 99.7
_TITLES = ("Inputs", "Real", "Predicted")
_LARGEST_PX = 320
_USE, _USE_SO_FAR = "Use for prediction", "Use the best so far"
_CARD_PX = 170


class TrainingProgress(ProgressPanel):
    """Bars of epochs and batches, numbers, warnings about slides and training, and a message."""

    def __init__(self) -> None:
        self.epoch_bar = QProgressBar()
        super().__init__("Train HRPN", "Batches of this epoch; before the first epoch, the cutting of patches")
        self.epoch_bar.setToolTip("Finished epochs")
        self.warning_label, self.quality_label = ToneLabel(), ToneLabel()
        for row, widget in ((0, self.epoch_bar), (3, self.quality_label), (4, self.warning_label)):
            self.rows.insertWidget(row, widget)

    def clear(self) -> None:
        """Show no progress."""
        super().clear()
        self.epoch_bar.setVisible(False)

    def show_cutting(self, report: CutReport) -> None:
        """Show the progress of cutting the slides."""
        numbers = f"{report.patches:,} patches so far; now {report.slide}"
        self.show_progress(report.done, report.total, "looking for patches, %p %", numbers)

    def show_step(self, report: StepReport) -> None:
        """Show a step."""
        show_bar(self.epoch_bar, report.epoch - 1, report.epochs, f"epoch {report.epoch} of {report.epochs}")
        numbers = _pace(report.seconds_left, report.seconds, report.patches_per_second)
        self.show_progress(report.step, report.steps, "batch %v of %m", numbers)
        words = f"{self.title}: {self.epoch_bar.text()}, {self.bar.text()}"
        done = (report.epoch - 1) * report.steps + report.step
        self.activity.show(done, report.epochs * report.steps, words, numbers)

    def show_epoch(self, report: EpochReport) -> None:
        """Show the end of an epoch."""
        self.show_epochs(report.record.epoch, report.epochs)
        record = report.record
        self.numbers_label.setText(_pace(report.seconds_left, record.seconds, record.patches_per_second))

    def show_epochs(self, done: int, epochs: int) -> None:
        """Show how many epochs are finished."""
        show_bar(self.epoch_bar, done, epochs, "%v of %m epochs")

    def stop(self) -> None:
        """Keep the epochs, and hide the time left."""
        super().clear()


def _pace(seconds_left: float, seconds: float, patches_per_second: float) -> str:
    left, so_far = time_in_words(seconds_left), time_in_words(seconds)
    return f"{left} left, {so_far} so far, {patches_per_second:.3g} patches/s"


class TrainingPage(QWidget):
    """Curves, preview, card, and two buttons.

    `chosen` carries the checkpoint that the user wants to predict with.
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
            "Pearson's r and R² over the validation patches. Blurred inputs are fitted to the same patches by least "
            "squares: a network that stays below them has learnt too little."
        )
        self.preview = TrainingPreview()
        self.card_view = QTextBrowser()
        self.card_view.setMinimumHeight(_CARD_PX)
        self.card_view.setToolTip("Card of the checkpoint: slides, settings and accuracy; it is stored in its file")
        self.use_button = push_button(_USE, "Choose the best epoch's checkpoint in the widget Predict QD", self._choose)
        self.folder_button = push_button(
            "Open folder", "Show checkpoint, history and settings in the file manager", self._open_folder
        )
        self.empty_label = QLabel("Nothing is trained yet.")
        self._lay_out()
        self.clear()

    def clear(self) -> None:
        """Show nothing; files stay."""
        self.curves.show_history((), 0)
        self.preview.clear()
        self._show(None)

    def begin(self, place: RunFolderState) -> None:
        """Show a run that begins or is resumed."""
        self.curves.show_history(place.history, place.best_epoch)
        self._show(place.folder)
        self._show_best()

    def show_step(self, report: StepReport) -> None:
        """Extend the training curve."""
        self.curves.add_step(report.epoch - 1 + report.step / max(1, report.steps), report.mean_loss)

    def show_epoch(self, report: EpochReport, roles: Sequence[str]) -> None:
        """Add an epoch and renew the preview."""
        self.curves.add_epoch(report.record, report.best_epoch)
        self._show_best()
        self.preview.show_patch(report.preview, roles, report.record.epoch)

    def show_outcome(self, result: TrainingResult, card: str) -> None:
        """Show the result of a run, with the card of its checkpoint."""
        if self.curves.records != list(result.history):
            self.curves.show_history(result.history, result.best_epoch)
        self._show(result.folder, card)
        self._show_best(_USE)
        self._offer(result.checkpoint)

    def _show(self, folder: Path | None, card: str = "") -> None:
        self.folder = folder
        self.empty_label.setVisible(folder is None)
        for widget in (self.curves, self.folder_button):
            widget.setVisible(folder is not None)
        self.agreement_label.setVisible(False)
        # the largest headings are too large for a dock
        self.card_view.setMarkdown(re.sub(r"^#", "###", card, flags=re.MULTILINE))
        self.card_view.setVisible(bool(card))
        self._offer(None)

    def _show_best(self, words: str = _USE_SO_FAR) -> None:
        """Offer the best epoch, also during the training, and show its agreement in validation and that of a blur."""
        best = next((record for record in self.curves.records if record.epoch == self.curves.best_epoch), None)
        if best is None or self.folder is None:
            return
        self.use_button.setText(words)
        self._offer(self.folder / "checkpoint.safetensors")
        lines = agreement_in_words(best)
        self.agreement_label.setText(f"Best epoch {best.epoch}, on the validation patches: " + "\n".join(lines))
        self.agreement_label.setVisible(bool(lines))

    def _offer(self, checkpoint: Path | None) -> None:
        self.checkpoint = checkpoint
        self.use_button.setVisible(checkpoint is not None)

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


class TrainingPreview(QWidget):
    """Three pictures side by side that fill the width."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures = [QLabel() for _ in _TITLES]
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for column, (picture, title) in enumerate(zip(self.pictures, _TITLES, strict=True)):
            label = QLabel(title)
            label.setAlignment(Qt.AlignmentFlag.AlignHCenter)
            # a long title would make its picture larger than the others
            label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
            layout.addWidget(label, 0, column)
            picture.setScaledContents(True)
            layout.addWidget(picture, 1, column, Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop)
            layout.setColumnStretch(column, 1)
        self.clear()

    def clear(self) -> None:
        """Show nothing."""
        self.setVisible(False)

    def show_patch(self, patch: Preview, roles: Sequence[str], epoch: int) -> None:
        """Renew the pictures."""
        for picture, pixels in zip(self.pictures, pictures_of(patch, roles), strict=True):
            picture.setPixmap(_pixmap(pixels))
        low, high = _limits(patch.real)
        self.setToolTip(
            "A fixed patch of the validation slides: nuclei blue, vessels green; the real probe;\n"
            f"the prediction after epoch {epoch}. The last two in the same grey limits, {low:.4g} to {high:.4g}"
        )
        self.setVisible(True)

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802 (Qt's name)
        """Keep the pictures square."""
        super().resizeEvent(event)
        side = max(40, min(_LARGEST_PX, (self.width() - 8) // 3))
        for picture in self.pictures:
            picture.setFixedSize(side, side)


def pictures_of(patch: Preview, roles: Sequence[str]) -> tuple[NDArray[np.uint8], ...]:
    """Draw the inputs in their colours, shape (y, x, 3), and real and predicted probe within the same grey limits."""
    others = iter(_OTHER_COLOURS * len(roles))
    colours = [_COLOURS.get(role) or next(others) for role in roles]
    stains = [_between(stain, _limits(stain)) for stain in patch.inputs]
    limits = _limits(patch.real)
    shown = (np.einsum("cyx,ck->yxk", stains, colours), _between(patch.real, limits), _between(patch.predicted, limits))
    return tuple(np.round(np.clip(np.nan_to_num(image), 0, 1) * 255).astype(np.uint8) for image in shown)


def _limits(image: NDArray[np.float32]) -> tuple[float, float]:
    low, high = (float(limit) for limit in np.percentile(image, (_LOW_PERCENT, _HIGH_PERCENT)))
    return low, max(high, low + 1e-6)


def _between(image: NDArray[np.float32], limits: tuple[float, float]) -> NDArray[np.float64]:
    low, high = limits
    return np.clip((image.astype(np.float64) - low) / (high - low), 0, 1)


def _pixmap(pixels: NDArray[np.uint8]) -> QPixmap:
    """Pixels of shape (y, x) or (y, x, 3)."""
    height, width = pixels.shape[:2]
    kind = QImage.Format.Format_Grayscale8 if pixels.ndim == 2 else QImage.Format.Format_RGB888
    # QImage does not copy the bytes, QPixmap does
    content = pixels.tobytes()
    return QPixmap.fromImage(QImage(content, width, height, width * pixels[0, 0].size, kind))
