"""Results in, pictures and tables out; nothing is computed here."""

from napari_hrpn.reports.agreement_table import write_agreement
from napari_hrpn.reports.errors import ReportError
from napari_hrpn.reports.evaluation import (
    CohortTumour,
    EvaluationRequest,
    WritingReport,
    WrittenCohort,
    WrittenEvaluation,
    check_on_slide,
    nuclei_words,
    number,
    other_slide_words,
    own_folder,
    penetration_tables,
    prediction_names,
    prediction_record,
    read_evaluation,
    roles_around,
    write_cohort,
    write_evaluation,
)
from napari_hrpn.reports.figure_text import plain_text
from napari_hrpn.reports.overview import write_overview
from napari_hrpn.reports.study_figures import write_study_figures
from napari_hrpn.reports.study_table import write_study_table

__all__ = [
    "CohortTumour",
    "EvaluationRequest",
    "ReportError",
    "WritingReport",
    "WrittenCohort",
    "WrittenEvaluation",
    "check_on_slide",
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
