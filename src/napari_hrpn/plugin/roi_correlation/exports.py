"""Export of regions of interest: a table, a figure with its data as a table, and the regions for QuPath.

Each file has a JSON file beside it with the images and settings that it was made from.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Shapes

from napari_hrpn import __version__
from napari_hrpn.analysis.metrics import ROI, ROI_COLOCALIZATION, ROI_DIFFERENCE, ROI_FILE, metrics_in
from napari_hrpn.plugin.parts.saving import write_figure, write_table
from napari_hrpn.plugin.roi_correlation.density_plot import draw_density
from napari_hrpn.plugin.roi_correlation.results import RoiRow, short_names, summary
from napari_hrpn.plugin.viewer.annotation_layers import remember
from napari_hrpn.reports import number
from napari_hrpn.reports.serialization import finite
from napari_hrpn.slides import Annotation, SlideError, slide_identity, slide_name, taken_away, write_geojson
from napari_hrpn.slides.writers.output_path import partial_output

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from matplotlib.figure import Figure

    from napari_hrpn.analysis import RoiImages, RoiMeasurement
    from napari_hrpn.analysis.tissue.slide_penetration import ProbeImage
    from napari_hrpn.plugin.roi_correlation.results import Number

_PANEL_INCHES = 3.6


@dataclass(frozen=True, eq=False)
class Exported:
    """Content of an export."""

    images: RoiImages
    rows: tuple[RoiRow, ...]
    regions: str  # name of the layer in which they were drawn

    @property
    def names(self) -> tuple[str, ...]:
        """Short names of the predictions."""
        return short_names([image.name for image in self.images.predictions])

    @property
    def measured(self) -> list[tuple[RoiRow, RoiMeasurement]]:
        """The regions that have numbers."""
        return [(row, row.measurement) for row in self.rows if row.measurement is not None]


def write_rois_table(exported: Exported, path: Path, *, overwrite: bool = False) -> None:
    """Write the table as CSV, and the settings beside it."""
    _check_beside(path, ".json", overwrite=overwrite)
    write_table(tidy_rows(exported), path, overwrite=overwrite)
    _write_settings(exported, path, overwrite=overwrite)


def write_roi_figure(exported: Exported, row: RoiRow, path: Path, *, overwrite: bool = False) -> None:
    """Write the densities of a region as PNG or SVG; its cells as CSV and the settings beside it."""
    _check_beside(path, ".csv", ".json", overwrite=overwrite)
    write_figure(roi_figure(exported, row), path, overwrite=overwrite)
    write_table(_density_rows(exported, row), path.with_suffix(".csv"), overwrite=overwrite)
    _write_settings(replace(exported, rows=(row,)), path, overwrite=overwrite)


def write_rois_geojson(exported: Exported, path: Path, *, overwrite: bool = False) -> None:
    """Write the regions as GeoJSON that QuPath opens, with their numbers as measurements."""
    _check_beside(path, ".json", overwrite=overwrite)
    regions = [_measured_annotation(exported, row) for row in exported.rows]
    slide = slide_identity(exported.images.real.slide)
    write_geojson([*regions, *taken_away(regions)], path, slide=slide, overwrite=overwrite)
    _write_settings(exported, path, overwrite=overwrite)
    for layer in {id(row.listed.layer): row.listed.layer for row in exported.rows}.values():
        drawn = {
            row.listed.index: row.listed.roi.outlined()
            for row in exported.rows
            if row.listed.layer is layer and isinstance(row.listed.roi, Annotation)
        }
        if isinstance(layer, Shapes) and drawn:
            remember(layer, drawn, slide)


def tidy_rows(exported: Exported) -> list[dict[str, Any]]:
    """Rows of the table, one for each region and prediction."""
    return [
        {**_region_columns(exported.images, row, measurement), **_number_columns(exported, row, measurement, k)}
        for row, measurement in exported.measured
        for k in range(len(exported.names))
    ]


def _region_columns(images: RoiImages, row: RoiRow, measurement: RoiMeasurement) -> dict[str, Any]:
    box, pixel_um = row.listed.roi.bounds(images.shape), images.real.slide.pixel_size_um
    return {
        "slide": slide_name(images.real.slide.source),
        "real": images.real.name,
        "roi": row.listed.name,
        "x_px": box.x0,
        "y_px": box.y0,
        "width_px": box.width,
        "height_px": box.height,
        "n": measurement.n,
        "area_um2": None if pixel_um is None else measurement.n * math.prod(pixel_um),
        "beyond_slide": measurement.is_clipped,
        "level": measurement.level,
    }


def _number_columns(exported: Exported, row: RoiRow, measurement: RoiMeasurement, k: int) -> dict[str, Any]:
    numbers, record = measurement.numbers[k], row.records[k]
    columns: dict[str, Any] = {"prediction": exported.images.predictions[k].name}
    columns |= _cells(record, ROI) | _cells(record, ROI_FILE)
    columns["block_side_px"] = None if numbers.blocks is None else numbers.blocks.side_px
    columns["blocks"] = None if numbers.intervals is None else numbers.intervals.blocks
    if len(exported.names) > 1:
        columns["compared_with"] = exported.images.predictions[0].name if k else None
        columns |= _cells(record, ROI_DIFFERENCE)
    if any(other.colocalization for other in exported.rows):
        columns |= _cells(record, ROI_COLOCALIZATION)
    reasons = [numbers.regression.reason, numbers.intervals.pearson_r.reason if numbers.intervals else ""]
    return {**columns, "reason": "; ".join(filter(None, [*reasons, *numbers.window_reasons]))}


def _cells(record: Mapping[str, Number], view: str) -> dict[str, float | None]:
    """Columns of metrics, with the ends of their intervals; None for missing values."""
    cells: dict[str, float | None] = {}
    for metric in metrics_in(view):
        found = record.get(metric.key)
        cells[metric.key] = getattr(found, "value", None)
        if metric.interval:
            interval = getattr(found, "interval", None)
            cells[f"{metric.key}_low"] = getattr(interval, "low", None)
            cells[f"{metric.key}_high"] = getattr(interval, "high", None)
    return cells


def roi_figure(exported: Exported, row: RoiRow) -> Figure:
    """Densities of a region, one panel for each prediction."""
    from matplotlib.figure import Figure

    assert row.measurement is not None
    count = len(exported.names)
    figure = Figure(figsize=(_PANEL_INCHES * 1.25 * count, _PANEL_INCHES), layout="constrained")
    for k, (axes, name) in enumerate(zip(figure.subplots(1, count, squeeze=False)[0], exported.names, strict=True)):
        draw_density(axes, row.measurement, k)
        line = row.measurement.numbers[k].regression
        axes.set_title(
            f"{row.listed.name}, {name}\nr = {number(line.pearson_r)}, slope = {number(line.slope)}, "
            f"n = {row.measurement.n:,} px",
            loc="left",
            fontsize=9,
        )
    axes.legend(fontsize=8, loc="lower right")
    return figure


def _density_rows(exported: Exported, row: RoiRow) -> list[dict[str, Any]]:
    """Cells of the densities that hold a pixel."""
    assert row.measurement is not None
    low, high = row.measurement.density_range
    found = []
    for name, density in zip(exported.names, row.measurement.densities, strict=True):
        step = (high - low) / len(density)
        for y, p in zip(*(index.tolist() for index in np.nonzero(density)), strict=True):
            found.append(
                {
                    "roi": row.listed.name,
                    "prediction": name,
                    "real": low + (y + 0.5) * step,
                    "predicted": low + (p + 0.5) * step,
                    "pixels": int(density[y, p]),
                }
            )
    return found


def _measured_annotation(exported: Exported, row: RoiRow) -> Annotation:
    """A region with its numbers as measurements."""
    found: dict[str, float] = {}
    if row.measurement is not None:
        found["n px"] = row.measurement.n
        for name, record in zip(exported.names, row.records, strict=True):
            for metric in (metric for metric in metrics_in(ROI) if metric.key in record):
                # titles begin with a capital letter and have no letters that some programs do not show
                title = f"{metric.title[0].upper()}{metric.title[1:]}".replace("²", "2")
                title = f"{name}: {title}" if len(exported.names) > 1 else title
                value, interval, _ = record[metric.key]
                found[title] = value
                if interval is not None:
                    found |= {f"{title} low": interval.low, f"{title} high": interval.high}
    outlined = row.listed.roi.outlined()
    # objects of a file keep their names, without that of the layer
    name = outlined.name if outlined.feature else row.listed.name
    return replace(outlined, name=name, measurements=found)


def settings(exported: Exported) -> dict[str, Any]:
    """Images and settings of the comparison, with mean and SD over the regions."""
    images = exported.images
    intervals = [found.numbers[0].intervals for _, found in exported.measured]
    bootstrap = next((one for one in intervals if one is not None), None)
    placed = list(dict.fromkeys(row.origin.random for row in exported.rows if row.origin.random is not None))
    return {
        "napari_hrpn": __version__,
        "real": _image_facts(images.real),
        "predictions": [_image_facts(image) for image in images.predictions],
        "height_px": images.shape[0],
        "width_px": images.shape[1],
        "pixel_size_um": images.real.slide.pixel_size_um,
        "regions": exported.regions,
        "random_regions": asdict(placed[-1]) if placed else None,
        "origins": [_origin_facts(row) for row in exported.rows],
        "level": "full resolution",
        "intervals": None
        if bootstrap is None
        else {
            "method": "spatial block bootstrap, expanded percentiles",
            "confidence": bootstrap.pearson_r.confidence,
            "resamples": bootstrap.resamples,
            "seed": bootstrap.seed,
        },
        "mean_and_sd": {
            name: {key: asdict(found) for key, found in means.items()}
            for name, means in zip(exported.names, summary(exported.rows, len(exported.names)), strict=True)
        },
    }


def _image_facts(image: ProbeImage) -> dict[str, Any]:
    return {
        "name": image.name,
        "file": str(image.slide.source),
        "channel": image.slide.channel_names[image.channel],
        "dtype": str(image.slide.dtype),
    }


def _origin_facts(row: RoiRow) -> dict[str, Any]:
    return {
        "roi": row.listed.name,
        "layer": None if row.listed.layer is None else row.listed.layer.name,
        "file": row.origin.file,
        "random": None if row.origin.random is None else asdict(row.origin.random),
    }


def _write_settings(exported: Exported, path: Path, *, overwrite: bool) -> None:
    text = json.dumps(finite(settings(exported)), indent=1, ensure_ascii=False, allow_nan=False)
    with partial_output(path.with_suffix(".json"), None, overwrite=overwrite) as partial_path:
        partial_path.write_text(text, encoding="utf-8")


def _check_beside(path: Path, *endings: str, overwrite: bool) -> None:
    """Refuse to replace a file beside the exported one, unless the exported one is replaced too."""
    for ending in endings:
        beside = path.with_suffix(ending)
        if beside == path or (beside.exists() and not (overwrite and path.exists())):
            raise SlideError(
                f"{beside.name} exists already, and would be replaced together with {path.name}: choose another name."
            )
