"""How much of a rectangle a mask covers: a summed-area table, asked for any number of rectangles at once.

Exact for rectangles of full-resolution pixels on a mask at a coarse level.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

# what is left of a share by rounding; far below a pixel of the largest patch
ROUNDING = 1e-8


class CoveredArea:
    """Area of a mask inside rectangles of full-resolution pixels."""

    def __init__(self, mask: NDArray[np.bool_], downsample: tuple[float, float]) -> None:
        self._downsample = downsample
        self._size = mask.shape
        self._sums = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.uint32 if mask.size < 2**32 else np.uint64)
        sums = self._sums[1:, 1:]
        np.cumsum(mask, axis=0, out=sums)
        np.cumsum(sums, axis=1, out=sums)

    def pixels(self, y0: ArrayLike, y1: ArrayLike, x0: ArrayLike, x1: ArrayLike) -> NDArray[np.float64]:
        """Full-resolution pixels inside the mask, of rectangles given by half-open rows and columns."""
        rows = self._weights(y0, 0), self._weights(y1, 0)
        columns = self._weights(x0, 1), self._weights(x1, 1)
        (top, bottom), (left, right) = rows, columns
        inside = self._before(bottom, right) - self._before(top, right)
        inside += self._before(top, left) - self._before(bottom, left)
        area: NDArray[np.float64] = inside * (self._downsample[0] * self._downsample[1])
        return area

    def share(self, y0: ArrayLike, y1: ArrayLike, x0: ArrayLike, x1: ArrayLike) -> NDArray[np.float64]:
        """Share of each rectangle that is inside, 0 to 1."""
        area = np.subtract(y1, y0, dtype=np.float64) * np.subtract(x1, x0, dtype=np.float64)
        share: NDArray[np.float64] = self.pixels(y0, y1, x0, x1) / area
        return share

    def _weights(self, position: ArrayLike, axis: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Index into the table and the way from there to the next, 0 to 1."""
        size = self._size[axis]
        exact = np.clip(np.asarray(position, np.float64) / self._downsample[axis], 0, size)
        index = np.minimum(exact.astype(np.intp), size - 1)
        return index, exact - index

    def _before(
        self,
        rows: tuple[NDArray[np.intp], NDArray[np.float64]],
        columns: tuple[NDArray[np.intp], NDArray[np.float64]],
    ) -> NDArray[np.float64]:
        """Area above a row and left of a column; inside a pixel of the mask it grows linearly along both."""
        (i, down), (j, right) = rows, columns
        sums = self._sums
        above = sums[i, j] * (1 - right) + sums[i, j + 1] * right
        below = sums[i + 1, j] * (1 - right) + sums[i + 1, j + 1] * right
        before: NDArray[np.float64] = above * (1 - down) + below * down
        return before


def suffices(share: NDArray[np.float64], minimum: float) -> NDArray[np.bool_]:
    """Whether shares reach a minimum; a share of nothing never does."""
    enough: NDArray[np.bool_] = (share >= minimum - ROUNDING) & (share > ROUNDING)
    return enough
