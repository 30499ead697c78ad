"""Region in which a pair is compared: the frame, the tissue, or what was drawn; the same part at every level."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from napari_hrpn.analysis import roi_bounds, roi_mask
from napari_hrpn.core import Box
from napari_hrpn.plugin.viewer.drawn_regions import DrawnLabels, DrawnShapes
from napari_hrpn.slides import Annotation, RegionMask, read_regions, region_mask

if TYPE_CHECKING:
    from collections.abc import Generator, Hashable

    from numpy.typing import NDArray

    from napari_hrpn.analysis import PairCounts
    from napari_hrpn.core import Progress
    from napari_hrpn.plugin.parts.selection import ComparedChannel
    from napari_hrpn.plugin.viewer.drawn_regions import Drawn

_Part: TypeAlias = RegionMask | Annotation | None
Wanted: TypeAlias = "RegionMask | Drawn | None"


@dataclass(frozen=True, eq=False)
class Region:
    """A part of a slide."""

    title: str  # What to call it
    part: _Part  # None for the whole frame

    @property
    def key(self) -> Hashable:
        """Another one for another part, whatever it is called."""
        if self.part is None:
            return "frame"
        if isinstance(self.part, RegionMask):
            return self.part.digest
        content = b"|".join(ring.tobytes() for rings in self.part.rings for ring in rings)
        return hashlib.sha256(content).hexdigest()

    def bounds(self, shape: tuple[int, int]) -> Box:
        """The smallest rectangle of full-resolution pixels that holds it."""
        if self.part is None:
            return Box(0, shape[0], 0, shape[1])
        rows, columns = roi_bounds(self.part, shape)
        return Box(rows.start, rows.stop, columns.start, columns.stop)

    def inside(self, box: Box, downsample: tuple[float, float]) -> NDArray[np.bool_] | None:
        """Which pixels of a level are in it."""
        rows, columns = slice(box.y0, box.y1), slice(box.x0, box.x1)
        if self.part is None:
            return None
        if isinstance(self.part, RegionMask):
            steps = self.part.downsample[0] / downsample[0], self.part.downsample[1] / downsample[1]
            if min(steps) >= 1:
                # at full resolution, the very pixels that are counted there
                return RegionMask(self.part.mask, steps).within(rows, columns)
            return _at_centres(self.part.mask, steps, (rows, columns))
        return roi_mask(self.part, rows, columns, downsample)


def found_region(title: str, wanted: Wanted, shape: tuple[int, int]) -> Region:
    """Make a region of what was chosen. It may take time: not for the GUI thread."""
    if isinstance(wanted, DrawnShapes):
        return Region(title, _of_shapes(wanted, shape))
    if isinstance(wanted, DrawnLabels):
        # the way that labels go to a file is the one that knows where they lie
        with TemporaryDirectory() as folder:
            return Region(title, read_regions(wanted.write(Path(folder)), shape))
    return Region(title, wanted)


def region_pairs(
    real: ComparedChannel, predicted: ComparedChannel, region: Region
) -> Generator[Progress, None, PairCounts]:
    """Count the pixel pairs of a region at full resolution. It takes time: not for the GUI thread."""
    from napari_hrpn.analysis import slide_pairs

    part = region.part
    if isinstance(part, Annotation):
        box = region.bounds(real.slide.shape)
        slides = [one.slide.cut(slice(box.y0, box.y1), slice(box.x0, box.x1)) for one in (real, predicted)]
        rois = (_moved(part, box),)
        pairs = yield from slide_pairs(slides[0], real.channel, slides[1], predicted.channel, rois=rois)
        return pairs.rois[0]
    pairs = yield from slide_pairs(real.slide, real.channel, predicted.slide, predicted.channel, tissue=part)
    return pairs.frame if pairs.tissue is None else pairs.tissue


def _at_centres(mask: NDArray[np.bool_], steps: tuple[float, float], sides: tuple[slice, slice]) -> NDArray[np.bool_]:
    """Pixels of a finer mask at the centres of those of a level; `steps` of these are one of the mask."""
    y, x = (
        np.clip((np.arange(side.start, side.stop) + 0.5) / step, 0, size - 1).astype(np.intp)
        for side, step, size in zip(sides, steps, mask.shape, strict=True)
    )
    return mask[np.ix_(y, x)]


def _moved(annotation: Annotation, box: Box) -> Annotation:
    rings = tuple(tuple(ring - (box.y0, box.x0) for ring in polygon) for polygon in annotation.rings)
    return replace(annotation, rings=rings)


def _of_shapes(drawn: DrawnShapes, shape: tuple[int, int]) -> _Part:
    if not drawn.annotations:
        return None
    if any(annotation.kind == "exclude" for annotation in drawn.annotations):
        return region_mask(drawn.annotations, shape, source=drawn.title)
    return Annotation(drawn.title, "include", tuple(rings for one in drawn.annotations for rings in one.rings))
