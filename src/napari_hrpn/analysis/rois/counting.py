"""Reading a region tile by tile and counting its pixel pairs; no more than a tile is in memory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.analysis.blocks import BlockSums, update_blocks
from napari_hrpn.analysis.density_range import DENSITY_PERCENTILES, range_of_density
from napari_hrpn.analysis.intensity_histogram import bins_between, bins_of_types
from napari_hrpn.analysis.joint_histogram import PairBins, PairCounts, pair_counts
from napari_hrpn.analysis.rois.geometry import roi_bounds, roi_mask
from napari_hrpn.analysis.rois.levels import read_pixels
from napari_hrpn.core import Progress
from napari_hrpn.core.errors import AgreementError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterator, Sequence

    import dask.array as da
    from numpy.typing import NDArray

    from napari_hrpn.analysis.intensity_histogram import ValueBins
    from napari_hrpn.analysis.rois.geometry import Roi
    from napari_hrpn.analysis.rois.levels import RoiImages, SharedLevel
    from napari_hrpn.slides import FinishedTiles

    Pixels = NDArray[Any]
    Read = Callable[[da.Array, slice, slice], Pixels]
    Window = tuple[slice, slice]

TILE_EDGE = 2048
_MOST_BEYOND = 0.01


@dataclass(frozen=True, eq=False)
class RoiTiles:
    """All pixels of a region, one tile after the other, as often as they are needed."""

    images: RoiImages
    roi: Roi
    # Mask and pixels of the rectangle around it, where they are in memory already
    kept: tuple[NDArray[np.bool_], list[Pixels]] | None = None
    finished: FinishedTiles | None = None  # What counts of unfinished predictions

    @property
    def dtypes(self) -> list[np.dtype]:
        """Types of pixels, the real one first."""
        return [array.dtype for array in self.images.levels[0].arrays]

    @property
    def bounds(self) -> Window:
        """The rectangle around the region."""
        return roi_bounds(self.roi, self.images.shape)

    def windows(self) -> list[Window]:
        """Rectangles to read."""
        return [self.bounds] if self.kept is not None else _tiles(self.bounds)

    def read(self) -> Iterator[tuple[Window, NDArray[np.bool_], list[Pixels]]]:
        """Rectangle, mask and pixels of each tile; without pixels where nothing of it is inside."""
        for window in self.windows():
            mask, pixels = self.kept or (_counted(roi_mask(self.roi, *window), self.finished, *window), [])
            if not pixels and mask.any():
                pixels = [read_pixels(array, *window) for array in self.images.levels[0].arrays]
            yield window, mask, pixels if mask.any() else []


def value_bins(tiles: RoiTiles) -> Generator[Progress, None, list[ValueBins]]:
    """Find the grey levels to be counted for each prediction; only of floating point the pixels are read for it."""
    real, *predicted = tiles.dtypes
    known = [bins_of_types(real, each) for each in predicted]
    ranges = [(math.inf, -math.inf)] * len(predicted)
    if None in known:
        total = len(tiles.windows())
        for done, (_, mask, pixels) in enumerate(tiles.read(), start=1):
            if pixels:
                y, *others = (each[mask] for each in pixels)
                ranges = [_widened(both, y, p) for both, p in zip(ranges, others, strict=True)]
            yield Progress(done, 2 * total)
    return [bins or _bins_between(both, real, each) for bins, both, each in zip(known, ranges, predicted, strict=True)]


def count_tiles(
    tiles: RoiTiles, bins: Sequence[PairBins], sides_px: Sequence[Collection[int]]
) -> Generator[Progress, None, tuple[list[PairCounts], list[dict[int, BlockSums]]]]:
    """Count the pixel pairs of each prediction, and sum over blocks."""
    real, *predicted = (np.empty(0, dtype) for dtype in tiles.dtypes)
    found = [pair_counts(real, p, bins=own) for p, own in zip(predicted, bins, strict=True)]
    blocks = [{side: BlockSums(side) for side in sides} for sides in sides_px]
    total = len(tiles.windows())
    for done, (window, mask, pixels) in enumerate(tiles.read(), start=1):
        origin = window[0].start, window[1].start
        for k, p in enumerate(pixels[1:]):
            found[k] += pair_counts(pixels[0], p, mask, bins[k])
            blocks[k] = {side: update_blocks(sums, pixels[0], p, mask, origin) for side, sums in blocks[k].items()}
        yield Progress(done, total)
    return found, blocks


def count_pixels(
    mask: NDArray[np.bool_], pixels: Sequence[Pixels], density_range: tuple[float, float]
) -> list[PairCounts]:
    """Count the pixel pairs of each prediction of what is in memory."""
    real, *predicted = pixels
    counts = []
    for each in predicted:
        values = bins_of_types(real.dtype, each.dtype)
        if values is None:
            nothing = math.inf, -math.inf
            both = _widened(nothing, real[mask], each[mask]) if mask.any() else nothing
            values = _bins_between(both, real.dtype, each.dtype)
        counts.append(pair_counts(real, each, mask, PairBins(values, density_range)))
    return counts


def read_level(
    images: RoiImages, roi: Roi, level: SharedLevel, read: Read, finished: FinishedTiles | None = None
) -> tuple[NDArray[np.bool_], list[Pixels]]:
    """Read the rectangle around a region at a level."""
    rows, columns = _at_level(roi_bounds(roi, images.shape), level)
    mask = _counted(roi_mask(roi, rows, columns, level.downsample), finished, rows, columns, level.downsample)
    if not mask.size:
        return mask, [np.empty(mask.shape, array.dtype) for array in level.arrays]
    return mask, [read(array, rows, columns) for array in level.arrays]


def _counted(
    mask: NDArray[np.bool_],
    finished: FinishedTiles | None,
    rows: slice,
    columns: slice,
    downsample: tuple[float, float] = (1.0, 1.0),
) -> NDArray[np.bool_]:
    return mask if finished is None else mask & finished.within(rows, columns, downsample)


def _at_level(bounds: Window, level: SharedLevel) -> Window:
    rows, columns = (
        slice(min(math.floor(part.start / step), size), min(math.ceil(part.stop / step), size))
        for part, step, size in zip(bounds, level.downsample, level.arrays[0].shape, strict=True)
    )
    return rows, columns


def is_within(pixels: Sequence[Pixels], mask: NDArray[np.bool_], density_range: tuple[float, float]) -> bool:
    """Whether hardly a pixel lies beyond a range of grey levels."""
    low, high = density_range
    most = _MOST_BEYOND * np.count_nonzero(mask)
    return all(np.count_nonzero(mask & ((each < low) | (each > high))) <= most for each in pixels)


def density_range_of(pixels: Sequence[Pixels], mask: NDArray[np.bool_]) -> tuple[float, float]:
    """Choose the grey levels of a density."""
    chosen = [each[mask] for each in pixels]
    if not mask.any():
        return 0.0, 1.0
    if not all(np.isfinite(each).all() for each in chosen):
        raise AgreementError("Some pixels are not finite (NaN or infinite), expected numbers: leave them out.")
    ends = [tuple(map(float, np.percentile(each, DENSITY_PERCENTILES))) for each in chosen]
    return range_of_density([(low, high) for low, high in ends], whole=any(each.dtype.kind in "biu" for each in pixels))


def _widened(both: tuple[float, float], *pixels: Pixels) -> tuple[float, float]:
    low, high = both
    return min(low, *(each.min().item() for each in pixels)), max(high, *(each.max().item() for each in pixels))


def _bins_between(both: tuple[float, float], real: np.dtype, predicted: np.dtype) -> ValueBins:
    # without pixels, and of pixels that are no numbers, there is no range; counting tells of the latter
    low, high = both if both[0] <= both[1] else (0.0, 0.0)
    return bins_between(low, high, whole="f" not in real.kind + predicted.kind)


def _tiles(bounds: Window) -> list[Window]:
    rows, columns = bounds
    return [
        (slice(y, min(y + TILE_EDGE, rows.stop)), slice(x, min(x + TILE_EDGE, columns.stop)))
        for y in range(rows.start, rows.stop, TILE_EDGE)
        for x in range(columns.start, columns.stop, TILE_EDGE)
    ]
