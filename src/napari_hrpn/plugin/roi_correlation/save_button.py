"""A button that saves the table, the figure of a region, or the regions for QuPath, to a file that the user chooses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QMenu, QPushButton

from napari_hrpn.plugin.forms.folders import folder_beside
from napari_hrpn.plugin.measuring.saving import FIGURES, TABLES, ask_where
from napari_hrpn.plugin.roi_correlation.exports import write_roi_figure, write_rois_geojson, write_rois_table
from napari_hrpn.slides import SlideError, slide_name

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_hrpn.plugin.roi_correlation.export_rows import Exported
    from napari_hrpn.plugin.roi_correlation.results import RoiRow

REGIONS = "GeoJSON (*.geojson)"
NOTHING = "There is nothing to save yet: draw a region on the slide first."


class SaveButton(QPushButton):
    """The button and its menu.

    `said` carries a sentence for the user.

    Parameters
    ----------
    exported : callable
        Gives what there is to save and the region that is looked at, or None.
    """

    said = Signal(str)

    def __init__(self, exported: Callable[[], tuple[Exported, RoiRow | None] | None]) -> None:
        super().__init__()
        self._exported = exported
        self.setText("Save …")
        self.setToolTip("Save the table, the figure, or the regions; the settings are saved beside them")
        menu = QMenu(self)
        menu.setToolTipsVisible(True)
        for title, tooltip, action in (
            ("Table (CSV) …", "One row for each region and prediction", self.save_table),
            ("Figure (PNG, SVG) …", "Densities of the region that is looked at, with a CSV beside", self.save_figure),
            ("Regions with measurements (GeoJSON) …", "QuPath opens it", self.save_regions),
        ):
            entry = menu.addAction(title)
            if entry is not None:
                entry.setToolTip(tooltip)
                # Qt tells whether it is checked
                entry.triggered.connect(lambda _checked=False, action=action: action())
        self.setMenu(menu)

    def save_table(self) -> None:
        """Ask where to save the table, and save it."""
        self._save(
            "ROI correlation",
            ".csv",
            TABLES,
            lambda found, _row, path, may: write_rois_table(found, path, overwrite=may),
        )

    def save_figure(self) -> None:
        """Ask where to save the figure of the region that is looked at, and save it."""
        found = self._exported()
        if found is None or found[1] is None or found[1].measurement is None:
            self.said.emit(NOTHING)
            return
        self._save(
            f"{found[1].listed.name} correlation",
            ".png",
            FIGURES,
            lambda found, row, path, may: write_roi_figure(found, row, path, overwrite=may),
        )

    def save_regions(self) -> None:
        """Ask where to save the regions, and save them."""
        self._save(
            "ROIs", ".geojson", REGIONS, lambda found, _row, path, may: write_rois_geojson(found, path, overwrite=may)
        )

    def _save(self, what: str, ending: str, kinds: str, write: Callable[[Exported, RoiRow, Path, bool], None]) -> None:
        found = self._exported()
        if found is None:
            self.said.emit(NOTHING)
            return
        exported, row = found
        source = exported.images.real.slide.source
        proposal = folder_beside(source) / f"{slide_name(source)} {what}{ending}"
        answer = ask_where(self, f"Save {what}", proposal, kinds)
        if answer is None:
            return
        path, may_replace = answer
        try:
            write(exported, row, path, may_replace)  # type: ignore[arg-type]
        except SlideError as error:
            self.said.emit(str(error))
        else:
            self.said.emit(f"Saved: {path}")
