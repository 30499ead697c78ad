"""The evaluation of a slide as files: `write_evaluation` and, for several, `write_cohort` are the doors."""

from napari_hrpn.reports.evaluation.cohort import CohortTumour, WrittenCohort, write_cohort
from napari_hrpn.reports.evaluation.drawing import number
from napari_hrpn.reports.evaluation.folder import read_evaluation
from napari_hrpn.reports.evaluation.provenance import prediction_record
from napari_hrpn.reports.evaluation.request import (
    check_on_slide,
    nuclei_words,
    other_slide_words,
    own_folder,
    prediction_names,
    roles_around,
)
from napari_hrpn.reports.evaluation.run import EvaluationRequest, WritingReport, WrittenEvaluation, write_evaluation
from napari_hrpn.reports.evaluation.tables import penetration_tables

__all__ = [
    "CohortTumour",
    "EvaluationRequest",
    "WritingReport",
    "WrittenCohort",
    "WrittenEvaluation",
    "check_on_slide",
    "nuclei_words",
    "number",
    "other_slide_words",
    "own_folder",
    "penetration_tables",
    "prediction_names",
    "prediction_record",
    "read_evaluation",
    "roles_around",
    "write_cohort",
    "write_evaluation",
]
