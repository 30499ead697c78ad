"""Panel of the region that is looked at: its density, its numbers, and which level they are from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QWidget

from napari_hrpn.plugin.parts.combo_box import combo_box
from napari_hrpn.plugin.parts.form_rows import add_row, form_layout
from napari_hrpn.plugin.parts.tone_label import ToneLabel
from napari_hrpn.plugin.roi_correlation.density_plot import DensityPlot
from napari_hrpn.plugin.roi_correlation.results import (
    colocalization_html,
    doubts,
    interval_doubt,
    level_text,
    numbers_html,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_hrpn.analysis import RoiMeasurement
    from napari_hrpn.plugin.roi_correlation.results import RoiRow

_NO_ROI = "Draw a rectangle, an ellipse or a polygon on the slide, import regions, or add random ones."


class ResultPanel:
    """Shows one region, in `widgets` that stand under each other."""

    def __init__(self) -> None:
        self.measurement: RoiMeasurement | None = None
        self._names: tuple[str, ...] = ()
        self._title = ""
        self._shape = (0, 0)
        self.prediction_box = combo_box(
            lambda: [(name, number) for number, name in enumerate(self._names)],
            "Whose density is drawn; the numbers are of all predictions",
        )
        self.plot = DensityPlot()
        self.plot.setToolTip(
            "Pixels by real and predicted grey level: dashed the identity, solid the least-squares line.\n"
            "It follows while a region is dragged"
        )
        self.level_label = _label("Which pixels the numbers are from: while a region moves, a coarser level may do")
        self.numbers_label = _label("In brackets: 95 % intervals from a spatial block bootstrap, at full resolution")
        self.colocalization_label = _label("Co-localisation as Fiji's Coloc 2 gives it, at full resolution")
        self.doubt_label = ToneLabel()
        self._choice = QWidget()
        add_row(form_layout(self._choice), "Plot", self.prediction_box.native)
        labels = self.level_label, self.numbers_label, self.doubt_label, self.colocalization_label
        self.widgets = self._choice, self.plot, *labels
        self._choice.hide()
        self.colocalization_label.hide()
        self.prediction_box.changed.connect(self._show_density)

    @property
    def which(self) -> int:
        """Number of the prediction whose density is drawn."""
        return self.prediction_box.value or 0

    def set_predictions(self, names: Sequence[str], shape: tuple[int, int]) -> None:
        """Offer other predictions, of a slide of this height and width."""
        self._names, self._shape = tuple(names), shape
        self.prediction_box.reset_choices()
        self._choice.setVisible(len(names) > 1)

    def show_region(self, row: RoiRow | None, words: str = "") -> None:
        """Show what is known of a region, or words in the place of its density."""
        self.measurement = measurement = None if row is None else row.measurement
        self._title = "" if row is None else row.listed.name
        problem = "" if row is None else row.problem
        self._show_density(words=words or problem or ("Measuring …" if row else _NO_ROI))
        self.doubt_label.say("" if measurement is None else interval_doubt(measurement, self._shape))
        heading = numbers = ""
        if row is not None and measurement is not None:
            heading = f"<b>{self._title}</b>, {level_text(measurement)}. {doubts(measurement, self._names)}"
            numbers = numbers_html(row, self._names)
        self.level_label.setText(heading)
        self.numbers_label.setText(numbers)
        colocalized = () if row is None else row.colocalization
        self.colocalization_label.setText(colocalization_html(colocalized, self._names))
        self.colocalization_label.setVisible(bool(colocalized))

    def _show_density(self, _: object = None, *, words: str = "") -> None:
        # another choice may come before the numbers of what is chosen
        if self.measurement is None or self.which < len(self.measurement.numbers):
            name = self._names[self.which] if len(self._names) > 1 else ""
            title = ", ".join(filter(None, (self._title, name))) if self._title else ""
            self.plot.show_measurement(self.measurement, self.which, title, words or self.plot.words)


def _label(tooltip: str) -> QLabel:
    label = QLabel()
    label.setToolTip(tooltip)
    label.setWordWrap(True)
    label.setTextFormat(Qt.TextFormat.RichText)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label
