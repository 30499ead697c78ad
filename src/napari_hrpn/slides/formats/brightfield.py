"""Tells a colour photograph in transmitted light from fluorescence: its background is light."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.slides.errors import SlideWarning
from napari_hrpn.slides.guarded_array import GuardedPixels

if TYPE_CHECKING:
    from pathlib import Path

    from napari_hrpn.slides.guarded_array import PixelSource

_LIGHT = 0.4
_MOST_PIXELS = 4_000_000
_LOOK_EDGE = 192


def light_background(coarsest: PixelSource, path: Path) -> bool:
    """Whether the typical pixel of a colour image is light in red, green and blue."""
    if not np.issubdtype(coarsest.dtype, np.integer) or math.prod(coarsest.chunks) > 3 * _MOST_PIXELS:
        return False
    pixels = GuardedPixels(coarsest, path)
    _, height, width = coarsest.shape
    tops, lefts = _looks(height), _looks(width)
    blocks = (pixels[0:3, top : top + _LOOK_EDGE, left : left + _LOOK_EDGE] for top in tops for left in lefts)
    darkest = np.concatenate([block[:, ::4, ::4].min(axis=0).ravel() for block in blocks])
    return bool(np.median(darkest) > _LIGHT * np.iinfo(pixels.dtype).max)


def _looks(length: int) -> list[int]:
    """Where to look along an axis: at both ends and in the middle."""
    last = max(0, length - _LOOK_EDGE)
    return sorted({0, last // 2, last})


def warn_of_brightfield(name: str) -> None:
    """Tell that a slide is no fluorescence."""
    warnings.warn(
        f"{name} looks like a brightfield photograph, not fluorescence: it opens as red, green and "
        "blue, which no channel can be predicted from.",
        SlideWarning,
        stacklevel=2,
    )
