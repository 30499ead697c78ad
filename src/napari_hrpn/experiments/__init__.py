"""Studies over tumours: networks and baselines are trained, measured on held-out tumours, and compared."""

from napari_hrpn.analysis.metrics import STUDY_METRICS as METRICS
from napari_hrpn.experiments.cross_validation import StudyReport, cross_validate
from napari_hrpn.experiments.results import (
    ResultRow,
    SummaryRow,
    ablation_rows,
    read_results,
    summarised,
    write_results,
)
from napari_hrpn.experiments.study import (
    Ablations,
    IncompleteStudyError,
    Study,
    StudyError,
    StudySlide,
    StudyWarning,
)
from napari_hrpn.experiments.study_file import read_study
from napari_hrpn.experiments.study_folder import fold_checkpoints
from napari_hrpn.experiments.uncertainty import NO_ERROR_MODEL, study_error_model

__all__ = [
    "METRICS",
    "NO_ERROR_MODEL",
    "Ablations",
    "IncompleteStudyError",
    "ResultRow",
    "Study",
    "StudyError",
    "StudyReport",
    "StudySlide",
    "StudyWarning",
    "SummaryRow",
    "ablation_rows",
    "cross_validate",
    "fold_checkpoints",
    "read_results",
    "read_study",
    "study_error_model",
    "summarised",
    "write_results",
]
