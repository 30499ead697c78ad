"""Pixels of a real image and its predictions at one level, held together: read once, compared at any threshold.

Reading is for a thread; comparing what was read is fast enough for the GUI thread.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dask
import numpy as np

from napari_hrpn.core import Box
from napari_hrpn.slides import coarser_levels

if TYPE_CHECKING:
    import dask.array as da
    from numpy.typing import NDArray

    from napari_hrpn.analysis import PairCounts
    from napari_hrpn.plugin.parts.compared_region import Region
    from napari_hrpn.plugin.parts.selection import Pair
    from napari_hrpn.slides import FinishedTiles

REAL_ONLY, PREDICTED_ONLY, BOTH = 1, 2, 3
"""Labels: false negative, false positive, true positive; 0 is neither, or outside the region."""
_COARSEST_PX = 1024


@dataclass(frozen=True)
class Window:
    """A rectangle of a level."""

    level: int  # 0 is the finest
    box: Box  # In pixels of the level

    def holds(self, other: Window) -> bool:
        """Whether another window is a part of this one."""
        own, theirs = self.box, other.box
        rows = own.y0 <= theirs.y0 and theirs.y1 <= own.y1
        return self.level == other.level and rows and own.x0 <= theirs.x0 and theirs.x1 <= own.x1


@dataclass(frozen=True, eq=False)
class Block:
    """What was read of a window."""

    window: Window
    real: NDArray[Any]  # Pixels of the real image, shape (y, x)
    predicted: tuple[NDArray[Any], ...]
    inside: NDArray[np.bool_] | None  # Which pixels are in the region; None for all
    finished: tuple[NDArray[np.bool_] | None, ...]  # Which pixels of each prediction are there; None for all

    def cut(self, box: Box) -> Block:
        """A part of it, without copying."""
        own = self.window.box
        part = slice(box.y0 - own.y0, box.y1 - own.y0), slice(box.x0 - own.x0, box.x1 - own.x0)
        inside = None if self.inside is None else self.inside[part]
        predicted = tuple(pixels[part] for pixels in self.predicted)
        finished = tuple(None if pixels is None else pixels[part] for pixels in self.finished)
        return Block(Window(self.window.level, box), self.real[part], predicted, inside, finished)

    def labels(self, prediction: int, threshold: float) -> NDArray[np.uint8]:
        """Where a prediction and the real image reach a threshold."""
        labels = _reaches(self.predicted[prediction], threshold)
        labels <<= 1
        labels |= _reaches(self.real, threshold)
        counted = self._counted(prediction)
        if counted is not None:
            labels *= counted
        return labels

    def counts(self, prediction: int) -> PairCounts:
        """Pixel pairs in the region, for overlap at any threshold."""
        from napari_hrpn.analysis import pair_counts

        return pair_counts(self.real, self.predicted[prediction], self._counted(prediction))

    def _counted(self, prediction: int) -> NDArray[np.bool_] | None:
        finished = self.finished[prediction]
        if self.inside is None or finished is None:
            return finished if self.inside is None else self.inside
        return self.inside & finished


def _reaches(pixels: NDArray[Any], threshold: float) -> NDArray[np.uint8]:
    if pixels.dtype.kind in "iu":
        # a whole number is compared in its own type, several times as fast as in floating point
        info = np.iinfo(pixels.dtype)
        if not threshold <= info.max:
            return np.zeros(pixels.shape, np.uint8)
        threshold = pixels.dtype.type(math.ceil(max(threshold, info.min)))
    reaches: NDArray[np.uint8] = np.greater_equal(pixels, threshold).view(np.uint8)
    return reaches


@dataclass(frozen=True, eq=False)
class CommonLevels:
    """Levels that a real slide and its predictions have in one size, but for a last row or column.

    Some pyramids round an odd size up and others down; what only some have is left out.
    """

    # For each level, finest first, the real channel and then each prediction, of shape (y, x)
    arrays: tuple[tuple[da.Array, ...], ...]
    tiles: tuple[FinishedTiles | None, ...]  # Of each prediction; None where all of it is there

    @classmethod
    def of(cls, pair: Pair) -> CommonLevels:
        """Levels of a pair."""
        from napari_hrpn.analysis import shared_levels

        channels = (pair.real, *pair.predictions)
        pyramids = [[level[each.channel] for level in each.slide.levels] for each in channels]
        levels = [level.arrays for level in shared_levels(pyramids)]
        if max(levels[-1][0].shape) > _COARSEST_PX:
            computed = [coarser_levels(array[None], _COARSEST_PX) for array in levels[-1]]
            levels += [tuple(level[0] for level in each) for each in zip(*computed, strict=True)]
        return cls(tuple(levels), tuple(one.slide.finished for one in pair.predictions))

    def __len__(self) -> int:
        return len(self.arrays)

    def shape(self, level: int) -> tuple[int, int]:
        """Height and width of a level."""
        height, width = self.arrays[level][0].shape
        return height, width

    def whole(self, level: int) -> Window:
        """All of a level."""
        height, width = self.shape(level)
        return Window(level, Box(0, height, 0, width))

    def downsample(self, level: int) -> tuple[float, float]:
        """Full-resolution pixels per pixel of a level."""
        (height, width), (own_height, own_width) = self.shape(0), self.shape(level)
        return height / own_height, width / own_width

    def window(self, level: int, box: Box) -> Window:
        """Pixels of a level that a box touches."""
        down, across = self.downsample(level)
        height, width = self.shape(level)
        return Window(
            level,
            Box(
                math.floor(box.y0 / down),
                min(height, math.ceil(box.y1 / down)),
                math.floor(box.x0 / across),
                min(width, math.ceil(box.x1 / across)),
            ),
        )

    def level_within(self, box: Box, largest_px: int) -> int:
        """The finest level in which a box has no more than so many pixels; the coarsest where it always has more."""
        fits = (level for level in range(len(self)) if self.window(level, box).box.area <= largest_px)
        return next(fits, len(self) - 1)

    def read(self, window: Window, region: Region) -> Block:
        """Read a window. It takes time: not for the GUI thread."""
        box = window.box
        part = slice(box.y0, box.y1), slice(box.x0, box.x1)
        # no threads of dask's own, which would stay behind
        pixels = dask.compute(*(array[part] for array in self.arrays[window.level]), scheduler="synchronous")
        real, *predicted = (np.asarray(each) for each in pixels)
        downsample = self.downsample(window.level)
        finished = tuple(None if tiles is None else tiles.within(*part, downsample) for tiles in self.tiles)
        return Block(window, real, tuple(predicted), region.inside(box, downsample), finished)
