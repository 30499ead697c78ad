"""Where random crops may lie: wholly on cells that were cut or are blank, enough of them in the regions.

Every position that qualifies is equally likely; a crop reaches over the slide's border only where the slide is
smaller than the crop.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.training.summed_area_table import ROUNDING, CoveredArea, suffices

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_hrpn.slides import RegionMask

LEFT_OUT, BLANK, CACHED = 0, 1, 2
_ROUNDS = 16
_SEARCHED = 1 << 16


class CropPositions:
    """First pixels of the crops that a slide may give."""

    def __init__(
        self,
        shape: tuple[int, int],
        states: NDArray[np.int8],
        cell_px: int,
        regions: RegionMask | None,
        crop_px: int,
        minimum_overlap: float,
    ) -> None:
        self._shape, self._states, self._cell_px = shape, states, cell_px
        self._height, self._width = (min(crop_px, size) for size in shape)
        self._minimum = minimum_overlap
        mask, downsample = (np.ones((1, 1), bool), shape) if regions is None else (regions.mask, regions.downsample)
        self._regions = CoveredArea(mask, downsample)
        self._blocks = self._candidates(max(1, crop_px // 4))
        self._ends = np.cumsum((self._blocks[:, 1] - self._blocks[:, 0]) * (self._blocks[:, 3] - self._blocks[:, 2]))
        self.known = self._first_found()

    @property
    def pixels(self) -> float:
        """Full-resolution pixels of the regions that lie in cached cells."""
        row, column = np.nonzero(self._states == CACHED)
        y0, x0 = row * self._cell_px, column * self._cell_px
        y1, x1 = (np.minimum(a + self._cell_px, size) for a, size in zip((y0, x0), self._shape, strict=True))
        return float(self._regions.pixels(y0, y1, x0, x1).sum())

    def allowed(self, y: NDArray[np.intp], x: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Whether crops with these first pixels may be taken; what reaches over the slide does not count."""
        y1, x1 = np.minimum(y + self._height, self._shape[0]), np.minimum(x + self._width, self._shape[1])
        rows, columns = ((first // self._cell_px, (last - 1) // self._cell_px) for first, last in ((y, y1), (x, x1)))
        touched = np.stack([self._states[corner] for corner in product(rows, columns)])
        on_cells = (touched.min(axis=0) > LEFT_OUT) & (touched.max(axis=0) == CACHED)
        allowed: NDArray[np.bool_] = on_cells & suffices(self._regions.share(y, y1, x, x1), self._minimum)
        return allowed

    def draw(self, random: np.random.Generator, count: int) -> NDArray[np.intp]:
        """Draw crops, each position that is allowed as likely as the others."""
        found = np.empty((0, 2), np.intp)
        for round_ in range(_ROUNDS):
            tries = (count - len(found)) << min(round_ + 1, 12)
            positions = self._positions(random.integers(self._ends[-1], size=tries))
            found = np.concatenate([found, positions[self.allowed(*positions.T)]])[:count]
            if len(found) == count:
                return found
        assert self.known is not None
        return np.concatenate([found, np.tile(np.asarray(self.known, np.intp), (count - len(found), 1))])

    def _candidates(self, step: int) -> NDArray[np.intp]:
        """Blocks (y0, y1, x0, x1) of positions that can't be ruled out as a whole."""
        last_y, last_x = self._shape[0] - self._height + 1, self._shape[1] - self._width + 1
        y0, x0 = np.arange(0, last_y, step)[:, None], np.arange(0, last_x, step)[None, :]
        y1, x1 = np.minimum(y0 + step, last_y), np.minimum(x0 + step, last_x)
        # what all crops of a block cover together, and what each of them covers
        union = (y0, y1 - 1 + self._height, x0, x1 - 1 + self._width)
        common = (y1 - 1, y0 + self._height, x1 - 1, x0 + self._width)
        side = float(self._cell_px)
        cached = CoveredArea(self._states == CACHED, (side, side))
        left_out = CoveredArea(self._states == LEFT_OUT, (side, side))
        possible = suffices(self._regions.pixels(*union) / (self._height * self._width), self._minimum)
        possible &= (cached.share(*union) > ROUNDING) & (left_out.share(*common) <= ROUNDING)
        return np.stack([np.broadcast_to(edge, possible.shape)[possible] for edge in (y0, y1, x0, x1)], axis=1)

    def _positions(self, numbers: NDArray[np.int64]) -> NDArray[np.intp]:
        """Positions of the candidate blocks by their number, counted through all blocks."""
        index = np.searchsorted(self._ends, numbers, side="right")
        y0, y1, x0, x1 = self._blocks[index].T
        within = numbers - (self._ends[index] - (y1 - y0) * (x1 - x0))
        return np.stack([y0 + within // (x1 - x0), x0 + within % (x1 - x0)], axis=1)

    def _first_found(self) -> tuple[int, int] | None:
        """A position that is allowed, None where there is none among all middles of blocks and many at random."""
        if not len(self._blocks):
            return None
        random = np.random.default_rng(0)
        middles = np.stack([self._blocks[:, :2].sum(axis=1) // 2, self._blocks[:, 2:].sum(axis=1) // 2], axis=1)
        for number in range(_ROUNDS + 1):
            tried = self._positions(random.integers(self._ends[-1], size=_SEARCHED)) if number else middles
            allowed = tried[self.allowed(*tried.T)]
            if len(allowed):
                return int(allowed[0, 0]), int(allowed[0, 1])
        return None
