"""Overlap of a real image with its predictions: at a coarse level at once, and at full resolution.

Pixels that were read are kept for a while, so that another threshold reads nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.core import Box
from napari_hrpn.plugin.parts.compared_region import found_region, region_pairs
from napari_hrpn.plugin.parts.measure_bar import Part, step
from napari_hrpn.slides import ChunkCache, coarser_levels

if TYPE_CHECKING:
    from collections.abc import Generator

    import dask.array as da
    from numpy.typing import NDArray

    from napari_hrpn.analysis import IouPoint, PairCounts
    from napari_hrpn.core import Progress
    from napari_hrpn.plugin.parts.compared_region import Compared, Wanted
    from napari_hrpn.plugin.parts.selection import ComparedChannel, Pair

AFFORDABLE_PX = 2048**2
"""Pixels that are read without pressing Measure: so many take only moments."""
REAL_ONLY, PREDICTED_ONLY, BOTH = 1, 2, 3
"""Labels: false negative, false positive, true positive; 0 is neither, or outside the region."""
_COARSEST_PX = 1024
_KEPT_BYTES = 256 << 20
_WINDOWS_KEPT = 4


@dataclass(frozen=True)
class Window:
    """A rectangle of a level."""

    level: int  # 0 is the finest
    box: Box  # in pixels of the level


class ComparedLevels:
    """Levels that a real slide and its predictions have in the same size, compared inside a region.

    Some pyramids round an odd size up and others down; levels that only some have are left out.
    """

    def __init__(self, pair: Pair, region: Compared, cache: ChunkCache | None = None) -> None:
        self._arrays = _common_levels(pair)
        self._finished = [one.slide.finished for one in pair.predictions]
        self._region = region
        self.cache = cache or ChunkCache(_KEPT_BYTES)
        # the pixels in view are read once for all thresholds
        self._read = lru_cache(_WINDOWS_KEPT)(self._read_now)

    def __len__(self) -> int:
        return len(self._arrays)

    def shape(self, level: int) -> tuple[int, int]:
        """Height and width of a level."""
        height, width = self._arrays[level][0].shape
        return height, width

    def whole(self, level: int) -> Window:
        """All of a level."""
        height, width = self.shape(level)
        return Window(level, Box(0, height, 0, width))

    def downsample(self, level: int) -> tuple[float, float]:
        """Full-resolution pixels per pixel of a level."""
        (height, width), (level_height, level_width) = self.shape(0), self.shape(level)
        return height / level_height, width / level_width

    def window(self, level: int, box: Box) -> Window:
        """Pixels of a level that a box touches."""
        down, across = self.downsample(level)
        height, width = self.shape(level)
        y0, y1 = math.floor(box.y0 / down), min(height, math.ceil(box.y1 / down))
        return Window(level, Box(y0, y1, math.floor(box.x0 / across), min(width, math.ceil(box.x1 / across))))

    def window_within(self, box: Box, largest_px: int) -> Window:
        """A box at the finest level at which it has at most so many pixels, else at the coarsest level."""
        windows = [self.window(level, box) for level in range(len(self))]
        return next((window for window in windows if window.box.area <= largest_px), windows[-1])

    def labels(self, window: Window, prediction: int, threshold: float) -> NDArray[np.uint8]:
        """Label where a prediction and the real image reach a threshold; it takes time if pixels are not read yet."""
        real, predicted, counted = self._read(window, prediction)
        labels = _reaches(predicted, threshold)
        labels <<= 1
        labels |= _reaches(real, threshold)
        labels *= counted
        return labels

    def counts(self, window: Window, prediction: int) -> PairCounts:
        """Count the pixel pairs in the region, for overlap at any threshold. It takes time: not for the GUI thread."""
        from napari_hrpn.analysis import pair_counts

        return pair_counts(*self._read(window, prediction))

    def _read_now(self, window: Window, prediction: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
        """Read real and predicted pixels, and a mask of those that are in the region and were predicted."""
        real, *predicted = self._arrays[window.level]
        box, downsample, tiles = window.box, self.downsample(window.level), self._finished[prediction]
        part = box.slices
        # at full resolution, the same pixels as in the exact measurement
        counted = self._region.at_level(*part, downsample) if window.level else self._region.within(*part)
        if tiles is not None:
            counted &= tiles.within(*part, downsample)
        return self.cache.read(real, *part), self.cache.read(predicted[prediction], *part), counted


def _common_levels(pair: Pair) -> list[tuple[da.Array, ...]]:
    """List for each level, finest first, the real channel and then each prediction, of shape (y, x)."""
    from napari_hrpn.analysis.rois.levels import shared_levels

    channels = (pair.real, *pair.predictions)
    pyramids = [[level[one.channel] for level in one.slide.levels] for one in channels]
    levels = [level.arrays for level in shared_levels(pyramids)]
    if max(levels[-1][0].shape) > _COARSEST_PX:
        computed = [coarser_levels(array[None], _COARSEST_PX) for array in levels[-1]]
        levels += [tuple(level[0] for level in arrays) for arrays in zip(*computed, strict=True)]
    return levels


def _reaches(pixels: NDArray[Any], threshold: float) -> NDArray[np.uint8]:
    if pixels.dtype.kind in "iu":
        # integers are compared in their own type, which is several times as fast as in floating point
        info = np.iinfo(pixels.dtype)
        if not threshold <= info.max:
            return np.zeros(pixels.shape, np.uint8)
        threshold = pixels.dtype.type(math.ceil(max(threshold, info.min)))
    reaches: NDArray[np.uint8] = np.greater_equal(pixels, threshold).view(np.uint8)
    return reaches


@dataclass(frozen=True, eq=False)
class Overlap:
    """Overlap of one prediction with the real image."""

    counts: PairCounts  # of all pixels of the region
    points: tuple[IouPoint, ...]  # at the percentiles 0 to 100 of the real image
    downsample: float  # full-resolution pixels along the side of a pixel that was counted; 1 is full resolution

    @property
    def is_full(self) -> bool:
        """Whether it was measured at full resolution."""
        return self.downsample == 1


@dataclass(frozen=True, eq=False)
class Overview:
    """Overlap of a pair in a region before all pixels are read."""

    pair: Pair
    region: Compared
    levels: ComparedLevels
    overlaps: tuple[Overlap, ...]  # one for each prediction, at the finest level that is fast enough


def look_over(pair: Pair, title: str, wanted: Wanted, before: Overview | None = None) -> Overview:
    """Measure the overlap of a pair at a coarse level. It takes time: not for the GUI thread."""
    region = found_region(title, wanted, pair.real.slide.shape)
    levels = ComparedLevels(pair, region, before.levels.cache if before is not None and before.pair is pair else None)
    predictions = range(len(pair.predictions))
    for level in range(len(levels)):
        # coarse levels are read now, so that the viewer shows them at once
        if levels.whole(level).box.area <= AFFORDABLE_PX or level == len(levels) - 1:
            for prediction in predictions:
                levels.labels(levels.whole(level), prediction, 0.0)
    window = levels.window_within(region.bounds(levels.shape(0)), AFFORDABLE_PX)
    downsample = max(levels.downsample(window.level))
    return Overview(pair, region, levels, tuple(_overlap(levels.counts(window, k), downsample) for k in predictions))


def full_part(overview: Overview, prediction: int) -> Part:
    """Make the part that measures the overlap at full resolution."""
    real, predicted, region = overview.pair.real, overview.pair.predictions[prediction], overview.region
    # the pixels of both images
    weight = 2.0 * region.bounds(real.slide.shape).area
    return step(f"Reading {predicted.name}", weight, full_overlap, real, predicted, region)


def full_overlap(
    real: ComparedChannel, predicted: ComparedChannel, region: Compared
) -> Generator[Progress, None, Overlap]:
    """Measure overlap at full resolution."""
    counts = yield from region_pairs(real, predicted, region)
    return _overlap(counts, 1)


def _overlap(counts: PairCounts, downsample: float) -> Overlap:
    from napari_hrpn.analysis import iou_curve

    return Overlap(counts, iou_curve(counts), downsample)
