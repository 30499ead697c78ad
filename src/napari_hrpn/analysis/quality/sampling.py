"""What is looked at of a slide: blocks of full resolution spread over the tissue and a coarse level, never more."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.analysis.tissue import tissue_mask

if TYPE_CHECKING:
    from napari_hrpn.analysis.tissue import TissueMask
    from napari_hrpn.slides import Slide

_BLOCK_PX = 512
_MOST_BLOCKS = 32
_MOST_COMPUTED_PX = 32 * 2**20
"""A level that the file does not hold is only computed from one of no more pixels."""
_COARSE_PX = 2048
_TISSUE_PIXEL_UM = 8.0
_LEAST_TISSUE = 0.5


def _is_affordable(slide: Slide, level: int) -> bool:
    """Whether a level can be read whole in seconds."""
    read = slide.levels[min(level, slide.stored_levels - 1)]
    return bool(math.prod(read.shape[1:]) <= _MOST_COMPUTED_PX)


def coarse_level(slide: Slide) -> int | None:
    """Coarsest level that still shows camera fields."""
    large = [index for index, level in enumerate(slide.levels) if max(level.shape[1:]) >= _COARSE_PX]
    level = max(large, default=0)
    return level if _is_affordable(slide, level) else None


def quick_tissue(slide: Slide, nuclei: int | None) -> TissueMask | None:
    """Tissue of a slide, if it can be found in seconds."""
    return tissue_mask(slide, nuclei or 0) if _is_affordable(slide, slide.level_for(_TISSUE_PIXEL_UM)) else None


def sample_boxes(slide: Slide, tissue: TissueMask | None) -> list[tuple[slice, slice]]:
    """Blocks to look at, at full resolution."""
    starts = [_starts(size) for size in slide.shape]
    edges = [min(_BLOCK_PX, size) for size in slide.shape]
    boxes = [(slice(y, y + edges[0]), slice(x, x + edges[1])) for y in starts[0] for x in starts[1]]
    if tissue is not None:
        shares = [tissue.share(y.start, y.stop, x.start, x.stop) for y, x in boxes]
        least = min(_LEAST_TISSUE, max(shares))
        boxes = [box for box, share in zip(boxes, shares, strict=True) if share >= least]
    chosen = np.random.default_rng(0).permutation(len(boxes))[:_MOST_BLOCKS]
    return [boxes[index] for index in sorted(chosen)]


def _starts(size: int) -> list[int]:
    """Where blocks begin along an axis: the last one ends at the edge, so neighbours may overlap a little."""
    count = math.ceil(size / _BLOCK_PX)
    return [round(start) for start in np.linspace(0, max(0, size - _BLOCK_PX), count)]
