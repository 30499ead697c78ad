"""Region in which a pair is compared: the frame, the tissue, or what was drawn; the same part at every level."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from napari_hrpn.core import Box
from napari_hrpn.plugin.viewer.drawn_regions import Drawn
from napari_hrpn.slides import Annotation

if TYPE_CHECKING:
    from collections.abc import Generator, Hashable

    import numpy as np
    from numpy.typing import NDArray

    from napari_hrpn.analysis import PairCounts
    from napari_hrpn.core import Progress
    from napari_hrpn.plugin.parts.selection import ComparedChannel
    from napari_hrpn.slides import RegionMask

Wanted: TypeAlias = "RegionMask | Drawn | None"


@dataclass(frozen=True, eq=False)
class ComparedRegion:
    """A part of a slide, and what to call it."""

    title: str
    part: RegionMask | Annotation | None  # None for the whole frame

    @property
    def key(self) -> Hashable:
        """Another one for another part, whatever it is called."""
        return "frame" if self.part is None else self.part.digest

    def bounds(self, shape: tuple[int, int]) -> Box:
        """The smallest rectangle of full-resolution pixels that holds it."""
        return Box(0, shape[0], 0, shape[1]) if self.part is None else self.part.bounds(shape)

    def inside(self, box: Box, downsample: tuple[float, float]) -> NDArray[np.bool_] | None:
        """Which pixels of a level are in it; at full resolution, the very pixels that are counted there."""
        if self.part is None:
            return None
        if max(downsample) == 1:
            return self.part.within(*box.slices)
        return self.part.at_level(*box.slices, downsample)


def found_region(title: str, wanted: Wanted) -> ComparedRegion:
    """Make a region of what was chosen. It may take time: not for the GUI thread."""
    return ComparedRegion(title, wanted.region() if isinstance(wanted, Drawn) else wanted)


def region_pairs(
    real: ComparedChannel, predicted: ComparedChannel, region: ComparedRegion
) -> Generator[Progress, None, PairCounts]:
    """Count the pixel pairs of a region at full resolution. It takes time: not for the GUI thread."""
    from napari_hrpn.analysis import slide_pairs

    part = region.part
    if isinstance(part, Annotation):
        box = region.bounds(real.slide.shape)
        slides = [one.slide.cut(*box.slices) for one in (real, predicted)]
        rois = (_moved(part, box),)
        pairs = yield from slide_pairs(slides[0], real.channel, slides[1], predicted.channel, rois=rois)
        return pairs.rois[0]
    pairs = yield from slide_pairs(real.slide, real.channel, predicted.slide, predicted.channel, tissue=part)
    return pairs.frame if pairs.tissue is None else pairs.tissue


def _moved(annotation: Annotation, box: Box) -> Annotation:
    rings = tuple(tuple(ring - (box.y0, box.x0) for ring in polygon) for polygon in annotation.rings)
    return replace(annotation, rings=rings)
