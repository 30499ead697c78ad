"""Area binning of an image onto a coarser grid: exact sums, without the rounding of pyramid levels.

The rule: every pixel of the image belongs to exactly one pixel of the grid, so no pixel is counted twice or in parts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.core import Box

if TYPE_CHECKING:
    import dask.array as da
    from numpy.typing import NDArray

_READ_PX = 4096


@dataclass(frozen=True)
class WorkingGrid:
    """A grid over an image; each of its pixels contains one or more whole pixels of the image."""

    # rows and columns of the image and of the grid
    fine: tuple[int, int]
    coarse: tuple[int, int]

    @property
    def tile_px(self) -> int:
        """Side of a tile of the grid that spans about 4096 pixels of the image."""
        return max(1, int(_READ_PX / max(f / c for f, c in zip(self.fine, self.coarse, strict=True))))

    def counts(self, box: Box) -> NDArray[np.int64]:
        """Pixels of the image in each pixel of a part of the grid."""
        rows, columns = (np.diff(edges) for edges in self._part(box))
        return np.multiply.outer(rows, columns).astype(np.int64)

    def sums(self, image: da.Array, box: Box) -> NDArray[Any]:
        """Add up the pixels of the image in each pixel of a part of the grid."""
        rows, columns = self._part(box)
        pixels = np.asarray(image[rows[0] : rows[-1], columns[0] : columns[-1]].compute())
        return sums_between(pixels, rows, columns)

    def cells(self, rows: slice, columns: slice) -> Box:
        """Part of the grid that a rectangle of the image meets."""
        (y0, y1), (x0, x1) = (
            (int(np.searchsorted(edges, extent.start, side="right")) - 1, int(np.searchsorted(edges, extent.stop)))
            for edges, extent in zip(self._edges, (rows, columns), strict=True)
        )
        return Box(y0, y1, x0, x1)

    def counts_within(self, rows: slice, columns: slice) -> NDArray[np.int64]:
        """Pixels of a rectangle of the image in each pixel of the grid that it meets."""
        return np.multiply.outer(*(np.diff(edges) for edges in self._within(rows, columns))).astype(np.int64)

    def sums_within(self, pixels: NDArray[Any], rows: slice, columns: slice) -> NDArray[Any]:
        """Add up a rectangle of the image in each pixel of the grid that it meets."""
        return sums_between(pixels, *self._within(rows, columns))

    def _within(self, rows: slice, columns: slice) -> list[NDArray[np.int64]]:
        edges = self._part(self.cells(rows, columns))
        return [np.clip(ends, part.start, part.stop) for ends, part in zip(edges, (rows, columns), strict=True)]

    def edges(self, box: Box) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows and columns of the image at which pixels of a part of the grid begin; the last entry is their end."""
        return self._part(box)

    @cached_property
    def _edges(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        y, x = (_edges(fine, coarse) for fine, coarse in zip(self.fine, self.coarse, strict=True))
        return y, x

    def _part(self, box: Box) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return self._edges[0][box.y0 : box.y1 + 1], self._edges[1][box.x0 : box.x1 + 1]


def sums_between(pixels: NDArray[Any], rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[Any]:
    """Sums of pixels between edges along both axes; the first edge of each axis is the first row or column."""
    dtype = np.dtype(np.float64 if pixels.dtype.kind == "f" else np.int64)
    # a sum of 65,536 pixels of 16 bits fits into 32 bits, which takes half the time of 64
    narrow = pixels.dtype.kind in ("b", "u") and pixels.dtype.itemsize <= 2 and len(pixels) < 2**16
    once = _cell_sums(pixels, rows - rows[0], np.dtype(np.uint32) if narrow else dtype)
    return np.ascontiguousarray(_cell_sums(once.T, columns - columns[0], dtype).T)


def _edges(fine: int, coarse: int) -> NDArray[np.int64]:
    factor = round(fine / coarse)
    if math.ceil(fine / factor) == coarse:
        # a pyramid level: its last row or column may contain fewer pixels than the others
        return np.minimum(np.arange(coarse + 1) * factor, fine)
    return np.asarray(np.ceil(np.arange(coarse + 1) * (fine / coarse) - 1e-9), np.int64)


def _cell_sums(values: NDArray[Any], edges: NDArray[np.int64], dtype: np.dtype) -> NDArray[Any]:
    """Sums over the rows between each two edges."""
    factor = int(edges[1])
    if len(edges) <= factor:
        # few large cells: numpy sums many rows at once faster than strided ones
        parts = [values[start:stop].sum(axis=0, dtype=dtype) for start, stop in pairwise(edges)]
        return np.stack(parts)
    if not np.array_equal(edges, np.minimum(np.arange(len(edges)) * factor, edges[-1])):
        return np.asarray(np.add.reduceat(values, edges[:-1], axis=0, dtype=dtype))
    total = np.zeros((len(edges) - 1, values.shape[1]), dtype)
    for offset in range(factor):
        part = values[offset::factor]
        total[: len(part)] += part
    return total
