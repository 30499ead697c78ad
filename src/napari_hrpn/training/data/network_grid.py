"""Slides of a training as the network sees them: at its own pixel size, with inputs that are derived from stains."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari_hrpn.analysis.tissue.vessel_distance import with_distance
from napari_hrpn.core.errors import TrainingError
from napari_hrpn.settings import DISTANCE, VESSELS
from napari_hrpn.settings.vessel_distance import VesselDistance
from napari_hrpn.slides import RegionMask
from napari_hrpn.slides.resampling import at_pixel_size

if TYPE_CHECKING:
    from napari_hrpn.settings import TrainingSettings
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
        With the same slide if neither is asked for.

    Raises
    ------
    TrainingError
        If either is asked for and the slide has no pixel size.
    SlideError
        If the slide cannot be resampled.
    """
    slide, regions, inputs = training_slide.slide, training_slide.regions, training_slide.inputs
    needs = f"it is to be resampled to {settings.pixel_um:g} µm" if settings.pixel_um is not None else ""
    needs = needs or ("the distance to vessels is an input" if DISTANCE in settings.channels else "")
    if needs and slide.pixel_size_um is None:
        msg = (
            f"{slide.source.name} has no pixel size, expected one, as {needs}: save the slide with its pixel size, or "
            "train without this."
        )
        raise TrainingError(msg)
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
        vessels = inputs[settings.stains.index(VESSELS)]
        slide = with_distance(slide, vessels, inputs[0], VesselDistance(), original=training_slide.slide)
        by_role = dict(zip(settings.stains, inputs, strict=True)) | {DISTANCE: derived}
        inputs = tuple(by_role[role] for role in settings.channels)
    return replace(training_slide, slide=slide, regions=regions, inputs=inputs)
