"""Distance of every pixel to the nearest vessel, as an input of a network.

The distance is counted in whole steps, so that it fits into the pixel type of any slide. It depends on the pixels
within its reach alone: parts of a slide that are computed one by one fit together exactly.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu

from napari_hrpn.analysis.tissue.intensity import tissue_pixels
from napari_hrpn.analysis.tissue.tissue_mask import tissue_mask
from napari_hrpn.core import Box
from napari_hrpn.settings import DISTANCE
from napari_hrpn.settings.vessel_distance import TRUNCATE
from napari_hrpn.slides import glance, known_pixels
from napari_hrpn.slides.lazy_pixels import PixelSource

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_hrpn.settings.vessel_distance import VesselDistance
    from napari_hrpn.slides import RegionMask, Slide

REFERENCE_UM = 2.0
"""Pixel size at which the grey level of vessels is found."""

_MOST_BINS = 65_536


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


def vessel_threshold(slide: Slide, channel: int, tissue: RegionMask) -> float:
    """Grey level that separates vessels from the rest of the tissue, by Otsu, at pixels of about 2 µm."""
    pixels = tissue_pixels(slide, (channel,), tissue, REFERENCE_UM)[0]
    known = known_pixels(pixels)
    pixels = pixels if known is None else pixels[known]
    if not len(pixels) or pixels.min() == pixels.max():
        # of equal pixels none is a vessel
        return math.inf
    # of integers, a bin each would be made, which may be billions
    is_wide = float(pixels.max()) - float(pixels.min()) > _MOST_BINS
    return float(threshold_otsu(pixels.astype(np.float64) if is_wide else pixels))


def with_distance(
    slide: Slide,
    vessels: int,
    nuclei: int,
    settings: VesselDistance,
    *,
    original: Slide | None = None,
    assumed_um: float | None = None,
) -> Slide:
    """The slide with the distance to its vessels as one more, last channel of each level, computed when it is read.

    The grey level of vessels is found on the original slide if this one is resampled, as a prediction does, which never
    holds a whole resampled slide. A slide without a pixel size gets the assumed one.
    """
    distance = _Distance(slide, vessels, nuclei, settings, original or slide, assumed_um or 1.0)
    levels = tuple(da.concatenate([level, distance.at(index)]) for index, level in enumerate(slide.levels))
    return replace(slide, levels=levels, channel_names=(*slide.channel_names, DISTANCE))


class _Distance:
    """Distance to the vessels of a slide at each of its levels, computed when it is read."""

    def __init__(
        self, slide: Slide, vessels: int, first: int, settings: VesselDistance, original: Slide, assumed_um: float
    ) -> None:
        self._slide, self._vessels, self._first, self._settings = slide, vessels, first, settings
        self._original, self._assumed_um = original, assumed_um

    def at(self, index: int) -> da.Array:
        """The distance at a level, as one more channel of it."""
        level, steps = self._slide.levels[index], self._slide.downsample(index)
        height, width = self._slide.pixel_size_um or (self._assumed_um,) * 2
        pixel_um = (height * steps[0], width * steps[1])
        margin = self._settings.margin(pixel_um)

        def read(_: slice, rows: slice, columns: slice) -> np.ndarray:
            """Pixels of shape (1, y, x)."""
            box = Box(rows.start, rows.stop, columns.start, columns.stop)
            around = box.grown(margin).intersection(Box(0, level.shape[1], 0, level.shape[2]))
            stain = level[(self._vessels, *around.slices)].compute(scheduler="synchronous")
            distance = vessel_distance(stain, self._threshold, pixel_um, self._settings).astype(level.dtype)
            inner = Box(box.y0 - around.y0, box.y1 - around.y0, box.x0 - around.x0, box.x1 - around.x0)
            return distance[None, *inner.slices]

        source = PixelSource((1, *level.shape[1:]), level.dtype, (1, *level.chunksize[1:]), read)
        # chunks of the level itself, because other ones would be cut into pieces of both
        return da.from_array(
            source, chunks=((1,), *level.chunks[1:]), name=False, fancy=False, meta=np.empty((0, 0, 0), level.dtype)
        )

    @cached_property
    def _threshold(self) -> float:
        stains = glance(self._original, (self._first, self._vessels), REFERENCE_UM)
        return vessel_threshold(stains, 1, tissue_mask(stains, 0))
