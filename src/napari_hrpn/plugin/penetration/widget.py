"""The dock widget "Penetration": asks and shows. What is computed, `work` computes, in another thread."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import napari.viewer
from qtpy.QtWidgets import QCheckBox, QLabel, QPushButton, QTabWidget, QWidget

from napari_hrpn.analysis import EvaluationSettings
from napari_hrpn.plugin.parts.arrangement import side_by_side, stacked
from napari_hrpn.plugin.parts.choice_box import ChoiceBox
from napari_hrpn.plugin.parts.form_rows import add_row, form_layout
from napari_hrpn.plugin.parts.measuring_widget import MeasuringWidget
from napari_hrpn.plugin.parts.numbers_table import NumbersTable
from napari_hrpn.plugin.parts.region_form import FRAME, RegionForm
from napari_hrpn.plugin.parts.report_button import ReportChoices
from napari_hrpn.plugin.parts.saving import save_button
from napari_hrpn.plugin.parts.tasks import who
from napari_hrpn.plugin.parts.user_error import UserError
from napari_hrpn.plugin.parts.viewer_marks import Frame, go_to, pixel_at
from napari_hrpn.plugin.parts.words import breakable
from napari_hrpn.plugin.penetration import penetration_numbers
from napari_hrpn.plugin.penetration.mask_layers import MaskLayers
from napari_hrpn.plugin.penetration.penetration_numbers import DENSITY_HEADINGS, profile_headings
from napari_hrpn.plugin.penetration.profile_plot import ProfilePlot
from napari_hrpn.plugin.penetration.vessel_form import GLASS, VesselForm
from napari_hrpn.plugin.penetration.vessel_places import box_of, vessel_at
from napari_hrpn.plugin.penetration.vessel_table import VesselTableView
from napari_hrpn.plugin.penetration.work import (
    BANDS,
    EDGE,
    Chosen,
    PenetrationParts,
    edited_part,
    penetration_parts,
    subareas_part,
    vessels_part,
)
from napari_hrpn.slides import SlideError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from napari.layers import Labels
    from numpy.typing import NDArray

    from napari_hrpn.analysis import CellDensity, Penetration, SlidePenetration, VesselMask, VesselTable
    from napari_hrpn.plugin.parts.plot import Plot
    from napari_hrpn.plugin.parts.selection import ComparedChannel
    from napari_hrpn.plugin.parts.tasks import Part
    from napari_hrpn.slides import RegionMask, Slide

    Tables = Mapping[str, Sequence[dict[str, Any]]]

_REGION_TIP = "What is measured: the tissue, with its core and periphery where it has an edge, or everything"
_AREAS = [("Tissue", "tissue"), ("Core", "core"), ("Periphery", "periphery")]


class PenetrationWidget(MeasuringWidget):
    """How far a probe got from the vessels, in a real image and its predictions."""

    # napari looks for this very annotation
    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        from napari_hrpn.analysis import PenetrationSettings

        super().__init__(
            viewer, "Find vessels if there is no mask, and measure the probe around them, in the background"
        )
        self.masks = MaskLayers(viewer)
        self.region_form = RegionForm(viewer, self.tissue, _REGION_TIP, has_drawn=False)
        self.vessel_form = VesselForm(viewer, self.masks)
        self.profile, self.area_box, self.log_box = (
            ProfilePlot(),
            ChoiceBox("Which part of the tissue"),
            QCheckBox("Log"),
        )
        self.profile_table = NumbersTable(profile_headings(PenetrationSettings()))
        self.reason_label = QLabel()
        self.vessel_table = VesselTableView()
        self.density_table = NumbersTable(DENSITY_HEADINGS)
        self.subarea_box = ChoiceBox("Bands of distance from the vessels, or what is near the edge of the tissue")
        self.subarea_button = QPushButton("Show subareas")
        self._vessels: VesselMask | None = None
        self._table: VesselTable | None = None
        self._cells: CellDensity | None = None
        self._profiles: SlidePenetration | None = None
        self._tables: Tables | None = None
        self._frame = Frame(viewer, "vessel")
        self._lay_out()
        self._connect()
        self.show_known()

    @property
    def needs_tissue(self) -> bool:
        """Whether the tissue alone is measured, or the glass around it tells the background."""
        return self._is_tissue_alone or self.vessel_form.background == GLASS

    @property
    def is_settled(self) -> bool:
        """Whether nothing is read or measured, and all that is known is shown."""
        return super().is_settled and self.masks.is_settled

    def plots(self) -> Sequence[Plot]:
        """The profile."""
        return (self.profile,)

    def parts(self) -> list[Part]:
        """Vessels, the probe around them, densities, and tables of all this."""
        return self._wanted(*self._checked()).in_order

    def find_vessels(self) -> None:
        """Make the vessel mask of the stain and show it, to be looked at and edited."""
        self.vessel_form.mask_box.choose(None)
        self.start(lambda: [self._checked()[1]], self._show_layer_of)

    def show_subareas(self) -> None:
        """Cut the tissue into subareas and show them as a layer."""
        self.start(self._subarea_parts, self._show_layer_of)

    def show_known(self) -> None:
        """Show what is measured of what is chosen."""
        real = self.place
        self.vessel_form.follow(real)
        self._vessels = self._table = self._cells = self._profiles = None
        tables, has_glass = None, True
        if real is not None:
            tables, has_glass = self._recall(real)
        there = {one.area for one in self._all_profiles}
        if there:
            self.area_box.offer([choice for choice in _AREAS if choice[1] in there], "tissue")
        self._show_profile()
        self.profile_table.show_rows(*penetration_numbers.profile_rows(self._all_profiles))
        why = penetration_numbers.reasons(self._all_profiles, has_glass=has_glass)
        self.reason_label.setText(breakable(why))
        self.reason_label.setVisible(bool(why))
        self._show_vessels(tables)
        self.density_table.show_rows(*penetration_numbers.density_rows(self._table, self._cells))

    def go_to_vessel(self, label: int) -> None:
        """Go to a vessel in the viewer, and frame it."""
        real = self.place
        if self._vessels is not None and real is not None:
            box = box_of(self._vessels, label)
            go_to(self._viewer, real.layer, box)
            self._frame.show(box, real.layer)

    def shut_down(self) -> None:
        """End all that runs, before the widget goes away."""
        if not self._is_shut_down:
            self.region_form.shut_down()
            self.masks.shut_down()
        super().shut_down()

    @property
    def _is_tissue_alone(self) -> bool:
        return self.region_form.value != FRAME

    @property
    def _all_profiles(self) -> Sequence[Penetration]:
        return () if self._profiles is None else self._profiles.profiles

    def _lay_out(self) -> None:
        self.area_box.offer(_AREAS, "tissue")
        self.log_box.setToolTip("Show the logarithm of the grey levels: an exponential fall is a straight line")
        self.reason_label.setWordWrap(True)
        self.subarea_box.offer([("Distance bands", BANDS), ("Core and periphery", EDGE)], BANDS)
        self.subarea_button.setToolTip("Show them as a Labels layer; names appear under the mouse")
        region = QWidget()
        add_row(form_layout(region), "Region", self.region_form)
        tabs = QTabWidget()
        tabs.addTab(
            stacked(
                [
                    side_by_side(self.area_box, self.log_box, is_second_wide=False),
                    self.profile,
                    self.profile_table,
                    self.reason_label,
                    self._save_profile(),
                    side_by_side(self.subarea_box, self.subarea_button),
                ]
            ),
            "Profile",
        )
        tabs.addTab(stacked([self.vessel_table, self.density_table, self._save_vessels()]), "Vessels")
        self.tabs = tabs
        self.lay_out([self.pair_form, region, self.vessel_form, tabs])

    def _save_profile(self) -> QWidget:
        return save_button(
            [
                ("Figure …", "PNG or SVG, dark on white", lambda: self.save_plot("penetration", self.profile)),
                self._table_to_save("Lengths", "penetration", "CSV of the table above, and why numbers are missing"),
                self._table_to_save("Shells", "penetration_shells", "CSV, a row per image, area and shell"),
                self._table_to_save("Bands", "penetration_bands", "CSV, a row per image, area and distance band"),
            ]
        )

    def _save_vessels(self) -> QWidget:
        return save_button(
            [
                self._table_to_save("Vessels", "vessels", "CSV, a row per vessel"),
                self._table_to_save("Densities", "vessel_density", "CSV of the table above"),
            ]
        )

    def _table_to_save(self, title: str, name: str, tooltip: str) -> tuple[str, str, Callable[[], None]]:
        return f"{title} …", tooltip, lambda: self.save_rows(title.lower(), (self._tables or {}).get(name, ()))

    def _connect(self) -> None:
        self.region_form.changed.connect(self.changed)
        self.vessel_form.changed.connect(self.changed)
        self.vessel_form.find_button.clicked.connect(self.find_vessels)
        self.masks.edited.connect(self._take_edit)
        self.area_box.changed.connect(self._show_profile)
        self.log_box.toggled.connect(self.profile.set_log)
        self.subarea_button.clicked.connect(self.show_subareas)
        self.vessel_table.chosen.connect(self.go_to_vessel)
        self.mouse.clicked.connect(self._select_under_mouse)
        self.bar.found.connect(self._show_layers)

    def _checked(self) -> tuple[ComparedChannel, Part]:
        """The real channel, and the part that gives the vessels."""
        real = self.place
        if real is None:
            raise UserError(self.pair_form.problem or "There is no image of one channel: open a slide.")
        if self.real is None and not self.predictions:
            raise UserError(self.pair_form.problem or "There is no probe to measure: open or make a prediction.")
        if self._is_tissue_alone and self.tissue.mask is None:
            raise UserError(self.tissue.problem or "The tissue is not known: measure the whole frame.")
        vessels = self._vessels_part(real)
        if vessels is None:
            raise UserError(
                "No layer shows vessels by its name: choose the stain of the vessels, or a mask that you drew."
            )
        return real, vessels

    def _vessels_part(self, real: ComparedChannel) -> Part | None:
        layer, stain = self.vessel_form.mask, self.vessel_form.stain
        if layer is not None:
            return edited_part(self.masks.drawn(layer, real), real.slide, self.masks.mark(layer))
        if stain is None:
            return None
        return vessels_part(real.slide, stain, self._mask_of_tissue(), self.vessel_form.settings)

    def _mask_of_tissue(self) -> RegionMask | None:
        return self.tissue.mask if self._is_tissue_alone else None

    def _wanted(self, real: ComparedChannel, vessels: Part) -> PenetrationParts:
        form = self.vessel_form
        background = self.tissue.glass if form.background == GLASS else float(form.background)
        images = self.predictions if self.real is None else (real, *self.predictions)
        return penetration_parts(Chosen(images, form.stain, form.nuclei, self._mask_of_tissue(), background), vessels)

    def _subarea_parts(self) -> list[Part]:
        real, vessels = self._checked()
        kind = self.subarea_box.value
        cut = subareas_part(kind, real.slide, vessels, self._mask_of_tissue())
        return [vessels, cut] if kind == BANDS else [cut]

    def _recall(self, real: ComparedChannel) -> tuple[Tables | None, bool]:
        """Fetch what is measured of what is chosen; the tables, and whether there is glass where it is asked for."""
        try:
            vessels = self._vessels_part(real)
        except (UserError, SlideError):
            return None, True
        has_probe = self.real is not None or self.predictions
        if vessels is None or not has_probe or (self._is_tissue_alone and self.tissue.mask is None):
            return None, True
        parts, known = self._wanted(real, vessels), self.bar.known
        self._vessels, self._table, self._profiles = known(vessels.key), known(parts.table.key), known(parts.probe.key)
        self._cells = None if parts.nuclei is None else known(parts.nuclei.key)
        if self._vessels is not None and self.vessel_form.mask is None:
            self.masks.renew(self._vessels, real)
        return known(parts.tables.key), isinstance(parts.background, float) or known(parts.background.key) != {}

    def report_choices(self, slide: Slide) -> ReportChoices:
        """Vessels and background as they are chosen here."""
        from napari_hrpn.analysis import edited_vessel_mask

        form, real = self.vessel_form, self.real
        background = None if form.background == GLASS else float(form.background)
        vessels = None
        if form.mask is not None and real is not None:
            labels = self.masks.drawn(form.mask, real)
            vessels = partial(edited_vessel_mask, labels, slide)
        settings = EvaluationSettings(vessels=form.settings, background=background)
        return ReportChoices(settings, form.stain_on(slide), vessels)

    def _show_profile(self) -> None:
        area = self.area_box.value
        profiles = [one for one in self._all_profiles if one.area == area]
        colours = {one.name: self.pair_form.colour_of(one) for one in self.predictions}
        self.profile.show_profiles(profiles, colours)

    def _show_vessels(self, tables: Tables | None) -> None:
        # there may be thousands
        if tables is self._tables:
            return
        self._tables = tables
        chosen = self.vessel_table.selected
        self.vessel_table.show_rows(() if tables is None else tables.get("vessels", ()))
        if chosen is not None:
            self.vessel_table.select(chosen)

    def _show_layers(self, key: Any) -> None:  # noqa: ANN401 (of any part)
        """Show masks and subareas as soon as they are found."""
        real, result = self.real, self.bar.known(key)
        # meanwhile, another slide may have been chosen, or this one closed
        if real is None or key[1] != who(real.slide) or real.layer not in self._viewer.layers:
            return
        if key[0] == "vessels":
            self.masks.show_vessels(result, real)
        elif key[0] == "subareas":
            self.masks.show_subareas(result, real)

    def _show_layer_of(self, parts: Sequence[Part]) -> None:
        """Show again what was found before."""
        self._show_layers(parts[-1].key)

    def _take_edit(self, layer: Labels) -> None:
        real = self.place
        if layer is self.vessel_form.mask:
            self.changed()
        elif real is not None and self.masks.was_found_on(layer, real):
            # from the first stroke on, the mask is the one that was edited
            self.vessel_form.take_mask(layer)

    def _select_under_mouse(self, position: NDArray[np.float64]) -> None:
        real = self.place
        if self._vessels is None or real is None or not self.vessel_table.isVisible():
            return
        place = pixel_at(real.layer, position)
        label = None if place is None else vessel_at(self._vessels, place)
        if label is not None and self.vessel_table.select(label):
            self._frame.show(box_of(self._vessels, label), real.layer)
