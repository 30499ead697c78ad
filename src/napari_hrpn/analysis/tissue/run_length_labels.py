"""Connected components of a mask that is too large to be labelled as an image, from its runs.

The rule: memory follows the number of runs, not of pixels; parts are numbered in the order of their first pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ROWS = 256


@dataclass(frozen=True, eq=False)
class MaskRuns:
    """The runs of True pixels in the rows of a mask, and the part that each belongs to."""

    shape: tuple[int, int]  # Rows and columns of the mask
    # One per run, by row and then column; a run ends before `stop`
    row: NDArray[np.int64]
    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    part: NDArray[np.int32]  # Number of the connected part, 0 first
    count: int

    @cached_property
    def areas_px(self) -> NDArray[np.int64]:
        """Pixels of each part."""
        return np.bincount(self.part, self.stop - self.start, self.count).astype(np.int64)

    @cached_property
    def centroids_px(self) -> NDArray[np.float64]:
        """Mean row and column of the pixels of each part, shape (parts, 2); a pixel's centre is at whole numbers."""
        length = self.stop - self.start
        rows = np.bincount(self.part, self.row * length, self.count)
        columns = np.bincount(self.part, (self.start + self.stop - 1) * length / 2, self.count)
        return np.stack([rows, columns], axis=1) / np.maximum(self.areas_px, 1)[:, None]

    @cached_property
    def at_border(self) -> NDArray[np.bool_]:
        """Whether each part touches the border of the mask."""
        height, width = self.shape
        outer = (self.row == 0) | (self.row == height - 1) | (self.start == 0) | (self.stop == width)
        return np.bincount(self.part, outer, self.count) > 0

    def painted(self, rows: slice, columns: slice) -> NDArray[np.int32]:
        """Return the parts as an image of a rectangle, 0 where there is none and 1 for the first part."""
        labels = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.int32)
        first, last = np.searchsorted(self.row, [rows.start, rows.stop])
        start = np.clip(self.start[first:last], columns.start, columns.stop) - columns.start
        stop = np.clip(self.stop[first:last], columns.start, columns.stop) - columns.start
        begins = (self.row[first:last] - rows.start) * labels.shape[1] + start
        labels.reshape(-1)[_ranges(begins, stop - start)] = np.repeat(self.part[first:last] + 1, stop - start)
        return labels

    def set_parts(self, mask: NDArray[np.bool_], chosen: NDArray[np.bool_], value: bool) -> None:
        """Set the pixels of the chosen parts in a mask of the same shape, in place."""
        run = chosen[self.part]
        begins = self.row[run] * self.shape[1] + self.start[run]
        mask.reshape(-1)[_ranges(begins, self.stop[run] - self.start[run])] = value


def mask_runs(mask: NDArray[np.bool_], *, diagonal: bool = True, inverted: bool = False) -> MaskRuns:
    """Find the connected parts of a mask."""
    found = [_runs(mask[top : top + _ROWS] ^ inverted, top) for top in range(0, len(mask), _ROWS)]
    row, start, stop = (np.concatenate(part) for part in zip(*found, strict=True))
    above, below = _touching(row, start, stop, mask.shape[1], diagonal=diagonal)
    links = coo_array((np.ones(len(above), bool), (above, below)), shape=(len(row), len(row)))
    count, part = connected_components(links, directed=False) if len(row) else (0, np.zeros(0, np.int32))
    return MaskRuns((mask.shape[0], mask.shape[1]), row, start, stop, part, int(count))


def _runs(mask: NDArray[np.bool_], top: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    edges = np.zeros((mask.shape[0], mask.shape[1] + 1), bool)
    edges[:, 0], edges[:, -1] = mask[:, 0], mask[:, -1]
    edges[:, 1:-1] = mask[:, 1:] != mask[:, :-1]
    row, column = np.nonzero(edges)
    return row[::2] + top, column[::2], column[1::2]


def _touching(
    row: NDArray[np.int64], start: NDArray[np.int64], stop: NDArray[np.int64], width: int, *, diagonal: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of runs in neighbouring rows that touch."""
    stride = width + 2
    below = (row + 1) * stride
    first = np.searchsorted(row * stride + stop, below + start, "left" if diagonal else "right")
    last = np.searchsorted(row * stride + start, below + stop, "right" if diagonal else "left")
    counts = np.maximum(last - first, 0)
    return np.repeat(np.arange(len(row)), counts), _ranges(first, counts)


def _ranges(begins: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Whole numbers from each beginning on, as many as each length, one after the other."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(begins - ends + lengths, lengths)
