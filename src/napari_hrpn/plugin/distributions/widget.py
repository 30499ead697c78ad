"""Dock widget "Distributions": histogram, Q-Q plot, violin plots of patches, and tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import napari.viewer
from magicgui.widgets import CheckBox
from qtpy.QtWidgets import QLabel, QPushButton, QTabWidget

from napari_hrpn.analysis import PATCH_PX, EvaluationSettings
from napari_hrpn.plugin.distributions.measurement import (
    DRAWN,
    HETEROGENEITY,
    MEAN,
    QUANTITIES,
    TOTAL,
    PatchSource,
    heterogeneity_records,
    patch_records,
    patch_sources,
    patches_part,
    region_part,
    room_words,
    slide_part,
    tissue_part,
    violins,
)
from napari_hrpn.plugin.distributions.value_plots import (
    NOTHING,
    SIZES,
    Compared,
    HistogramPlot,
    QuantilePlot,
    size_records,
)
from napari_hrpn.plugin.distributions.violin_plot import Patch, ViolinPlot
from napari_hrpn.plugin.parts.forms import combo_box, number_box, side_by_side, stacked, titled_rows
from napari_hrpn.plugin.parts.measure_bar import Part
from napari_hrpn.plugin.parts.measuring_widget import MeasuringWidget
from napari_hrpn.plugin.parts.messages import ToneLabel
from napari_hrpn.plugin.parts.region_form import FRAME, TISSUE, RegionForm
from napari_hrpn.plugin.parts.report_button import ReportChoices
from napari_hrpn.plugin.parts.saving import NumbersTable, save_button
from napari_hrpn.plugin.parts.viewer_tools import Frame, go_to, pixel_at
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
    "Region whose pixels are compared: the tissue, the whole frame, or the shapes or labels of a layer.\n"
    "Patches are those of the tissue, unless the whole frame is chosen"
)
_PATCH_TIP = (
    "Side of a patch at full resolution. 512 px is the paper's; for a small slide it is halved until there are\n"
    "24 patches, as in a report"
)
_TISSUE_TIP = "A patch counts if at least this share of it is tissue"


class DistributionsWidget(MeasuringWidget):
    """Measures distributions of grey levels of a real image and its predictions, and the heterogeneity of tumours."""

    # napari passes the viewer because of this annotation
    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer, "Count grey levels and measure patches at full resolution, in the background")
        self.region_form = RegionForm(viewer, self.tissue, _REGION_TIP, has_drawn=True)
        self.sizes_table, self.heterogeneity_table = (
            NumbersTable(columns.values()) for columns in (SIZES, HETEROGENEITY)
        )
        self.histogram, self.quantiles, self.violins = HistogramPlot(), QuantilePlot(), ViolinPlot()
        self.log_box = CheckBox(
            text="Log counts", tooltip="Show the logarithm of the counts, up to the brightest pixel"
        )
        self.quantity_box = combo_box(
            "Value of a point: the sum of a patch's grey levels, as in the paper, or their mean",
            [("Total intensity", TOTAL), ("Mean intensity", MEAN)],
        )
        self.patch_box = number_box(PATCH_PX, 1, _LARGEST_PATCH_PX, "px", _PATCH_TIP)
        self.tissue_box = number_box(100 * EvaluationSettings().minimum_tissue, 1, 100, "% tissue", _TISSUE_TIP)
        self.others_box = CheckBox(
            value=True,
            text="All open slides",
            tooltip="Show violins of all open slides side by side; every slide is read whole",
        )
        self.patch_note = ToneLabel()
        self.tabs = QTabWidget()
        self._compared: list[Compared] = []
        self._patches: list[tuple[PatchSource, Heterogeneity]] = []
        self._frame = Frame(viewer, "patch")
        self._picked: Patch | None = None
        self._is_patch_chosen = False
        self._lay_out()
        self._connect()
        self.show_known()

    def report_choices(self, slide: Slide) -> ReportChoices:  # noqa: ARG002 (patches are those of every slide)
        """Size of the patches and minimum share of tissue as chosen here."""
        patch_px = self._patch_px if self._is_patch_chosen else None
        return ReportChoices(EvaluationSettings(patch_px=patch_px, minimum_tissue=self.tissue_box.value / 100))

    @property
    def needs_tissue(self) -> bool:
        """Whether the tissue is needed: always, as one pass measures tissue and frame, and patches need it too."""
        return True

    def plots(self) -> Sequence[Plot]:
        """Histogram, Q-Q plot and violins."""
        return self.histogram, self.quantiles, self.violins

    def parts(self) -> list[Part]:
        """Grey levels of each prediction, then the patches of each slide."""
        place, parts = self.required_place(), self._value_parts()
        for source in self._sources(place):
            tissue = self._tissue_of(source)
            parts += [tissue] if isinstance(tissue, Part) else []
            parts.append(self._patches_part(source, tissue))
        return parts

    def show_known(self) -> None:
        """Show the results of the current choice."""
        place, real = self.place, self.real
        self._follow_patch(place)
        self._compared = self._known_values()
        self._patches = []
        for source in [] if place is None else self._sources(place):
            known = self.bar.known(self._patches_part(source, self._tissue_of(source)).key)
            self._patches += [] if known is None else [(source, known)]
        is_alone = real is None and bool(self.predictions)
        self.histogram.is_whole = real is not None and real.slide.dtype.kind in "biu"
        for plot in (self.histogram, self.quantiles):
            plot.nothing = _NO_REAL if is_alone else NOTHING
            plot.show_images("real" if real is None else real.name, self._compared)
        sizes = size_records(self._compared, "")
        rows = [
            [(record | {"anderson_darling_cap": record["anderson_darling_cap"] or "none"})[key] for key in SIZES]
            for record in sizes
        ]
        self.sizes_table.show_rows(rows, [record["reason"] or record["prediction"] for record in sizes])
        self._show_patches()

    def go_to_patch(self, patch: Patch) -> None:
        """Centre the view on a patch, and frame it."""
        layer = patch.violin.source.layer()
        if layer is None or layer not in self._viewer.layers:
            self.bar.say(f"{patch.violin.name!r} is not open any more: open it again to go to its patches.")
            return
        go_to(self._viewer, layer, patch.box)
        self._picked = patch
        self._show_patch(patch)

    def end(self) -> None:
        """Stop all threads before the widget is deleted."""
        super().end()
        self._frame.remove()

    def _lay_out(self) -> None:
        rows = {"Patches of": side_by_side(self.patch_box, self.tissue_box), "Show": self.quantity_box}
        patches = self.violins, self.heterogeneity_table, self._save_patches()
        for title, fields in (
            ("Histogram", (self.log_box, self.histogram, self._save_values("histogram", self.histogram))),
            ("Q-Q", (self.quantiles, self._save_values("quantiles", self.quantiles))),
            ("Patches", (titled_rows(rows), self.others_box, self.patch_note, *patches)),
        ):
            self.tabs.addTab(stacked(fields), title)
        region = titled_rows({"Region": self.region_form})
        title = QLabel("Distances of the grey level distributions")
        self.lay_out([self.pair_form, region, title, self.sizes_table, self.tabs])

    def _save_values(self, what: str, plot: HistogramPlot | QuantilePlot) -> QPushButton:
        return save_button(
            [
                self.figure_entry(what, plot),
                self.table_entry("Values of the plot", what, "CSV", plot.rows),
                self.table_entry("How far apart", "distances", "CSV of the table above", self._distances),
            ]
        )

    def _save_patches(self) -> QPushButton:
        heterogeneity = "CSV of the table above", lambda: heterogeneity_records(self._patches)
        return save_button(
            [
                self.figure_entry("patches", self.violins),
                self.table_entry(
                    "Patches", "patches", "CSV, one row per patch and channel", lambda: patch_records(self._patches)
                ),
                self.table_entry("Heterogeneity", "heterogeneity", *heterogeneity),
            ]
        )

    def _distances(self) -> list[dict[str, Any]]:
        return size_records(self._compared, self.region_form.title)

    def _connect(self) -> None:
        self.log_box.changed.connect(self.histogram.set_log)
        self.quantity_box.changed.connect(self._show_patches)
        self.patch_box.changed.connect(self._choose_patch)
        for box in (self.tissue_box, self.others_box):
            box.changed.connect(self.changed)
        self.violins.pointed.connect(self._point_at)
        self.violins.picked.connect(self.go_to_patch)
        self.mouse.moved.connect(self._mark_under_mouse)

    @property
    def _patch_px(self) -> int:
        return int(self.patch_box.value)

    def _choose_patch(self) -> None:
        self._is_patch_chosen = True
        self.changed()

    def _follow_patch(self, place: ComparedChannel | None) -> None:
        """Propose the side of a patch that a report of this slide has, until the user chooses another one."""
        if place is not None and not self._is_patch_chosen:
            with self.patch_box.changed.blocked():
                self.patch_box.value = EvaluationSettings().patch_of(place.slide.shape)
            self.patch_note.say(room_words(place.slide.shape, self._patch_px))

    def _sources(self, place: ComparedChannel) -> list[PatchSource]:
        predictions = {one: self.pair_form.colour_of(one) for one in self.predictions}
        shown = self.real or next(iter(self.predictions), place)
        panel = shown.slide.channel_names[shown.channel]
        return patch_sources(self._viewer, place, predictions, panel, others=self.others_box.value)

    def _patches_part(self, source: PatchSource, tissue: RegionMask | Part | None) -> Part:
        return patches_part(source, self._patch_px, self.tissue_box.value / 100, tissue)

    def _tissue_of(self, source: PatchSource) -> RegionMask | Part | None:
        if self.region_form.value == FRAME:
            return None
        if self._is_of_pair(source):
            return self.tissue.mask
        nuclei = guess_roles(source.slide.channel_names).nuclei
        return None if nuclei is None else tissue_part(source.slide, nuclei)

    def _value_parts(self) -> list[Part]:
        """Parts that compare each prediction with the real channel; none without one."""
        real, region = self.real, self.region_form
        if real is None:
            return []
        if region.value in (TISSUE, FRAME):
            return [slide_part(real, predicted, self.tissue.mask) for predicted in self.predictions]
        return [region_part(real, predicted, region.wanted(real), region.key) for predicted in self.predictions]

    def _known_values(self) -> list[Compared]:
        try:
            parts = self._value_parts()
        except SlideError:
            return []
        region = self.region_form.value if self.region_form.value in (TISSUE, FRAME) else DRAWN
        found = [(self.bar.known(part.key) or {}).get(region) for part in parts]
        return [
            Compared(predicted.name, self.pair_form.colour_of(predicted), comparison)
            for predicted, comparison in zip(self.predictions, found, strict=False)
            if comparison is not None
        ]

    def _show_patches(self) -> None:
        quantity = self.quantity_box.value
        self.violins.show_violins(violins(self._patches, quantity), QUANTITIES[quantity])
        records = heterogeneity_records(self._patches)
        rows = [[record[key] for key in HETEROGENEITY] for record in records]
        self.heterogeneity_table.show_rows(rows, [record["reason"] for record in records])

    def _show_patch(self, patch: Patch) -> None:
        """Frame a patch in the viewer, and mark it in all violins."""
        layer = patch.violin.source.layer()
        if layer is not None and layer in self._viewer.layers:
            self._frame.show(patch.box, layer)
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
        found = []
        for violin in self.violins.violins:
            layer = violin.source.layer()
            is_seen = layer is not None and layer.visible and layer in self._viewer.layers
            pixel = pixel_at(layer, position) if layer is not None and is_seen else None
            if pixel is not None:
                found += violin.patches_at(pixel[0] // violin.patch_px, pixel[1] // violin.patch_px)
        self.violins.mark(found)

    def _same_place(self, patch: Patch) -> list[Patch]:
        """The same patch in all violins of its slide and of the predictions of this slide."""
        source = patch.violin.source
        return [
            same
            for violin in self.violins.violins
            if violin.source.slide is source.slide or (self._is_of_pair(source) and self._is_of_pair(violin.source))
            for same in violin.patches_at(*patch.violin.cells[patch.index])
        ]

    def _is_of_pair(self, source: PatchSource) -> bool:
        place = () if self.place is None else (self.place,)
        return any(source.slide is one.slide for one in (*place, *self.predictions))
