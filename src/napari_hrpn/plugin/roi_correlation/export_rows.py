"""Regions as rows of tables, as annotations with measurements, and what they were made from and how."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn import __version__
from napari_hrpn.analysis import LabelledRoi, RandomRois, label_outline, outlined, roi_bounds
from napari_hrpn.plugin.roi_correlation.results import (
    QUANTITIES,
    WITH_INTERVAL,
    RoiRow,
    interval_of,
    short_names,
    summary,
    value_of,
)
from napari_hrpn.slides import Annotation, slide_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_hrpn.analysis import Interval, RoiImages
    from napari_hrpn.analysis.slide_penetration import ProbeImage

_MEASUREMENT_NAMES = {
    "pearson_r": "Pearson r",
    "r_total": "R_total",
    "slope": "Slope",
    "intercept": "Intercept",
    "r2": "R2",
    "rmse": "RMSE",
}
_COLOCALIZED = (
    "manders_m1",
    "manders_m2",
    "thresholded_m1",
    "thresholded_m2",
    "overlap",
    "icq",
    "costes_slope",
    "costes_intercept",
    "costes_threshold_real",
    "costes_threshold_predicted",
)


@dataclass(frozen=True)
class Origin:
    """Where a region comes from."""

    file: str | None = None  # Name of the file that its layer was imported from
    random: RandomRois | None = None  # Settings that placed it; None where somebody drew it


@dataclass(frozen=True, eq=False)
class Exported:
    """What is exported."""

    images: RoiImages
    rows: tuple[RoiRow, ...]
    regions: str  # Name of the layer that they were drawn in
    origins: Sequence[Origin] = ()  # Of each row; none where nothing is known of them

    @property
    def names(self) -> tuple[str, ...]:
        """Short names of the predictions."""
        return short_names([image.name for image in self.images.predictions])


def tidy_rows(exported: Exported) -> list[dict[str, Any]]:
    """Rows of the table, one for each region and prediction."""
    return [
        {**_place(exported.images, row), **_numbers(exported, row, k)}
        for row in exported.rows
        if row.measurement is not None
        for k in range(len(exported.names))
    ]


def density_rows(exported: Exported, row: RoiRow) -> list[dict[str, Any]]:
    """Cells of the densities that hold a pixel."""
    assert row.measurement is not None
    low, high = row.measurement.density_range
    found = []
    for name, numbers in zip(exported.names, row.measurement.numbers, strict=True):
        step = (high - low) / len(numbers.density)
        for y, p in zip(*(index.tolist() for index in np.nonzero(numbers.density)), strict=True):
            found.append(
                {
                    "roi": row.listed.name,
                    "prediction": name,
                    "real": low + (y + 0.5) * step,
                    "predicted": low + (p + 0.5) * step,
                    "pixels": int(numbers.density[y, p]),
                }
            )
    return found


def settings(exported: Exported) -> dict[str, Any]:
    """What was compared and how."""
    images = exported.images
    intervals = [
        row.measurement.numbers[0].intervals
        for row in exported.rows
        if row.measurement is not None and row.measurement.numbers[0].intervals is not None
    ]
    bootstrap = intervals[0] if intervals else None
    origins = dict(zip(exported.rows, exported.origins, strict=False))
    placed = list(dict.fromkeys(origin.random for origin in origins.values() if origin.random is not None))
    return {
        "napari_hrpn": __version__,
        "real": _image_facts(images.real),
        "predictions": [_image_facts(image) for image in images.predictions],
        "height_px": images.shape[0],
        "width_px": images.shape[1],
        "pixel_size_um": images.real.slide.pixel_size_um,
        "regions": exported.regions,
        "random_regions": asdict(placed[-1]) if placed else None,
        "origins": [_origin_facts(row, origin) for row, origin in origins.items()],
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
            name: {key: {part: _or_none(value) for part, value in asdict(found).items()} for key, found in own.items()}
            for name, own in zip(exported.names, summary(exported.rows, len(exported.names)), strict=True)
        },
    }


def _origin_facts(row: RoiRow, origin: Origin) -> dict[str, Any]:
    return {
        "roi": row.listed.name,
        "layer": None if row.listed.layer is None else row.listed.layer.name,
        "file": origin.file,
        "random": None if origin.random is None else asdict(origin.random),
    }


def _place(images: RoiImages, row: RoiRow) -> dict[str, Any]:
    assert row.measurement is not None
    rows, columns = roi_bounds(row.listed.roi, images.shape)
    pixel_um = images.real.slide.pixel_size_um
    return {
        "slide": slide_name(images.real.slide.source),
        "real": images.real.name,
        "roi": row.listed.name,
        "x_px": columns.start,
        "y_px": rows.start,
        "width_px": columns.stop - columns.start,
        "height_px": rows.stop - rows.start,
        "n": row.measurement.n,
        "area_um2": None if pixel_um is None else row.measurement.n * math.prod(pixel_um),
        "beyond_slide": row.measurement.is_clipped,
        "level": row.measurement.level,
    }


def _numbers(exported: Exported, row: RoiRow, k: int) -> dict[str, Any]:
    assert row.measurement is not None
    numbers = row.measurement.numbers[k]
    found: dict[str, Any] = {"prediction": numbers.name}
    for key in QUANTITIES:
        found[key] = value_of(numbers, key)
        if key in WITH_INTERVAL:
            found |= _ends(key, interval_of(numbers, key))
    found["residual_sd"] = numbers.line.residual_sd
    found["orthogonal_slope"] = numbers.line.orthogonal_slope
    found["block_side_px"] = None if numbers.blocks is None else numbers.blocks.side_px
    found["blocks"] = None if numbers.intervals is None else numbers.intervals.blocks
    if len(exported.names) > 1:
        found["compared_with"] = exported.images.predictions[0].name if k else None
        for key in WITH_INTERVAL:
            apart = None if numbers.difference is None else getattr(numbers.difference, key)
            found[f"{key}_difference"] = None if apart is None else apart.estimate
            found |= _ends(f"{key}_difference", apart)
    if any(other.colocalization for other in exported.rows):
        own = row.colocalization[k] if row.colocalization else None
        found |= {key: None if own is None else getattr(own, key) for key in _COLOCALIZED}
    reasons = [numbers.line.reason, numbers.intervals.pearson_r.reason if numbers.intervals else ""]
    return {**found, "reason": "; ".join(filter(None, reasons))}


def _ends(key: str, interval: Interval | None) -> dict[str, float | None]:
    return {
        f"{key}_low": None if interval is None else interval.low,
        f"{key}_high": None if interval is None else interval.high,
    }


def measured_annotation(exported: Exported, row: RoiRow) -> Annotation:
    """A region with its numbers as measurements."""
    roi = row.listed.roi
    shape = label_outline(roi) if isinstance(roi, LabelledRoi) else outlined(roi)
    found: dict[str, float] = {}
    if row.measurement is not None:
        found["n px"] = row.measurement.n
        for name, numbers in zip(exported.names, row.measurement.numbers, strict=True):
            title = f"{name}: " if len(exported.names) > 1 else ""
            for key, word in _MEASUREMENT_NAMES.items():
                found[f"{title}{word}"] = value_of(numbers, key)
                interval = interval_of(numbers, key)
                if interval is not None:
                    found |= {f"{title}{word} low": interval.low, f"{title}{word} high": interval.high}
    return replace(shape, name=row.listed.name, measurements=found)


def _image_facts(image: ProbeImage) -> dict[str, Any]:
    return {
        "name": image.name,
        "file": str(image.slide.source),
        "channel": image.slide.channel_names[image.channel],
        "dtype": str(image.slide.dtype),
    }


def _or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None
