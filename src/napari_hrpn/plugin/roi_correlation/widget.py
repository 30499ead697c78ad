"""The dock widget "ROI correlation": asks and shows; pixels are read and counted in other threads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import napari.viewer
from napari.layers import Shapes
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_hrpn.analysis import roi_extent, roi_images
from napari_hrpn.analysis.slide_penetration import ProbeImage
from napari_hrpn.core import Box
from napari_hrpn.plugin.parts.debounce import soon
from napari_hrpn.plugin.parts.docked_widget import DockedWidget, scrolling
from napari_hrpn.plugin.parts.pair_form import PairForm
from napari_hrpn.plugin.parts.plot import PlotTheme
from napari_hrpn.plugin.parts.report_button import ReportBar
from napari_hrpn.plugin.parts.selection import ComparedChannel
from napari_hrpn.plugin.parts.tissue_mask import Tissue
from napari_hrpn.plugin.parts.tone_label import PROBLEM, TEXT, ToneLabel
from napari_hrpn.plugin.parts.user_error import sentence_of
from napari_hrpn.plugin.parts.viewer_marks import go_to
from napari_hrpn.plugin.roi_correlation.colocalization_layer import ColocalizationLayer
from napari_hrpn.plugin.roi_correlation.export_rows import Exported
from napari_hrpn.plugin.roi_correlation.exports import RoiExport
from napari_hrpn.plugin.roi_correlation.measurements import Colocalizations, Measured, Measurements, Previews
from napari_hrpn.plugin.roi_correlation.new_rois import name_next
from napari_hrpn.plugin.roi_correlation.result_panel import ResultPanel
from napari_hrpn.plugin.roi_correlation.result_words import summary_html
from napari_hrpn.plugin.roi_correlation.results import RoiRow, short_names
from napari_hrpn.plugin.roi_correlation.roi_form import RoiForm
from napari_hrpn.plugin.roi_correlation.roi_layer import RoiLayer
from napari_hrpn.plugin.roi_correlation.roi_maker import RoiMaker
from napari_hrpn.plugin.roi_correlation.roi_table import RoiTable

if TYPE_CHECKING:
    from napari_hrpn.analysis import Colocalization, RoiImages, RoiMeasurement
    from napari_hrpn.plugin.roi_correlation.listed_rois import ListedRoi

_TABLE_MS = 80
_NO_PAIR = "There is nothing to correlate yet."


class RoiCorrelationWidget(DockedWidget):
    """Correlates real with predicted pixels in regions, while they are drawn."""

    least_width_px = 480

    # napari looks for this very annotation
    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._images: RoiImages | None = None
        self._current: ListedRoi | None = None
        self._known: dict[str, RoiMeasurement | Exception] = {}
        self._colocalized: dict[str, tuple[Colocalization, ...]] = {}
        self._is_shut_down = False
        self.pair_form = PairForm(viewer)
        self.roi_form = RoiForm(viewer)
        self.panel = ResultPanel()
        self.table = RoiTable()
        self.summary_label, self.message_label = QLabel(), ToneLabel(TEXT)
        self.more_box = QCheckBox("More columns")
        self.layer_button = QPushButton("Co-localisation layer")
        self.colocalize_button = QPushButton("Manders and Costes")
        self.export = RoiExport(self._exported)
        self._rois = RoiLayer(viewer)
        self.tissue = Tissue(viewer)
        self.report = ReportBar(viewer, self.pair_form, self.tissue, lambda: [one.roi for one in self._rois.rois])
        self.maker = RoiMaker(viewer, self.roi_form, lambda: [listed.roi for listed in self._rois.rois])
        self.previews, self._measurements, self._colocalizations = Previews(), Measurements(), Colocalizations()
        self._overlay = ColocalizationLayer(viewer)
        self._table_soon = soon(self, self._show_table, _TABLE_MS)
        self._lay_out()
        self._connect()
        self._theme = PlotTheme(self, viewer, [self.panel.plot])
        self._pair_changed()

    @property
    def is_busy(self) -> bool:
        """Whether something is being measured, placed or read."""
        return any(part.is_busy for part in self._working)

    @property
    def _working(self) -> tuple[RoiLayer | Previews | Measurements | Colocalizations | RoiMaker, ...]:
        return self._rois, self.previews, self._measurements, self._colocalizations, self.maker

    @property
    def message(self) -> str:
        """The last thing that was said to the user."""
        return str(self.message_label.text()).replace("\u200b", "")

    @property
    def measurement(self) -> RoiMeasurement | None:
        """What is shown of the region that is looked at."""
        return self.panel.measurement

    def rows(self) -> tuple[RoiRow, ...]:
        """All regions with what is known of them."""
        return tuple(self._row(listed) for listed in self._rois.rois)

    def show_colocalization_layer(self) -> None:
        """Show real in red and predicted in green."""
        pair, which = self.pair_form.pair, self.panel.which
        if pair is None or self._images is None:
            self.say(self.pair_form.problem or "")
            return
        self._overlay.show(self._images, which, pair.real, pair.predictions[which])
        self.say("Red: real alone, green: predicted alone, yellow: both, at the contrast of the real layer.")

    def colocalize(self) -> None:
        """Compute Manders and Costes of all regions, the one that is looked at first."""
        rois, images = self._rois.rois, self._images
        if not rois or images is None:
            self.refuse("There is no region to look at: draw one first.")
            return
        wanted = {one.digest: one for one in (self._current, *rois) if one is not None}
        missing = [one for digest, one in wanted.items() if digest not in self._colocalized]
        if missing:
            self.say(f"Computing the co-localisation of {len(missing)} {'ROI' if len(missing) == 1 else 'ROIs'} …")
            self._colocalizations.compute(images, missing)
        else:
            self.say("Manders and Costes of all regions are in the table.")

    def say(self, sentence: str) -> None:
        """Tell the user something."""
        self.message_label.say(sentence, TEXT)

    def refuse(self, sentence: str) -> None:
        """Tell the user why something cannot be done."""
        self.message_label.say(sentence, PROBLEM)

    def shut_down(self) -> None:
        """End all that runs, before the widget goes away."""
        if self._is_shut_down:
            return
        self._is_shut_down = True
        self._table_soon.stop()
        for part in (self.previews, self._measurements, self._colocalizations, self.report):
            part.abandon()
        for followed in (self._rois, self._overlay, self.maker, self.roi_form, self.tissue, self.pair_form):
            followed.shut_down()
        self._theme.stop()

    def _lay_out(self) -> None:
        self.layer_button.setToolTip("Show real in red and predicted in green, yellow where they agree, as one layer")
        self.colocalize_button.setToolTip(
            "Manders' and Costes' co-localisation of all regions, as Fiji's Coloc 2: columns of the table"
        )
        self.more_box.setToolTip("Show all that is known of each region; the files have it in any case")
        self.summary_label.setWordWrap(True)
        self.summary_label.setToolTip("Over the regions at full resolution; SD with n - 1")
        buttons = QHBoxLayout()
        for button in (self.layer_button, self.colocalize_button, self.export.button):
            buttons.addWidget(button)
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(0, 0, 6, 0)
        stretch = {self.panel: 3, self.table: 1}
        for part in (self.pair_form, self.roi_form, self.panel, self.table, self.more_box, self.summary_label):
            column.addWidget(part, stretch.get(part, 0))
        layout = QVBoxLayout(self)
        layout.addWidget(scrolling(inside, sideways=True), 1)
        layout.addLayout(buttons)
        layout.addWidget(self.message_label)
        layout.addWidget(self.report)

    def _connect(self) -> None:
        self.pair_form.changed.connect(self._pair_changed)
        self.roi_form.changed.connect(self._follow)
        self.roi_form.restore_asked.connect(self._rois.restore)
        self.maker.said.connect(self.say)
        self.maker.refused.connect(self.refuse)
        self._rois.deleted.connect(self.roi_form.offer_restore)
        self._rois.dragged.connect(self._dragged)
        self._rois.listed.connect(self._listed)
        self._rois.picked.connect(self._picked)
        self.previews.measured.connect(self._take_preview)
        self._measurements.measured.connect(self._take_measured)
        self._colocalizations.found.connect(self._take_colocalization)
        self._colocalizations.finished.connect(self._tell_colocalized)
        self.more_box.toggled.connect(self.table.show_more)
        self.table.picked.connect(self._pick)
        self.table.centred.connect(self._centre)
        self.layer_button.clicked.connect(self.show_colocalization_layer)
        self.colocalize_button.clicked.connect(self.colocalize)
        self.export.said.connect(self.say)
        self.export.refused.connect(self.refuse)

    def _pair_changed(self) -> None:
        pair = self.pair_form.pair
        self.previews.abandon()
        self.previews.forget()
        self._measurements.abandon()
        self._colocalizations.abandon()
        self._known.clear()
        self._colocalized.clear()
        self._images = None if pair is None else roi_images(_image(pair.real), tuple(map(_image, pair.predictions)))
        # numbers of other images must not stay
        self.panel.show_measurement(None, "", _NO_PAIR if self._images is None else "")
        self.panel.set_predictions(self._names(), (0, 0) if self._images is None else self._images.shape)
        self.maker.set_real(None if pair is None else pair.real)
        if pair is not None:
            self._follow()
        self._listed()

    def _follow(self) -> None:
        pair = self.pair_form.pair
        self._rois.follow(self.roi_form.layers, None if pair is None else pair.real.layer)

    def _names(self) -> tuple[str, ...]:
        return () if self._images is None else short_names([image.name for image in self._images.predictions])

    def _row(self, listed: ListedRoi) -> RoiRow:
        found = self._known.get(listed.digest)
        if isinstance(found, Exception):
            return RoiRow(listed, problem=str(found))
        return RoiRow(listed, found, colocalization=self._colocalized.get(listed.digest, ()))

    def _dragged(self, listed: ListedRoi) -> None:
        if self._images is None:
            return
        # what is dragged comes first; the others go on when it has settled
        self._measurements.abandon()
        is_other = not listed.is_at(self._current)
        self._current = listed
        if is_other:
            self.table.pick(self._number_of(listed))
        if listed.digest in self._known:
            self._show_current()
            return
        shown = None if is_other or self.measurement is None else self.measurement.density_range
        self.previews.ask(self._images, listed, shown)

    def _listed(self) -> None:
        """The regions have settled: measure what is not known yet, the one that is looked at first."""
        self.pair_form.look_again()
        rois = self._rois.rois
        self.roi_form.note(self._rois.note)
        for layer in self._rois.layers:
            if isinstance(layer, Shapes):
                name_next(layer)
        there = {listed.digest for listed in rois}
        self._known = {digest: found for digest, found in self._known.items() if digest in there}
        self._current = next((listed for listed in rois if listed.is_at(self._current)), rois[-1] if rois else None)
        if self._images is not None:
            wanted = {one.digest: one for one in (self._current, *rois) if one is not None}
            self._measurements.measure(self._images, [one for key, one in wanted.items() if key not in self._known])
        self._show_current()
        self._table_soon.start()

    def _number_of(self, wanted: ListedRoi | None) -> int | None:
        return next((number for number, one in enumerate(self._rois.rois) if one.is_at(wanted)), None)

    def _picked(self, listed: ListedRoi) -> None:
        """A region was selected in the viewer."""
        self._look_at(listed)
        self.table.pick(self._number_of(listed))

    def _pick(self, number: int) -> None:
        """A row was selected."""
        rois = self._rois.rois
        if number < len(rois):
            self._rois.pick(rois[number])
            self._look_at(rois[number])

    def _look_at(self, listed: ListedRoi) -> None:
        if listed.is_at(self._current):
            return
        self._current = listed
        if self._images is not None and listed.digest not in self._known:
            self.previews.ask(self._images, listed, None)
        self._show_current()

    def _centre(self, number: int) -> None:
        pair, rois = self.pair_form.pair, self._rois.rois
        if pair is not None and number < len(rois):
            (y0, x0), (y1, x1) = (end.round().astype(int).tolist() for end in roi_extent(rois[number].roi))
            go_to(self._viewer, pair.real.layer, Box(y0, y1, x0, x1))

    def _take_preview(self, measured: Measured) -> None:
        current = self._current
        if measured.images is not self._images or current is None or not current.is_at(measured.listed):
            return
        # the exact numbers of where it is now are better than a preview of where it was
        found = measured.measurement
        if current.digest in self._known:
            return
        if isinstance(found, Exception):
            self.panel.show_measurement(None, current.name, str(found))
        else:
            self.panel.show_measurement(found, current.name)

    def _take_measured(self, measured: Measured) -> None:
        if measured.images is not self._images:
            return
        self._known[measured.listed.digest] = measured.measurement
        if self._current is not None and self._current.digest == measured.listed.digest:
            self._show_current()
        if not self._table_soon.isActive():
            self._table_soon.start()

    def _take_colocalization(self, listed: ListedRoi, found: tuple[Colocalization, ...] | Exception) -> None:
        if isinstance(found, Exception):
            self.refuse(f"{listed.name}: {sentence_of(found)}")
            return
        self._colocalized[listed.digest] = found
        if listed.is_at(self._current):
            self._show_current()
        self._table_soon.start()

    def _tell_colocalized(self) -> None:
        if all(one.digest in self._colocalized for one in self._rois.rois):
            self.say("Manders and Costes of all regions, at full resolution: columns of the table.")

    def _show_current(self) -> None:
        current = self._current if self._images is not None else None
        if current is None:
            self.panel.show_measurement(None, "", _NO_PAIR if self._images is None else "")
            self.panel.show_colocalization(())
            return
        row = self._row(current)
        if row.measurement is not None or row.problem or self.measurement is None:
            self.panel.show_measurement(row.measurement, current.name, row.problem)
        self.panel.show_colocalization(row.colocalization)

    def _show_table(self) -> None:
        rows, names = self.rows(), self._names()
        self.table.show_rows(rows, names)
        self.table.pick(self._number_of(self._current))
        self.summary_label.setText(summary_html(rows, names))

    def _exported(self) -> tuple[Exported, RoiRow | None] | None:
        """What there is to save, and the region that is looked at."""
        layers, images, rows = self._rois.layers, self._images, self.rows()
        if images is None or not layers or not any(row.measurement for row in rows):
            return None
        origins = [self.maker.origin(row.listed, images.shape) for row in rows]
        exported = Exported(images, rows, ", ".join(layer.name for layer in layers), origins)
        return exported, None if self._current is None else self._row(self._current)


def _image(channel: ComparedChannel) -> ProbeImage:
    return ProbeImage(channel.name, channel.slide, channel.channel)
