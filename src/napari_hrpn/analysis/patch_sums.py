"""Sums over the patches of a grid that can be pooled over tiles of any size and order; exact for integer pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.analysis.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

PATCH_PX = 512


@dataclass(frozen=True, eq=False)
class PatchSums:
    """What the pixels of each patch of a grid add up to.

    Two of the same grid are pooled with ``+``.

    Attributes
    ----------
    shape : tuple of int
        Height and width of the slide in pixels.
    patch_px : int
        Edge of a patch; those at the low and right edge of the slide may be smaller.
    thresholds : tuple of float or None
        Grey level per channel from which a pixel is positive; None where that is not counted.
    pixels : numpy.ndarray of int64, shape (rows, columns)
        Measured pixels of each patch.
    totals : numpy.ndarray, shape (channels, rows, columns)
        Sum of their grey levels; int64 for integer pixels, float64 for floating point.
    positive : numpy.ndarray of int64, shape (channels, rows, columns)
        Measured pixels at or above the threshold.
    """

    shape: tuple[int, int]
    patch_px: int
    thresholds: tuple[float, ...] | None
    pixels: NDArray[np.int64]
    totals: NDArray[Any]
    positive: NDArray[np.int64]

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
    """Sums of a slide of which no tile was seen yet.

    Parameters
    ----------
    shape : tuple of int
        Height and width of the slide in pixels.
    channels : int
        How many channels a tile has.
    dtype : numpy.dtype
        Type of a pixel.
    patch_px : int
        Edge of a patch; 512 is the paper's.
    thresholds : sequence of float, optional
        Grey level per channel from which a pixel is positive.

    Returns
    -------
    PatchSums
        All zero.

    Raises
    ------
    AnalysisError
        If a patch has no pixel, or thresholds do not fit the channels.
    """
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
    sums: PatchSums, tile: NDArray[Any], origin: tuple[int, int], mask: NDArray[np.bool_] | None = None
) -> PatchSums:
    """Add a tile to the sums of the patches that it meets.

    Parameters
    ----------
    sums : PatchSums
        Of the tiles before; `no_patch_sums` for the first.
    tile : numpy.ndarray, shape (channels, y, x)
        Integer or floating point; it need not be aligned to the patches.
    origin : tuple of int
        Row and column of its first pixel on the slide.
    mask : numpy.ndarray of bool, shape (y, x), optional
        Pixels where it is False are left out.

    Returns
    -------
    PatchSums
        With the tile; the same to the last bit for integer pixels, however a slide is cut into tiles.

    Raises
    ------
    AnalysisError
        If a measured pixel is not finite.
    """
    kept = np.ones(tile.shape[1:], bool) if mask is None else mask
    values = tile if mask is None else _masked(tile, mask)
    if not np.isfinite(values).all():
        msg = "the slide has pixels that are not finite (NaN or infinite); mask them out"
        raise AnalysisError(msg)
    first = tuple(start // sums.patch_px for start in origin)
    starts = [_starts(start, size, sums.patch_px) for start, size in zip(origin, kept.shape, strict=True)]
    place = tuple(slice(low, low + len(edges)) for low, edges in zip(first, starts, strict=True))
    pixels, totals, positive = sums.pixels.copy(), sums.totals.copy(), sums.positive.copy()
    pixels[place] += _summed(kept, starts, np.dtype(np.int64))
    totals[(slice(None), *place)] += _summed(values, starts, totals.dtype)
    if sums.thresholds is not None:
        bright = (tile >= np.reshape(sums.thresholds, (-1, 1, 1))) & kept
        positive[(slice(None), *place)] += _summed(bright, starts, np.dtype(np.int64))
    return replace(sums, pixels=pixels, totals=totals, positive=positive)


def _starts(origin: int, size: int, patch_px: int) -> NDArray[np.intp]:
    """Where patches begin within a tile along one axis, the one it begins in included."""
    begins = np.arange(origin // patch_px * patch_px, origin + size, patch_px)
    return np.maximum(begins - origin, 0).astype(np.intp)


def _summed(values: NDArray[Any], starts: list[NDArray[np.intp]], dtype: np.dtype) -> NDArray[Any]:
    # adding up whole rows is ten times faster than np.add.reduceat along them, which then has little left to do
    stops = [*starts[0][1:], values.shape[-2]]
    rows = [values[..., start:stop, :].sum(axis=-2, dtype=dtype) for start, stop in zip(starts[0], stops, strict=True)]
    return np.asarray(np.add.reduceat(np.stack(rows, axis=-2), starts[1], axis=-1))


def _masked(tile: NDArray[Any], mask: NDArray[np.bool_]) -> NDArray[Any]:
    # NaN times False is NaN
    return np.where(mask, tile, tile.dtype.type(0)) if tile.dtype.kind == "f" else tile * mask
