"""Regions of interest: their metrics, the levels they are measured at, and random placement."""

from napari_hrpn.analysis.rois.levels import RoiImages, roi_images
from napari_hrpn.analysis.rois.measurement import RoiMeasurement, colocalize_roi, measure_roi, preview_roi
from napari_hrpn.analysis.rois.placement import PlacedRois, RandomRois, random_rois

__all__ = [
    "PlacedRois",
    "RandomRois",
    "RoiImages",
    "RoiMeasurement",
    "colocalize_roi",
    "measure_roi",
    "preview_roi",
    "random_rois",
    "roi_images",
]
