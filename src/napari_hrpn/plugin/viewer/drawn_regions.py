"""Regions drawn in a Shapes or Labels layer, in pixels of a slide, for measurements and files.

They are copied from the layer in the GUI thread; masks and files are made of the copy, in any thread.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from napari_hrpn.plugin.viewer.layer_coordinates import labels_on_slide, shapes_on_slide
from napari_hrpn.plugin.viewer.open_slides import slide_title
from napari_hrpn.slides import Annotation, RegionMask, SlideError, region_mask, write_geojson
from napari_hrpn.slides.annotation_properties import is_excluding
from napari_hrpn.slides.region_mask import coarse_grid, filled

if TYPE_CHECKING:
    from pathlib import Path

    from napari.components import ViewerModel
    from napari.layers import Image, Labels, Shapes

    from napari_hrpn.slides import LabelRegion, Slide

_LARGEST_LABELS_PX = 8192


@dataclass(frozen=True, eq=False)
class DrawnShapes:
    """Outlines drawn on a slide."""

    title: str
    shape: tuple[int, int]  # of the slide
    annotations: tuple[Annotation, ...]  # those that meet the slide; none means everywhere

    def region(self) -> RegionMask | Annotation | None:
        """Unite them to one region, without those that are excluded; None means everywhere."""
        if not self.annotations:
            return None
        if any(annotation.kind == "exclude" for annotation in self.annotations):
            return region_mask(self.annotations, self.shape, source=self.title)
        return Annotation(self.title, "include", tuple(polygon for one in self.annotations for polygon in one.rings))

    def write(self, folder: Path) -> Path | None:
        """Write them to a file named by the slide and a hash of the outlines."""
        if not self.annotations:
            return None
        content = [
            part
            for annotation in self.annotations
            for polygon in annotation.rings
            for ring in polygon
            for part in (annotation.kind.encode(), annotation.name.encode(), ring.tobytes())
        ]
        path = folder / f"{_file_name(self.title, content)}.geojson"
        if not path.exists():
            write_geojson(self.annotations, path)
        return path


@dataclass(frozen=True, eq=False)
class _DrawnLabels:
    """Labels painted on a slide; all labels but 0 are the region, or what it excludes if the layer's name says so."""

    slide: Slide
    drawn: LabelRegion
    excludes: bool

    def region(self) -> RegionMask:
        """Make one mask of the slide."""
        drawn = self.drawn
        # labels much finer than the mask are subsampled
        step = max(1, max(drawn.labels.shape) // _LARGEST_LABELS_PX)
        painted = replace(
            drawn, labels=drawn.labels[::step, ::step], matrix=drawn.matrix / step, offset=drawn.offset / step
        )
        grid = coarse_grid(self.slide.shape)
        inside = painted.at_level(*grid)
        if not inside.any():
            raise SlideError(
                f"No label of {drawn.name!r} lies on {slide_title(self.slide)}, expected one: paint the regions on it."
            )
        return filled(RegionMask(~inside if self.excludes else inside, grid[2]), repr(drawn.name))

    def write(self, folder: Path) -> Path:
        """Write them to an image named by the slide and a hash of the mask."""
        import tifffile

        from napari_hrpn.slides.writers.output_path import partial_output

        inside = self.region().mask
        path = folder / f"{_file_name(slide_title(self.slide), [repr(inside.shape).encode(), inside.tobytes()])}.tif"
        if not path.exists():
            with partial_output(path, self.slide.source, overwrite=False) as partial:
                tifffile.imwrite(partial, inside.astype(np.uint8) * 255, compression="zlib", tile=(256, 256))
        return path


Drawn: TypeAlias = DrawnShapes | _DrawnLabels


def drawn_regions(layer: Shapes | Labels, slide: Slide, slide_layer: Image, viewer: ViewerModel) -> Drawn:
    """Copy the regions of a layer, in pixels of a slide."""
    from napari.layers import Labels

    if isinstance(layer, Labels):
        return _DrawnLabels(slide, labels_on_slide(layer, slide_layer, viewer), is_excluding(layer.name, is_drawn=True))
    regions, lines = shapes_on_slide(layer, slide_layer, viewer)
    if lines:
        raise SlideError(
            f"{layer.name!r} holds a {lines[0]}, which has no area, expected rectangles, ellipses and polygons: "
            "delete it, or draw a polygon instead."
        )
    annotations = [replace(region, name=f"{layer.name} {index + 1}") for index, region in regions.items()]
    on_slide = tuple(annotation for annotation in annotations if annotation.bounds(slide.shape).area)
    # if all shapes exclude and lie on another slide, the whole of this slide is the region
    are_all_excluded = bool(annotations) and all(annotation.kind == "exclude" for annotation in annotations)
    if not are_all_excluded and all(annotation.kind == "exclude" for annotation in on_slide):
        raise SlideError(
            f"No shape of {layer.name!r} lies on {slide_title(slide)}, expected at least one: draw around the "
            "regions to use."
        )
    return DrawnShapes(slide_title(slide), slide.shape, on_slide)


def _file_name(title: str, content: list[bytes]) -> str:
    words = re.sub(r"[^\w.-]+", "_", title)
    return f"{words}-{hashlib.sha256(b'|'.join(content)).hexdigest()[:8]}"
