"""Settings of trainings, predictions and evaluations, which import neither torch nor napari."""

from napari_hrpn.settings.evaluation import EvaluationSettings, PenetrationSettings, VesselSettings
from napari_hrpn.settings.prediction import CELL_PX, PredictionSettings
from napari_hrpn.settings.recipes import recipe_settings
from napari_hrpn.settings.trained_network import DISTANCE, VESSELS
from napari_hrpn.settings.training import TrainingSettings

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
