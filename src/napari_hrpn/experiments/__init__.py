"""Studies over tumours: networks and baselines trained, measured on what was held out, and compared."""

from napari_hrpn.experiments.baselines import LinearFit, baseline_fits, fit_agreement
from napari_hrpn.experiments.blurring import BlurMoments, MomentsReport, blur_moments
from napari_hrpn.experiments.cross_validation import StudyReport, cross_validate
from napari_hrpn.experiments.errors import IncompleteStudyError, StudyError, StudyWarning
from napari_hrpn.experiments.folds import Experiment, Fold, study_experiments, study_folds
from napari_hrpn.experiments.results import ResultRow, read_results, write_results
from napari_hrpn.experiments.study import Ablations, Study, StudySlide
from napari_hrpn.experiments.study_file import read_study
from napari_hrpn.experiments.summary import METRICS, SummaryRow, ablation_rows, summarised

__all__ = [
    "METRICS",
    "Ablations",
    "BlurMoments",
    "Experiment",
    "Fold",
    "IncompleteStudyError",
    "LinearFit",
    "MomentsReport",
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
