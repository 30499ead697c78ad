"""What the folder of a prediction is called."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from napari_hrpn.plugin.layers import slide_title

if TYPE_CHECKING:
    from napari_hrpn.slides import Slide

NOT_IN_FILE_NAMES = r'[<>:"/\\|?*\x00-\x1f]'


def store_name(slide: Slide) -> str:
    """Name of the folder that holds the prediction of a slide.

    Parameters
    ----------
    slide : Slide
        The slide.

    Returns
    -------
    str
        Another one for each image, plane and point in time of a file.
    """
    places = (("series", slide.series or None), ("z", slide.z), ("t", slide.t))
    which = "".join(f"-{name}{index}" for name, index in places if index is not None)
    title = re.sub(NOT_IN_FILE_NAMES, "_", slide_title(slide))
    return f"{title}{which}.predicted.ome.zarr"
