"""Label images (nuclei, vessels, tissue) that an OME-Zarr stores beside its image, in the group `labels`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.slides.errors import SlideError, warn
from napari_hrpn.slides.formats import list_series, open_slide
from napari_hrpn.slides.location import holds_zarr
from napari_hrpn.slides.zarr_arrays import inner_place, read_attributes

if TYPE_CHECKING:
    from napari_hrpn.slides.location import Location
    from napari_hrpn.slides.slide import Slide


def label_images(slide: Slide) -> tuple[Slide, ...]:
    """Open the label images that are stored with a slide.

    Parameters
    ----------
    slide : Slide
        The slide; only an OME-Zarr has label images.

    Returns
    -------
    tuple of Slide
        A slide of one channel for each label image, with its stored levels alone, because labels cannot be averaged;
        its source has the name of the label image. What cannot be opened is left out, with a warning.
    """
    found = []
    try:
        places = _places(slide)
    except SlideError as error:
        warn(str(error))
        return ()
    for place in places:
        try:
            found.append(_opened(place, slide))
        except SlideError as error:
            warn(f"A label image of {slide.source.name} is left out: {error}")
    return tuple(found)


def _places(slide: Slide) -> list[Location]:
    if not holds_zarr(slide.source):
        return []
    from napari_hrpn.slides.formats.ome_zarr import image_folder

    folder = image_folder(slide.source, slide.series) / "labels"
    listed = read_attributes(folder).get("labels")
    return [inner_place(folder, name) for name in listed] if isinstance(listed, list) else []


def _opened(place: Location, slide: Slide) -> Slide:
    info = list_series(place)[0]
    z = slide.z if info.z_planes > 1 and isinstance(slide.z, int) else None
    image = open_slide(place, series=0, z=z, t=slide.t if info.timepoints > 1 else None)
    channels, dtype = image.levels[0].shape[0], image.dtype
    if channels != 1 or not np.issubdtype(dtype, np.integer):
        raise SlideError(f"{place.name} has {channels} channels of {dtype}, expected one of whole numbers.")
    return replace(image, levels=image.levels[: image.stored_levels])
