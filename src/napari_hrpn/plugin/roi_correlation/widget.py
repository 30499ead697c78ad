"""Dock widget "ROI correlation": real against predicted pixels in regions, while they are drawn."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import napari.viewer
from magicgui.widgets import PushButton
from napari.layers import Shapes

from napari_hrpn.analysis import roi_images
from napari_hrpn.analysis.tissue.slide_penetration import ProbeImage
from napari_hrpn.core import Box
from napari_hrpn.plugin.background import soon
from napari_hrpn.plugin.parts.forms import side_by_side
from napari_hrpn.plugin.parts.measure_bar import Remembered
from napari_hrpn.plugin.parts.measuring_widget import MeasuringWidget
from napari_hrpn.plugin.parts.messages import UserError
from napari_hrpn.plugin.parts.saving import FIGURES, TABLES, save_button
from napari_hrpn.plugin.parts.viewer_tools import go_to
from napari_hrpn.plugin.roi_correlation.calibration import Calibrator
from napari_hrpn.plugin.roi_correlation.colocalization_layer import ColocalizationLayer
from napari_hrpn.plugin.roi_correlation.exports import Exported, write_roi_figure, write_rois_geojson, write_rois_table
from napari_hrpn.plugin.roi_correlation.measurements import Measurements, Previews, colocalization_part
from napari_hrpn.plugin.roi_correlation.new_regions import RoiMaker, name_next
from napari_hrpn.plugin.roi_correlation.region_form import RoiForm
from napari_hrpn.plugin.roi_correlation.regions import FollowedRegions
from napari_hrpn.plugin.roi_correlation.result_panel import ResultPanel
from napari_hrpn.plugin.roi_correlation.results import RoiRow, RoiTable, short_names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from napari_hrpn.analysis import RoiImages, RoiMeasurement
    from napari_hrpn.plugin.parts.measure_bar import Part
    from napari_hrpn.plugin.parts.plot import Plot
    from napari_hrpn.plugin.parts.selection import ComparedChannel, Pair
    from napari_hrpn.plugin.roi_correlation.measurements import Measured
    from napari_hrpn.plugin.roi_correlation.regions import ListedRoi
    from napari_hrpn.slides import Region

_TABLE_MS = 80
_MOST_COLOCALIZED = 10_000
_COLOCALIZE = "Measure Manders' and Costes' co-localisation of all regions, as Fiji's Coloc 2; the table shows them"
_NOTHING = "There is nothing to save yet: draw a region on the slide first."
_REGIONS = "GeoJSON (*.geojson)"


class RoiCorrelationWidget(MeasuringWidget):
    """Correlates real with predicted pixels in regions, while they are drawn.

    Regions are measured when they are drawn or moved; the button measures their co-localisation.
    """

    # napari passes the viewer because of this annotation
    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer, _COLOCALIZE)
        self._pair: Pair | None = None
        self._images: RoiImages | None = None
        self._current: ListedRoi | None = None
        self.roi_form = RoiForm(viewer)
        # the base class needs `value`, `is_settled` and `changed`, which this form has too
        self.region_form = self.roi_form
        self.panel = ResultPanel()
        self.table = RoiTable()
        self.layer_button = PushButton(
            text="Co-localisation layer",
            tooltip="Show real and predicted in two colours, which add up where they agree, as one layer",
        )
        self._rois = FollowedRegions(viewer, self.roi_form.region_layers)
        self.maker = RoiMaker(viewer, self.roi_form, self.tissue, self.bar, self.reported_rois)
        self.previews, self._measurements = Previews(), Measurements()
        self._overlay = ColocalizationLayer(viewer)
        self.calibrator = Calibrator(viewer, self.pair_form, self.tissue, self.bar, self.reported_rois, self.panel)
        self._table_soon = soon(self, self._show_table, _TABLE_MS)
        self.bar.results = Remembered(_MOST_COLOCALIZED)
        self._lay_out()
        self._connect()
        self._use_pair(None)
        self.show_known()

    @property
    def needs_tissue(self) -> bool:
        """Whether the tissue is needed: only random regions need it, and `RoiMaker` waits for it."""
        return False

    @property
    def is_settled(self) -> bool:
        """Whether nothing is read, measured or placed, and all results are shown."""
        parts = self._rois, self.previews, self._measurements, self.maker
        return super().is_settled and not self._table_soon.isActive() and not any(part.is_busy for part in parts)

    @property
    def measurement(self) -> RoiMeasurement | None:
        """Measurement of the current region."""
        return self.panel.measurement

    def rows(self) -> tuple[RoiRow, ...]:
        """All regions with their results."""
        return tuple(map(self._row, self._rois.rois))

    def parts(self) -> list[Part]:
        """Parts that compute the co-localisation of all regions, the current one first."""
        images, regions = self._images, self._current_first()
        if images is None or not regions:
            raise UserError("There is no region to measure: draw one first.")
        return [colocalization_part(images, listed) for listed in regions]

    def keyed(self) -> Mapping[str, Callable[[], object]]:
        """What the keys do."""
        return {**super().keyed(), **self.table.keyed}

    def plots(self) -> Sequence[Plot]:
        """The density."""
        return (self.panel.plot,)

    def reported_rois(self) -> Sequence[Region]:
        """The regions, which a report measures too."""
        return [replace(listed.roi, name=listed.name) for listed in self._rois.rois]

    def show_known(self) -> None:
        """Follow the chosen layers; the numbers of a former pair are dropped."""
        pair, former = self.pair_form.pair, self._pair
        if pair is not former:
            self._use_pair(pair)
        if pair is not None:
            self._rois.follow(self.roi_form.layers, pair.real.layer)
        if pair is not former:
            self._measure()
        self._show_current()
        self._show_table_soon()

    def show_colocalization_layer(self) -> None:
        """Show real and predicted in the two colours of the preferences."""
        pair, which = self._pair, self.panel.which
        if pair is None or self._images is None:
            self.bar.say(self.pair_form.problem or "")
            return
        self._overlay.show(self._images, which, pair.real, pair.predictions[which])
        self.bar.say(self._overlay.words)

    def exported(self) -> Exported | None:
        """Images and regions to save; None if no region is measured."""
        images, rows = self._images, self.rows()
        if images is None or not any(row.measurement for row in rows):
            return None
        rows = tuple(replace(row, origin=self.maker.origin(row.listed, images.shape)) for row in rows)
        return Exported(images, rows, ", ".join(layer.name for layer in self._rois.layers))

    def save_table(self) -> None:
        """Ask where to save the table, and save it."""
        self._save("ROI correlation", TABLES, write_rois_table)

    def save_figure(self) -> None:
        """Ask where to save the figure of the current region, and save it."""
        exported, number = self.exported(), self._number_of(self._current)
        row = None if exported is None or number is None else exported.rows[number]
        if row is None or row.measurement is None:
            self.bar.refuse(_NOTHING)
        else:
            self._save(f"{row.listed.name} correlation", FIGURES, write_roi_figure, row)

    def save_regions(self) -> None:
        """Ask where to save the regions, and save them."""
        self._save("ROIs", _REGIONS, write_rois_geojson)

    def end(self) -> None:
        """Stop all threads before the widget is deleted."""
        super().end()
        self._table_soon.stop()
        for part in (self.previews, self._measurements, self.maker):
            part.abandon()
        self._rois.leave()
        self._overlay.shut_down()

    def _measure_unasked(self) -> None:
        """Measure nothing here: regions are measured when they are listed, co-localisation by the button."""
        self._say_missing("")

    def _lay_out(self) -> None:
        self.bar.measure_button.setText("Manders and Costes")
        actions = [
            ("Table (CSV) …", "One row for each region and prediction", self.save_table),
            ("Figure (PNG, SVG) …", "Densities of the selected region, and their data as CSV", self.save_figure),
            ("Regions with measurements (GeoJSON) …", "File for QuPath", self.save_regions),
        ]
        save = save_button(actions)
        save.setToolTip("Save the table, the figure or the regions; the settings are saved in a file beside them")
        below = side_by_side(side_by_side(self.table.more_box.native, side_by_side(*self.table.step_buttons)), save)
        layers = side_by_side(self.layer_button.native, self.calibrator.button.native)
        results = self.table, below, layers, self.panel.summary_label
        self.lay_out((self.pair_form, self.roi_form, *self.panel.widgets, *results))

    def _connect(self) -> None:
        self.roi_form.restore_button.changed.connect(self._rois.restore)
        self._rois.deleted.connect(self.roi_form.offer_restore)
        self._rois.dragged.connect(self._dragged)
        self._rois.listed.connect(self._listed)
        self._rois.picked.connect(self._picked)
        self.previews.measured.connect(self._take_preview)
        self._measurements.measured.connect(self._take_measured)
        self.bar.ended.connect(self._say_colocalized)
        self.bar.ended.connect(self.calibrator.finish)
        self.table.picked.connect(self._pick)
        self.table.centred.connect(self._centre)
        self.layer_button.changed.connect(self.show_colocalization_layer)

    def _use_pair(self, pair: Pair | None) -> None:
        self._pair = pair
        self.previews.abandon()
        self.previews.forget()
        self._measurements.abandon()
        self._measurements.known.clear()
        self.bar.cancel()
        self._images = None if pair is None else roi_images(_image(pair.real), tuple(map(_image, pair.predictions)))
        self.panel.set_predictions(self._names(), (0, 0) if self._images is None else self._images.shape)
        # numbers of other images must not stay
        self.panel.show_region(None)
        self.maker.set_real(None if pair is None else pair.real)

    def _names(self) -> tuple[str, ...]:
        return () if self._images is None else short_names([image.name for image in self._images.predictions])

    def _row(self, listed: ListedRoi, preview: Measured | None = None) -> RoiRow:
        found = preview or self._measurements.known.get(listed.digest)
        if isinstance(found, Exception):
            return RoiRow(listed, problem=str(found))
        colocalized = None if self._images is None else self.bar.known(colocalization_part(self._images, listed).key)
        return RoiRow(listed, found, colocalization=colocalized if isinstance(colocalized, tuple) else ())

    def _current_first(self) -> list[ListedRoi]:
        """The regions, the current one first; regions with the same outline once."""
        regions = (self._current, *self._rois.rois)
        return list({listed.digest: listed for listed in regions if listed is not None}.values())

    def _measure(self) -> None:
        """Measure the regions that are not known yet."""
        if self._images is not None:
            self._measurements.measure(self._images, self._current_first())

    def _dragged(self, listed: ListedRoi) -> None:
        if self._images is None:
            return
        # the dragged region has priority; the others are measured when it has stopped
        self._measurements.abandon()
        is_other = not listed.is_at(self._current)
        self._current = listed
        if is_other:
            self.table.pick(self._number_of(listed))
        if listed.digest in self._measurements.known:
            self._show_current()
            return
        shown = None if is_other or self.measurement is None else self.measurement.density_range
        self.previews.ask(self._images, listed, shown)

    def _listed(self) -> None:
        """Show regions after some were added or removed, or a dragged one has stopped."""
        self.pair_form.look_again()
        rois = self._rois.rois
        self.roi_form.note_label.say(self._rois.note)
        for layer in self._rois.layers:
            if isinstance(layer, Shapes):
                name_next(layer)
        self._current = next((listed for listed in rois if listed.is_at(self._current)), rois[-1] if rois else None)
        self._measure()
        self._show_current()
        self._show_table_soon()

    def _number_of(self, region: ListedRoi | None) -> int | None:
        return next((number for number, listed in enumerate(self._rois.rois) if listed.is_at(region)), None)

    def _picked(self, listed: ListedRoi) -> None:
        """Show a region that was selected in the viewer."""
        self._look_at(listed)
        self.table.pick(self._number_of(listed))

    def _pick(self, number: int) -> None:
        """Show the region of a row that was selected."""
        rois = self._rois.rois
        if number < len(rois):
            self._rois.pick(rois[number])
            self._look_at(rois[number])

    def _look_at(self, listed: ListedRoi) -> None:
        if listed.is_at(self._current):
            return
        self._current = listed
        if self._images is not None and listed.digest not in self._measurements.known:
            self.previews.ask(self._images, listed, None)
        self._show_current()

    def _centre(self, number: int) -> None:
        pair, rois = self._pair, self._rois.rois
        if pair is not None and number < len(rois):
            (y0, x0), (y1, x1) = (end.round().astype(int).tolist() for end in rois[number].roi.extent)
            go_to(self._viewer, pair.real.layer, Box(y0, y1, x0, x1))

    def _take_preview(self, listed: ListedRoi, found: Measured) -> None:
        current = self._current
        # a preview of an earlier position must not replace the exact numbers of the current one
        if current is not None and current.is_at(listed) and current.digest not in self._measurements.known:
            self.panel.show_region(self._row(current, found))

    def _take_measured(self, digest: str) -> None:
        if self._current is not None and self._current.digest == digest:
            self._show_current()
        self._show_table_soon()

    def _say_colocalized(self, _: object = None) -> None:
        """Report that the co-localisation of all regions is known, or its errors."""
        parts = [] if self._images is None else [colocalization_part(self._images, one) for one in self._rois.rois]
        found = [self.bar.known(part.key) for part in parts]
        if found and None not in found:
            self.bar.say("Manders and Costes of all regions, at full resolution: columns of the table.")
        for listed, error in zip(self._rois.rois, found, strict=False):
            if isinstance(error, Exception):
                self.bar.refuse(f"{listed.name}: {error}")

    def _show_current(self) -> None:
        if self._images is None or self._current is None:
            self.panel.show_region(None)
            return
        row = self._row(self._current)
        # a preview stays until there are exact numbers
        if row.measurement is not None or row.problem or self.measurement is None:
            self.panel.show_region(row)

    def _show_table_soon(self) -> None:
        if not self._table_soon.isActive():
            self._table_soon.start()

    def _show_table(self) -> None:
        rows = self.rows()
        self.table.show_regions(rows, self._names())
        self.table.pick(self._number_of(self._current))
        self.panel.show_summary(rows)

    def _save(self, what: str, kinds: str, write: Callable[..., None], *arguments: Any) -> None:  # noqa: ANN401
        exported = self.exported()
        if exported is None:
            self.bar.refuse(_NOTHING)
        else:
            self._ask_and_save(what, kinds, partial(write, exported, *arguments))


def _image(channel: ComparedChannel) -> ProbeImage:
    return ProbeImage(channel.name, channel.slide, channel.channel)
