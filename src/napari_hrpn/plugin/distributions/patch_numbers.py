"""Violins, and rows for tables, from the patches of slides; arranges numbers and computes none."""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.analysis import MORAN
from napari_hrpn.core import Box
from napari_hrpn.plugin.distributions.violin_plot import Violin
from napari_hrpn.plugin.distributions.work import PatchSettings, PatchSource
from napari_hrpn.plugin.parts.numbers_table import count
from napari_hrpn.plugin.parts.selection import looks_predicted
from napari_hrpn.plugin.viewer import is_same_slide, layers_of, slide_title, slides_in
from napari_hrpn.reports import number
from napari_hrpn.slides import in_all

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import napari
    from napari.layers import Image

    from napari_hrpn.analysis import ChannelHeterogeneity, Heterogeneity
    from napari_hrpn.plugin.parts.selection import ComparedChannel
    from napari_hrpn.slides import Slide

TOTAL, MEAN = "total", "mean"
QUANTITIES = {TOTAL: "total intensity, grey levels", MEAN: "mean intensity, grey levels"}
HEADINGS = {
    "Channel": "Panel of the violin",
    "Tumour": "The violin",
    "n": "Patches with enough tissue",
    "Mean": "Mean of the patches' mean grey levels",
    "CV": "Coefficient of variation of the patches' means: standard deviation / mean. No background is taken off",
    "Gini": "0 where all patches are equal, near 1 where one has everything. No background is taken off",
    MORAN: "About 1 where patches that share an edge (4 neighbours) are alike, -1 / (n - 1) for those in random order",
    "p": "Share of random orders of the patches with a Moran's I as far from chance; of this slide alone",
}

_Measured = tuple[PatchSource, "Heterogeneity"]


def patch_sources(
    viewer: napari.Viewer,
    place: ComparedChannel,
    predictions: Mapping[ComparedChannel, str],
    panel: str,
    *,
    others: bool,
) -> list[PatchSource]:
    """What violins are to be made of."""
    is_alone = place in predictions
    finished = in_all(one.slide.finished for one in predictions)
    own = _source(slide_title(place.slide), place.slide, place.layer)
    found = [] if is_alone else [replace(own, finished=finished)]
    found += [
        PatchSource(one.name, one.slide, (one.channel,), (panel,), weakref.ref(one.layer), colour)
        for one, colour in predictions.items()
    ]
    taken = [place.slide, *(one.slide for one in predictions)]
    for slide in slides_in(viewer) if others else ():
        layers = layers_of(viewer, slide)
        is_taken = any(slide is one or is_same_slide(slide, one) for one in taken)
        if not is_taken and not slide.is_brightfield and not all(looks_predicted(layer) for layer in layers):
            found.append(_source(slide_title(slide), slide, layers[0]))
    return found


def violins(measured: Sequence[_Measured], quantity: str) -> list[Violin]:
    """Violins of all channels."""
    shown = []
    for source, found in measured:
        values = found.totals if quantity == TOTAL else found.means
        boxes = _boxes(source, found)
        places = {(row, column): i for i, (row, column) in enumerate(np.argwhere(found.enough).tolist())}
        shown += [
            Violin(panel, source.tumour, values[index][found.enough].astype(float), boxes, places, source)
            for index, panel in enumerate(source.panels)
        ]
    return shown


def heterogeneity_rows(measured: Sequence[_Measured]) -> tuple[list[list[str]], list[str]]:
    """Rows for a table under `HEADINGS`, and why numbers are missing."""
    found = _by_panel(measured)
    rows = [
        [
            panel,
            source.tumour,
            count(one.n),
            number(one.mean),
            number(one.cv),
            number(one.gini),
            number(one.moran_rook.i),
            number(one.moran_rook.p_value),
        ]
        for panel, source, one in found
    ]
    return rows, [one.reasons for _, _, one in found]


def heterogeneity_records(measured: Sequence[_Measured]) -> list[dict[str, object]]:
    """The same with all digits, for a file."""
    return [
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
        for panel, source, one in _by_panel(measured)
    ]


def patch_records(measured: Sequence[_Measured]) -> list[dict[str, object]]:
    """A row per patch with enough tissue and channel, for a file."""
    return [
        {
            "channel": panel,
            "tumour": source.tumour,
            "y_px": int(row) * found.patch_px,
            "x_px": int(column) * found.patch_px,
            "patch_px": found.patch_px,
            "pixels": int(found.pixels[row, column]),
            "tissue_fraction": float(found.tissue_fraction[row, column]),
            "total": found.totals[index, row, column].item(),
            "mean": float(found.means[index, row, column]),
        }
        for source, found in measured
        for index, panel in enumerate(source.panels)
        for row, column in np.argwhere(found.enough)
    ]


def room_words(shape: tuple[int, int], side_px: int) -> str:
    """How many patches a slide has room for."""
    height, width = shape
    paper_px = PatchSettings().patch_px
    if side_px == paper_px:
        return ""
    count, few = ((height // edge) * (width // edge) for edge in (side_px, paper_px))
    return (
        f"On this slide of {width} x {height} px there is room for {count} whole patches of {side_px} px, and for "
        f"{few} of the paper's {paper_px} px."
    )


def _source(tumour: str, slide: Slide, layer: Image) -> PatchSource:
    names = slide.channel_names
    return PatchSource(tumour, slide, tuple(range(len(names))), names, weakref.ref(layer))


def _boxes(source: PatchSource, found: Heterogeneity) -> tuple[Box, ...]:
    side = found.patch_px
    height, width = source.slide.shape
    return tuple(
        Box(row * side, min((row + 1) * side, height), column * side, min((column + 1) * side, width))
        for row, column in np.argwhere(found.enough).tolist()
    )


def _by_panel(measured: Sequence[_Measured]) -> list[tuple[str, PatchSource, ChannelHeterogeneity]]:
    found = [
        (panel, source, one)
        for source, numbers in measured
        for panel, one in zip(source.panels, numbers.channels, strict=True)
    ]
    panels = list(dict.fromkeys(panel for panel, _, _ in found))
    return sorted(found, key=lambda entry: panels.index(entry[0]))
