"""A trained network on the slides it is measured on: predict, compare, write down."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.analysis import slide_agreement, tissue_mask
from napari_hrpn.experiments.errors import StudyError
from napari_hrpn.experiments.results import ResultRow
from napari_hrpn.inference import PredictionSettings, predict_slide
from napari_hrpn.models import load_checkpoint
from napari_hrpn.slides import open_slide
from napari_hrpn.training import open_entry

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator
    from pathlib import Path
    from typing import Any

    from napari_hrpn.analysis import PairReport, TissueMask
    from napari_hrpn.experiments.folds import Experiment
    from napari_hrpn.experiments.study import StudySlide
    from napari_hrpn.inference import TileReport
    from napari_hrpn.models import Checkpoint
    from napari_hrpn.training import TrainingResult, TrainingSettings, TrainingSlide

_PREDICTIONS = "predictions"


def evaluate(
    experiment: Experiment, result: TrainingResult, reference: TrainingSettings, stop: threading.Event
) -> Generator[TileReport | PairReport, None, tuple[ResultRow, ...] | None]:
    """Predict the slides of an experiment that are to be measured, and measure them."""
    checkpoint = load_checkpoint(result.folder / "checkpoint.safetensors")
    training = _training_columns(result, checkpoint)
    rows: list[ResultRow] = []
    for each in experiment.fold.measured:
        slide = open_entry(each.entry, experiment.settings)
        place = result.folder / _PREDICTIONS / f"{each.name}.ome.zarr"
        if not (yield from _predicted(slide, checkpoint, place, experiment.settings, stop)):
            return None
        tissue = measured_tissue(open_entry(each.entry, reference), reference)
        agreement = yield from slide_agreement(slide.slide, slide.target, open_slide(place), tissue=tissue)
        for region, numbers in asdict(agreement).items():
            rows.append(ResultRow(**_place(experiment, each), region=region, **_merged(numbers, training)))
    return tuple(rows)


def measured_tissue(slide: TrainingSlide, settings: TrainingSettings) -> TissueMask:
    """What counts as tissue when a slide is measured."""
    index = settings.channels.index("nuclei") if "nuclei" in settings.channels else 0
    tissue = tissue_mask(slide.slide, slide.inputs[index])
    if slide.regions is None:
        return tissue
    common = tissue.intersected(slide.regions)
    return replace(tissue, mask=common.mask, downsample=common.downsample)


def _training_columns(result: TrainingResult, checkpoint: Checkpoint) -> dict[str, Any]:
    """What a training took, as columns of the result."""
    history = result.history
    return {
        "seconds": history[-1].seconds if history else math.nan,
        "patches_per_second": float(np.mean([record.patches_per_second for record in history]))
        if history
        else math.nan,
        "peak_memory_mb": max((record.peak_memory_bytes for record in history), default=math.nan) / 1e6,
        "epochs": len(history),
        "best_epoch": result.best_epoch,
        "parameters": sum(parameter.numel() for parameter in checkpoint.network().parameters()),
        "note": result.reason,
    }


def _predicted(
    slide: TrainingSlide, checkpoint: Checkpoint, place: Path, settings: TrainingSettings, stop: threading.Event
) -> Generator[TileReport, None, bool]:
    # blank tiles are not filled: what is measured is the network, and where glass begins depends on its inputs
    how = PredictionSettings(device=settings.device, skip_blank=False)
    roles = dict(zip(settings.channels, slide.inputs, strict=True))
    # a prediction by an earlier checkpoint of this run may go
    report = yield from predict_slide(slide.slide, checkpoint, place, how, roles=roles, overwrite=True, stop=stop)
    if not report.complete and not stop.is_set():
        msg = f"the prediction {place} did not come to its end; delete it and run the study again."
        raise StudyError(msg)
    return report.complete


def _place(experiment: Experiment, slide: StudySlide) -> dict[str, Any]:
    settings, fold = experiment.settings, experiment.fold
    return {
        "model": settings.model,
        "channels": "+".join(settings.channels),
        "branches": settings.branches if settings.model == "hrpn" else None,
        "ablation": experiment.ablation,
        "fold": fold.name,
        "slide": slide.name,
        "tumour": slide.entry.tumour_id,
        "part": fold.part,
        "chose_checkpoint": slide.entry.tumour_id == fold.validate,
    }


def _merged(numbers: dict[str, Any], training: dict[str, Any]) -> dict[str, Any]:
    reason = numbers.pop("reason")
    return {**numbers, **training, "note": "; ".join(filter(None, (training["note"], reason)))}
