"""Distance of every pixel to the nearest vessel, as an input of a network.

The distance is counted in whole steps, so that it fits into the pixel type of any slide. It depends on the pixels
within its reach alone: parts of a slide that are computed one by one fit together exactly.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu

from napari_hrpn.analysis.tissue.intensity import tissue_pixels
from napari_hrpn.settings.vessel_distance import TRUNCATE
from napari_hrpn.slides import known_pixels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_hrpn.settings.vessel_distance import VesselDistance
    from napari_hrpn.slides import RegionMask, Slide


def vessel_distance(
    vessels: NDArray[Any], threshold: float, pixel_um: tuple[float, float], settings: VesselDistance
) -> NDArray[np.uint8]:
    """Distance in steps to the nearest pixel whose smoothed grey level is above the threshold; shape (y, x)."""
    sigma = [settings.smoothing_um / size for size in pixel_um]
    smoothed = ndimage.gaussian_filter(vessels.astype(np.float64), sigma, truncate=TRUNCATE)
    vessel = smoothed > threshold
    if not vessel.any():
        return np.full(vessels.shape, settings.steps, np.uint8)
    distance = ndimage.distance_transform_edt(~vessel, sampling=pixel_um)
    steps: NDArray[np.uint8] = np.rint(np.minimum(distance / settings.step_um, settings.steps)).astype(np.uint8)
    return steps


def vessel_threshold(slide: Slide, channel: int, tissue: RegionMask, pixel_um: float) -> float:
    """Grey level that separates vessels from the rest of the tissue, by Otsu, at about a given pixel size."""
    pixels = tissue_pixels(slide, (channel,), tissue, pixel_um)[0]
    known = known_pixels(pixels)
    pixels = pixels if known is None else pixels[known]
    # of equal pixels none is a vessel
    return float(threshold_otsu(pixels)) if len(pixels) and pixels.min() < pixels.max() else math.inf
