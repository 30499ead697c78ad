"""True positives, false negatives and false positives as the levels of a Labels layer, computed as they are shown.

Asking for pixels never reads any: what was not read yet is shown as coarse as it is known, and is told to be missing.
"""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.core import Box
from napari_hrpn.plugin.threshold_miou.level_blocks import Window

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import DTypeLike, NDArray

    from napari_hrpn.plugin.threshold_miou.level_blocks import Block
    from napari_hrpn.plugin.threshold_miou.overlap import Overview

_CHUNK_PX = 256
"""Windows that napari asks for are rounded to this: a small move of the view asks for nothing new."""


class OverlapLevels:
    """Labels of a pair at a threshold, on all its levels."""

    def __init__(self, overview: Overview, missed: Callable[[], None]) -> None:
        self.overview = overview
        self.missed = missed
        self.prediction = 0
        self.threshold = math.inf
        self.block: Block | None = None
        self._finest_known = min(overview.blocks)
        coarsest = len(overview.levels) - 1
        # napari keeps the coarsest level once it has seen it: it has to be an array that is changed in place
        self._coarsest = np.zeros(overview.levels.shape(coarsest), np.uint8)
        self.levels: tuple[Any, ...] = (*(_OverlapLevel(self, level) for level in range(coarsest)), self._coarsest)

    def use(self, prediction: int, threshold: float) -> None:
        """Show another prediction or threshold."""
        self.prediction, self.threshold = prediction, threshold
        self._coarsest[:] = self.overview.blocks[len(self.levels) - 1].labels(prediction, threshold)

    def replace(self, overview: Overview) -> None:
        """Show another region of the same pair."""
        self.overview, self.block = overview, None
        self.use(self.prediction, self.threshold)

    def known(self, window: Window) -> Block | None:
        """What was read of a window."""
        block = self.overview.blocks.get(window.level)
        if block is None and self.block is not None and self.block.window.holds(window):
            block = self.block
        return None if block is None else block.cut(window.box)

    def labels(self, window: Window) -> NDArray[np.uint8]:
        """Labels of a window, from coarser pixels where its own were not read."""
        block = self.known(window)
        if block is not None:
            return block.labels(self.prediction, self.threshold)
        self.missed()
        return self._from_coarser(window)

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Labels of a window, read now; for who asks for an array and not for a picture."""
        overview = self.overview
        return overview.levels.read(window, overview.region).labels(self.prediction, self.threshold)

    def _from_coarser(self, window: Window) -> NDArray[np.uint8]:
        coarse = self._finest_known
        levels = self.overview.levels
        ratios = np.divide(levels.downsample(window.level), levels.downsample(coarse))
        y, x = (
            np.minimum((np.arange(start, stop) + 0.5) * ratio, size - 1).astype(np.intp)
            for start, stop, ratio, size in zip(
                (window.box.y0, window.box.x0),
                (window.box.y1, window.box.x1),
                ratios,
                levels.shape(coarse),
                strict=True,
            )
        )
        if not len(y) or not len(x):
            return np.zeros((len(y), len(x)), np.uint8)
        under = self.overview.blocks[coarse].cut(Box(int(y[0]), int(y[-1]) + 1, int(x[0]), int(x[-1]) + 1))
        return under.labels(self.prediction, self.threshold)[np.ix_(y - y[0], x - x[0])]


class _OverlapLevel:
    """One level as the two-dimensional array that napari shows."""

    ndim = 2
    dtype = np.dtype(np.uint8)
    chunks = (_CHUNK_PX, _CHUNK_PX)

    def __init__(self, levels: OverlapLevels, level: int) -> None:
        self._levels, self._level = levels, level
        self.shape = levels.overview.levels.shape(level)
        self.size = math.prod(self.shape)

    def __getitem__(self, key: Any) -> NDArray[np.uint8]:  # noqa: ANN401 (whatever NumPy takes)
        parts = key if isinstance(key, tuple) else (key,)
        parts = parts[: parts.index(...)] if ... in parts else parts
        ranges: list[tuple[int, int]] = []
        after: list[slice | int] = []
        for part, size in zip((*parts, *[slice(None)] * (2 - len(parts))), self.shape, strict=True):
            if isinstance(part, slice):
                start, stop, step = part.indices(size)
                ranges.append((start, max(start, stop)))
                after.append(slice(None, None, step))
            else:
                index = range(size)[operator.index(part)]
                ranges.append((index, index + 1))
                after.append(0)
        (y0, y1), (x0, x1) = ranges
        return self._levels.labels(Window(self._level, Box(y0, y1, x0, x1)))[tuple(after)]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        height, width = self.shape
        labels = self._levels.read(Window(self._level, Box(0, height, 0, width)))
        return np.array(labels, dtype=dtype, copy=copy)
