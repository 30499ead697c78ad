"""What is taken along: a table, a figure with what it shows as a table, and the regions for QuPath.

Beside each file stands a JSON file with what it was made from and how.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

from napari_hrpn.plugin.parts.saving import FIGURES, TABLES, ask_and_save, save_button, write_figure, write_table
from napari_hrpn.plugin.roi_correlation.density_axes import DensityAxes
from napari_hrpn.plugin.roi_correlation.export_rows import (
    Exported,
    density_rows,
    measured_annotation,
    settings,
    tidy_rows,
)
from napari_hrpn.reports import number
from napari_hrpn.slides import SlideError, taken_away, write_geojson
from napari_hrpn.slides.writers.output_path import partial_output

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

    from napari_hrpn.plugin.roi_correlation.results import RoiRow

_PANEL_INCHES = 3.6
_REGIONS = "GeoJSON (*.geojson)"
_NOTHING = "There is nothing to save yet: draw a region on the slide first."


class RoiExport(QObject):
    """The button that saves, and what it does.

    `said` carries a sentence for the user, `refused` why something cannot be saved.
    """

    said = Signal(str)
    refused = Signal(str)

    def __init__(self, exported: Callable[[], tuple[Exported, RoiRow | None] | None]) -> None:
        super().__init__()
        self._exported = exported
        self.button = save_button(
            [
                ("Table (CSV) …", "One row for each region and prediction", self.save_table),
                (
                    "Figure (PNG, SVG) …",
                    "Densities of the region that is looked at, with a CSV beside",
                    self.save_figure,
                ),
                ("Regions with measurements (GeoJSON) …", "QuPath opens it", self.save_regions),
            ]
        )
        self.button.setToolTip("Save the table, the figure, or the regions; the settings are saved beside them")

    def save_table(self) -> None:
        """Ask where to save the table, and save it."""
        if (found := self._exported()) is None:
            self.refused.emit(_NOTHING)
        else:
            self._save(found[0], "ROI correlation", TABLES, partial(write_rois_table, found[0]))

    def save_figure(self) -> None:
        """Ask where to save the figure of the region that is looked at, and save it."""
        exported, row = self._exported() or (None, None)
        if exported is None or row is None or row.measurement is None:
            self.refused.emit(_NOTHING)
        else:
            what = f"{row.listed.name} correlation"
            self._save(exported, what, FIGURES, partial(write_roi_figure, exported, row))

    def save_regions(self) -> None:
        """Ask where to save the regions, and save them."""
        if (found := self._exported()) is None:
            self.refused.emit(_NOTHING)
        else:
            self._save(found[0], "ROIs", _REGIONS, partial(write_rois_geojson, found[0]))

    def _save(self, exported: Exported, what: str, kinds: str, write: Callable[..., None]) -> None:
        ask_and_save(
            self.button, what, exported.images.real.slide.source, kinds, write, self.said.emit, self.refused.emit
        )


def write_rois_table(exported: Exported, path: Path, *, overwrite: bool = False) -> None:
    """Write the table as CSV, and the settings beside it."""
    _check_beside(path, (".json",), overwrite=overwrite)
    write_table(tidy_rows(exported), path, overwrite=overwrite)
    _write_settings(exported, path, overwrite=overwrite)


def write_roi_figure(exported: Exported, row: RoiRow, path: Path, *, overwrite: bool = False) -> None:
    """Write the densities of a region as PNG or SVG; its cells as CSV and the settings beside it."""
    _check_beside(path, (".csv", ".json"), overwrite=overwrite)
    write_figure(roi_figure(exported, row), path, overwrite=overwrite)
    write_table(density_rows(exported, row), path.with_suffix(".csv"), overwrite=overwrite)
    _write_settings(_alone(exported, row), path, overwrite=overwrite)


def roi_figure(exported: Exported, row: RoiRow) -> Figure:
    """Densities of a region, one panel for each prediction."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    assert row.measurement is not None
    count = len(exported.names)
    figure = Figure(figsize=(_PANEL_INCHES * 1.25 * count, _PANEL_INCHES), layout="constrained")
    for k, (axes, name) in enumerate(zip(figure.subplots(1, count, squeeze=False)[0], exported.names, strict=True)):
        density = DensityAxes(axes)
        density.show(row.measurement, k)
        numbers = row.measurement.numbers[k]
        axes.set_title(
            f"{row.listed.name}, {name}\nr = {number(numbers.line.pearson_r)}, slope = {number(numbers.line.slope)}, "
            f"n = {row.measurement.n:,} px",
            loc="left",
            fontsize=9,
        )
        bar = figure.colorbar(density.image, ax=axes)
        bar.locator = MaxNLocator(4, integer=True)
        bar.formatter = FuncFormatter(lambda value, _: f"{10**value:,.0f}")
        bar.set_label("pixels (log)", fontsize=9)
    axes.legend(fontsize=8, loc="lower right")
    return figure


def write_rois_geojson(exported: Exported, path: Path, *, overwrite: bool = False) -> None:
    """Write the regions as GeoJSON that QuPath opens, with their numbers as measurements."""
    _check_beside(path, (".json",), overwrite=overwrite)
    regions = [measured_annotation(exported, row) for row in exported.rows]
    write_geojson([*regions, *taken_away(regions)], path, overwrite=overwrite)
    _write_settings(exported, path, overwrite=overwrite)


def _write_settings(exported: Exported, path: Path, *, overwrite: bool) -> None:
    """What was compared and how, with mean and SD over the regions, beside a file."""
    text = json.dumps(settings(exported), indent=1, ensure_ascii=False, allow_nan=False)
    with partial_output(path.with_suffix(".json"), None, overwrite=overwrite) as partial_path:
        partial_path.write_text(text, encoding="utf-8")


def _alone(exported: Exported, row: RoiRow) -> Exported:
    origins = dict(zip(exported.rows, exported.origins, strict=False))
    return replace(exported, rows=(row,), origins=[origins[row]] if row in origins else ())


def _check_beside(path: Path, endings: Sequence[str], *, overwrite: bool) -> None:
    """What stands beside is only replaced with the file that it belongs to."""
    for ending in endings:
        beside = path.with_suffix(ending)
        if beside == path or (beside.exists() and not (overwrite and path.exists())):
            raise SlideError(
                f"{beside.name} is there already, and would be replaced together with {path.name}: choose another name."
            )
