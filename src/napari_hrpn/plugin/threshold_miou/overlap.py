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
    """Overlap of one prediction with the real image."""

    counts: PairCounts  # Of all pixels of the region
    points: tuple[IouPoint, ...]  # At the percentiles 0 to 100 of the real image
    downsample: float  # Full-resolution pixels along a pixel that was looked at: 1 is full resolution

    @property
    def is_full(self) -> bool:
        """Whether it was measured at full resolution."""
        return self.downsample == 1


@dataclass(frozen=True, eq=False)
class Overview:
    """What is known of a pair and a region before all pixels are read."""

    pair: Pair
    region: Region
    levels: CommonLevels
    blocks: Mapping[int, Block]  # Whole levels that are small enough to be kept, by their number
    overlaps: tuple[Overlap, ...]  # Of each prediction, from the finest level that is affordable


def look_over(pair: Pair, title: str, wanted: Wanted) -> Overview:
    """Read what is affordable of a pair. It takes time: not for the GUI thread."""
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
    """What overlap at full resolution is remembered by."""
    real, predicted = overview.pair.real, overview.pair.predictions[prediction]
    slides = who(real.slide), real.channel, who(predicted.slide), predicted.channel
    return ("overlap", *slides, overview.region.key)


def full_part(overview: Overview, prediction: int) -> Part:
    """Overlap at full resolution, to be measured in a thread."""
    real, predicted = overview.pair.real, overview.pair.predictions[prediction]
    area = overview.region.bounds(real.slide.shape).area
    words = f"Reading {predicted.name}"
    return Part(
        full_key(overview, prediction), words, float(area), lambda _: full_overlap(real, predicted, overview.region)
    )


def full_overlap(
    real: ComparedChannel, predicted: ComparedChannel, region: Region
) -> Generator[PairReport, None, Overlap]:
    """Measure overlap at full resolution."""
    counts = yield from region_pairs(real, predicted, region)
    return _overlap(counts, 1)


def _overlap(counts: PairCounts, downsample: float) -> Overlap:
    from napari_hrpn.analysis import iou_curve

    return Overlap(counts, iou_curve(counts), downsample)
