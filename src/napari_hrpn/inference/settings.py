"""Every choice of a prediction."""

from napari_hrpn.settings import CELL_PX, PredictionSettings

__all__ = ["CELL_PX", "PredictionSettings"]
