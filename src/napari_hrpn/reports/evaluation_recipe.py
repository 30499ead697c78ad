"""Recipe of an evaluation: slide, predictions, regions and settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_hrpn.recipes import Recipe, file_hash, slide_hash, slide_table
from napari_hrpn.slides import slide_fingerprint

if TYPE_CHECKING:
    from napari_hrpn.reports.evaluation import EvaluationRequest

ROIS, TISSUE, CALIBRATION = "regions of interest", "tissue mask", "calibration of"
"""Purposes of the other files of a request."""
FROM_NUCLEI = "from the nuclei"
"""Beginning of the words on a tissue that the program has found."""


def evaluation_recipe(request: EvaluationRequest, output: Path) -> Recipe | None:
    """Recipe of an evaluation; None if a slide is of no file."""
    comparison, files = request.comparison, request.files
    real, predictions = comparison.real, comparison.predictions
    sources = [real.slide.source, *(image.slide.source for image in predictions)]
    if any(isinstance(source, Path) and not source.exists() for source in sources):
        return None
    roles = {**vars(comparison.roles), "probe": real.channel}
    named = {key: files[purpose] for key, purpose in (("roi", ROIS), ("mask", TISSUE)) if purpose in files}
    table = {**slide_table(real.slide, roles), "tumour": request.tumour, "predicted": sources[1:], **named}
    step = {
        "folder": output,
        "name": [image.name for image in predictions],
        "calibrated": any(purpose.startswith(CALIBRATION) for purpose in files),
        "class": request.classes or None,
        "drawn": _drawn(request) or None,
        **vars(request.settings),
    }
    hashes: dict[Any, str] = {path: file_hash(path) for path in files.values()}
    hashes |= {source: slide_hash(source) for source in sources[1:]}
    return Recipe((table,), {"evaluate": step}, {real.slide.source: slide_fingerprint(real.slide), **hashes})


def _drawn(request: EvaluationRequest) -> list[str]:
    """What was drawn in napari, and is in no file that the recipe could name."""
    comparison, files = request.comparison, request.files
    is_tissue_drawn = comparison.tissue is not None and not request.tissue_words.startswith(FROM_NUCLEI)
    parts = {
        ROIS: bool(comparison.rois) and ROIS not in files,
        TISSUE: is_tissue_drawn and TISSUE not in files,
        "vessels": comparison.vessels is not None,
    }
    return [name for name, is_drawn in parts.items() if is_drawn]
