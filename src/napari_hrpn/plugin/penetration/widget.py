"""Dock widget "Penetration": vessels, the probe by distance from them, tables and subareas."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, Any

import napari.viewer
from magicgui.widgets import CheckBox, PushButton
from qtpy.QtWidgets import QLabel, QTabWidget

from napari_hrpn.analysis import EvaluationSettings, PenetrationSettings, edited_vessel_mask
from napari_hrpn.plugin.parts.forms import combo_box, offer, side_by_side, stacked, titled_rows
from napari_hrpn.plugin.parts.measuring_widget import MeasuringWidget
from napari_hrpn.plugin.parts.messages import UserError, breakable
from napari_hrpn.plugin.parts.region_form import FRAME, RegionForm
from napari_hrpn.plugin.parts.report_button import ReportChoices
from napari_hrpn.plugin.parts.saving import NumbersTable, save_button
from napari_hrpn.plugin.parts.viewer_tools import Frame, go_to, pixel_at
from napari_hrpn.plugin.penetration.mask_layers import MaskLayers, box_of, vessel_at
from napari_hrpn.plugin.penetration.measurement import (
    BANDS,
    EDGE,
    edited_part,
    penetration_parts,
    subareas_part,
    vessels_part,
)
from napari_hrpn.plugin.penetration.profile_plot import ProfilePlot
from napari_hrpn.plugin.penetration.tables import (
    DENSITY_HEADINGS,
    WIDEST_PX,
    VesselTableView,
    density_rows,
    profile_headings,
    profile_rows,
    reasons,
)
from napari_hrpn.plugin.penetration.vessel_form import VesselForm
from napari_hrpn.slides import SlideError

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    import numpy as np
    from napari.layers import Labels
    from numpy.typing import NDArray

    from napari_hrpn.analysis import Penetration, VesselMask
    from napari_hrpn.plugin.parts.measure_bar import Part
    from napari_hrpn.plugin.parts.measuring_widget import Entry
    from napari_hrpn.plugin.parts.plot import Plot
    from napari_hrpn.slides import RegionMask, Slide

_REGION_TIP = "Region that is measured: the tissue, with its core and periphery if it has an edge, or the whole frame"
_AREAS = [("Tissue", "tissue"), ("Core", "core"), ("Periphery", "periphery")]
_SUBAREAS = [("Distance bands", BANDS), ("Core and periphery", EDGE)]


class PenetrationWidget(MeasuringWidget):
    """Measures how far a probe penetrates from the vessels, in a real image and its predictions."""

    # napari passes the viewer because of this annotation
    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(
            viewer, "Find vessels if there is no mask, and measure the probe around them, in the background"
        )
        self.masks = MaskLayers(viewer)
        self.region_form = RegionForm(viewer, self.tissue, _REGION_TIP, has_drawn=False)
        self.vessel_form = VesselForm(viewer, self.masks, self.pair_form)
        self.profile = ProfilePlot()
        self.area_box = combo_box("Part of the tissue whose profile is shown", _AREAS)
        self.log_box = CheckBox(
            text="Log", tooltip="Show the logarithm of the grey levels: an exponential decrease is a straight line"
        )
        self.profile_table = NumbersTable(profile_headings(PenetrationSettings()).items())
        self.reason_label = QLabel()
        self.vessel_table = VesselTableView()
        self.density_table = NumbersTable(DENSITY_HEADINGS.items(), WIDEST_PX)
        self.subarea_box = combo_box(
            "Bands of distance from the vessels, or core and periphery of the tissue", _SUBAREAS
        )
        self.subarea_button = PushButton(
            text="Show subareas", tooltip="Show the subareas as a Labels layer; their names appear under the mouse"
        )
        self.tabs = QTabWidget()
        # results of the current choice, by the names of `penetration_parts`
        self.known: dict[str, Any] = {}
        self._shown_vessels: Sequence[dict[str, Any]] = ()
        self._shown_mask: VesselMask | None = None
        self._frame = Frame(viewer, "vessel")
        self._lay_out()
        self._connect()
        self.show_known()

    @property
    def needs_tissue(self) -> bool:
        """Whether only the tissue is measured, or the background is that of the glass around it."""
        return self.region_form.value != FRAME or self.vessel_form.background is None

    @property
    def is_settled(self) -> bool:
        """Whether nothing is read or measured, and all results are shown."""
        return super().is_settled and self.masks.is_settled

    def plots(self) -> Sequence[Plot]:
        """The profile."""
        return (self.profile,)

    def parts(self) -> list[Part]:
        """Vessels, the probe around them, densities, and tables of all this."""
        return list(self._named_parts().values())

    def find_vessels(self) -> None:
        """Find the vessels by their stain, and show the mask, which the user can edit."""
        self.vessel_form.mask_box.value = None
        self._shown_mask = None
        self.start(lambda: [self._vessels_part()], lambda _: self._show_mask())

    def show_subareas(self) -> None:
        """Divide the tissue into subareas and show them as a layer."""
        self.start(self._subarea_parts, lambda parts: self._show_subareas(parts[-1].key))

    def show_known(self) -> None:
        """Show the results of the current choice."""
        real = self.place
        self.vessel_form.follow(real)
        self.known = self._recall()
        self._show_mask()
        profiles = self.profiles
        areas = [choice for choice in _AREAS if choice[1] in {one.area for one in profiles}]
        if areas:
            offer(self.area_box, areas, self.area_box.value)
        self._show_profile()
        self.profile_table.show_rows(*profile_rows(profiles))
        why = reasons(profiles, has_glass=self.known.get("background") != {})
        self.reason_label.setText(breakable(why))
        self.reason_label.setVisible(bool(why))
        vessels = self.known.get("tables", {}).get("vessels", ())
        # there may be thousands of vessels, so the table is filled only when they change
        if vessels is not self._shown_vessels:
            self._shown_vessels = vessels
            self.vessel_table.show_rows(vessels)
        self.density_table.show_rows(*density_rows(self.known.get("table"), self.known.get("nuclei")))

    def go_to_vessel(self, label: int) -> None:
        """Centre the view on a vessel, and frame it."""
        real = self.place
        if "vessels" in self.known and real is not None:
            box = box_of(self.known["vessels"], label)
            go_to(self._viewer, real.layer, box)
            self._frame.show(box, real.layer)

    def end(self) -> None:
        """Stop all threads before the widget is deleted."""
        super().end()
        self.masks.shut_down()

    @property
    def profiles(self) -> Sequence[Penetration]:
        """Profiles of all images and areas; none before they are measured."""
        return self.known["probe"].profiles if "probe" in self.known else ()

    @property
    def _measured_tissue(self) -> RegionMask | None:
        return None if self.region_form.value == FRAME else self.tissue.mask

    def _lay_out(self) -> None:
        self.reason_label.setWordWrap(True)
        profile = [
            side_by_side(self.area_box, self.log_box, is_second_wide=False),
            self.profile,
            self.profile_table,
            self.reason_label,
            save_button(
                [
                    self.figure_entry("penetration", self.profile),
                    self._to_save("Lengths", "penetration", "CSV of the table above, with reasons for missing numbers"),
                    self._to_save("Shells", "penetration_shells", "CSV, one row per image, area and shell"),
                    self._to_save("Bands", "penetration_bands", "CSV, one row per image, area and distance band"),
                ]
            ),
            side_by_side(self.subarea_box, self.subarea_button),
        ]
        save_vessels = save_button(
            [
                self._to_save("Vessels", "vessels", "CSV, one row per vessel"),
                self._to_save("Densities", "vessel_density", "CSV of the table above"),
            ]
        )
        self.tabs.addTab(stacked(profile), "Profile")
        self.tabs.addTab(stacked([self.vessel_table, self.density_table, save_vessels]), "Vessels")
        self.lay_out([self.pair_form, titled_rows({"Region": self.region_form}), self.vessel_form, self.tabs])

    def _to_save(self, title: str, name: str, tooltip: str) -> Entry:
        return self.table_entry(title, title.lower(), tooltip, lambda: self.known.get("tables", {}).get(name, ()))

    def _connect(self) -> None:
        self.vessel_form.changed.connect(self.changed)
        self.vessel_form.find_button.changed.connect(self.find_vessels)
        self.masks.edited.connect(self._take_edit)
        self.area_box.changed.connect(self._show_profile)
        self.log_box.changed.connect(self.profile.set_log)
        self.subarea_button.changed.connect(self.show_subareas)
        self.vessel_table.chosen.connect(self.go_to_vessel)
        self.mouse.clicked.connect(self._select_under_mouse)
        self.bar.found.connect(self._show_subareas)

    def _vessels_part(self) -> Part:
        """Make the part that finds or reads the vessels; an error says what is missing."""
        real, form = self.required_place(), self.vessel_form
        if self.real is None and not self.predictions:
            raise UserError(self.pair_form.problem or "There is no probe to measure: open or make a prediction.")
        if form.mask is not None:
            return edited_part(self.masks.drawn(form.mask, real), real.slide, self.masks.mark(form.mask))
        if form.stain is None:
            raise UserError(
                "No layer has the name of a vessel stain: choose the stain of the vessels, or a mask that you drew."
            )
        return vessels_part(form.stain, self._measured_tissue, form.settings)

    def _named_parts(self) -> dict[str, Part]:
        vessels, form = self._vessels_part(), self.vessel_form
        background = self.tissue.glass if form.background is None else form.background
        images = self.predictions if self.real is None else (self.real, *self.predictions)
        return penetration_parts(images, vessels, form.stain, form.nuclei, self._measured_tissue, background)

    def _subarea_parts(self) -> list[Part]:
        vessels, kind = self._vessels_part(), self.subarea_box.value
        cut = subareas_part(kind, self.required_place().slide, vessels, self._measured_tissue)
        return [vessels, cut] if kind == BANDS else [cut]

    def _recall(self) -> dict[str, Any]:
        """Results of the current choice that are known."""
        try:
            parts = self._named_parts()
        except (UserError, SlideError):
            return {}
        return {name: self.bar.known(part.key) for name, part in parts.items() if part.key in self.bar.results}

    def report_choices(self, slide: Slide) -> ReportChoices:
        """Vessels and background as chosen here."""
        form, real = self.vessel_form, self.real
        vessels = None
        if form.mask is not None and real is not None:
            vessels = partial(edited_vessel_mask, self.masks.drawn(form.mask, real), slide)
        settings = EvaluationSettings(vessels=form.settings, background=form.background)
        return ReportChoices(settings, form.stain_on(slide), vessels)

    def _show_profile(self, _: object = None) -> None:
        profiles = [one for one in self.profiles if one.area == self.area_box.value]
        colours = {one.name: self.pair_form.colour_of(one) for one in self.predictions}
        self.profile.show_profiles(profiles, colours)

    def _show_mask(self) -> None:
        """Show the vessel mask of the current choice, but only once: the user may delete its layer."""
        vessels = self.known.get("vessels")
        if vessels is not None and vessels is not self._shown_mask and self.vessel_form.mask is None:
            assert self.place is not None
            self._shown_mask = vessels
            self.masks.show_vessels(vessels, self.place)

    def _show_subareas(self, key: Hashable) -> None:
        """Show subareas once they are known, unless the choice has changed meanwhile."""
        with contextlib.suppress(UserError, SlideError):
            if key == self._subarea_parts()[-1].key and self.place is not None:
                self.masks.show_subareas(self.bar.known(key), self.place)

    def _take_edit(self, layer: Labels) -> None:
        real = self.place
        if layer is self.vessel_form.mask:
            self.changed()
        elif real is not None and self.masks.was_found_on(layer, real):
            # from the first stroke on, the edited layer is the mask
            self.vessel_form.take_mask(layer)

    def _select_under_mouse(self, position: NDArray[np.float64]) -> None:
        vessels, real = self.known.get("vessels"), self.place
        if vessels is None or real is None or not self.vessel_table.isVisible():
            return
        pixel = pixel_at(real.layer, position)
        label = None if pixel is None else vessel_at(vessels, pixel)
        if label is not None and self.vessel_table.select(label):
            self._frame.show(box_of(vessels, label), real.layer)
