"""Regions of interest: geometry, pixels and numbers."""

from napari_hrpn.analysis.rois.geometry import (
    LabelledRoi,
    Roi,
    reaches_beyond,
    roi_bounds,
    roi_digest,
    roi_extent,
    roi_mask,
)
from napari_hrpn.analysis.rois.levels import RoiImages, roi_images
from napari_hrpn.analysis.rois.measurement import (
    RoiMeasurement,
    colocalize_roi,
    measure_roi,
    preview_roi,
)
from napari_hrpn.analysis.rois.outlines import label_outline, labelled_rois, one_stroke, outlined
from napari_hrpn.analysis.rois.placement import PlacedRois, RandomRois, random_rois

__all__ = [
    "LabelledRoi",
    "PlacedRois",
    "RandomRois",
    "Roi",
    "RoiImages",
    "RoiMeasurement",
    "colocalize_roi",
    "label_outline",
    "labelled_rois",
    "measure_roi",
    "one_stroke",
    "outlined",
    "preview_roi",
    "random_rois",
    "reaches_beyond",
    "roi_bounds",
    "roi_digest",
    "roi_extent",
    "roi_images",
    "roi_mask",
]
