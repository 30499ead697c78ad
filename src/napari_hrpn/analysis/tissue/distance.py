"""Distance to the nearest vessel in µm, tile by tile.

The rule: a tile looks as far around itself as the distance of interest, so up to there it equals the whole image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_hrpn.core import Box, TileGrid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

TILE_PX = 1024
_CELL_PX = 8


@dataclass(frozen=True, eq=False)
class Nearest:
    """For each pixel of a box, how far the nearest pixel of a mask is and which one it is."""

    box: Box
    # shape (rows, columns), from centre to centre: 0 on the mask, infinite beyond the furthest distance asked for
    distance_um: NDArray[np.float64]
    around: Box  # what was looked at
    # the nearest pixel of the mask, counted from the corner of `around`; meaningless where the distance is infinite
    row: NDArray[np.intp]
    column: NDArray[np.intp]
    pixel_um: tuple[float, float]  # height and width of a pixel

    @cached_property
    def edge_um(self) -> NDArray[np.float64]:
        """Distance from the edge of the mask, which runs halfway between a pixel inside and its neighbour outside.

        The mask looks like a line through those halves: along an axis half a pixel is taken off, and less in between.
        """
        down, across = _offsets(self.row, self.column, self.box, self.around, self.pixel_um)
        half = np.maximum(np.abs(down) * self.pixel_um[0], np.abs(across) * self.pixel_um[1]) / 2
        return self.distance_um - np.divide(half, self.distance_um, out=np.zeros_like(half), where=half > 0)


def nearest_in(mask: NDArray[np.bool_], box: Box, pixel_um: tuple[float, float], furthest_um: float) -> Nearest:
    """Find the nearest pixel of a mask for each pixel of a box."""
    around = grown_box(box, pixel_um, furthest_um, mask.shape)
    part = mask[around.y0 : around.y1, around.x0 : around.x1]
    core = slice(box.y0 - around.y0, box.y1 - around.y0), slice(box.x0 - around.x0, box.x1 - around.x0)
    if not part.any():
        nowhere = np.zeros((box.height, box.width), np.intp)
        return Nearest(box, np.full(nowhere.shape, np.inf), around, nowhere, nowhere, pixel_um)
    # the distances of the core alone, as SciPy computes them: those around it would double the time
    place = ndimage.distance_transform_edt(~part, sampling=pixel_um, return_distances=False, return_indices=True)
    row, column = place[0][core], place[1][core]
    down, across = _offsets(row, column, box, around, pixel_um)
    distance = np.sqrt(down**2 + across**2)
    return Nearest(box, np.where(distance <= furthest_um, distance, np.inf), around, row, column, pixel_um)


def _offsets(
    row: NDArray[np.intp], column: NDArray[np.intp], box: Box, around: Box, pixel_um: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How far down and across the nearest pixel of the mask is, in µm."""
    y, x = np.ogrid[box.y0 - around.y0 : box.y1 - around.y0, box.x0 - around.x0 : box.x1 - around.x0]
    return np.multiply(row - y, pixel_um[0], dtype=np.float64), np.multiply(column - x, pixel_um[1], dtype=np.float64)


def longest_distance(
    mask: NDArray[np.bool_],
    box: Box,
    inside: NDArray[np.bool_],
    pixel_um: tuple[float, float],
    furthest_um: float,
) -> float:
    """Say how far around a box `nearest_in` has to look: with vessels nearby, much less than the furthest distance."""
    around = grown_box(box, pixel_um, furthest_um, mask.shape)
    part = mask[around.y0 : around.y1, around.x0 : around.x1]
    asked = np.zeros(part.shape, bool)
    asked[box.y0 - around.y0 : box.y1 - around.y0, box.x0 - around.x0 : box.x1 - around.x0] = inside
    cells, asked = (_any_of_cells(each) for each in (part, asked))
    if not cells.any():
        return furthest_um
    # between cells from centre to centre, so that between their pixels it may be a diagonal longer
    cell_um = [_CELL_PX * size for size in pixel_um]
    distance = ndimage.distance_transform_edt(~cells, sampling=cell_um)[asked]
    return min(furthest_um, float(distance.max(initial=0.0)) + math.hypot(*cell_um))


def _any_of_cells(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    padded = np.pad(mask, [(0, -size % _CELL_PX) for size in mask.shape])
    height, width = (size // _CELL_PX for size in padded.shape)
    rows = padded.reshape(height, _CELL_PX, -1).any(axis=1)
    return np.asarray(rows.reshape(height, width, _CELL_PX).any(axis=2))


def distance_tiles(
    mask: NDArray[np.bool_], pixel_um: tuple[float, float], furthest_um: float, tile_px: int = TILE_PX
) -> Iterator[Nearest]:
    """Distance to the nearest pixel of a mask, tile by tile."""
    for tile in TileGrid(mask.shape[0], mask.shape[1], tile_px, 0, 1):
        yield nearest_in(mask, tile.core, pixel_um, furthest_um)


def grown_box(box: Box, pixel_um: tuple[float, float], margin_um: float, shape: tuple[int, ...]) -> Box:
    """Grow a box by a margin on every side, as far as there are pixels."""
    y, x = (math.ceil(min(margin_um / size, longest)) + 1 for size, longest in zip(pixel_um, shape, strict=True))
    grown = Box(box.y0 - y, box.y1 + y, box.x0 - x, box.x1 + x)
    return grown.intersection(Box(0, shape[0], 0, shape[1]))
