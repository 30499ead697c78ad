"""Settings of trainings, predictions and evaluations, which import neither torch nor napari."""

from napari_hrpn.settings.evaluation import EvaluationSettings, PenetrationSettings, VesselSettings
from napari_hrpn.settings.prediction import CELL_PX, PredictionSettings
from napari_hrpn.settings.training import DISTANCE, VESSELS, TrainingSettings, recipe_settings

__all__ = [
    "CELL_PX",
    "DISTANCE",
    "VESSELS",
    "EvaluationSettings",
    "PenetrationSettings",
    "PredictionSettings",
    "TrainingSettings",
    "VesselSettings",
    "recipe_settings",
]
