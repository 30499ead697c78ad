"""Which patches of a slide are cut: cells of a grid from the slide's first pixel, chosen by masks without a pixel read.

Cells at the lower and right border reach over it; their height and width say how much of them is slide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.analysis import tissue_mask
from napari_hrpn.training.crop_sampler import CACHED, LEFT_OUT, CropPositions
from napari_hrpn.training.summed_area_table import CoveredArea, suffices

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_hrpn.training.entries import TrainingSlide
    from napari_hrpn.training.settings import TrainingSettings

CELL = np.dtype([(name, np.int32) for name in ("row", "column", "y0", "x0", "height", "width")])
_SMALLEST_CROP_CELL_PX = 512


def grid_cells(shape: tuple[int, int], patch_px: int) -> NDArray[np.void]:
    """Cut a slide into cells that do not overlap and cover every pixel."""
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
    return max(settings.patch_px, _SMALLEST_CROP_CELL_PX)


def selected_cells(slide: TrainingSlide, settings: TrainingSettings) -> NDArray[np.void]:
    """Cells of a slide that are cut, from its masks alone."""
    cells = grid_cells(slide.slide.shape, cell_px(settings))
    y0, x0 = cells["y0"], cells["x0"]
    box = (y0, y0 + cells["height"], x0, x0 + cells["width"])
    chosen = np.ones(len(cells), bool)
    if slide.regions is not None:
        minimum = settings.minimum_overlap if settings.sampling == "grid" else 0.0
        chosen &= suffices(CoveredArea(slide.regions.mask, slide.regions.downsample).share(*box), minimum)
    if settings.minimum_tissue > 0:
        tissue = tissue_mask(slide.slide, slide.inputs[0])
        chosen &= suffices(CoveredArea(tissue.mask, tissue.downsample).share(*box), settings.minimum_tissue)
    return cells[chosen]


def count_patches(slide: TrainingSlide, settings: TrainingSettings) -> int:
    """How many patches a slide gives, from its masks alone; blank ones are found out when it is cut.

    Parameters
    ----------
    slide : TrainingSlide
        With its regions.
    settings : TrainingSettings
        How it is cut.

    Returns
    -------
    int
        Cells of the grid that are cut; with random crops as many as cover the regions once. 0 where none fits.
    """
    return patches_in(selected_cells(slide, settings), slide, settings)


def patches_in(cells: NDArray[np.void], slide: TrainingSlide, settings: TrainingSettings) -> int:
    """How many patches chosen cells give; see `count_patches`."""
    if settings.sampling == "grid":
        return len(cells)
    shape, side = slide.slide.shape, cell_px(settings)
    states = np.full([-(-size // side) for size in shape], LEFT_OUT, np.int8)
    states[cells["row"], cells["column"]] = CACHED
    positions = CropPositions(shape, states, side, slide.regions, settings.patch_px, settings.minimum_overlap)
    return -int(-positions.pixels // settings.patch_px**2) if positions.known is not None else 0
