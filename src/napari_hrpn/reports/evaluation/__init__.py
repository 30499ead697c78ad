"""The evaluation of a slide as files: `write_evaluation` and, for several, `write_cohort` are the doors."""

from napari_hrpn.reports.evaluation.cohort import CohortTumour, WrittenCohort, write_cohort
from napari_hrpn.reports.evaluation.folder import read_evaluation
from napari_hrpn.reports.evaluation.hashes import prediction_record
from napari_hrpn.reports.evaluation.run import EvaluationOrder, WritingReport, WrittenEvaluation, write_evaluation

__all__ = [
    "CohortTumour",
    "EvaluationOrder",
    "WritingReport",
    "WrittenCohort",
    "WrittenEvaluation",
    "prediction_record",
    "read_evaluation",
    "write_cohort",
    "write_evaluation",
]
