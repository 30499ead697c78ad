"""Prediction of a slide with a checkpoint, tile by tile."""

from napari_hrpn.core.errors import PredictionError, PredictionWarning
from napari_hrpn.inference.counterfactual import CounterfactualNetwork
from napari_hrpn.inference.engine import PredictionReport, TileReport, predict_slide
from napari_hrpn.inference.fit import Fit
from napari_hrpn.inference.plan_warnings import pixel_size_warnings
from napari_hrpn.inference.predictor import Device, choose_device, list_devices
from napari_hrpn.inference.slide_scaling import slide_fit
from napari_hrpn.inference.store import PredictionStore
from napari_hrpn.inference.what_if import WhatIf, what_if
from napari_hrpn.settings import PredictionSettings

__all__ = [
    "CounterfactualNetwork",
    "Device",
    "Fit",
    "PredictionError",
    "PredictionReport",
    "PredictionSettings",
    "PredictionStore",
    "PredictionWarning",
    "TileReport",
    "WhatIf",
    "choose_device",
    "list_devices",
    "pixel_size_warnings",
    "predict_slide",
    "slide_fit",
    "what_if",
]
