"""Sums over the patches of a grid, pooled over tiles of any size and order; exact for integer pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.analysis.counts.area_binning import sums_between
from napari_hrpn.core.errors import AnalysisError
from napari_hrpn.settings.evaluation import PATCH_PX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class PatchSums:
    """Number of pixels, sum of grey levels and positive pixels of each patch of a grid.

    Two records with the same grid are pooled with ``+``.
    """

    shape: tuple[int, int]  # height and width of the slide in pixels
    patch_px: int  # side of a patch; patches at the lower and right border of the slide may be smaller
    # per channel the grey level from which a pixel is positive; None if positive pixels are not counted
    thresholds: tuple[float, ...] | None
    pixels: NDArray[np.int64]  # measured pixels of each patch
    totals: NDArray[Any]  # sum of their grey levels; int64 for integer pixels, float64 for floating point
    positive: NDArray[np.int64]  # measured pixels at or above the threshold

    def __add__(self, other: PatchSums) -> PatchSums:
        if (self.shape, self.patch_px, self.thresholds) != (other.shape, other.patch_px, other.thresholds):
            msg = "the sums are of different grids or thresholds; expected those of one slide, patch and threshold"
            raise AnalysisError(msg)
        return replace(
            self,
            pixels=self.pixels + other.pixels,
            totals=self.totals + other.totals,
            positive=self.positive + other.positive,
        )


def no_patch_sums(
    shape: tuple[int, int],
    channels: int,
    dtype: np.dtype,
    patch_px: int = PATCH_PX,
    thresholds: Sequence[float] | None = None,
) -> PatchSums:
    """Empty sums, to which those of tiles are added."""
    if patch_px < 1:
        msg = f"a patch of {patch_px} px has no pixel; expected 1 px or more, such as {PATCH_PX}"
        raise AnalysisError(msg)
    if thresholds is not None and len(thresholds) != channels:
        msg = f"there are {len(thresholds)} thresholds for {channels} channels; expected one for each"
        raise AnalysisError(msg)
    grid = -(-shape[0] // patch_px), -(-shape[1] // patch_px)
    zeros = np.zeros((channels, *grid), np.int64)
    totals = zeros if np.dtype(dtype).kind in "biu" else zeros.astype(np.float64)
    chosen = None if thresholds is None else tuple(map(float, thresholds))
    return PatchSums(shape, patch_px, chosen, np.zeros(grid, np.int64), totals, zeros)


def update_patches(
    sums: PatchSums,
    tile: Sequence[NDArray[Any]] | NDArray[Any],
    origin: tuple[int, int],
    mask: NDArray[np.bool_] | None = None,
) -> PatchSums:
    """Add a tile to the sums of the patches that it meets."""
    kept = np.ones(tile[0].shape, bool) if mask is None else mask
    first = tuple(start // sums.patch_px for start in origin)
    edges = [_edges(start, size, sums.patch_px) for start, size in zip(origin, kept.shape, strict=True)]
    area = tuple(slice(low, low + len(edge) - 1) for low, edge in zip(first, edges, strict=True))
    pixels, totals, positive = sums.pixels.copy(), sums.totals.copy(), sums.positive.copy()
    pixels[area] += sums_between(kept, *edges)
    for index, channel in enumerate(tile):
        values = channel if mask is None else _masked(channel, mask)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            msg = "the slide has pixels that are not finite (NaN or infinite); mask them out"
            raise AnalysisError(msg)
        totals[index][area] += sums_between(values, *edges)
        if sums.thresholds is not None:
            bright = _at_least(channel, sums.thresholds[index])
            positive[index][area] += sums_between(bright if mask is None else bright & mask, *edges)
    return replace(sums, pixels=pixels, totals=totals, positive=positive)


def _edges(origin: int, size: int, patch_px: int) -> NDArray[np.int64]:
    """Pixels along one axis at which the patches in a tile begin, and the end of the tile."""
    starts = np.arange(origin // patch_px * patch_px, origin + size, patch_px)
    return np.append(np.maximum(starts, origin), origin + size)


def _at_least(values: NDArray[Any], threshold: float) -> NDArray[np.bool_]:
    # integers are compared as integers, which saves a copy as floating point
    whole = values.dtype.kind in "iu" and math.isfinite(threshold)
    return np.asarray(values >= (math.ceil(threshold) if whole else threshold))


def _masked(tile: NDArray[Any], mask: NDArray[np.bool_]) -> NDArray[Any]:
    # floating point is not multiplied, because NaN times False is NaN
    return np.where(mask, tile, tile.dtype.type(0)) if tile.dtype.kind == "f" else tile * mask
