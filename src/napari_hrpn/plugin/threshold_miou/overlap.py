"""Overlap of a real image with its predictions: at a level that is affordable at once, and at full resolution."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_hrpn.plugin.comparison.region import found_region
from napari_hrpn.plugin.measuring.parts import Part, who
from napari_hrpn.plugin.threshold_miou.level_blocks import CommonLevels
from napari_hrpn.slides import Annotation, RegionMask

if TYPE_CHECKING:
    from collections.abc import Generator, Hashable, Mapping

    from napari_hrpn.analysis import IouPoint, PairCounts, PairReport
    from napari_hrpn.plugin.comparison import ComparedChannel, Pair
    from napari_hrpn.plugin.comparison.region import Region, Wanted
    from napari_hrpn.plugin.threshold_miou.level_blocks import Block
    from napari_hrpn.slides import Slide
    from napari_hrpn.tiling import Box

AFFORDABLE_PX = 2048**2
"""Pixels that are looked at unasked, while the user waits."""


@dataclass(frozen=True, eq=False)
class Overlap:
    """Overlap of one prediction with the real image.

    Attributes
    ----------
    counts : PairCounts
        Of all pixels of the region.
    points : tuple of IouPoint
        At the percentiles 0 to 100 of the real image.
    downsample : float
        Full-resolution pixels along a pixel that was looked at: 1 is full resolution.
    """

    counts: PairCounts
    points: tuple[IouPoint, ...]
    downsample: float

    @property
    def is_full(self) -> bool:
        """Whether it was measured at full resolution."""
        return self.downsample == 1


@dataclass(frozen=True, eq=False)
class Overview:
    """What is known of a pair and a region before all pixels are read.

    Attributes
    ----------
    pair : Pair
        What is compared.
    region : Region
        Where.
    levels : CommonLevels
        Of the pair.
    blocks : mapping of int to Block
        Whole levels that are small enough to be kept, by their number.
    overlaps : tuple of Overlap
        Of each prediction, from the finest level that is affordable.
    """

    pair: Pair
    region: Region
    levels: CommonLevels
    blocks: Mapping[int, Block]
    overlaps: tuple[Overlap, ...]


def look_over(pair: Pair, title: str, wanted: Wanted) -> Overview:
    """Read what is affordable of a pair. It takes time: not for the GUI thread.

    Parameters
    ----------
    pair : Pair
        What to compare.
    title : str
        What to call the region.
    wanted : RegionMask, DrawnShapes, DrawnLabels or None
        The region; None for the whole frame.

    Returns
    -------
    Overview
        With overlap at full resolution where the region is small.

    Raises
    ------
    SlideError
        If nothing that was drawn lies on the slide, or pixels cannot be read.
    AgreementError
        If pixels are not finite.
    """
    region = found_region(title, wanted, pair.real.slide.shape)
    levels = CommonLevels.of(pair)
    small = [level for level in range(len(levels)) if levels.whole(level).box.area <= AFFORDABLE_PX]
    blocks = {level: levels.read(levels.whole(level), region) for level in small or [len(levels) - 1]}
    bounds = region.bounds(levels.shape(0))
    level = levels.level_within(bounds, AFFORDABLE_PX)
    window = levels.window(level, bounds)
    block = blocks[level].cut(window.box) if level in blocks else levels.read(window, region)
    downsample = max(levels.downsample(level))
    overlaps = tuple(_overlap(block.counts(index), downsample) for index in range(len(pair.predictions)))
    return Overview(pair, region, levels, blocks, overlaps)


def full_key(overview: Overview, prediction: int) -> Hashable:
    """What overlap at full resolution is remembered by.

    Parameters
    ----------
    overview : Overview
        Pair and region.
    prediction : int
        Which prediction.

    Returns
    -------
    hashable
        Equal for the same pixels of the same slides.
    """
    real, predicted = overview.pair.real, overview.pair.predictions[prediction]
    slides = who(real.slide), real.channel, who(predicted.slide), predicted.channel
    return ("overlap", *slides, overview.region.key)


def full_part(overview: Overview, prediction: int) -> Part:
    """Overlap at full resolution, to be measured in a thread.

    Parameters
    ----------
    overview : Overview
        Pair and region.
    prediction : int
        Which prediction.

    Returns
    -------
    Part
        Its result is an `Overlap`.
    """
    real, predicted = overview.pair.real, overview.pair.predictions[prediction]
    key = full_key(overview, prediction)
    height, width = real.slide.shape
    words = f"Reading {predicted.name}"
    return Part(key, words, float(height * width), lambda _: full_overlap(real, predicted, overview.region))


def full_overlap(
    real: ComparedChannel, predicted: ComparedChannel, region: Region
) -> Generator[PairReport, None, Overlap]:
    """Measure overlap at full resolution.

    Parameters
    ----------
    real, predicted : ComparedChannel
        Of one size.
    region : Region
        Where.

    Yields
    ------
    PairReport
        After each block.

    Returns
    -------
    Overlap
        Of all pixels.

    Raises
    ------
    AgreementError
        If pixels are not finite.
    SlideError
        If a slide cannot be read.
    """
    from napari_hrpn.analysis import slide_pairs

    part = region.part
    if isinstance(part, Annotation):
        # of a region on a large slide, only what is under it is read
        box = region.bounds(real.slide.shape)
        moved = _moved(part, box)
        slides = _cut(real.slide, box), _cut(predicted.slide, box)
        pairs = yield from slide_pairs(slides[0], real.channel, slides[1], predicted.channel, rois=(moved,))
        return _overlap(pairs.rois[0], 1)
    tissue = part if isinstance(part, RegionMask) else None
    pairs = yield from slide_pairs(real.slide, real.channel, predicted.slide, predicted.channel, tissue=tissue)
    return _overlap(pairs.frame if pairs.tissue is None else pairs.tissue, 1)


def overlap_at(counts: PairCounts, threshold: float) -> IouPoint:
    """Overlap at a grey level, also where pixels were rounded to bins.

    Parameters
    ----------
    counts : PairCounts
        Of all pixels.
    threshold : float
        Grey level.

    Returns
    -------
    IouPoint
        Of the pixels whose bin is that of the threshold or brighter: those of the threshold itself are among them.
    """
    from napari_hrpn.analysis import iou_at

    bins = counts.real.bins
    if not bins.binned or not math.isfinite(threshold):
        return iou_at(counts, threshold)
    # between two bins, so that it does not matter how the level of a bin is rounded
    below = bins.low + (round((threshold - bins.low) / bins.step) - 0.5) * bins.step
    return replace(iou_at(counts, below), threshold=threshold)


def _overlap(counts: PairCounts, downsample: float) -> Overlap:
    from napari_hrpn.analysis import iou_curve

    return Overlap(counts, iou_curve(counts), downsample)


def _cut(slide: Slide, box: Box) -> Slide:
    finest = slide.levels[0][:, box.y0 : box.y1, box.x0 : box.x1]
    return replace(slide, levels=(finest,), stored_levels=1)


def _moved(annotation: Annotation, box: Box) -> Annotation:
    rings = tuple(tuple(ring - (box.y0, box.x0) for ring in polygon) for polygon in annotation.rings)
    return replace(annotation, rings=rings)
