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
from napari_hrpn.plugin.parts.tasks import Part, Steps, one_step, who
from napari_hrpn.slides import RegionMask, Slide

if TYPE_CHECKING:
    from collections.abc import Generator, Hashable, Mapping

    from napari.layers import Image

    from napari_hrpn.analysis import DistributionComparison, PairCounts, QuantilePairs, ValueCounts
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

    def _steps() -> Generator[Any, None, Comparisons]:
        counts = yield from slide_pairs(real.slide, real.channel, predicted.slide, predicted.channel, tissue=tissue)
        inside = None if counts.tissue is None else _compared(counts.tissue)
        return {"tissue": inside, "frame": _compared(counts.frame)}

    return _value_part(real, predicted, None if tissue is None else tissue.digest, _steps)


def region_part(real: ComparedChannel, predicted: ComparedChannel, drawn: Wanted, which: Hashable) -> Part:
    """Compare a drawn region of a prediction with the real channel."""

    def _steps() -> Generator[Any, None, Comparisons]:
        counts = yield from region_pairs(real, predicted, found_region("", drawn, real.slide.shape))
        return {DRAWN: _compared(counts)}

    return _value_part(real, predicted, which, _steps)


def tissue_part(slide: Slide, nuclei: int) -> Part:
    """Find the tissue of a slide."""
    key = "tissue", who(slide), nuclei
    return Part(key, "Looking for tissue", 0.05 * _pixels(slide), lambda _: one_step(tissue_mask, slide, nuclei))


def patches_part(source: PatchSource, patch_px: int, minimum_tissue: float, tissue: RegionMask | Part | None) -> Part:
    """Measure the patches of a slide, of which at least a share has to be tissue."""
    of = tissue.key if isinstance(tissue, Part) else None if tissue is None else tissue.digest
    slide, finished = source.slide, source.finished

    def _begin(results: Mapping[Hashable, Any]) -> Steps:
        measured = slide if finished is None else replace(slide, read_finished=lambda: finished)
        mask = results[of] if isinstance(tissue, Part) else tissue
        return slide_heterogeneity(measured, source.channels, mask, patch_px=patch_px, minimum_tissue=minimum_tissue)

    tiles = None if finished is None else finished.digest
    key = "patches", who(slide), source.channels, patch_px, minimum_tissue, of, tiles
    weight = float(_pixels(slide) * len(source.channels))
    return Part(key, f"Measuring patches of {source.tumour}", weight, _begin)


def _value_part(real: ComparedChannel, predicted: ComparedChannel, region: Hashable, steps: Any) -> Part:  # noqa: ANN401
    key = "values", who(real.slide), real.channel, who(predicted.slide), predicted.channel, region
    return Part(key, f"Comparing {predicted.name}", 2.0 * _pixels(real.slide), lambda _: steps())


def _pixels(slide: Slide) -> int:
    return slide.shape[0] * slide.shape[1]


def _compared(counts: PairCounts) -> Comparison:
    real, predicted = counts.real, counts.predicted
    return Comparison(real, predicted, compare_distributions(real, predicted), quantile_pairs(real, predicted))
