"""Region in which a pair is compared: the frame, the tissue, or drawn regions; the same area at every level."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from napari_hrpn.plugin.viewer.drawn_regions import Drawn
from napari_hrpn.slides import Annotation, RegionMask

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_hrpn.analysis import PairCounts
    from napari_hrpn.core import Box, Progress
    from napari_hrpn.plugin.parts.selection import ComparedChannel

Wanted: TypeAlias = "RegionMask | Drawn | None"
Compared: TypeAlias = "RegionMask | Annotation"


def found_region(title: str, wanted: Wanted, shape: tuple[int, int]) -> Compared:
    """Make the region of a slide that the user chose. It may take time: not for the GUI thread."""
    region = wanted.region() if isinstance(wanted, Drawn) else wanted
    return replace(region or RegionMask.whole(shape), name=title)


def region_pairs(
    real: ComparedChannel, predicted: ComparedChannel, region: Compared
) -> Generator[Progress, None, PairCounts]:
    """Count the pixel pairs of a region at full resolution. It takes time: not for the GUI thread."""
    from napari_hrpn.analysis import slide_pairs

    if isinstance(region, Annotation):
        box = region.bounds(real.slide.shape)
        # only the box around an outline is read
        slides = [channel.slide.cut(*box.slices) for channel in (real, predicted)]
        rois = (_moved(region, box),)
        pairs = yield from slide_pairs(slides[0], real.channel, slides[1], predicted.channel, rois=rois)
        return pairs.rois[0]
    pairs = yield from slide_pairs(real.slide, real.channel, predicted.slide, predicted.channel, tissue=region)
    assert pairs.tissue is not None
    return pairs.tissue


def _moved(annotation: Annotation, box: Box) -> Annotation:
    rings = tuple(tuple(ring - (box.y0, box.x0) for ring in polygon) for polygon in annotation.rings)
    return replace(annotation, rings=rings)
