"""What layers of shapes and of labels hold, in pixels of a slide that another layer shows.

Points are counted from the outer corner of the slide; layers are only looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.slides import SlideError

if TYPE_CHECKING:
    from collections.abc import Container

    import napari
    from napari.layers import Image, Labels, Layer, Shapes
    from numpy.typing import NDArray

_ELLIPSE_POINTS = 180
# pixels are counted from their centres in napari, from the outer corner of the slide in a file
HALF_A_PIXEL = 0.5
_AREAS = ("rectangle", "ellipse", "polygon")
EXCLUDE = "exclude"


@dataclass(frozen=True, eq=False)
class _ShapeOnSlide:
    """A shape, in pixels of a slide."""

    index: int  # Its number in its layer
    kind: str  # Such as "rectangle" or "path"
    ring: NDArray[np.float64]  # Its outline, y and x
    excludes: bool  # Whether its layer's name or a feature says so

    @property
    def is_line(self) -> bool:
        """Whether it is of a kind that has no area."""
        return self.kind not in _AREAS

    @property
    def has_area(self) -> bool:
        """Whether it encloses anything; what a click without a drag leaves does not."""
        return not self.is_line and len(self.ring) > 2 and bool(np.ptp(self.ring, axis=0).prod() > 0)


@dataclass(frozen=True, eq=False)
class LabelsOnSlide:
    """Labels, and where they lie on a slide."""

    name: str
    labels: Any  # Those of the layer at full size, no copy
    matrix: NDArray[np.float64]  # From pixels of the slide to pixels of the labels, with `offset`
    offset: NDArray[np.float64]  # Label pixel at the centre of the slide's first pixel


def shapes_on_slide(
    layer: Shapes, slide_layer: Image, viewer: napari.Viewer, only: Container[int] | None = None
) -> list[_ShapeOnSlide]:
    """Shapes in pixels of a slide."""
    matrix, offset = _between(layer, slide_layer, viewer)
    found = []
    for index, (vertices, kind) in enumerate(zip(layer.data, layer.shape_type, strict=True)):
        if only is None or index in only:
            ring = _outline(vertices[:, -2:], kind) @ matrix.T + offset + HALF_A_PIXEL
            found.append(_ShapeOnSlide(index, kind, ring, _excludes(layer, index)))
    return found


def labels_on_slide(layer: Labels, slide_layer: Image, viewer: napari.Viewer) -> LabelsOnSlide:
    """Labels and where they lie on a slide."""
    if layer.ndim != 2:
        raise SlideError(
            f"The labels {layer.name!r} have {layer.ndim} dimensions, expected 2: split them with Layers > Split Stack."
        )
    matrix, offset = _between(layer, slide_layer, viewer)
    inverse = np.asarray(np.linalg.inv(matrix), np.float64)
    return LabelsOnSlide(layer.name, layer.data[0] if layer.multiscale else layer.data, inverse, -inverse @ offset)


def points_in_layer(
    points: NDArray[np.float64], layer: Layer, slide_layer: Image, viewer: napari.Viewer
) -> NDArray[np.float64]:
    """Points of a slide as points of a layer: the way back."""
    matrix, offset = _between(layer, slide_layer, viewer)
    return np.asarray((points - HALF_A_PIXEL - offset) @ np.linalg.inv(matrix).T)


def _between(
    layer: Layer, slide_layer: Image, viewer: napari.Viewer
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Matrix and offset that take (y, x) of a layer's data to pixels of the slide."""
    # napari draws lengths in one unit, unless some layer has no length; its data_to_world knows nothing of units
    factors = np.ones(2)
    if viewer.layers.units is not None:
        pairs = zip(layer.units[-2:], slide_layer.units[-2:], strict=True)
        factors = np.array([float((1 * own).to(other).magnitude) for own, other in pairs])

    def place(y: float, x: float) -> NDArray[np.float64]:
        world = np.asarray(layer.data_to_world((y, x)))[-2:] * factors
        return np.asarray(slide_layer.world_to_data(world))[-2:]

    offset = place(0, 0)
    matrix = np.stack([place(1, 0) - offset, place(0, 1) - offset], axis=1)
    return matrix, offset


def _outline(vertices: NDArray[np.float64], kind: str) -> NDArray[np.float64]:
    if kind != "ellipse":
        return np.asarray(vertices, float)
    # four corners of the rectangle around it, which may be turned
    centre, down, across = vertices.mean(axis=0), (vertices[3] - vertices[0]) / 2, (vertices[1] - vertices[0]) / 2
    angles = np.linspace(0, 2 * np.pi, _ELLIPSE_POINTS, endpoint=False)[:, None]
    return np.asarray(centre + np.cos(angles) * down + np.sin(angles) * across)


def _excludes(layer: Shapes, index: int) -> bool:
    told = [layer.name, *(value for value in layer.features.iloc[index] if isinstance(value, str))]
    return any(EXCLUDE in text.casefold() for text in told)
