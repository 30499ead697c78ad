"""Studies over tumours: networks and baselines trained, measured on what was held out, and compared."""

from napari_hrpn.experiments.baselines import BlurMoments, LinearFit, baseline_fits, blur_moments, fit_agreement
from napari_hrpn.experiments.cross_validation import StudyReport, cross_validate
from napari_hrpn.experiments.results import (
    METRICS,
    ResultRow,
    SummaryRow,
    ablation_rows,
    read_results,
    summarised,
    write_results,
)
from napari_hrpn.experiments.study import (
    Ablations,
    Experiment,
    Fold,
    IncompleteStudyError,
    Study,
    StudyError,
    StudySlide,
    StudyWarning,
    study_experiments,
    study_folds,
)
from napari_hrpn.experiments.study_file import read_study

__all__ = [
    "METRICS",
    "Ablations",
    "BlurMoments",
    "Experiment",
    "Fold",
    "IncompleteStudyError",
    "LinearFit",
    "ResultRow",
    "Study",
    "StudyError",
    "StudyReport",
    "StudySlide",
    "StudyWarning",
    "SummaryRow",
    "ablation_rows",
    "baseline_fits",
    "blur_moments",
    "cross_validate",
    "fit_agreement",
    "read_results",
    "read_study",
    "study_experiments",
    "study_folds",
    "summarised",
    "write_results",
]
