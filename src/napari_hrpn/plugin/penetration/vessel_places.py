"""Where each vessel of a mask is: which one lies under a pixel of the slide, and the box around one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.core import Box

if TYPE_CHECKING:
    from napari_hrpn.analysis import VesselMask


def vessel_at(vessels: VesselMask, place: tuple[int, int]) -> int | None:
    """Which vessel is at a pixel."""
    row, column = (
        min(int((own + 0.5) / factor), size - 1)
        for own, factor, size in zip(place, vessels.downsample, vessels.mask.shape, strict=True)
    )
    label = int(vessels.objects.painted(slice(row, row + 1), slice(column, column + 1))[0, 0])
    return label or None


def box_of(vessels: VesselMask, label: int) -> Box:
    """The box around a vessel."""
    objects = vessels.objects
    own = np.flatnonzero(objects.part == label - 1)
    dy, dx = vessels.downsample
    return Box(
        math.floor((int(objects.row[own].min()) - 1) * dy),
        math.ceil((int(objects.row[own].max()) + 2) * dy),
        math.floor((int(objects.start[own].min()) - 1) * dx),
        math.ceil((int(objects.stop[own].max()) + 1) * dx),
    )
