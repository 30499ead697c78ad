"""What the widget computes off the GUI thread: grey levels of a region, and the patches of slides.

Nothing of Qt or napari is touched here.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from napari_hrpn.analysis import PATCH_PX
from napari_hrpn.plugin.parts.compared_region import found_region, region_pairs
from napari_hrpn.plugin.parts.tasks import Part, Steps, one_step, who
from napari_hrpn.slides import RegionMask, Slide

if TYPE_CHECKING:
    from collections.abc import Generator, Hashable, Mapping

    from napari.layers import Image

    from napari_hrpn.analysis import DistributionComparison, PairCounts, QuantilePairs, ValueCounts
    from napari_hrpn.plugin.parts.compared_region import Wanted
    from napari_hrpn.plugin.parts.selection import ComparedChannel
    from napari_hrpn.slides import FinishedTiles


@dataclass(frozen=True, eq=False)
class Comparison:
    """Grey levels of a real and a predicted image in a region, and how far apart they are."""

    # Pixels of each grey level
    real: ValueCounts
    predicted: ValueCounts
    sizes: DistributionComparison  # How far apart they are
    quantiles: QuantilePairs


@dataclass(frozen=True, eq=False)
class _RegionComparison:
    """Comparisons of the regions that one pass gives."""

    # None for a region that was not looked at
    tissue: Comparison | None = None
    frame: Comparison | None = None
    drawn: Comparison | None = None


@dataclass(frozen=True, eq=False)
class PatchSource:
    """Channels of a slide whose patches are measured."""

    tumour: str  # What its violins are called
    slide: Slide
    channels: tuple[int, ...]  # Which of its channels
    panels: tuple[str, ...]  # In which panel each of them is shown
    layer: weakref.ref[Image]  # A layer that shows the slide
    colour: str | None = None  # Of a prediction, in all plots; None for what was imaged
    finished: FinishedTiles | None = None  # Where alone a slide is measured, as its predictions are


@dataclass(frozen=True)
class PatchSettings:
    """How slides are cut into patches."""

    patch_px: int = PATCH_PX  # Edge of a patch
    minimum_tissue: float = 0.5  # Share of a patch that has to be tissue for it to count


def slide_part(real: ComparedChannel, predicted: ComparedChannel, tissue: RegionMask | None) -> Part:
    """Compare tissue and frame of a prediction with the real channel."""
    key = "slide", *_which(real, predicted), None if tissue is None else tissue.digest

    def _begin(_: Mapping[Hashable, Any]) -> Steps:
        return _whole(real, predicted, tissue)

    return Part(key, f"Comparing {predicted.name}", 2.0 * _pixels(real.slide), _begin)


def region_part(real: ComparedChannel, predicted: ComparedChannel, drawn: Wanted, which: Hashable) -> Part:
    """Compare a drawn region of a prediction with the real channel."""

    def _begin(_: Mapping[Hashable, Any]) -> Steps:
        return _drawn(real, predicted, drawn)

    key = "region", *_which(real, predicted), which
    return Part(key, f"Comparing {predicted.name}", 2.0 * _pixels(real.slide), _begin)


def tissue_part(slide: Slide, nuclei: int) -> Part:
    """Find the tissue of a slide."""

    def _begin(_: Mapping[Hashable, Any]) -> Steps:
        from napari_hrpn.analysis import tissue_mask

        return one_step(tissue_mask, slide, nuclei)

    return Part(("tissue", who(slide), nuclei), "Looking for tissue", 0.05 * _pixels(slide), _begin)


def patches_part(source: PatchSource, settings: PatchSettings, tissue: RegionMask | Part | None) -> Part:
    """Measure the patches of a slide."""
    of = tissue.key if isinstance(tissue, Part) else None if tissue is None else tissue.digest

    def _begin(results: Mapping[Hashable, Any]) -> Steps:
        from napari_hrpn.analysis import slide_heterogeneity

        slide = source.slide
        if source.finished is not None:
            slide = replace(slide, read_finished=lambda: source.finished)
        return slide_heterogeneity(
            slide,
            source.channels,
            results[of] if isinstance(tissue, Part) else tissue,
            patch_px=settings.patch_px,
            minimum_tissue=settings.minimum_tissue,
        )

    weight = float(_pixels(source.slide) * len(source.channels))
    finished = None if source.finished is None else source.finished.digest
    key = "patches", who(source.slide), source.channels, settings, of, finished
    return Part(key, f"Measuring patches of {source.tumour}", weight, _begin)


def _which(real: ComparedChannel, predicted: ComparedChannel) -> tuple[Hashable, ...]:
    return who(real.slide), real.channel, who(predicted.slide), predicted.channel


def _pixels(slide: Slide) -> int:
    return slide.shape[0] * slide.shape[1]


def _whole(
    real: ComparedChannel, predicted: ComparedChannel, tissue: RegionMask | None
) -> Generator[Any, None, _RegionComparison]:
    from napari_hrpn.analysis import slide_pairs

    counts = yield from slide_pairs(real.slide, real.channel, predicted.slide, predicted.channel, tissue=tissue)
    inside = None if counts.tissue is None else _compared(counts.tissue)
    return _RegionComparison(tissue=inside, frame=_compared(counts.frame))


def _drawn(real: ComparedChannel, predicted: ComparedChannel, drawn: Wanted) -> Generator[Any, None, _RegionComparison]:
    counts = yield from region_pairs(real, predicted, found_region("", drawn, real.slide.shape))
    return _RegionComparison(drawn=_compared(counts))


def _compared(counts: PairCounts) -> Comparison:
    from napari_hrpn.analysis import compare_distributions, quantile_pairs

    real, predicted = counts.real, counts.predicted
    return Comparison(real, predicted, compare_distributions(real, predicted), quantile_pairs(real, predicted))
