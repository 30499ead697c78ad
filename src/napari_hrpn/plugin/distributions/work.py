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
    """Grey levels of a real and a predicted image in a region, and how far apart they are.

    Attributes
    ----------
    real, predicted : ValueCounts
        Pixels of each grey level.
    sizes : DistributionComparison
        How far apart they are.
    quantiles : QuantilePairs
        The Q-Q plot.
    """

    real: ValueCounts
    predicted: ValueCounts
    sizes: DistributionComparison
    quantiles: QuantilePairs


@dataclass(frozen=True, eq=False)
class RegionComparison:
    """Comparisons of the regions that one pass gives.

    Attributes
    ----------
    tissue, frame, drawn : Comparison or None
        None for a region that was not looked at.
    """

    tissue: Comparison | None = None
    frame: Comparison | None = None
    drawn: Comparison | None = None


@dataclass(frozen=True, eq=False)
class PatchSource:
    """Channels of a slide whose patches are measured.

    Attributes
    ----------
    tumour : str
        What its violins are called.
    slide : Slide
        Its pixels.
    channels : tuple of int
        Which of its channels.
    panels : tuple of str
        In which panel each of them is shown.
    layer : weakref of napari.layers.Image
        A layer that shows the slide.
    colour : str or None
        Of a prediction, in all plots; None for what was imaged.
    finished : FinishedTiles or None
        Where alone a slide is measured, as its predictions are.
    """

    tumour: str
    slide: Slide
    channels: tuple[int, ...]
    panels: tuple[str, ...]
    layer: weakref.ref[Image]
    colour: str | None = None
    finished: FinishedTiles | None = None


@dataclass(frozen=True)
class PatchSettings:
    """How slides are cut into patches.

    Attributes
    ----------
    patch_px : int
        Edge of a patch.
    minimum_tissue : float
        Share of a patch that has to be tissue for it to count.
    """

    patch_px: int = PATCH_PX
    minimum_tissue: float = 0.5


def slide_part(real: ComparedChannel, predicted: ComparedChannel, tissue: RegionMask | None) -> Part:
    """Compare tissue and frame of a prediction with the real channel.

    Parameters
    ----------
    real, predicted : ComparedChannel
        Of one size.
    tissue : RegionMask or None
        Where it is known.

    Returns
    -------
    Part
        Its result is a `RegionComparison`.
    """
    key = "slide", *_which(real, predicted), None if tissue is None else tissue.digest

    def _begin(_: Mapping[Hashable, Any]) -> Steps:
        return _whole(real, predicted, tissue)

    return Part(key, f"Comparing {predicted.name}", 2.0 * _pixels(real.slide), _begin)


def region_part(real: ComparedChannel, predicted: ComparedChannel, drawn: Wanted, which: Hashable) -> Part:
    """Compare a drawn region of a prediction with the real channel.

    Parameters
    ----------
    real, predicted : ComparedChannel
        Of one size.
    drawn : DrawnShapes or DrawnLabels
        The regions, all together; a pixel counts once.
    which : hashable
        Tells the region from all others.

    Returns
    -------
    Part
        Its result is a `RegionComparison`.
    """

    def _begin(_: Mapping[Hashable, Any]) -> Steps:
        return _drawn(real, predicted, drawn)

    key = "region", *_which(real, predicted), which
    return Part(key, f"Comparing {predicted.name}", 2.0 * _pixels(real.slide), _begin)


def tissue_part(slide: Slide, nuclei: int) -> Part:
    """Find the tissue of a slide.

    Parameters
    ----------
    slide : Slide
        The slide.
    nuclei : int
        Its channel of nuclei.

    Returns
    -------
    Part
        Its result is a `TissueMask`.
    """

    def _begin(_: Mapping[Hashable, Any]) -> Steps:
        from napari_hrpn.analysis import tissue_mask

        return one_step(tissue_mask, slide, nuclei)

    return Part(("tissue", who(slide), nuclei), "Looking for tissue", 0.05 * _pixels(slide), _begin)


def patches_part(source: PatchSource, settings: PatchSettings, tissue: RegionMask | Part | None) -> Part:
    """Measure the patches of a slide.

    Parameters
    ----------
    source : PatchSource
        Its channels.
    settings : PatchSettings
        The grid.
    tissue : RegionMask or Part or None
        What counts, or the part that finds it; None for everything.

    Returns
    -------
    Part
        Its result is a `Heterogeneity`.
    """
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
) -> Generator[Any, None, RegionComparison]:
    from napari_hrpn.analysis import slide_pairs

    counts = yield from slide_pairs(real.slide, real.channel, predicted.slide, predicted.channel, tissue=tissue)
    inside = None if counts.tissue is None else _compared(counts.tissue)
    return RegionComparison(tissue=inside, frame=_compared(counts.frame))


def _drawn(real: ComparedChannel, predicted: ComparedChannel, drawn: Wanted) -> Generator[Any, None, RegionComparison]:
    counts = yield from region_pairs(real, predicted, found_region("", drawn, real.slide.shape))
    return RegionComparison(drawn=_compared(counts))


def _compared(counts: PairCounts) -> Comparison:
    from napari_hrpn.analysis import compare_distributions, quantile_pairs

    real, predicted = counts.real, counts.predicted
    return Comparison(real, predicted, compare_distributions(real, predicted), quantile_pairs(real, predicted))
