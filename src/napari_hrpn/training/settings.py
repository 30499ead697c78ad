"""Every choice of a training."""

from napari_hrpn.settings import TrainingSettings, recipe_settings

__all__ = ["TrainingSettings", "recipe_settings"]
