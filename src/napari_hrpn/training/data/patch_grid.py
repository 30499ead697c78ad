"""Grid of cells over a slide, and the choice of those that are cut into patches: by masks, without reading pixels.

Cells at the lower and right border reach over it; their height and width cover only the part on the slide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.analysis import tissue_mask

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from napari_hrpn.settings import TrainingSettings
    from napari_hrpn.training.entries import TrainingSlide

CELL = np.dtype([(name, np.int32) for name in ("row", "column", "y0", "x0", "height", "width")])
_SMALLEST_CROP_CELL_PX = 512
BLANK, NOT_CUT = -1, -2
"""Numbers of cells that have no patch."""
# shares differ by this much through rounding; it is far below a pixel of the largest patch
ROUNDING = 1e-8


def _grid_cells(shape: tuple[int, int], patch_px: int) -> NDArray[np.void]:
    """Lay cells over a slide that do not overlap and cover every pixel."""
    rows, columns = (np.arange(-(-size // patch_px), dtype=np.int32) for size in shape)
    cells = np.zeros(len(rows) * len(columns), CELL)
    cells["row"] = np.repeat(rows, len(columns))
    cells["column"] = np.tile(columns, len(rows))
    cells["y0"], cells["x0"] = cells["row"] * patch_px, cells["column"] * patch_px
    cells["height"] = np.minimum(patch_px, shape[0] - cells["y0"])
    cells["width"] = np.minimum(patch_px, shape[1] - cells["x0"])
    return cells


def cell_px(settings: TrainingSettings) -> int:
    """Side of the cells that a slide is cut into."""
    if settings.sampling == "grid":
        return settings.patch_px
    # random crops lie across cells: larger cells make fewer pieces to join
    return max(settings.patch_px, _SMALLEST_CROP_CELL_PX)


def selected_cells(slide: TrainingSlide, settings: TrainingSettings) -> NDArray[np.void]:
    """Choose the cells of a slide that are cut, from its masks alone."""
    cells = _grid_cells(slide.slide.shape, cell_px(settings))
    chosen = np.ones(len(cells), bool)
    if slide.regions is not None:
        minimum = settings.minimum_overlap if settings.sampling == "grid" else 0.0
        chosen &= suffices(CoveredArea(slide.regions.mask, slide.regions.downsample).share(*edges(cells)), minimum)
    if settings.minimum_tissue > 0:
        tissue = tissue_mask(slide.slide, slide.inputs[0])
        chosen &= suffices(CoveredArea(tissue.mask, tissue.downsample).share(*edges(cells)), settings.minimum_tissue)
    return cells[chosen]


def edges(cells: NDArray[np.void]) -> tuple[NDArray[np.int32], ...]:
    """Rows and columns of cells, half-open: first row, row after the last, first column, column after the last."""
    y0, x0 = cells["y0"], cells["x0"]
    return y0, y0 + cells["height"], x0, x0 + cells["width"]


class CoveredArea:
    """Area of a mask inside rectangles of full-resolution pixels, by a summed-area table.

    Exact on a mask at a coarse level, and for any number of rectangles at once, given by half-open rows and columns.
    """

    def __init__(self, mask: NDArray[np.bool_], downsample: tuple[float, float]) -> None:
        self._downsample = downsample
        self._size = mask.shape
        self._sums = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.uint32 if mask.size < 2**32 else np.uint64)
        sums = self._sums[1:, 1:]
        np.cumsum(mask, axis=0, out=sums)
        np.cumsum(sums, axis=1, out=sums)

    def pixels(self, y0: ArrayLike, y1: ArrayLike, x0: ArrayLike, x1: ArrayLike) -> NDArray[np.float64]:
        """Count the full-resolution pixels of each rectangle inside the mask."""
        top, bottom = self._weights(y0, 0), self._weights(y1, 0)
        left, right = self._weights(x0, 1), self._weights(x1, 1)
        inside = self._before(bottom, right) - self._before(top, right)
        inside += self._before(top, left) - self._before(bottom, left)
        return np.asarray(inside * (self._downsample[0] * self._downsample[1]))

    def share(self, y0: ArrayLike, y1: ArrayLike, x0: ArrayLike, x1: ArrayLike) -> NDArray[np.float64]:
        """Share of each rectangle inside the mask, 0 to 1."""
        area = np.subtract(y1, y0, dtype=np.float64) * np.subtract(x1, x0, dtype=np.float64)
        return np.asarray(self.pixels(y0, y1, x0, x1) / area)

    def _weights(self, position: ArrayLike, axis: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Index into the table, and the fraction of the way to the next entry, 0 to 1."""
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
        (i, down), (j, right), sums = rows, columns, self._sums
        above = sums[i, j] * (1 - right) + sums[i, j + 1] * right
        below = sums[i + 1, j] * (1 - right) + sums[i + 1, j + 1] * right
        return np.asarray(above * (1 - down) + below * down)


def suffices(share: NDArray[np.float64], minimum: float) -> NDArray[np.bool_]:
    """Whether shares reach a minimum; a share of 0 never does."""
    return np.asarray((share >= minimum - ROUNDING) & (share > ROUNDING))
