"""Side of the bootstrap blocks of a region, from its correlation length at a coarse level."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.analysis.counts.blocks import BLOCK_LENGTHS, MOST_BLOCKS, correlation_length_px
from napari_hrpn.analysis.counts.moments import checked_image
from napari_hrpn.analysis.rois.geometry import roi_bounds, roi_mask
from napari_hrpn.analysis.tissue.strip_filter import region_on_grid
from napari_hrpn.slides import RegionMask

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_hrpn.analysis.rois.geometry import Roi
    from napari_hrpn.analysis.tissue.slide_penetration import ProbeImage
    from napari_hrpn.slides import ChunkCache, FinishedTiles

# a correlation length is found as well on a coarser level
_LOOKED_AT_PX = 2**20


def block_side(
    real: ProbeImage,
    prediction: ProbeImage,
    place: RegionMask | Roi,
    finished: FinishedTiles | None = None,
    cache: ChunkCache | None = None,
) -> int:
    """Side of the blocks of a bootstrap of any region, as `block_side_px` of pixels in memory."""
    bounds = roi_bounds(place, real.slide.shape)
    if any(part.start >= part.stop for part in bounds):
        return 1
    looks = [_look(image, place, bounds, finished, cache) for image in (real, prediction)]
    length = max(correlation_length_px(pixels, mask) * factor for pixels, mask, factor in looks)
    _, mask, factor = looks[0]
    area = float(mask.sum()) * factor**2
    return max(1, math.ceil(max(BLOCK_LENGTHS * length, math.sqrt(area / MOST_BLOCKS))))


def _look(
    image: ProbeImage,
    place: RegionMask | Roi,
    bounds: tuple[slice, slice],
    finished: FinishedTiles | None,
    cache: ChunkCache | None,
) -> tuple[NDArray[Any], NDArray[np.bool_], float]:
    """A region on the finest level on which it is small, which of its pixels are inside, and how coarse that is."""
    slide, area = image.slide, math.prod(part.stop - part.start for part in bounds)
    fits = [i for i in range(len(slide.levels)) if area / math.prod(slide.downsample(i)) <= _LOOKED_AT_PX]
    level = min(fits, default=len(slide.levels) - 1)
    downsample = slide.downsample(level)
    rows, columns = (
        slice(int(part.start / factor), max(int(part.start / factor) + 1, math.ceil(part.stop / factor)))
        for part, factor in zip(bounds, downsample, strict=True)
    )
    if cache is None:
        pixels = np.asarray(slide.levels[level][image.channel, rows, columns].compute(scheduler="synchronous"))
    else:
        height, width = slide.levels[level].shape[1:]
        box = slice(rows.start, min(rows.stop, height)), slice(columns.start, min(columns.stop, width))
        pixels = cache.read(slide.levels[level], slice(image.channel, image.channel + 1), *box)[0]
    mask = _inside(place, downsample, rows, columns)[: pixels.shape[0], : pixels.shape[1]]
    if finished is not None:
        mask = mask & finished.within(rows, columns, downsample)[: pixels.shape[0], : pixels.shape[1]]
    checked_image(pixels, mask, f"image {slide.source.name}")
    return pixels, mask, math.sqrt(math.prod(downsample))


def _inside(place: RegionMask | Roi, downsample: tuple[float, float], rows: slice, columns: slice) -> NDArray[np.bool_]:
    if isinstance(place, RegionMask):
        return region_on_grid(place, downsample, rows, columns)
    return roi_mask(place, rows, columns, downsample)
