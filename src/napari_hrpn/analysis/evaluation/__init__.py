"""Evaluation of a slide and its predictions; `evaluate_slide` does all of it."""

from napari_hrpn.analysis.evaluation.patches import PatchAgreement, PatchFindings
from napari_hrpn.analysis.evaluation.pixels import ComparedPixels
from napari_hrpn.analysis.evaluation.slide_comparison import SlideComparison
from napari_hrpn.analysis.evaluation.slide_evaluation import (
    EvaluationPart,
    EvaluationReport,
    evaluate_slide,
    part_names,
)
from napari_hrpn.analysis.evaluation.vessels import VesselFindings, why_no_penetration
from napari_hrpn.settings import EvaluationSettings

__all__ = [
    "ComparedPixels",
    "EvaluationPart",
    "EvaluationReport",
    "EvaluationSettings",
    "PatchAgreement",
    "PatchFindings",
    "SlideComparison",
    "VesselFindings",
    "evaluate_slide",
    "part_names",
    "why_no_penetration",
]
