"""Baselines of a study: each slide is read once, then every fold follows from sums that are kept."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.analysis.agreement import largest_value
from napari_hrpn.core.files import saved_json
from napari_hrpn.experiments.baselines import baseline_fits, fit_agreement
from napari_hrpn.experiments.blurring import SIGMAS_UM, BlurMoments, blur_moments
from napari_hrpn.experiments.errors import StudyError
from napari_hrpn.experiments.evaluation import measured_tissue
from napari_hrpn.experiments.results import ResultRow
from napari_hrpn.experiments.study_folder import write_json
from napari_hrpn.training import open_entry

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from napari_hrpn.experiments.blurring import MomentsReport
    from napari_hrpn.experiments.folds import Fold
    from napari_hrpn.experiments.study import Study, StudySlide
    from napari_hrpn.experiments.study_folder import StudyFolder
    from napari_hrpn.training import TrainingSettings


def baseline_rows(
    study: Study, folds: Sequence[Fold], folder: StudyFolder, settings: TrainingSettings
) -> Generator[MomentsReport, None, tuple[ResultRow, ...]]:
    """Fit and measure the baselines on every fold."""
    moments: dict[str, BlurMoments] = {}
    for slide in study.slides:
        moments[slide.name] = yield from _moments_of(slide, folder, settings)
    return tuple(row for fold in folds for row in _rows_of(fold, moments, settings))


def _moments_of(
    slide: StudySlide, folder: StudyFolder, settings: TrainingSettings
) -> Generator[MomentsReport, None, BlurMoments]:
    path = folder.baselines / f"{slide.name}.json"
    request = {
        "slide": folder.identity(slide),
        "roles": dict(slide.entry.roles),
        "channels": [*settings.channels, settings.target],
        "sigmas_um": list(SIGMAS_UM),
    }
    found = saved_json(path, StudyError)
    if found is not None and found.get("request") == request:
        return BlurMoments(np.array(found["tissue"]), np.array(found["frame"]))
    opened = open_entry(slide.entry, settings)
    moments = yield from blur_moments(opened, measured_tissue(opened, settings))
    write_json(path, {"request": request, "tissue": moments.tissue.tolist(), "frame": moments.frame.tolist()})
    return moments


def _rows_of(fold: Fold, moments: Mapping[str, BlurMoments], settings: TrainingSettings) -> list[ResultRow]:
    learnt_from = [moments[slide.name] for slide in fold.learnable]
    fits = baseline_fits(learnt_from, settings.channels, SIGMAS_UM)
    rows = []
    for slide in fold.measured:
        data_range = largest_value(open_entry(slide.entry, settings).slide.dtype)
        for fit in fits:
            for region in ("tissue", "frame"):
                agreement = fit_agreement(fit, getattr(moments[slide.name], region), data_range)
                numbers: dict[str, Any] = asdict(agreement)
                rows.append(
                    ResultRow(
                        model=fit.name,
                        channels=fit.name.removeprefix("raw ")
                        if not fit.is_prediction
                        else "+".join(settings.channels),
                        branches=None,
                        ablation=False,
                        fold=fold.name,
                        slide=slide.name,
                        tumour=slide.entry.tumour_id,
                        part=fold.part,
                        chose_checkpoint=False,
                        region=region,
                        note=numbers.pop("reason"),
                        **numbers,
                    )
                )
    return rows
