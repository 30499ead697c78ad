"""A region's numbers: at once from a level that can be afforded, or exactly from every pixel.

Whatever its size, no more than a tile of it is in memory.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import TYPE_CHECKING

from napari_hrpn.analysis.bootstrap import compare_blocks
from napari_hrpn.analysis.colocalization import (
    MOST_COLOCALIZED_PX,
    Colocalization,
    colocalization,
    too_large_words,
)
from napari_hrpn.analysis.joint_histogram import PairBins
from napari_hrpn.analysis.moments import AgreementError
from napari_hrpn.analysis.region_numbers import RegionNumbers, region_numbers
from napari_hrpn.analysis.rois.block_sides import block_side
from napari_hrpn.analysis.rois.counting import (
    RoiReport,
    RoiTiles,
    count_pixels,
    count_tiles,
    density_range_of,
    is_within,
    read_level,
    value_bins,
)
from napari_hrpn.analysis.rois.geometry import reaches_beyond, roi_bounds
from napari_hrpn.analysis.rois.levels import read_pixels
from napari_hrpn.settings import EvaluationSettings

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from napari_hrpn.analysis.blocks import BlockSums
    from napari_hrpn.analysis.joint_histogram import PairCounts
    from napari_hrpn.analysis.rois.counting import Read
    from napari_hrpn.analysis.rois.geometry import Roi
    from napari_hrpn.analysis.rois.levels import RoiImages, SharedLevel

# what is looked at to choose the range of the density, and what a preview may cost
LOOK_PX = 2**20
_PREVIEW_PX = 2**18
_SETTINGS = EvaluationSettings()


@dataclass(frozen=True, eq=False)
class RoiMeasurement:
    """A region's numbers.

    Attributes
    ----------
    numbers : tuple of RegionNumbers
        Of each prediction.
    level : int
        Level of the real slide that was read, 0 for every pixel.
    downsample : tuple of float
        Full-resolution pixels per pixel of that level, along y and x.
    is_clipped : bool
        Whether the region reaches beyond the slide, where nothing counts.
    """

    numbers: tuple[RegionNumbers, ...]
    level: int
    downsample: tuple[float, float]
    is_clipped: bool

    @property
    def n(self) -> int:
        """Pixels of that level."""
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
    roi: Roi,
    *,
    read: Read = read_pixels,
    most_px: float = _PREVIEW_PX,
    density_range: tuple[float, float] | None = None,
) -> RoiMeasurement:
    """Numbers of a region from the finest level that can be afforded; without intervals.

    A coarse pixel is the mean of fine ones, in which noise cancels: r comes out higher than at full resolution.

    Parameters
    ----------
    images : RoiImages
        What to compare.
    roi : Annotation or LabelledRoi
        The region.
    read : callable
        Gives pixels of an array in rows and columns, such as `ChunkCache.read`.
    most_px : float
        How many pixels the rectangle around the region may have.
    density_range : tuple of float, optional
        Stays, so that a plot does not jump, unless more than 1 % of the pixels lie beyond it.

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
    level = images.level_for(_area(images, roi), most_px)
    mask, pixels = read_level(images, roi, level, read, images.finished)
    if density_range is None or not is_within(pixels, mask, density_range):
        density_range = density_range_of(pixels, mask)
    return _measurement(images, roi, level, count_pixels(mask, pixels, density_range), _SETTINGS)


def measure_roi(
    images: RoiImages, roi: Roi, *, resamples: int = 2000, seed: int = 0
) -> Generator[RoiReport, None, RoiMeasurement]:
    """Numbers of a region from every pixel, with intervals; of unfinished predictions what is finished as it begins.

    Parameters
    ----------
    images : RoiImages
        What to compare.
    roi : Annotation or LabelledRoi
        The region.
    resamples, seed : int
        Of the block bootstrap.

    Yields
    ------
    RoiReport
        After each tile; of floating point in more than one tile, each is read twice.

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
    coarse, finished = images.level_for(_area(images, roi), LOOK_PX), images.finished
    mask, pixels = read_level(images, roi, coarse, read_pixels, finished)
    density_range = density_range_of(pixels, mask)
    # as in a report, so that both have the same intervals
    sides = [block_side(images.real, each, roi, finished) for each in images.predictions]
    # what was looked at may be all there is to read
    tiles = RoiTiles(images, roi, (mask, pixels) if coarse.number == 0 else None, finished)
    bins = yield from value_bins(tiles)
    wanted = [PairBins(values, density_range) for values in bins]
    shared = [max(sides[0], side) for side in sides]
    every = [{*shared, sides[0]}, *({own, both} for own, both in zip(sides[1:], shared[1:], strict=True))]
    counts, blocks = yield from count_tiles(tiles, wanted, every)
    settings = replace(_SETTINGS, resamples=resamples, seed=seed)
    intervals_from = [sums[side] for sums, side in zip(blocks, sides, strict=True)]
    result = _measurement(images, roi, images.levels[0], counts, settings, intervals_from)
    return _compared(result, blocks, sides, settings)


def colocalize_roi(images: RoiImages, roi: Roi) -> tuple[Colocalization, ...]:
    """Co-localisation of each prediction with the real channel in a region, at full resolution.

    Parameters
    ----------
    images : RoiImages
        What to compare.
    roi : Annotation or LabelledRoi
        The region; all of it is in memory.

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
    area = _area(images, roi)
    if area > MOST_COLOCALIZED_PX:
        raise AgreementError(too_large_words(area))
    mask, (real, *predicted) = read_level(images, roi, images.levels[0], read_pixels, images.finished)
    return tuple(colocalization(real, each, mask) for each in predicted)


def _area(images: RoiImages, roi: Roi) -> int:
    """Pixels of the rectangle around a region."""
    return math.prod(part.stop - part.start for part in roi_bounds(roi, images.shape))


def _measurement(
    images: RoiImages,
    roi: Roi,
    level: SharedLevel,
    counts: Sequence[PairCounts],
    settings: EvaluationSettings,
    blocks: Sequence[BlockSums] = (),
) -> RoiMeasurement:
    rows, columns = roi_bounds(roi, images.shape)
    box_px = rows.start, rows.stop, columns.start, columns.stop
    dtype = level.arrays[0].dtype
    found = [region_numbers(roi.name, pairs, settings, dtype, sums) for pairs, sums in zip_longest(counts, blocks)]
    return RoiMeasurement(
        numbers=tuple(replace(numbers, box_px=box_px) for numbers in found),
        level=level.number,
        downsample=level.downsample,
        is_clipped=reaches_beyond(roi, images.shape),
    )


def _compared(
    result: RoiMeasurement,
    blocks: Sequence[dict[int, BlockSums]],
    sides: Sequence[int],
    settings: EvaluationSettings,
) -> RoiMeasurement:
    """Each prediction has blocks as wide as it needs, whatever others need; two are compared on the wider ones."""
    numbers = []
    for k, (found, sums, side) in enumerate(zip(result.numbers, blocks, sides, strict=True)):
        both = max(sides[0], side)
        drawn = {"resamples": settings.resamples, "seed": settings.seed}
        difference = compare_blocks(blocks[0][both], sums[both], **drawn) if k else None
        numbers.append(replace(found, blocks=sums[side], difference=difference))
    return replace(result, numbers=tuple(numbers))
