"""Metrics of a region of interest: a quick preview from a coarse level, or exact numbers from every pixel.

Exact numbers are counted block by block, so that memory does not grow with the region.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.analysis.counts.joint_histogram import PairBins
from napari_hrpn.analysis.metrics import windows_of
from napari_hrpn.analysis.region_numbers import (
    DENSITY_PERCENTILES,
    RegionNumbers,
    grey_level_range,
    range_of_density,
    region_numbers,
)
from napari_hrpn.analysis.rois.levels import block_side
from napari_hrpn.analysis.scan.block_scan import PixelBlock, count_blocks, count_in_turn
from napari_hrpn.analysis.scan.pair_counters import NO_WINDOWS, PairRange, RegionCounter, scan_pairs
from napari_hrpn.analysis.statistics.bootstrap import compare_blocks
from napari_hrpn.analysis.statistics.colocalization import (
    MOST_COLOCALIZED_PX,
    Colocalization,
    colocalization,
    too_large_words,
)
from napari_hrpn.core import Progress, drive
from napari_hrpn.core.errors import AgreementError
from napari_hrpn.settings import EvaluationSettings
from napari_hrpn.slides import ChunkCache

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Sequence

    from numpy.typing import NDArray

    from napari_hrpn.analysis.rois.levels import RoiImages, SharedLevel
    from napari_hrpn.analysis.scan.block_scan import BlockCounter
    from napari_hrpn.analysis.scan.pair_counters import CountedPairs, Scan, Windows
    from napari_hrpn.slides import FinishedTiles, Region

# pixels from which the range of the density is chosen, and pixels of a preview
LOOK_PX = 2**20
_PREVIEW_PX = 2**18
_MOST_BEYOND = 0.01
_CACHE_BYTES = 2**26
_SETTINGS = EvaluationSettings()


@dataclass(frozen=True, eq=False)
class RoiMeasurement:
    """Metrics of a region for each prediction.

    Attributes
    ----------
    numbers : tuple of RegionNumbers
        Metrics of each prediction.
    level : int
        Level of the real slide that was read; 0 means every pixel.
    downsample : tuple of float
        Full-resolution pixels per pixel of that level, along y and x.
    is_clipped : bool
        Whether the region reaches beyond the slide; that part is not counted.
    """

    numbers: tuple[RegionNumbers, ...]
    level: int
    downsample: tuple[float, float]
    is_clipped: bool

    @property
    def n(self) -> int:
        """Number of measured pixels, of the level that was read."""
        return self.numbers[0].sums.n

    @property
    def density_range(self) -> tuple[float, float]:
        """Grey levels that the densities span."""
        return self.numbers[0].density_range

    @property
    def densities(self) -> list[NDArray[np.int64]]:
        """Pixels by real (row) and predicted (column) grey level, for each prediction."""
        return [numbers.density for numbers in self.numbers if numbers.density is not None]

    @property
    def is_exact(self) -> bool:
        """Whether every pixel was read."""
        return self.level == 0


def preview_roi(
    images: RoiImages,
    roi: Region,
    *,
    cache: ChunkCache | None = None,
    most_px: float = _PREVIEW_PX,
    density_range: tuple[float, float] | None = None,
) -> RoiMeasurement:
    """Quick metrics of a region from the finest level with few enough pixels; without intervals.

    A coarse pixel is the mean of fine ones, in which noise cancels, so r is higher than at full resolution.

    Parameters
    ----------
    images : RoiImages
        Real channel and predictions.
    roi : Region
        The region.
    cache : ChunkCache, optional
        Cache of decoded chunks; without it pixels are read again each time.
    most_px : float
        Largest number of pixels of the rectangle around the region.
    density_range : tuple of float, optional
        Range of an earlier preview. It is kept, so that a plot does not jump, unless more than 1 % of the pixels lie
        beyond it.

    Returns
    -------
    RoiMeasurement
        NaN, with a reason, for what does not exist.

    Raises
    ------
    AgreementError
        If the pixels cannot be compared.
    SlideError
        If they cannot be read.
    """
    level = images.level_for(roi, most_px)
    inside, block = _Inside(roi, images.finished, level.downsample), _block(images, roi, level, cache)
    if density_range is None or not _is_within(level, block, inside, density_range):
        density_range = _density_range_of(_chosen(level, block, inside))
    counters = drive(_counted(level, inside, density_range, (), partial(_count_block, block)))
    return _measurement(images, roi, level, [counter.pairs for counter in counters], _SETTINGS)


def measure_roi(
    images: RoiImages, roi: Region, *, resamples: int = 2000, seed: int = 0
) -> Generator[Progress, None, RoiMeasurement]:
    """Exact metrics of a region with intervals; of an unfinished prediction, the tiles finished at the start count.

    Parameters
    ----------
    images : RoiImages
        Real channel and predictions.
    roi : Region
        The region.
    resamples, seed : int
        Number of draws of the block bootstrap, and seed of its random numbers.

    Yields
    ------
    Progress
        After each block; blocks of floating-point pixels are scanned twice.

    Returns
    -------
    RoiMeasurement
        NaN, with a reason, for what does not exist.

    Raises
    ------
    AgreementError
        If the pixels cannot be compared.
    SlideError
        If they cannot be read.
    """
    coarse, finest, finished = images.level_for(roi, LOOK_PX), images.levels[0], images.finished
    windows = windows_of(grey_level_range(_SETTINGS, finest.arrays[0].dtype))
    border = windows.border if coarse is finest else 0
    inside, block = _Inside(roi, finished), _block(images, roi, coarse, border=border)
    inside_block = inside if coarse is finest else _Inside(roi, finished, coarse.downsample)
    density_range = _density_range_of(_chosen(coarse, block, inside_block))
    # the same sides as in a report, so that intervals agree; the cache saves reading the real pixels per prediction
    cache = ChunkCache(_CACHE_BYTES)
    sides = [block_side(images.real, prediction, roi, finished, cache) for prediction in images.predictions]
    # to be compared, the first prediction needs sums over the blocks of each other one, and vice versa
    sides_of_each = [{*(max(sides[0], side) for side in sides)}, *({side, max(sides[0], side)} for side in sides[1:])]
    # a small region is one block, which has been read already
    in_blocks = partial(count_blocks, finest.arrays, block_map=count_in_turn, bounds=roi.bounds(images.shape).slices)
    scan = partial(_count_block, block) if coarse is finest else in_blocks
    counters = yield from _counted(finest, inside, density_range, sides_of_each, scan, windows)
    settings = replace(_SETTINGS, resamples=resamples, seed=seed)
    return _measurement(images, roi, finest, [counter.pairs for counter in counters], settings, sides)


def colocalize_roi(images: RoiImages, roi: Region) -> tuple[Colocalization, ...]:
    """Co-localisation of each prediction with the real channel in a region, with Costes' thresholds.

    Parameters
    ----------
    images : RoiImages
        Real channel and predictions.
    roi : Region
        The region; its pixels have to fit into memory.

    Returns
    -------
    tuple of Colocalization
        One for each prediction.

    Raises
    ------
    AgreementError
        If the region is too large, or the pixels cannot be compared.
    SlideError
        If they cannot be read.
    """
    area = roi.bounds(images.shape).area
    if area > MOST_COLOCALIZED_PX:
        raise AgreementError(too_large_words(area))
    level = images.levels[0]
    real, *predicted = _chosen(level, _block(images, roi, level), _Inside(roi, images.finished))
    return tuple(colocalization(real, prediction) for prediction in predicted)


@dataclass(frozen=True)
class _Inside:
    """The pixels of a region at a level that are predicted already."""

    roi: Region
    finished: FinishedTiles | None
    downsample: tuple[float, float] = (1.0, 1.0)

    def within(self, rows: slice, columns: slice) -> NDArray[np.bool_]:
        """Which pixels of a rectangle of the level are inside."""
        mask = self.roi.at_level(rows, columns, self.downsample)
        return mask if self.finished is None else mask & self.finished.within(rows, columns, self.downsample)


def _block(
    images: RoiImages, roi: Region, level: SharedLevel, cache: ChunkCache | None = None, border: int = 0
) -> PixelBlock:
    """The rectangle around a region at a level."""
    bounds = zip(roi.bounds(images.shape).slices, level.downsample, level.arrays[0].shape, strict=True)
    rows, columns = (
        slice(min(math.floor(extent.start / factor), size), min(math.ceil(extent.stop / factor), size))
        for extent, factor, size in bounds
    )
    return PixelBlock(rows, columns, cache, border)


def _chosen(level: SharedLevel, block: PixelBlock, inside: _Inside) -> list[NDArray[Any]]:
    """Pixels of a block that are inside, for each image."""
    mask = block.inside(inside)
    return [block.pixels(array)[mask] if mask.any() else np.empty(0, array.dtype) for array in level.arrays]


def _is_within(level: SharedLevel, block: PixelBlock, inside: _Inside, density_range: tuple[float, float]) -> bool:
    """Whether at most 1 % of the pixels lie beyond a range of grey levels."""
    low, high = density_range
    mask = block.inside(inside)
    most = _MOST_BEYOND * np.count_nonzero(mask)
    images = [block.pixels(array) for array in level.arrays] if mask.any() else []
    return all(np.count_nonzero(mask & ((image < low) | (image > high))) <= most for image in images)


def _density_range_of(chosen: Sequence[NDArray[Any]]) -> tuple[float, float]:
    """Grey levels that a density of these pixels spans."""
    if not chosen[0].size:
        return 0.0, 1.0
    if not all(np.isfinite(pixels).all() for pixels in chosen):
        raise AgreementError("Some pixels are not finite (NaN or infinite), expected numbers: leave them out.")
    ends = [tuple(map(float, np.percentile(pixels, DENSITY_PERCENTILES))) for pixels in chosen]
    return range_of_density([(low, high) for low, high in ends], whole=any(data.dtype.kind in "biu" for data in chosen))


def _counted(
    level: SharedLevel,
    inside: _Inside,
    density_range: tuple[float, float],
    sides: Sequence[Collection[int]],
    scan: Scan,
    windows: Windows = NO_WINDOWS,
) -> Generator[Progress, None, list[RegionCounter]]:
    """Count the pixel pairs of each prediction, with sums over blocks of the given sides."""
    pairs = [(level.arrays[0], predicted) for predicted in level.arrays[1:]]
    ranges = [PairRange(channels, inside) for channels in pairs]

    def counters() -> list[RegionCounter]:
        bins = [PairBins(one.bins, density_range) for one in ranges]
        return [
            RegionCounter(channels, one, inside, some, windows, inside.finished)
            for channels, one, some in zip(pairs, bins, sides or [()] * len(pairs), strict=True)
        ]

    return (yield from scan_pairs(ranges, counters, scan))


def _count_block(block: PixelBlock, counters: Sequence[BlockCounter[Any]]) -> Generator[Progress, None, None]:
    for counter in counters:
        counter.add(counter.count(block))
    yield Progress(1, 1)


def _measurement(
    images: RoiImages,
    roi: Region,
    level: SharedLevel,
    counted: Sequence[CountedPairs],
    settings: EvaluationSettings,
    sides: Sequence[int] = (),
) -> RoiMeasurement:
    """Measurement from counts; a prediction has blocks of its own side, and two are compared on the wider blocks."""
    resampling = {"resamples": settings.resamples, "seed": settings.seed}
    numbers = []
    for k, pairs in enumerate(counted):
        blocks, difference = pairs.blocks[sides[k]] if sides else None, None
        if k and sides:
            common_side = max(sides[0], sides[k])
            difference = compare_blocks(counted[0].blocks[common_side], pairs.blocks[common_side], **resampling)
        metrics = region_numbers(roi.name, pairs.counts, settings, level.arrays[0].dtype, blocks)
        numbers.append(replace(metrics, box_px=roi.bounds(images.shape), blocks=blocks, difference=difference))
    return RoiMeasurement(tuple(numbers), level.number, level.downsample, roi.reaches_beyond(images.shape))
