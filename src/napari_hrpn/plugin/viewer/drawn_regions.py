"""Drawn regions as a file in pixels of a slide: shapes as GeoJSON, labels as a coarse image.

What a layer holds is taken over in the GUI thread; writing it touches no layer any more.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from napari_hrpn.plugin.viewer.layer_coordinates import (
    EXCLUDE,
    HALF_A_PIXEL,
    LabelsOnSlide,
    labels_on_slide,
    shapes_on_slide,
)
from napari_hrpn.plugin.viewer.open_slides import slide_title
from napari_hrpn.slides import Annotation, SlideError, write_geojson

if TYPE_CHECKING:
    from pathlib import Path

    from napari.components import ViewerModel
    from napari.layers import Image, Labels, Shapes
    from numpy.typing import NDArray

    from napari_hrpn.slides import Slide

_LARGEST_LABELS_PX = 4096


@dataclass(frozen=True, eq=False)
class DrawnShapes:
    """Outlines on a slide."""

    title: str
    annotations: tuple[Annotation, ...]  # those that meet the slide; none means everywhere

    def write(self, folder: Path) -> Path | None:
        """Write them to a file that is called after the slide and after what they are."""
        if not self.annotations:
            return None
        content = [
            part
            for annotation in self.annotations
            for ring in annotation.rings[0]
            for part in (annotation.kind.encode(), annotation.name.encode(), ring.tobytes())
        ]
        path = folder / f"{_file_name(self.title, content)}.geojson"
        if not path.exists():
            write_geojson(self.annotations, path)
        return path


@dataclass(frozen=True, eq=False)
class DrawnLabels:
    """Labels on a slide; what is not 0 is inside, or outside if their layer's name says so."""

    slide: Slide
    drawn: LabelsOnSlide
    excludes: bool

    def write(self, folder: Path) -> Path:
        """Write them to a file that is called after the slide and after what they are."""
        inside = self._on_slide()
        path = folder / f"{_file_name(slide_title(self.slide), [repr(inside.shape).encode(), inside.tobytes()])}.tif"
        if not path.exists():
            self._write_mask(inside, path)
        return path

    def _on_slide(self) -> NDArray[np.bool_]:
        from scipy.ndimage import affine_transform

        name, labels, matrix, offset = self.drawn
        shape = np.array(self.slide.shape)
        coarse = np.clip(np.ceil(shape * min(1.0, _LARGEST_LABELS_PX / shape.max())), 1, shape).astype(int)
        # of labels that are much finer, every so many are enough
        step = max(1, max(labels.shape) // (2 * _LARGEST_LABELS_PX))
        painted = (np.asarray(labels[::step, ::step]) != 0).astype(np.uint8)
        factor = shape / coarse
        first = matrix @ (HALF_A_PIXEL * factor - HALF_A_PIXEL) + offset
        inside = affine_transform(
            painted, matrix * factor / step, first / step, tuple(coarse), order=0, mode="grid-constant"
        ).astype(bool)
        if not inside.any():
            raise SlideError(
                f"No label of {name!r} lies on {slide_title(self.slide)}, expected some: paint the regions on it."
            )
        return np.asarray(~inside if self.excludes else inside)

    def _write_mask(self, inside: NDArray[np.bool_], path: Path) -> None:
        import tifffile

        from napari_hrpn.slides.writers.output_path import partial_output

        with partial_output(path, self.slide.source, overwrite=False) as partial:
            tifffile.imwrite(partial, inside.astype(np.uint8) * 255, compression="zlib", tile=(256, 256))


Drawn: TypeAlias = DrawnShapes | DrawnLabels


def drawn_regions(layer: Shapes | Labels, slide: Slide, slide_layer: Image, viewer: ViewerModel) -> Drawn:
    """What a layer holds, in pixels of a slide."""
    from napari.layers import Labels

    if isinstance(layer, Labels):
        return DrawnLabels(slide, labels_on_slide(layer, slide_layer, viewer), EXCLUDE in layer.name.casefold())
    shapes = shapes_on_slide(layer, slide_layer, viewer)
    line = next((shape for shape in shapes if shape.is_line), None)
    if line is not None:
        raise SlideError(
            f"{layer.name!r} holds a {line.kind}, which has no area, expected rectangles, ellipses and polygons: "
            "delete it, or draw a polygon instead."
        )
    annotations = [
        Annotation(f"{layer.name} {shape.index + 1}", "exclude" if shape.excludes else "include", ((shape.ring,),))
        for shape in shapes
        if shape.has_area
    ]
    here = tuple(annotation for annotation in annotations if _meets(annotation, slide))
    # what is left out of another slide leaves all of this one
    are_all_excluded = bool(annotations) and all(one.kind == "exclude" for one in annotations)
    if not are_all_excluded and all(one.kind == "exclude" for one in here):
        raise SlideError(
            f"No shape of {layer.name!r} lies on {slide_title(slide)}, expected one at least: draw around the "
            "regions to use."
        )
    return DrawnShapes(slide_title(slide), here)


def _meets(annotation: Annotation, slide: Slide) -> bool:
    (ring,) = annotation.rings[0]
    return bool((ring.max(axis=0) > 0).all() and (ring.min(axis=0) < slide.shape).all())


def _file_name(title: str, content: list[bytes]) -> str:
    words = re.sub(r"[^\w.-]+", "_", title)
    return f"{words}-{hashlib.sha256(b'|'.join(content)).hexdigest()[:8]}"
