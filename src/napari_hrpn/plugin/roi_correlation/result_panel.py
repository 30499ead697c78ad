"""The region that is looked at: its density, its numbers, and which level they are from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_hrpn.plugin.parts.choice_box import ChoiceBox
from napari_hrpn.plugin.parts.form_rows import add_row, form_layout
from napari_hrpn.plugin.parts.messages import ToneLabel
from napari_hrpn.plugin.roi_correlation.density_plot import DensityPlot
from napari_hrpn.plugin.roi_correlation.result_words import (
    colocalization_html,
    doubts,
    interval_doubt,
    level_text,
    numbers_html,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_hrpn.analysis import Colocalization, RoiMeasurement

_NO_ROI = "Draw a rectangle, an ellipse or a polygon on the slide, import regions, or add random ones."


class ResultPanel(QWidget):
    """Shows one region.

    `prediction_changed` says that the density of another prediction is wanted.
    """

    prediction_changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.measurement: RoiMeasurement | None = None
        self._names: tuple[str, ...] = ()
        self._title = ""
        self._shape = (0, 0)
        self.prediction_box = ChoiceBox("Whose density is drawn; the numbers are of all predictions")
        self.plot = DensityPlot()
        self.plot.setToolTip(
            "Pixels by real and predicted grey level: dashed the identity, solid the least-squares line.\n"
            "It follows while a region is dragged"
        )
        self.level_label, self.numbers_label, self.colocalization_label = QLabel(), QLabel(), QLabel()
        self.doubt_label = ToneLabel()
        self.level_label.setToolTip("Which pixels the numbers are from: while a region moves, a coarser level may do")
        self.numbers_label.setToolTip("In brackets: 95 % intervals from a spatial block bootstrap, at full resolution")
        self.colocalization_label.setToolTip("Co-localisation as Fiji's Coloc 2 gives it, at full resolution")
        self._lay_out()
        self.prediction_box.changed.connect(self._show_again)

    @property
    def which(self) -> int:
        """Number of the prediction whose density is drawn."""
        return self.prediction_box.value or 0

    def set_predictions(self, names: Sequence[str], shape: tuple[int, int]) -> None:
        """Offer other predictions."""
        self._names, self._shape = tuple(names), shape
        self.prediction_box.offer([(name, number) for number, name in enumerate(names)])
        self._choice.setVisible(len(names) > 1)

    def show_measurement(self, measurement: RoiMeasurement | None, title: str, problem: str = "") -> None:
        """Show a region, or why there is nothing to show."""
        self.measurement, self._title = measurement, title
        self.plot.show_measurement(
            measurement, self.which, self._plot_title(), problem or ("Measuring …" if title else _NO_ROI)
        )
        self.doubt_label.say("" if measurement is None else interval_doubt(measurement, self._shape))
        if measurement is None:
            self.level_label.setText("")
            self.numbers_label.setText("")
            return
        self.level_label.setText(f"<b>{title}</b>, {level_text(measurement)}. {doubts(measurement, self._names)}")
        self.numbers_label.setText(numbers_html(measurement, self._names))

    def show_colocalization(self, found: Sequence[Colocalization]) -> None:
        """Show Manders and Costes."""
        self.colocalization_label.setText(colocalization_html(found, self._names) if found else "")
        self.colocalization_label.setVisible(bool(found))

    def _lay_out(self) -> None:
        for label in (self.level_label, self.numbers_label, self.colocalization_label):
            label.setWordWrap(True)
            label.setTextFormat(Qt.TextFormat.RichText)
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.colocalization_label.hide()
        self._choice = QWidget()
        add_row(form_layout(self._choice), "Plot", self.prediction_box)
        self._choice.hide()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for widget in (
            self._choice,
            self.plot,
            self.level_label,
            self.numbers_label,
            self.doubt_label,
            self.colocalization_label,
        ):
            layout.addWidget(widget, int(widget is self.plot))

    def _plot_title(self) -> str:
        if not self._title:
            return ""
        name = self._names[self.which] if len(self._names) > 1 and self.which < len(self._names) else ""
        return f"{self._title}, {name}" if name else self._title

    def _show_again(self) -> None:
        if self.measurement is not None and self.which < len(self.measurement.numbers):
            self.plot.show_measurement(self.measurement, self.which, self._plot_title())
        self.prediction_changed.emit()
