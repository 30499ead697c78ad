"""Grey levels of a region and patches of slides, as parts of a measurement that are computed off the GUI thread.

Nothing of Qt or napari is touched here.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from napari_hrpn.analysis import (
    compare_distributions,
    quantile_pairs,
    slide_heterogeneity,
    slide_pairs,
    tissue_mask,
)
from napari_hrpn.plugin.parts.compared_region import found_region, region_pairs
from napari_hrpn.plugin.parts.tasks import Part, step
from napari_hrpn.slides import RegionMask, Slide

if TYPE_CHECKING:
    from collections.abc import Generator, Hashable, Mapping, Sequence

    from napari.layers import Image

    from napari_hrpn.analysis import DistributionComparison, Heterogeneity, PairCounts, QuantilePairs, ValueCounts
    from napari_hrpn.plugin.parts.compared_region import Wanted
    from napari_hrpn.plugin.parts.selection import ComparedChannel
    from napari_hrpn.slides import FinishedTiles

    Comparisons = Mapping[str, "Comparison | None"]

DRAWN = "drawn"


@dataclass(frozen=True, eq=False)
class Comparison:
    """Grey levels of a real and a predicted image in a region, and how far apart they are."""

    # Pixels of each grey level
    real: ValueCounts
    predicted: ValueCounts
    sizes: DistributionComparison  # How far apart they are
    quantiles: QuantilePairs


@dataclass(frozen=True, eq=False)
class PatchSource:
    """Channels of a slide whose patches are measured."""

    tumour: str  # What its violins are called
    slide: Slide
    channels: tuple[int, ...]
    panels: tuple[str, ...]  # In which panel each of the channels is shown
    layer: weakref.ref[Image]  # A layer that shows the slide
    colour: str | None = None  # Of a prediction, in all plots; None for what was imaged
    finished: FinishedTiles | None = None  # Where alone a slide is measured, as its predictions are


def slide_part(real: ComparedChannel, predicted: ComparedChannel, tissue: RegionMask | None) -> Part:
    """Compare tissue and frame of a prediction with the real channel."""
    weight = 2.0 * _pixels(real.slide)
    return step(f"Comparing {predicted.name}", weight, _tissue_and_frame, real, predicted, tissue)


def region_part(real: ComparedChannel, predicted: ComparedChannel, drawn: Wanted, which: Hashable) -> Part:
    """Compare a drawn region of a prediction with the real channel."""
    weight, key = 2.0 * _pixels(real.slide), (DRAWN, real.key, predicted.key, which)
    return step(f"Comparing {predicted.name}", weight, _drawn_region, real, predicted, drawn, key=key)


def tissue_part(slide: Slide, nuclei: int) -> Part:
    """Find the tissue of a slide."""
    return step("Looking for tissue", 0.05 * _pixels(slide), tissue_mask, slide, nuclei)


def patches_part(source: PatchSource, patch_px: int, minimum_tissue: float, tissue: RegionMask | Part | None) -> Part:
    """Measure the patches of a slide, of which at least a share has to be tissue."""
    words, weight = f"Measuring patches of {source.tumour}", float(_pixels(source.slide) * len(source.channels))
    measured = source.slide, source.finished, source.channels
    return step(words, weight, _patches, *measured, tissue, patch_px, minimum_tissue)


def _tissue_and_frame(
    real: ComparedChannel, predicted: ComparedChannel, tissue: RegionMask | None
) -> Generator[Any, None, Comparisons]:
    counts = yield from slide_pairs(real.slide, real.channel, predicted.slide, predicted.channel, tissue=tissue)
    inside = None if counts.tissue is None else _compared(counts.tissue)
    return {"tissue": inside, "frame": _compared(counts.frame)}


def _drawn_region(
    real: ComparedChannel, predicted: ComparedChannel, drawn: Wanted
) -> Generator[Any, None, Comparisons]:
    counts = yield from region_pairs(real, predicted, found_region("", drawn, real.slide.shape))
    return {DRAWN: _compared(counts)}


def _patches(
    slide: Slide,
    finished: FinishedTiles | None,
    channels: Sequence[int],
    tissue: RegionMask | None,
    patch_px: int,
    minimum_tissue: float,
) -> Generator[Any, None, Heterogeneity]:
    measured = slide if finished is None else replace(slide, read_finished=lambda: finished)
    return slide_heterogeneity(measured, channels, tissue, patch_px=patch_px, minimum_tissue=minimum_tissue)


def _compared(counts: PairCounts) -> Comparison:
    real, predicted = counts.real, counts.predicted
    return Comparison(real, predicted, compare_distributions(real, predicted), quantile_pairs(real, predicted))


def _pixels(slide: Slide) -> int:
    return slide.shape[0] * slide.shape[1]
