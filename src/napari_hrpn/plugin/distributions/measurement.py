"""Measurement of grey levels and patches of slides, as parts that run in a thread, and the rows of their tables."""

from __future__ import annotations

import math
import weakref
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.analysis import (
    MORAN,
    PATCH_PX,
    compare_distributions,
    quantile_pairs,
    slide_heterogeneity,
    slide_pairs,
    tissue_mask,
)
from napari_hrpn.plugin.distributions.violin_plot import Violin
from napari_hrpn.plugin.parts.compared_region import found_region, region_pairs
from napari_hrpn.plugin.parts.measure_bar import Part, step
from napari_hrpn.plugin.parts.selection import looks_predicted
from napari_hrpn.plugin.viewer import is_same_slide, layers_of, slide_title, slides_in
from napari_hrpn.slides import RegionMask, Slide, in_all

if TYPE_CHECKING:
    from collections.abc import Generator, Hashable, Mapping, Sequence

    from napari.layers import Image

    from napari_hrpn.analysis import DistributionComparison, Heterogeneity, PairCounts, QuantilePairs, ValueCounts
    from napari_hrpn.plugin.parts.compared_region import Wanted
    from napari_hrpn.plugin.parts.selection import ComparedChannel
    from napari_hrpn.slides import FinishedTiles

    Comparisons = Mapping[str, "Comparison | None"]
    from collections.abc import Mapping

    import napari

    from napari_hrpn.slides import Slide

DRAWN = "drawn"


@dataclass(frozen=True, eq=False)
class Comparison:
    """Grey levels of a real and a predicted image in a region, and distances of their distributions."""

    # pixels of each grey level
    real: ValueCounts
    predicted: ValueCounts
    sizes: DistributionComparison  # distances of the distributions
    quantiles: QuantilePairs


@dataclass(frozen=True, eq=False)
class PatchSource:
    """Channels of a slide whose patches are measured."""

    tumour: str  # name of its violins
    slide: Slide
    channels: tuple[int, ...]
    panels: tuple[str, ...]  # title of the panel of each channel
    layer: weakref.ref[Image]  # a layer that shows the slide
    colour: str | None = None  # plot colour of a prediction; None for imaged channels
    finished: FinishedTiles | None = None  # finished tiles of its predictions: only these are measured


def slide_part(real: ComparedChannel, predicted: ComparedChannel, tissue: RegionMask | None) -> Part:
    """Compare tissue and frame of a prediction with the real channel."""
    weight = 2.0 * math.prod(real.slide.shape)
    return step(f"Comparing {predicted.name}", weight, _tissue_and_frame, real, predicted, tissue)


def region_part(real: ComparedChannel, predicted: ComparedChannel, drawn: Wanted, which: Hashable) -> Part:
    """Compare a drawn region of a prediction with the real channel."""
    weight, key = 2.0 * math.prod(real.slide.shape), (DRAWN, real.key, predicted.key, which)
    return step(f"Comparing {predicted.name}", weight, _drawn_region, real, predicted, drawn, key=key)


def tissue_part(slide: Slide, nuclei: int) -> Part:
    """Find the tissue of a slide."""
    return step("Looking for tissue", 0.05 * math.prod(slide.shape), tissue_mask, slide, nuclei)


def patches_part(source: PatchSource, patch_px: int, minimum_tissue: float, tissue: RegionMask | Part | None) -> Part:
    """Measure the patches of a slide of which at least a share is tissue."""
    words, weight = f"Measuring patches of {source.tumour}", float(math.prod(source.slide.shape) * len(source.channels))
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


TOTAL, MEAN = "total", "mean"
QUANTITIES = {TOTAL: "total intensity, grey levels", MEAN: "mean intensity, grey levels"}
HETEROGENEITY = {
    "channel": ("Channel", "Panel of the violin"),
    "tumour": ("Tumour", "The violin"),
    "patches": ("n", "Patches with enough tissue"),
    "mean": ("Mean", "Mean of the patches' mean grey levels"),
    "cv": (
        "CV",
        "Coefficient of variation of the patches' means: standard deviation / mean. No background is subtracted",
    ),
    "gini": ("Gini", "0 if all patches are equal, near 1 if one has everything. No background is subtracted"),
    "moran_i_rook": (
        MORAN,
        "About 1 if patches that share a side (4 neighbours) are alike, -1 / (n - 1) in random order",
    ),
    "moran_p_rook": (
        "p",
        "Share of random orders of the patches whose Moran's I is as far from chance; for this slide only",
    ),
}
"""Columns of the table: key of `heterogeneity_records`, heading and tooltip."""

_Measured = tuple[PatchSource, "Heterogeneity"]


def patch_sources(
    viewer: napari.Viewer,
    place: ComparedChannel,
    predictions: Mapping[ComparedChannel, str],
    panel: str,
    *,
    others: bool,
) -> list[PatchSource]:
    """List the sources of the violins: a slide, its predictions with their colours, and other slides that are open."""
    finished = in_all(one.slide.finished for one in predictions)
    sources = [] if place in predictions else [replace(_source(place.slide, place.layer), finished=finished)]
    sources += [
        PatchSource(one.name, one.slide, (one.channel,), (panel,), weakref.ref(one.layer), colour)
        for one, colour in predictions.items()
    ]
    listed = [place.slide, *(one.slide for one in predictions)]
    for slide in slides_in(viewer) if others else ():
        layers = layers_of(viewer, slide)
        is_listed = any(slide is other or is_same_slide(slide, other) for other in listed)
        if not is_listed and not slide.is_brightfield and not all(looks_predicted(layer) for layer in layers):
            sources.append(_source(slide, layers[0]))
    return sources


def violins(measured: Sequence[_Measured], quantity: str) -> list[Violin]:
    """Make the violins of all channels."""
    shown = []
    for source, found in measured:
        values = found.totals if quantity == TOTAL else found.means
        cells = tuple((row, column) for row, column in np.argwhere(found.enough).tolist())
        shown += [
            Violin(panel, source, values[index][found.enough].astype(float), cells, found.patch_px)
            for index, panel in enumerate(source.panels)
        ]
    return shown


def heterogeneity_records(measured: Sequence[_Measured]) -> list[dict[str, Any]]:
    """Rows about the heterogeneity of each tumour, by channel."""
    records = [
        {
            "channel": panel,
            "tumour": source.tumour,
            "patches": one.n,
            "mean": one.mean,
            "sd": one.sd,
            "cv": one.cv,
            "gini": one.gini,
            **one.moran_columns,
            "moran_permutations": one.moran_rook.permutations,
            "reason": one.reasons,
        }
        for source, found in measured
        for panel, one in zip(source.panels, found.channels, strict=True)
    ]
    panels = list(dict.fromkeys(record["channel"] for record in records))
    return sorted(records, key=lambda record: panels.index(record["channel"]))


def patch_records(measured: Sequence[_Measured]) -> list[dict[str, object]]:
    """Rows for a file, one per channel and patch with enough tissue."""
    return [
        {
            "channel": panel,
            "tumour": source.tumour,
            "y_px": row * found.patch_px,
            "x_px": column * found.patch_px,
            "patch_px": found.patch_px,
            "pixels": int(found.pixels[row, column]),
            "tissue_fraction": float(found.tissue_fraction[row, column]),
            "total": found.totals[index, row, column].item(),
            "mean": float(found.means[index, row, column]),
        }
        for source, found in measured
        for index, panel in enumerate(source.panels)
        for row, column in np.argwhere(found.enough).tolist()
    ]


def room_words(shape: tuple[int, int], side_px: int) -> str:
    """Note on the number of patches that fit on a slide, if they are not as large as the paper's."""
    height, width = shape
    if side_px == PATCH_PX:
        return ""
    many, few = ((height // side) * (width // side) for side in (side_px, PATCH_PX))
    return (
        f"On this slide of {width} x {height} px there is room for {many} whole patches of {side_px} px, and for "
        f"{few} of the paper's {PATCH_PX} px."
    )


def _source(slide: Slide, layer: Image) -> PatchSource:
    names = slide.channel_names
    return PatchSource(slide_title(slide), slide, tuple(range(len(names))), names, weakref.ref(layer))
