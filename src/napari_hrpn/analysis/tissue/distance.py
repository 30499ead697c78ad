"""Distance of pixels from a mask, tile by tile, and sums over distance shells."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from napari_hrpn.core import Box, TileGrid
from napari_hrpn.core.errors import AnalysisError
from napari_hrpn.settings import PenetrationSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

TILE_PX = 1024
_CELL_PX = 8


@dataclass(frozen=True, eq=False)
class Nearest:
    """The nearest pixel of a mask for each pixel of a box, and its distance."""

    box: Box
    # shape (rows, columns), from centre to centre: 0 on the mask, infinite beyond the requested distance
    distance_um: NDArray[np.float64]
    around: Box  # box that was searched
    # the nearest pixel of the mask, counted from the corner of `around`; undefined where the distance is infinite
    row: NDArray[np.intp]
    column: NDArray[np.intp]
    pixel_um: tuple[float, float]  # height and width of a pixel

    @cached_property
    def edge_um(self) -> NDArray[np.float64]:
        """Distance from the edge of the mask, which lies halfway between a pixel inside and its neighbour outside.

        The edge is taken for a straight line: half a pixel is subtracted along an axis, and less along a diagonal.
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
        zeros = np.zeros((box.height, box.width), np.intp)
        return Nearest(box, np.full(zeros.shape, np.inf), around, zeros, zeros, pixel_um)
    # only indices are computed by SciPy: distances are needed for the core alone, and all of them would double the time
    indices = ndimage.distance_transform_edt(~part, sampling=pixel_um, return_distances=False, return_indices=True)
    row, column = indices[0][core], indices[1][core]
    down, across = _offsets(row, column, box, around, pixel_um)
    distance = np.sqrt(down**2 + across**2)
    return Nearest(box, np.where(distance <= furthest_um, distance, np.inf), around, row, column, pixel_um)


def _offsets(
    row: NDArray[np.intp], column: NDArray[np.intp], box: Box, around: Box, pixel_um: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Offset of the nearest pixel of the mask in µm, down and to the right."""
    y, x = np.ogrid[box.y0 - around.y0 : box.y1 - around.y0, box.x0 - around.x0 : box.x1 - around.x0]
    return np.multiply(row - y, pixel_um[0], dtype=np.float64), np.multiply(column - x, pixel_um[1], dtype=np.float64)


def longest_distance(
    mask: NDArray[np.bool_],
    box: Box,
    inside: NDArray[np.bool_],
    pixel_um: tuple[float, float],
    furthest_um: float,
) -> float:
    """Margin that `nearest_in` has to search around a box, much less than the furthest distance near vessels."""
    around = grown_box(box, pixel_um, furthest_um, mask.shape)
    part = mask[around.y0 : around.y1, around.x0 : around.x1]
    requested = np.zeros(part.shape, bool)
    requested[box.y0 - around.y0 : box.y1 - around.y0, box.x0 - around.x0 : box.x1 - around.x0] = inside
    cells, requested = (_any_of_cells(part_mask) for part_mask in (part, requested))
    if not cells.any():
        return furthest_um
    # distances are those of cell centres; distances of their pixels may be longer by a diagonal of a cell
    cell_um = [_CELL_PX * size for size in pixel_um]
    distance = ndimage.distance_transform_edt(~cells, sampling=cell_um)[requested]
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
    """Grow a box by a margin on every side, up to the border of the image."""
    y, x = (math.ceil(min(margin_um / size, longest)) + 1 for size, longest in zip(pixel_um, shape, strict=True))
    grown = Box(box.y0 - y, box.y1 + y, box.x0 - x, box.x1 + x)
    return grown.intersection(Box(0, shape[0], 0, shape[1]))


@dataclass(frozen=True, eq=False)
class ShellSums:
    """Pixels and signal in each distance step of each area; two records are pooled with ``+``."""

    # names of the images that are measured on the same shells, such as the real one and a prediction
    images: tuple[str, ...]
    areas: tuple[str, ...]  # names of parts of the tissue that share no pixel
    # first the pixels inside vessels, then one entry per step (its outer end belongs to it, its inner end does not),
    # and last all pixels beyond
    pixels: NDArray[np.int64]
    signal: NDArray[Any]  # sums of the grey levels; float64 where an image is floating point
    # height and width of the pixels that distances belong to; 0 where they are points
    pixel_um: tuple[float, float] = (0.0, 0.0)

    def __add__(self, other: ShellSums) -> ShellSums:
        first, second = ((sums.images, sums.areas, sums.pixels.shape, sums.pixel_um) for sums in (self, other))
        if first != second:
            msg = "two sums over shells differ in their images, areas, shells or pixels; expected the same for both"
            raise AnalysisError(msg)
        return replace(self, pixels=self.pixels + other.pixels, signal=self.signal + other.signal)


def no_shell_sums(
    images: Sequence[str],
    settings: PenetrationSettings,
    areas: Sequence[str] = ("tissue",),
    pixel_um: tuple[float, float] = (0.0, 0.0),
) -> ShellSums:
    """Empty sums, to which those of tiles are added."""
    pixels = np.zeros((len(areas), settings.shells * settings.steps + 2), np.int64)
    return ShellSums(tuple(images), tuple(areas), pixels, np.zeros((len(images), *pixels.shape), np.int64), pixel_um)


def update_shells(
    sums: ShellSums,
    distance_um: NDArray[np.floating[Any]],
    values: Sequence[NDArray[Any]],
    settings: PenetrationSettings,
    *,
    area: NDArray[np.integer[Any]] | None = None,
    pixels: NDArray[np.int64] | None = None,
) -> ShellSums:
    """Add the pixels of a tile to the sums."""
    if len(values) != len(sums.images) or any(image.shape != distance_um.shape for image in values):
        found = ", ".join(" x ".join(map(str, image.shape)) for image in values)
        expected = " x ".join(map(str, distance_um.shape))
        msg = f"the images are {found or 'none'} px; expected {len(sums.images)} of {expected} px, as the distances"
        raise AnalysisError(msg)
    length = sums.pixels.shape[1]
    # computed in shells first, so that rounding leaves a distance at the end of a shell in its last step
    step = np.ceil(np.minimum(distance_um, 2 * settings.furthest_um) / settings.shell_um * settings.steps)
    bins = np.minimum(step, length - 1).astype(np.intp)
    if area is not None:
        bins += np.asarray(area, np.intp) * length
    inside = slice(None) if area is None else np.asarray(area) >= 0
    chosen, size = bins[inside].ravel(), sums.pixels.size
    weights = None if pixels is None else pixels[inside].ravel()
    counted = np.bincount(chosen, weights, size).astype(np.int64)
    signal = np.stack([_sums(chosen, image[inside].ravel(), size) for image in values]) if values else sums.signal
    return replace(
        sums,
        pixels=sums.pixels + counted.reshape(sums.pixels.shape),
        signal=sums.signal + signal.reshape(sums.signal.shape),
    )


def _sums(bins: NDArray[np.intp], values: NDArray[Any], size: int) -> NDArray[Any]:
    """Sums of values per bin; exact for integers, because float64 represents whole numbers below 2^53."""
    total = np.bincount(bins, values, size)
    if values.dtype.kind in "biu":
        return total.astype(np.int64)
    if not np.isfinite(total).all():
        msg = "an image has pixels that are not finite (NaN or infinite); expected finite grey levels: leave them out"
        raise AnalysisError(msg)
    return total
