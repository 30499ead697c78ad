"""Calibration file beside a prediction, and the calibrated prediction, computed from both when it is read.

The file is GeoJSON with the regions, which QuPath opens, and a member "calibration" with the line and its origin.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.core.errors import AnalysisError
from napari_hrpn.core.files import saved_json
from napari_hrpn.settings.prediction import CELL_PX
from napari_hrpn.slides import FinishedTiles, included, read_geojson, slide_fingerprint, slide_identity, taken_away
from napari_hrpn.slides.geojson import feature
from napari_hrpn.slides.writers.output_path import partial_output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_hrpn.analysis.rois.calibration import Calibration
    from napari_hrpn.analysis.tissue.slide_penetration import ProbeImage
    from napari_hrpn.slides import Annotation, Location, Slide

_SUFFIX = ".calibration.json"
_KEY = "calibration"
# squares in which a calibrated prediction is measured: small, so that few pixels around a region are lost, and few
_LEAST_CELL_PX, _MOST_CELLS = 8, 2**22


@dataclass(frozen=True, eq=False)
class SavedCalibration:
    """Calibration that was read from its file.

    Attributes
    ----------
    path : pathlib.Path
        The file.
    slope, offset : float
        The line, real = offset + slope x predicted.
    regions : tuple of Annotation
        The regions that it was fitted in.
    facts : dict
        All that the file says about it.
    """

    path: Path
    slope: float
    offset: float
    regions: tuple[Annotation, ...]
    facts: dict[str, Any]

    def applied(self, prediction: ProbeImage) -> ProbeImage:
        """The calibrated prediction, without the regions that it was calibrated in.

        Parameters
        ----------
        prediction : ProbeImage
            The prediction that was calibrated.

        Returns
        -------
        ProbeImage
            Slide of one channel, floating point; pixels are calibrated when they are read, and its `finished` tiles
            leave out the regions.
        """
        slide, channel = prediction.slide, slice(prediction.channel, prediction.channel + 1)
        line = {"slope": self.slope, "offset": self.offset, "dtype": np.float32}
        levels = tuple(level[channel].map_blocks(_calibrated, **line) for level in slide.levels)
        tiles = _without(self.regions, slide.shape)
        name = slide.channel_names[prediction.channel]
        calibrated = replace(slide, levels=levels, channel_names=(name,), read_finished=lambda: tiles)
        return replace(prediction, slide=calibrated, channel=0)


def calibration_path(prediction: Location) -> Path | None:
    """Path of the calibration of a prediction.

    Parameters
    ----------
    prediction : pathlib.Path or UPath
        The prediction.

    Returns
    -------
    pathlib.Path or None
        None for a prediction in object storage, beside which nothing is written.
    """
    return prediction.with_name(prediction.name + _SUFFIX) if isinstance(prediction, Path) else None


def save_calibration(
    calibration: Calibration, real: ProbeImage, prediction: ProbeImage, *, overwrite: bool = False
) -> SavedCalibration:
    """Write a calibration beside its prediction, completely or not at all; the prediction is not changed.

    Parameters
    ----------
    calibration : Calibration
        The calibration.
    real, prediction : ProbeImage
        The images that it was fitted to.
    overwrite : bool
        Whether an earlier calibration of this prediction may be replaced.

    Returns
    -------
    SavedCalibration
        What was written.

    Raises
    ------
    AnalysisError
        If the prediction is in object storage.
    SlideError
        If there is a calibration already, or the file cannot be written.
    """
    path = calibration_path(prediction.slide.source)
    if path is None:
        msg = f"{prediction.slide.source} is in object storage; expected a prediction on this machine: copy it first."
        raise AnalysisError(msg)
    facts = calibration_facts(calibration, real, prediction)
    regions = [*calibration.regions, *taken_away(calibration.regions)]
    content = {"type": "FeatureCollection", _KEY: facts, "features": [feature(region) for region in regions]}
    with partial_output(path, None, overwrite=overwrite) as partial:
        partial.write_text(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False), encoding="utf-8")
    return SavedCalibration(path, calibration.line.slope, calibration.line.offset, calibration.regions, facts)


def calibration_facts(calibration: Calibration, real: ProbeImage, prediction: ProbeImage) -> dict[str, Any]:
    """All about a calibration, as plain values for JSON.

    Parameters
    ----------
    calibration : Calibration
        The calibration.
    real, prediction : ProbeImage
        The images that it was fitted to.

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
        "predicted_p5_p95": {"regions": calibration.regions_range, "tissue": calibration.tissue_range},
        "covered": calibration.covered,
        "slide": _image_facts(real),
        "prediction": _image_facts(prediction),
        "napari_hrpn": version("napari-hrpn"),
    }


def _image_facts(image: ProbeImage) -> dict[str, Any]:
    slide = image.slide
    return {
        "name": slide.source.name,
        "channel": slide.channel_names[image.channel],
        "identity": slide_identity(slide),
        "fingerprint": slide_fingerprint(slide),
    }


def saved_calibration(prediction: Slide) -> SavedCalibration | None:
    """Read the calibration of a prediction.

    Parameters
    ----------
    prediction : Slide
        The prediction, as it was opened from its file.

    Returns
    -------
    SavedCalibration or None
        None if it has no calibration.

    Raises
    ------
    AnalysisError
        If the file is damaged, or the prediction was made anew after its calibration.
    SlideError
        If the regions in the file are damaged.
    """
    path = calibration_path(prediction.source)
    content = None if path is None else saved_json(path, AnalysisError)
    if path is None or content is None:
        return None
    facts = content.get(_KEY)
    facts = facts if isinstance(facts, dict) else {}
    slope, offset = (facts.get(name) for name in ("slope", "offset"))
    if not all(isinstance(one, int | float) and math.isfinite(one) for one in (slope, offset)):
        msg = f"{path} has no line; expected a slope and an offset: calibrate the prediction again."
        raise AnalysisError(msg)
    made_from = facts.get("prediction")
    if not isinstance(made_from, dict) or made_from.get("fingerprint") != slide_fingerprint(prediction):
        msg = f"{path} belongs to other pixels than those of {prediction.source.name} now; calibrate it again."
        raise AnalysisError(msg)
    assert slope is not None
    assert offset is not None
    return SavedCalibration(path, float(slope), float(offset), included(read_geojson(path)), facts)


def _calibrated(block: NDArray[Any], slope: float, offset: float) -> NDArray[np.float32]:
    return (slope * block.astype(np.float64) + offset).astype(np.float32)


def _without(regions: Sequence[Annotation], shape: tuple[int, int]) -> FinishedTiles:
    """The part of a slide that regions do not meet, in squares of 8 px, or larger ones on a large slide."""
    cell_px = _LEAST_CELL_PX
    while math.prod(-(-size // cell_px) for size in shape) > _MOST_CELLS:
        cell_px *= 2
    side, cells = CELL_PX // cell_px, np.ones([-(-size // cell_px) for size in shape], bool)
    for region in regions:
        box = region.bounds(shape)
        for y in range(box.y0 // CELL_PX, -(-box.y1 // CELL_PX)):
            for x in range(box.x0 // CELL_PX, -(-box.x1 // CELL_PX)):
                inside = region.within(*(slice(k * CELL_PX, (k + 1) * CELL_PX) for k in (y, x)))
                met = np.asarray(inside.reshape(side, cell_px, side, cell_px).any(axis=(1, 3)))
                part = cells[y * side : (y + 1) * side, x * side : (x + 1) * side]
                part &= ~met[: part.shape[0], : part.shape[1]]
    words = f"{len(regions)} regions in which a prediction was calibrated are left out"
    return FinishedTiles(cells, CELL_PX, cell_px=cell_px, left_out=words)
