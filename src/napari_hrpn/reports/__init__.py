"""Reports of an evaluation, a cohort of tumours and a study: tables, figures and pages."""

from napari_hrpn.reports.cohort import CohortTumour, WrittenCohort, write_cohort
from napari_hrpn.reports.drawing import plain_text
from napari_hrpn.reports.evaluation import EvaluationRequest, WritingReport, WrittenEvaluation, write_evaluation
from napari_hrpn.reports.folder import ReportError, read_evaluation
from napari_hrpn.reports.numbers import number
from napari_hrpn.reports.provenance import prediction_record
from napari_hrpn.reports.request import (
    check_on_slide,
    evaluation_of,
    nuclei_words,
    other_slide_words,
    own_folder,
    prediction_names,
    roles_around,
)
from napari_hrpn.reports.study import write_study_figures, write_study_table
from napari_hrpn.reports.tables import penetration_tables, write_agreement
from napari_hrpn.reports.tissue_figures import write_overview

__all__ = [
    "CohortTumour",
    "EvaluationRequest",
    "ReportError",
    "WritingReport",
    "WrittenCohort",
    "WrittenEvaluation",
    "check_on_slide",
    "evaluation_of",
    "nuclei_words",
    "number",
    "other_slide_words",
    "own_folder",
    "penetration_tables",
    "plain_text",
    "prediction_names",
    "prediction_record",
    "read_evaluation",
    "roles_around",
    "write_agreement",
    "write_cohort",
    "write_evaluation",
    "write_overview",
    "write_study_figures",
    "write_study_table",
]
