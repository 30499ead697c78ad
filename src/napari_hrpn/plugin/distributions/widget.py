"""The dock widget "Distributions": asks and shows. What is computed, `work` computes, in another thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

import napari.viewer
from qtpy.QtWidgets import QCheckBox, QDoubleSpinBox, QLabel, QSpinBox, QTabWidget, QWidget

from napari_hrpn.analysis import EvaluationSettings
from napari_hrpn.plugin.distributions import patch_numbers, value_numbers
from napari_hrpn.plugin.distributions.patch_numbers import MEAN, QUANTITIES, TOTAL, patch_sources
from napari_hrpn.plugin.distributions.value_plots import NOTHING, Compared, HistogramPlot, QuantilePlot
from napari_hrpn.plugin.distributions.violin_plot import Patch, ViolinPlot
from napari_hrpn.plugin.distributions.work import (
    Comparison,
    PatchSettings,
    PatchSource,
    patches_part,
    region_part,
    slide_part,
    tissue_part,
)
from napari_hrpn.plugin.parts.arrangement import side_by_side, stacked
from napari_hrpn.plugin.parts.choice_box import ChoiceBox
from napari_hrpn.plugin.parts.form_rows import add_row, form_layout
from napari_hrpn.plugin.parts.measuring_widget import MeasuringWidget
from napari_hrpn.plugin.parts.numbers_table import NumbersTable
from napari_hrpn.plugin.parts.region_form import FRAME, TISSUE, RegionForm
from napari_hrpn.plugin.parts.report_button import ReportChoices
from napari_hrpn.plugin.parts.saving import save_button
from napari_hrpn.plugin.parts.tasks import Part
from napari_hrpn.plugin.parts.tone_label import ToneLabel
from napari_hrpn.plugin.parts.user_error import UserError
from napari_hrpn.plugin.parts.viewer_marks import Frame, go_to, pixel_at
from napari_hrpn.slides import SlideError, guess_roles

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from napari_hrpn.analysis import Heterogeneity
    from napari_hrpn.plugin.parts.plot import Plot
    from napari_hrpn.plugin.parts.selection import ComparedChannel
    from napari_hrpn.slides import RegionMask, Slide

_LARGEST_PATCH_PX = 8192
_NO_REAL = "There is no real image to compare with; Patches shows the prediction alone."
_REGION_TIP = (
    "Which pixels are compared: those of the tissue, all, or those in the shapes or labels of a layer.\n"
    "Patches are those of the tissue, but for the whole frame"
)


class DistributionsWidget(MeasuringWidget):
    """How the grey levels of a real image and its predictions are distributed, and how uneven tumours are."""

    # napari looks for this very annotation
    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer, "Count grey levels and measure patches at full resolution, in the background")
        self.region_form = RegionForm(viewer, self.tissue, _REGION_TIP, has_drawn=True)
        self.sizes_table = NumbersTable(value_numbers.HEADINGS)
        self.histogram, self.quantiles, self.violins = HistogramPlot(), QuantilePlot(), ViolinPlot()
        self.log_box = QCheckBox("Log counts")
        self.quantity_box = ChoiceBox(
            "What a point is: the sum of a patch's grey levels, as in the paper, or their mean"
        )
        self.patch_box, self.tissue_box = QSpinBox(), QDoubleSpinBox()
        self.others_box = QCheckBox("All open slides")
        self.heterogeneity_table = NumbersTable(patch_numbers.HEADINGS)
        self.tabs = QTabWidget()
        self._compared: list[Compared] = []
        self._patches: list[tuple[PatchSource, Heterogeneity]] = []
        self._frame = Frame(viewer, "patch")
        self._picked: Patch | None = None
        self._is_patch_chosen = False
        self._set_up_boxes()
        self._lay_out()
        self._connect()
        self.show_known()

    def report_choices(self, slide: Slide) -> ReportChoices:  # noqa: ARG002 (patches are those of every slide)
        """Patches as large, and of as much tissue, as here."""
        patch_px = self.patch_box.value() if self._is_patch_chosen else None
        least = self._patch_settings().minimum_tissue
        return ReportChoices(EvaluationSettings(patch_px=patch_px, minimum_tissue=least))

    @property
    def needs_tissue(self) -> bool:
        """One look at the pixels gives tissue and frame, and patches are those of the tissue."""
        return True

    def plots(self) -> Sequence[Plot]:
        """Histogram, Q-Q plot and violins."""
        return self.histogram, self.quantiles, self.violins

    def parts(self) -> list[Part]:
        """Grey levels of each prediction, then the patches of each slide."""
        place = self.place
        if place is None:
            raise UserError(self.pair_form.problem or "There is no image of one channel: open a slide.")
        if self.region_form.value == TISSUE and self.tissue.mask is None:
            raise UserError(self.tissue.problem or "The tissue is not known: compare the whole frame.")
        real = self.real
        parts = [] if real is None else [self._value_part(real, predicted) for predicted in self.predictions]
        for source in self._sources(place):
            tissue = self._tissue_of(source)
            parts += [tissue] if isinstance(tissue, Part) else []
            parts.append(patches_part(source, self._patch_settings(), tissue))
        return parts

    def show_known(self) -> None:
        """Show what is measured of what is chosen."""
        self._follow_patch(self.place)
        real = self.real
        self._compared = [] if real is None else self._known_values(real)
        self._patches = [] if self.place is None else self._known_patches(self.place)
        name = "real" if real is None else real.name
        is_whole = real is not None and real.slide.dtype.kind in "biu"
        is_alone = real is None and bool(self.predictions)
        for plot in (self.histogram, self.quantiles):
            plot.nothing = _NO_REAL if is_alone else NOTHING
        self.histogram.show_images(name, self._compared, is_whole=is_whole)
        self.quantiles.show_images(name, self._compared)
        self.sizes_table.show_rows(*value_numbers.size_rows(self._compared))
        self._show_patches()

    def go_to_patch(self, patch: Patch) -> None:
        """Go to a patch in the viewer, and frame it."""
        layer, box = patch.violin.source.layer(), patch.violin.boxes[patch.index]
        if layer is None or layer not in self._viewer.layers:
            self.bar.say(f"{patch.violin.name!r} is not open any more: open it again to go to its patches.")
            return
        go_to(self._viewer, layer, box)
        self._picked = patch
        self._show_patch(patch)

    def shut_down(self) -> None:
        """End all that runs, before the widget goes away."""
        if not self._is_shut_down:
            self.region_form.shut_down()
            self._frame.remove()
        super().shut_down()

    def _set_up_boxes(self) -> None:
        default = PatchSettings()
        self.log_box.setToolTip("Show the logarithm of the counts, and the bright tail with it")
        self.quantity_box.offer([("Total intensity", TOTAL), ("Mean intensity", MEAN)], TOTAL)
        self.patch_box.setRange(1, _LARGEST_PATCH_PX)
        self.patch_box.setValue(default.patch_px)
        self.patch_box.setSuffix(" px")
        self.patch_box.setToolTip(
            "Edge of a patch at full resolution. 512 px is the paper's; of a small slide, halved until there are\n"
            "24 patches, as in a report"
        )
        self.patch_note = ToneLabel()
        self.tissue_box.setRange(1, 100)
        self.tissue_box.setDecimals(0)
        self.tissue_box.setValue(100 * default.minimum_tissue)
        self.tissue_box.setSuffix(" % tissue")
        self.tissue_box.setToolTip("A patch counts where at least this share of it is tissue")
        self.others_box.setChecked(True)
        self.others_box.setToolTip("Show violins of every slide that is open, side by side; each is read whole")

    def _lay_out(self) -> None:
        region = QWidget()
        add_row(form_layout(region), "Region", self.region_form)
        for title, contents in (
            ("Histogram", (self.log_box, self.histogram, self._save_values("histogram", self.histogram))),
            ("Q-Q", (self.quantiles, self._save_values("quantiles", self.quantiles))),
            ("Patches", (self._patch_rows(), self.violins, self.heterogeneity_table, self._save_patches())),
        ):
            self.tabs.addTab(stacked(contents), title)
        title = QLabel("How far apart the grey levels are")
        self.lay_out([self.pair_form, region, title, self.sizes_table, self.tabs])

    def _patch_rows(self) -> QWidget:
        rows = QWidget()
        form = form_layout(rows)
        add_row(form, "Patches of", side_by_side(self.patch_box, self.tissue_box))
        add_row(form, "Show", self.quantity_box)
        form.addRow(self.others_box)
        form.addRow(self.patch_note)
        return rows

    def _save_values(self, what: str, plot: HistogramPlot | QuantilePlot) -> QWidget:
        return save_button(
            [
                ("Figure …", "PNG or SVG, dark on white", lambda: self.save_plot(what, plot)),
                ("Values of the plot …", "CSV", lambda: self.save_rows(what, plot.rows())),
                ("How far apart …", "CSV of the table above", self._save_distances),
            ]
        )

    def _save_patches(self) -> QWidget:
        return save_button(
            [
                ("Figure …", "PNG or SVG, dark on white", lambda: self.save_plot("patches", self.violins)),
                (
                    "Patches …",
                    "CSV, a row per patch and channel",
                    lambda: self.save_rows("patches", patch_numbers.patch_records(self._patches)),
                ),
                (
                    "Heterogeneity …",
                    "CSV of the table above",
                    lambda: self.save_rows("heterogeneity", patch_numbers.heterogeneity_records(self._patches)),
                ),
            ]
        )

    def _connect(self) -> None:
        self.log_box.toggled.connect(self.histogram.set_log)
        self.quantity_box.changed.connect(self._show_patches)
        self.region_form.changed.connect(self.changed)
        self.patch_box.valueChanged.connect(self._choose_patch)
        self.tissue_box.valueChanged.connect(self.changed)
        self.others_box.toggled.connect(self.changed)
        self.violins.pointed.connect(self._point_at)
        self.violins.picked.connect(self.go_to_patch)
        self.mouse.moved.connect(self._mark_under_mouse)

    def _choose_patch(self) -> None:
        self._is_patch_chosen = True
        self.changed()

    def _follow_patch(self, place: ComparedChannel | None) -> None:
        """Until another edge is chosen, that of a report of this slide."""
        if place is None or self._is_patch_chosen:
            return
        blocked = self.patch_box.blockSignals(True)
        self.patch_box.setValue(EvaluationSettings().patch_of(place.slide.shape))
        self.patch_box.blockSignals(blocked)
        self.patch_note.say(patch_numbers.room_words(place.slide.shape, self.patch_box.value()))

    def _patch_settings(self) -> PatchSettings:
        return PatchSettings(self.patch_box.value(), self.tissue_box.value() / 100)

    def _sources(self, place: ComparedChannel) -> list[PatchSource]:
        predictions = {one: self.pair_form.colour_of(one) for one in self.predictions}
        shown = self.real or next(iter(self.predictions), place)
        panel = shown.slide.channel_names[shown.channel]
        return patch_sources(self._viewer, place, predictions, panel, others=self.others_box.isChecked())

    def _value_part(self, real: ComparedChannel, predicted: ComparedChannel) -> Part:
        if self.region_form.value in (TISSUE, FRAME):
            return slide_part(real, predicted, self.tissue.mask)
        return region_part(real, predicted, self.region_form.wanted(real), self.region_form.key)

    def _tissue_of(self, source: PatchSource) -> RegionMask | Part | None:
        if self.region_form.value == FRAME:
            return None
        if self._is_of_pair(source):
            return self.tissue.mask
        nuclei = guess_roles(source.slide.channel_names).nuclei
        return None if nuclei is None else tissue_part(source.slide, nuclei)

    def _known_values(self, real: ComparedChannel) -> list[Compared]:
        found = []
        for predicted in self.predictions:
            comparison = self._known_comparison(real, predicted)
            if comparison is not None:
                found.append(Compared(predicted.name, self.pair_form.colour_of(predicted), comparison))
        return found

    def _known_comparison(self, real: ComparedChannel, predicted: ComparedChannel) -> Comparison | None:
        try:
            known = self.bar.known(self._value_part(real, predicted).key)
        except SlideError:
            return None
        region = self.region_form.value if self.region_form.value in (TISSUE, FRAME) else "drawn"
        comparison: Comparison | None = None if known is None else getattr(known, region)
        return comparison

    def _known_patches(self, place: ComparedChannel) -> list[tuple[PatchSource, Heterogeneity]]:
        settings = self._patch_settings()
        parts = [(source, patches_part(source, settings, self._tissue_of(source))) for source in self._sources(place)]
        return [(source, self.bar.known(part.key)) for source, part in parts if part.key in self.bar.results]

    def _show_patches(self) -> None:
        quantity = self.quantity_box.value
        self.violins.show_violins(patch_numbers.violins(self._patches, quantity), QUANTITIES[quantity])
        self.heterogeneity_table.show_rows(*patch_numbers.heterogeneity_rows(self._patches))

    def _save_distances(self) -> None:
        title = self.region_form.title
        self.save_rows("distances", [value_numbers.size_record(one, title) for one in self._compared])

    def _show_patch(self, patch: Patch) -> None:
        """Frame a patch in the viewer, and mark it in all violins."""
        layer = patch.violin.source.layer()
        if layer is not None and layer in self._viewer.layers:
            self._frame.show(patch.violin.boxes[patch.index], layer)
        self.violins.mark(self._same_place(patch))

    def _point_at(self, patch: Patch | None) -> None:
        """Show the patch under the mouse, or the one that was picked before."""
        shown = patch or self._picked
        if shown is not None and shown.violin in self.violins.violins:
            self._show_patch(shown)
        else:
            self._frame.hide()
            self.violins.mark(())

    def _mark_under_mouse(self, position: NDArray[np.float64]) -> None:
        if not self.violins.isVisible():
            return
        # several violins have one slide
        places: dict[int, tuple[int, int] | None] = {}
        found = []
        for violin in self.violins.violins:
            layer = violin.source.layer()
            if layer is None or not layer.visible or layer not in self._viewer.layers:
                continue
            if id(layer) not in places:
                places[id(layer)] = pixel_at(layer, position)
            place = places[id(layer)]
            if place is not None:
                side = self.patch_box.value()
                index = violin.places.get((place[0] // side, place[1] // side))
                found += [] if index is None else [Patch(violin, index)]
        self.violins.mark(found)

    def _same_place(self, patch: Patch) -> list[Patch]:
        """The patch in all violins of its slide, and in those of the predictions of this slide."""
        box, own = patch.violin.boxes[patch.index], patch.violin.source
        return [
            Patch(violin, violin.boxes.index(box))
            for violin in self.violins.violins
            if box in violin.boxes
            and (violin.source.slide is own.slide or (self._is_of_pair(own) and self._is_of_pair(violin.source)))
        ]

    def _is_of_pair(self, source: PatchSource) -> bool:
        place = () if self.place is None else (self.place,)
        return any(source.slide is one.slide for one in (*place, *self.predictions))
