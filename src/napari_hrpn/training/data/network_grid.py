"""Slides of a training as the network sees them: at its own pixel size, with inputs that are derived from stains."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import dask.array as da
import numpy as np

from napari_hrpn.analysis import tissue_mask
from napari_hrpn.analysis.tissue.vessel_distance import vessel_distance, vessel_threshold
from napari_hrpn.core import Box
from napari_hrpn.core.errors import TrainingError
from napari_hrpn.models import IntensityScaling
from napari_hrpn.settings import DISTANCE, VESSELS
from napari_hrpn.settings.vessel_distance import VesselDistance
from napari_hrpn.slides import RegionMask, glance
from napari_hrpn.slides.lazy_pixels import PixelSource
from napari_hrpn.slides.resampling import at_pixel_size

if TYPE_CHECKING:
    from napari_hrpn.settings import TrainingSettings
    from napari_hrpn.slides import Slide
    from napari_hrpn.training.entries import TrainingSlide


def on_network_grid(training_slide: TrainingSlide, settings: TrainingSettings) -> TrainingSlide:
    """Bring an opened slide to the pixel size of the network and derive the inputs that no stain shows, lazily.

    Parameters
    ----------
    training_slide : TrainingSlide
        The slide on its own pixels, with the channels of the stains.
    settings : TrainingSettings
        Inputs, and the pixel size at which the network works.

    Returns
    -------
    TrainingSlide
        The same object if neither is asked for.

    Raises
    ------
    TrainingError
        If the distance to vessels is asked for and the slide has no pixel size.
    SlideError
        If the slide cannot be resampled.
    """
    slide, regions, inputs = training_slide.slide, training_slide.regions, training_slide.inputs
    if settings.pixel_um is not None:
        slide = at_pixel_size(slide, settings.pixel_um)
        if regions is not None:
            height, width = slide.shape
            # the mask covers the whole slide, whatever its pixels are
            regions = RegionMask(
                regions.mask, (height / regions.mask.shape[0], width / regions.mask.shape[1]), name=regions.name
            )
    if DISTANCE in settings.channels:
        derived = len(slide.channel_names)
        slide = _with_distance(slide, inputs[settings.stains.index(VESSELS)], inputs[0])
        by_role = dict(zip(settings.stains, inputs, strict=True)) | {DISTANCE: derived}
        inputs = tuple(by_role[role] for role in settings.channels)
    return replace(training_slide, slide=slide, regions=regions, inputs=inputs)


def _with_distance(slide: Slide, vessels: int, nuclei: int) -> Slide:
    if slide.pixel_size_um is None:
        msg = (
            f"{slide.source.name} has no pixel size, expected one, as the distance to vessels is an input; state it, "
            "or train without this input."
        )
        raise TrainingError(msg)
    distance = _Distance(slide, vessels, nuclei)
    levels = tuple(da.concatenate([level, distance.at(index)]) for index, level in enumerate(slide.levels))
    return replace(slide, levels=levels, channel_names=(*slide.channel_names, DISTANCE))


class _Distance:
    """Distance to the vessels of a slide at each of its levels, computed when it is read."""

    def __init__(self, slide: Slide, vessels: int, first: int) -> None:
        self._slide, self._vessels, self._first, self._settings = slide, vessels, first, VesselDistance()

    def at(self, index: int) -> da.Array:
        """The distance at a level, as one more channel of it."""
        level, steps = self._slide.levels[index], self._slide.downsample(index)
        height, width = self._slide.pixel_size_um or (1.0, 1.0)
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
        reference_um = IntensityScaling.reference_um
        stains = glance(self._slide, (self._first, self._vessels), reference_um)
        return vessel_threshold(stains, 1, tissue_mask(stains, 0), reference_um)
