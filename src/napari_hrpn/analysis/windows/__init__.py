"""Local statistics of pixel pairs: a value of each pixel from the window around it, and its mean in a region.

The rule: a window at the edge of the slide sees the pixels mirrored there (d c b a | a b c d), and a pixel whose window
holds one that is not predicted, or not finite, is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter

if TYPE_CHECKING:
    from collections.abc import Mapping

    import dask.array as da

    from napari_hrpn.analysis.block_scan import Inside, PixelBlock

Values: TypeAlias = NDArray[np.float64]
# pixels that a statistic is computed of at once: some float64 images of that size are in memory
_PIECE_PX = 2**20


@dataclass(frozen=True)
class Window:
    """A statistic of each pixel and its neighbours, such as a local correlation.

    Attributes
    ----------
    name : str
        What it is called in messages, unlike any other.
    border : int
        How many rows and columns around a pixel its value depends on: 5 for windows of 11 x 11.
    values : callable
        From real and predicted pixels, float64 of shape (y, x), and the largest grey level that a pixel may have, NaN
        where the type of the pixels does not say it, to a value for each of these pixels. Those nearer to the edge
        than `border` are ignored. A function of a module, as it travels to workers.
    """

    name: str
    border: int
    values: Callable[[Values, Values, float], Values]


@dataclass(frozen=True)
class WindowSums:
    """Values of the pixels of a region: how many there are, and their sum; parts are pooled with ``+``."""

    n: int = 0
    total: float = 0.0

    def __add__(self, other: WindowSums) -> WindowSums:
        return WindowSums(self.n + other.n, self.total + other.total)

    @property
    def mean(self) -> float:
        """NaN where no pixel has a value."""
        return self.total / self.n if self.n else math.nan


@dataclass(frozen=True)
class Windows:
    """The windows that are asked for, and the largest grey level that a pixel may have."""

    asked: tuple[Window, ...] = ()
    data_range: float = math.nan

    @property
    def border(self) -> int:
        """Rows and columns around a block that the widest of them needs."""
        return max((window.border for window in self.asked), default=0)

    def maps(
        self, block: PixelBlock, channels: tuple[da.Array, da.Array], finished: Inside | None
    ) -> dict[str, Values]:
        """Values of the pixels of a block, by window; NaN for pixels that are left out."""
        return {window.name: self._map(window, block, channels, finished) for window in self.asked}

    def _map(
        self, window: Window, block: PixelBlock, channels: tuple[da.Array, da.Array], finished: Inside | None
    ) -> Values:
        border, (height, width) = window.border, block.shape
        y, p = (block.with_border(channel, border) for channel in channels)
        known = block.inside_with_border(finished, border, channels[0].shape) & np.isfinite(y) & np.isfinite(p)
        found = np.full(block.shape, math.nan)
        rows = max(4 * border, _PIECE_PX // (width + 2 * border), 1)
        for top in range(0, height, rows):
            piece = slice(top, min(top + rows, height) + 2 * border)
            found[top : top + rows] = self._piece(window, y[piece], p[piece], known[piece])
        return found

    def _piece(self, window: Window, y: Values, p: Values, known: NDArray[np.bool_]) -> Values:
        """Values of the pixels that are not in the border of a piece."""
        border = window.border
        core = slice(border, y.shape[0] - border), slice(border, y.shape[1] - border)
        whole = known.all()
        # a running sum would carry one NaN into a whole row
        y, p = (np.where(known, values.astype(np.float64), 0.0) for values in (y, p))
        values = window.values(y, p, self.data_range)[core]
        return values if whole else np.where(minimum_filter(known, 2 * border + 1)[core], values, math.nan)


def window_sums(
    maps: Mapping[str, Values], part: tuple[slice, slice], inside: NDArray[np.bool_]
) -> dict[str, WindowSums]:
    """Sums of the values of some pixels of a part of a block."""
    chosen = {key: values[part][inside] for key, values in maps.items()}
    known = {key: values[np.isfinite(values)] for key, values in chosen.items()}
    return {key: WindowSums(values.size, float(values.sum())) for key, values in known.items()}


def pooled(first: Mapping[str, WindowSums], second: Mapping[str, WindowSums]) -> dict[str, WindowSums]:
    """Sums of two parts of a region, by window."""
    return {key: first.get(key, WindowSums()) + second.get(key, WindowSums()) for key in {**first, **second}}
