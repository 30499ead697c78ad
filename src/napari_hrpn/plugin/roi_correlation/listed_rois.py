"""Regions out of a layer that the user drew, in pixels of the real slide; the layer is only looked at."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_hrpn.analysis import Roi, labelled_rois, outlined, roi_digest
from napari_hrpn.plugin.viewer.layer_coordinates import LabelsOnSlide, shapes_on_slide
from napari_hrpn.slides import Annotation, included

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    import napari
    from napari.layers import Image, Layer, Shapes

NAME = "name"
"""The feature of a shape that says what it is called."""


@dataclass(frozen=True, eq=False)
class ListedRoi:
    """A region and where it comes from."""

    index: int  # Number of the shape in its layer, or value of the label
    name: str
    roi: Roi  # In full-resolution pixels of the real slide
    digest: str  # Fingerprint of its place
    layer: Layer | None = None

    def is_at(self, other: ListedRoi | None) -> bool:
        """Whether another one has its place in its layer."""
        return other is not None and (self.layer, self.index) == (other.layer, other.index)

    def of(self, layer: Layer, prefix: str = "") -> ListedRoi:
        """The same as a region of a layer, whose name tells layers apart."""
        name = prefix + self.name
        return replace(self, layer=layer, name=name, roi=replace(self.roi, name=name))


@dataclass(frozen=True, eq=False)
class RoiList:
    """What a layer holds."""

    rois: tuple[ListedRoi, ...] = ()  # In the order of the layer
    note: str = ""  # What was left out and why; empty where nothing was
    taken: tuple[Annotation, ...] = ()  # What is taken away from all of them


def shape_rois(
    layer: Shapes,
    image: Image,
    viewer: napari.Viewer,
    only: Container[int] | None = None,
    taken: Sequence[Annotation] = (),
) -> RoiList:
    """Regions of shapes."""
    shapes = shapes_on_slide(layer, image, viewer, only)
    areas = [shape for shape in shapes if shape.has_area]
    taken = (*taken, *(outlined(Annotation("", "exclude", ((shape.ring,),))) for shape in areas if shape.excludes))
    kept = [shape.index for shape in areas if not shape.excludes]
    drawn = [
        Annotation(_roi_name(layer, shape.index), "include", ((shape.ring,),)) for shape in areas if not shape.excludes
    ]
    found = tuple(map(_listed, kept, included([*drawn, *taken])))
    return RoiList(found, _left_out(sum(shape.is_line for shape in shapes), len(taken)), taken)


def label_rois(found: LabelsOnSlide) -> RoiList:
    """Regions of labels, one for each value but 0; for any thread."""
    rois = labelled_rois(found.labels, found.matrix, found.offset)
    return RoiList(tuple(_listed(value, roi) for value, roi in rois.items()))


def _roi_name(layer: Shapes, index: int) -> str:
    """What a shape is called."""
    told = layer.features[NAME].iloc[index] if NAME in layer.features else None
    return told if isinstance(told, str) and told else f"ROI {index + 1}"


def _listed(index: int, roi: Roi) -> ListedRoi:
    return ListedRoi(index, roi.name, roi, roi_digest(roi))


def _left_out(lines: int, excluding: int) -> str:
    told = []
    if lines:
        told.append(f"Left out: {lines} {'path or line has' if lines == 1 else 'paths or lines have'} no area.")
    if excluding:
        told.append(
            f"{excluding} {'shape is' if excluding == 1 else 'shapes are'} taken away from the others of the layer."
        )
    return " ".join(told)
