"""Regions of interest: their metrics, the levels they are measured at, and random placement."""

from napari_hrpn.analysis.rois.calibration import Calibration, calibrate_prediction
from napari_hrpn.analysis.rois.calibration_file import (
    calibrated,
    calibration_facts,
    calibration_path,
    save_calibration,
    saved_calibration,
)
from napari_hrpn.analysis.rois.levels import RoiImages, roi_images
from napari_hrpn.analysis.rois.measurement import RoiMeasurement, colocalize_roi, measure_roi, preview_roi
from napari_hrpn.analysis.rois.placement import PlacedRois, RandomRois, random_rois

__all__ = [
    "Calibration",
    "PlacedRois",
    "RandomRois",
    "RoiImages",
    "RoiMeasurement",
    "calibrate_prediction",
    "calibrated",
    "calibration_facts",
    "calibration_path",
    "colocalize_roi",
    "measure_roi",
    "preview_roi",
    "random_rois",
    "roi_images",
    "save_calibration",
    "saved_calibration",
]
