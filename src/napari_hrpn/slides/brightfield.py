"""Tells a colour photograph in transmitted light from fluorescence: its background is light."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.slides.errors import SlideWarning

if TYPE_CHECKING:
    from napari_hrpn.slides.lazy import PixelSource

LIGHT = 0.4
MOST_PIXELS = 4_000_000
LOOKS = 3


def light_background(coarsest: PixelSource) -> bool:
    """Whether the typical pixel of a colour image is light in red, green and blue.

    Parameters
    ----------
    coarsest : PixelSource
        Three channels, of which a few blocks are read.

    Returns
    -------
    bool
        True if the median of the darkest of the three colours is above 40 % of the range of the type. False
        for floats and where a look would cost too much memory.
    """
    if not np.issubdtype(coarsest.dtype, np.integer) or math.prod(coarsest.chunks) > 3 * MOST_PIXELS:
        return False
    _, height, width = coarsest.shape
    side_y, side_x = (
        max(1, min(n, 2 * LOOKS * chunk) // LOOKS) for n, chunk in zip((height, width), (256, 256), strict=True)
    )
    darkest = []
    for row in range(LOOKS):
        for column in range(LOOKS):
            top = (height - side_y) * row // max(1, LOOKS - 1)
            left = (width - side_x) * column // max(1, LOOKS - 1)
            block = coarsest.read(slice(0, 3), slice(top, top + side_y), slice(left, left + side_x))
            darkest.append(block[:, ::4, ::4].min(axis=0).ravel())
    return bool(np.median(np.concatenate(darkest)) > LIGHT * np.iinfo(coarsest.dtype).max)


def warn_of_brightfield(name: str) -> None:
    """Tell that a slide is no fluorescence.

    Parameters
    ----------
    name : str
        The file.
    """
    warnings.warn(
        f"{name} looks like a brightfield photograph, not fluorescence: it opens as red, green and "
        "blue, which no channel can be predicted from.",
        SlideWarning,
        stacklevel=2,
    )
