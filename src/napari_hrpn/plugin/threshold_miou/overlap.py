"""Overlap of a real image with its predictions: at a level that is affordable at once, and at full resolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_hrpn.plugin.parts.compared_region import found_region, region_pairs
from napari_hrpn.plugin.parts.tasks import Part, who
from napari_hrpn.plugin.threshold_miou.level_blocks import CommonLevels

if TYPE_CHECKING:
    from collections.abc import Generator, Hashable, Mapping

    from napari_hrpn.analysis import IouPoint, PairCounts, PairReport
    from napari_hrpn.plugin.parts.compared_region import Region, Wanted
    from napari_hrpn.plugin.parts.selection import ComparedChannel, Pair
    from napari_hrpn.plugin.threshold_miou.level_blocks import Block

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
    area = overview.region.bounds(real.slide.shape).area
    words = f"Reading {predicted.name}"
    return Part(
        full_key(overview, prediction), words, float(area), lambda _: full_overlap(real, predicted, overview.region)
    )


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
    counts = yield from region_pairs(real, predicted, region)
    return _overlap(counts, 1)


def _overlap(counts: PairCounts, downsample: float) -> Overlap:
    from napari_hrpn.analysis import iou_curve

    return Overlap(counts, iou_curve(counts), downsample)
