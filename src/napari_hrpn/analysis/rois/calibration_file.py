"""Calibration file beside a prediction, and the calibrated prediction, computed from both when it is read.

The file is GeoJSON with the regions, which QuPath opens, and a member "calibration" with the line and its origin.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np

from napari_hrpn.analysis.rois.calibration import IMAGE_FACTS, Calibration
from napari_hrpn.analysis.statistics.calibration import CalibrationLine
from napari_hrpn.core.errors import AnalysisError
from napari_hrpn.core.files import save_json, saved_json
from napari_hrpn.settings.prediction import CELL_PX
from napari_hrpn.slides import FinishedTiles, SlideError, included, read_geojson, slide_fingerprint, taken_away
from napari_hrpn.slides.channel_roles import SD, sd_channel
from napari_hrpn.slides.writers.geojson_writer import feature_texts
from napari_hrpn.slides.writers.output_path import writing_errors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_hrpn.slides import Annotation, Location, Slide

_SUFFIX = ".calibration.json"
_KEY = "calibration"
# squares in which a calibrated prediction is measured: small, so that few pixels around a region are lost, and few
_LEAST_CELL_PX, _MOST_CELLS = 8, 2**22


def calibration_path(prediction: Location) -> Path:
    """Path of the calibration of a prediction.

    Parameters
    ----------
    prediction : pathlib.Path or UPath
        The prediction.

    Returns
    -------
    pathlib.Path
        Path beside it.

    Raises
    ------
    AnalysisError
        If the prediction is in object storage, beside which nothing is written, or is the root of a disk.
    """
    if not isinstance(prediction, Path):
        msg = f"{prediction} is in object storage; expected a prediction on this machine: copy it first."
        raise AnalysisError(msg)
    # "." and ".." stand for folders whose names they do not show
    named = prediction.resolve() if prediction.name in ("", "..") else prediction
    if not named.name:
        msg = f"{prediction} is the root of the disk; expected a prediction in a folder."
        raise AnalysisError(msg)
    return named.with_name(named.name + _SUFFIX)


def check_uncalibrated(path: Path) -> None:
    """Refuse to replace a calibration."""
    if path.exists():
        msg = f"{path} exists already, so the prediction is calibrated; --overwrite it to calibrate it anew."
        raise AnalysisError(msg)


def save_calibration(calibration: Calibration, prediction: Location, *, overwrite: bool = False) -> Path:
    """Write a calibration beside its prediction, completely or not at all; the prediction is not changed.

    Parameters
    ----------
    calibration : Calibration
        The calibration.
    prediction : pathlib.Path or UPath
        The prediction.
    overwrite : bool
        Whether an earlier calibration of this prediction may be replaced.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    AnalysisError
        If there is a calibration already, or the prediction is in object storage.
    SlideError
        If the file cannot be written.
    """
    path = calibration_path(prediction)
    regions = [*calibration.regions, *taken_away(calibration.regions)]
    facts = calibration_facts(calibration)
    content = {"type": "FeatureCollection", _KEY: facts, "features": [*map(json.loads, feature_texts(regions))]}
    if not overwrite:
        check_uncalibrated(path)
    with writing_errors(path):
        save_json(path, content)
    return path


def calibration_facts(calibration: Calibration) -> dict[str, Any]:
    """All about a calibration but the outlines of the regions, as plain values for JSON.

    Parameters
    ----------
    calibration : Calibration
        The calibration.

    Returns
    -------
    dict
        The line, its shrinkage and test, the regions, both images, and the version.
    """
    regions = zip(calibration.regions, calibration.pixels, strict=True)
    return {
        "formula": "real = offset + slope * predicted",
        **asdict(calibration.line),
        "regions": [{"name": region.name, "digest": region.digest, "pixels": n} for region, n in regions],
        "pixels": sum(calibration.pixels),
        "regions_range": list(calibration.regions_range),
        "tissue_range": list(calibration.tissue_range),
        "covered": calibration.covered,
        "slide": calibration.slide,
        "prediction": calibration.prediction,
        "napari_hrpn": calibration.version,
    }


def saved_calibration(prediction: Slide) -> Calibration | None:
    """Read the calibration of a prediction.

    Parameters
    ----------
    prediction : Slide
        The prediction, as it was opened from its file.

    Returns
    -------
    Calibration or None
        None if it has no calibration.

    Raises
    ------
    AnalysisError
        If the file is damaged, or the prediction was made anew after its calibration.
    SlideError
        If the outlines in the file are damaged.
    """
    path = calibration_path(prediction.source) if isinstance(prediction.source, Path) else None
    content = None if path is None else saved_json(path, AnalysisError)
    if path is None or content is None:
        return None
    try:
        found = _read(content[_KEY], included(read_geojson(path)))
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, SlideError):
            raise
        msg = f"{path} is no calibration or is damaged ({error!r}); calibrate the prediction again."
        raise AnalysisError(msg) from error
    if found.prediction["fingerprint"] != slide_fingerprint(prediction):
        msg = f"{path} belongs to other pixels than those of {prediction.source.name} now; calibrate it again."
        raise AnalysisError(msg)
    return found


def _read(facts: dict[str, Any], regions: tuple[Annotation, ...]) -> Calibration:
    line = CalibrationLine(**{one.name: float(facts[one.name]) for one in fields(CalibrationLine)})
    if not all(map(math.isfinite, asdict(line).values())) or line.slope <= 0:
        msg = "not finite, or not rising"
        raise ValueError(msg)
    # pixels that the line has seen would not be left out; a digest depends on the order of excluded polygons too
    digests = [one["digest"] for one in facts["regions"]]
    if len(regions) != len(digests) or any(
        region.digest != digest for region, digest in zip(regions, digests, strict=True) if not region.holes
    ):
        msg = "other regions than it was fitted in"
        raise ValueError(msg)
    inside, tissue = ((float(low), float(high)) for low, high in (facts["regions_range"], facts["tissue_range"]))
    pixels = tuple(int(one["pixels"]) for one in facts["regions"])
    slide, prediction = ({name: str(facts[one][name]) for name in IMAGE_FACTS} for one in ("slide", "prediction"))
    version = str(facts["napari_hrpn"])
    return Calibration(line, regions, pixels, inside, tissue, slide, prediction, version)


def calibrated(prediction: Slide, calibration: Calibration) -> Slide:
    """The calibrated prediction, without the regions that it was calibrated in.

    Parameters
    ----------
    prediction : Slide
        The prediction.
    calibration : Calibration
        Its calibration.

    Returns
    -------
    Slide
        Slide of one channel, floating point, and of the standard deviation if the prediction has one; pixels are
        calibrated when they are read, and its `finished` tiles leave out the regions.
    """
    name, line = calibration.prediction["channel"], calibration.line
    first = prediction.channel_names.index(name) if name in prediction.channel_names else 0
    offsets, uncertain = {first: line.offset}, None if first else sd_channel(prediction)
    if uncertain is not None:
        # a line multiplies deviations by its slope, which is above 0, and leaves out its offset
        offsets[uncertain] = 0.0

    def on_line(level: da.Array) -> da.Array:
        """Level of the slide with its channels calibrated."""
        parts = (
            level[k : k + 1].map_blocks(partial(_on_line, slope=line.slope, offset=offset), dtype=np.float32)
            for k, offset in offsets.items()
        )
        return da.concatenate(list(parts))

    levels = tuple(map(on_line, prediction.levels))
    tiles, names = _without(calibration, prediction.shape), (name, *[SD] * (uncertain is not None))
    return replace(prediction, levels=levels, channel_names=names, read_finished=lambda: tiles)


def _on_line(block: NDArray[Any], *, slope: float, offset: float) -> NDArray[np.float32]:
    return (slope * block.astype(np.float64) + offset).astype(np.float32)


def _without(calibration: Calibration, shape: tuple[int, int]) -> FinishedTiles:
    """The part of a slide that no region meets, in squares of 8 px, or larger ones on a large slide."""
    cell_px = _LEAST_CELL_PX
    while math.prod(-(-size // cell_px) for size in shape) > _MOST_CELLS:
        cell_px *= 2
    side, cells = CELL_PX // cell_px, np.ones([-(-size // cell_px) for size in shape], bool)
    for region in calibration.regions:
        box = region.bounds(shape)
        for y in range(box.y0 // CELL_PX, -(-box.y1 // CELL_PX)):
            for x in range(box.x0 // CELL_PX, -(-box.x1 // CELL_PX)):
                inside = region.within(*(slice(k * CELL_PX, (k + 1) * CELL_PX) for k in (y, x)))
                met = np.asarray(inside.reshape(side, cell_px, side, cell_px).any(axis=(1, 3)))
                part = cells[y * side : (y + 1) * side, x * side : (x + 1) * side]
                part &= ~met[: part.shape[0], : part.shape[1]]
    name, line = calibration.prediction["name"], calibration.line
    words = (
        f"{len(calibration.regions)} regions in which {name} was calibrated (real = {line.offset:.6g} + "
        f"{line.slope:.6g} x predicted) are left out"
    )
    return FinishedTiles(cells, CELL_PX, cell_px=cell_px, left_out=words)
