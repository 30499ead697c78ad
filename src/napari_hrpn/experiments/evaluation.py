"""Measurement of trained networks and baselines on the slides that a fold holds out, as rows of the results."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.analysis import slide_pairs, tissue_mask
from napari_hrpn.analysis.metrics import STUDY, metrics_in, windows_of
from napari_hrpn.analysis.region_numbers import grey_level_range, region_numbers
from napari_hrpn.analysis.statistics.agreement import largest_value
from napari_hrpn.core import Stopped
from napari_hrpn.experiments.baselines import SIGMAS_UM, baseline_fits, blur_moments, fit_agreement
from napari_hrpn.experiments.results import ResultRow
from napari_hrpn.experiments.study import StudyError, study_folds
from napari_hrpn.inference import PredictionSettings, predict_slide
from napari_hrpn.models import load_checkpoint
from napari_hrpn.settings import EvaluationSettings
from napari_hrpn.settings.networks import NETWORKS
from napari_hrpn.slides import open_slide
from napari_hrpn.training import open_entry

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator, Iterator, Mapping
    from pathlib import Path

    from napari_hrpn.core import Progress
    from napari_hrpn.experiments.baselines import BlurMoments
    from napari_hrpn.experiments.study import Experiment, Fold, Study, StudySlide
    from napari_hrpn.experiments.study_folder import StudyFolder
    from napari_hrpn.inference import TileReport
    from napari_hrpn.models import Checkpoint
    from napari_hrpn.slides import RegionMask, Slide
    from napari_hrpn.training import TrainingResult, TrainingSettings, TrainingSlide


def network_rows(
    experiment: Experiment, result: TrainingResult, reference: TrainingSettings, stop: threading.Event
) -> Generator[TileReport | Progress, None, tuple[ResultRow, ...]]:
    """Predict the slides of an experiment that are to be measured, and measure them."""
    checkpoint, settings, fold = (
        load_checkpoint(result.folder / "checkpoint.safetensors"),
        experiment.settings,
        experiment.fold,
    )
    columns = {
        "model": settings.model,
        "channels": "+".join(settings.channels),
        "branches": settings.branches if "branches" in NETWORKS[settings.model].options else None,
        "ablation": experiment.ablation,
        **_training_columns(result, checkpoint),
    }
    rows = []
    for measured in fold.measured:
        slide, path = open_entry(measured.entry, settings), prediction_path(result.folder, measured)
        yield from predict_measured(slide, checkpoint, path, settings, stop)
        tissue = measured_tissue(open_entry(measured.entry, reference), reference)
        columns["chose_checkpoint"] = measured.entry.tumour_id == fold.validate
        found = yield from _measured_numbers(slide, open_slide(path), tissue)
        rows += [_row(fold, measured, region, numbers, columns) for region, numbers in found.items()]
    return tuple(rows)


def prediction_path(run: Path, slide: StudySlide) -> Path:
    """Prediction of a slide that is measured, in the folder of the run whose network predicts it."""
    return run / "predictions" / f"{slide.name}.ome.zarr"


def predict_measured(
    slide: TrainingSlide, checkpoint: Checkpoint, path: Path, settings: TrainingSettings, stop: threading.Event
) -> Generator[TileReport, None, None]:
    """Predict a slide that is to be measured, all of it."""
    # glass is computed, not filled: where it begins depends on the inputs, so networks would not be comparable
    prediction_settings = PredictionSettings(device=settings.device, skip_blank=False)
    roles = dict(zip(settings.stains, slide.inputs, strict=True))
    # a prediction by an earlier checkpoint of this run may be replaced
    report = yield from predict_slide(
        slide.slide, checkpoint, path, prediction_settings, roles=roles, overwrite=True, stop=stop
    )
    if stop.is_set() and not report.complete:
        raise Stopped
    if not report.complete:
        msg = f"the prediction {path} did not come to its end; delete it and run the study again."
        raise StudyError(msg)


def _measured_numbers(
    slide: TrainingSlide, prediction: Slide, tissue: RegionMask
) -> Generator[Progress, None, dict[str, dict[str, Any]]]:
    """Columns of the result by region, from every pixel of a prediction."""
    settings, dtype = EvaluationSettings(), slide.slide.dtype
    windows = windows_of(grey_level_range(settings, dtype))
    pairs = yield from slide_pairs(slide.slide, slide.target, prediction, tissue=tissue, windows=windows)
    found = {}
    for region, counts in (("tissue", pairs.tissue), ("frame", pairs.frame)):
        assert counts is not None
        numbers = region_numbers(region, counts, settings, dtype)
        reasons = numbers.agreement.reason, *numbers.window_reasons
        more = {metric.key: metric.value(numbers) for metric in metrics_in(STUDY)}
        found[region] = {**asdict(numbers.agreement), "reason": "; ".join(filter(None, reasons)), "more": more}
    return found


def baseline_rows(study: Study, folder: StudyFolder) -> Generator[Progress, None, tuple[ResultRow, ...]]:
    """Fit and measure the baselines on every fold; the sums over a slide are kept, so that it is read only once."""
    settings, moments = study.reference_settings, {}
    for slide in study.slides:
        slide_moments = folder.moments(slide, settings)
        if slide_moments is None:
            opened = open_entry(slide.entry, settings)
            slide_moments = yield from blur_moments(opened, measured_tissue(opened, settings))
            folder.keep_moments(slide, settings, slide_moments)
        moments[slide.name] = slide_moments
    return tuple(row for fold in study_folds(study) for row in _baselines_of(fold, moments, settings))


def _baselines_of(fold: Fold, moments: Mapping[str, BlurMoments], settings: TrainingSettings) -> Iterator[ResultRow]:
    fits = baseline_fits([moments[slide.name] for slide in fold.learnable], settings.stains, SIGMAS_UM)
    for slide in fold.measured:
        data_range = largest_value(open_entry(slide.entry, settings).slide.dtype)
        for fit in fits:
            columns = {
                "model": fit.name,
                "channels": "+".join(settings.channels) if fit.is_prediction else fit.name.removeprefix("raw "),
                "branches": None,
                "ablation": False,
                "chose_checkpoint": False,
            }
            for region in ("tissue", "frame"):
                agreement = fit_agreement(fit, getattr(moments[slide.name], region), data_range)
                yield _row(fold, slide, region, asdict(agreement), columns)


def measured_tissue(slide: TrainingSlide, settings: TrainingSettings) -> RegionMask:
    """Tissue mask for the measurement of a slide, within its regions if there are any."""
    index = settings.stains.index("nuclei") if "nuclei" in settings.stains else 0
    tissue = tissue_mask(slide.slide, slide.inputs[index])
    if slide.regions is None:
        return tissue
    # tissue outside the regions was not learnt from, and is not measured either
    common = tissue.intersected(slide.regions)
    return replace(tissue, mask=common.mask, downsample=common.downsample)


def _training_columns(result: TrainingResult, checkpoint: Checkpoint) -> dict[str, Any]:
    """Time, memory and size of a training, as columns of the results."""
    history = result.history
    speed = [record.patches_per_second for record in history]
    return {
        "seconds": history[-1].seconds if history else math.nan,
        "patches_per_second": float(np.mean(speed)) if history else math.nan,
        "peak_memory_mb": max((record.peak_memory_bytes for record in history), default=math.nan) / 1e6,
        "epochs": len(history),
        "best_epoch": result.best_epoch,
        "parameters": sum(parameter.numel() for parameter in checkpoint.network().parameters()),
        "note": result.reason,
    }


def _row(fold: Fold, slide: StudySlide, region: str, numbers: dict[str, Any], columns: dict[str, Any]) -> ResultRow:
    notes = columns.get("note", ""), numbers.pop("reason")
    of_slide = {
        "fold": fold.name,
        "slide": slide.name,
        "tumour": slide.entry.tumour_id,
        "part": fold.part,
        "region": region,
    }
    return ResultRow(**{**of_slide, **numbers, **columns, "note": "; ".join(filter(None, notes))})
