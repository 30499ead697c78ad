"""New regions in the viewer: added to the user's shapes or in a layer of their own; what is there is never replaced."""

from __future__ import annotations

import warnings
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Shapes

from napari_hrpn.analysis import one_stroke, roi_bounds
from napari_hrpn.core import Box
from napari_hrpn.plugin.roi_correlation.listed_rois import NAME
from napari_hrpn.plugin.viewer import placement
from napari_hrpn.plugin.viewer.layer_coordinates import EXCLUDE, HALF_A_PIXEL, points_in_layer
from napari_hrpn.slides import Annotation, SlideError, included, read_geojson

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import napari
    from napari.layers import Image

    from napari_hrpn.analysis import Roi

_EDGE, _FACE = "#ffd400", [1.0, 0.83, 0.0, 0.06]
_EDGE_PER_SIDE = 1 / 400
_TEXT_POINTS = 9
_NUMBERED = "ROI "
_SQUARE = 1e-6


def new_layer(
    viewer: napari.Viewer,
    image: Image,
    shape: tuple[int, int],
    title: str = "ROIs",
    rings: Sequence[Any] = (),
    *,
    names: Sequence[str] = (),
    kind: str = "rectangle",
) -> Shapes:
    """Add a layer of shapes that lies on the real layer."""
    return viewer.add_shapes(
        [ring - HALF_A_PIXEL for ring in rings] or None,
        ndim=2,
        shape_type=kind,
        features={NAME: np.array(list(names), object)},
        feature_defaults={NAME: f"{_NUMBERED}{len(rings) + 1}"},
        text={"string": f"{{{NAME}}}", "anchor": "upper_left", "size": _TEXT_POINTS, "color": _EDGE},
        edge_color=_EDGE,
        face_color=_FACE,
        edge_width=max(1.0, max(shape) * _EDGE_PER_SIDE),
        name=title,
        **placement(image),
    )


def add_boxes(boxes: Sequence[Box], names: Sequence[str], layer: Shapes, image: Image, viewer: napari.Viewer) -> None:
    """Add rectangles to the user's shapes."""
    has_names = NAME in layer.features
    before = _default_name(layer)
    for box, name in zip(boxes, names, strict=True):
        ring = points_in_layer(box_ring(box), layer, image, viewer)
        if has_names:
            _set_default_name(layer, name)
        layer.add(ring, shape_type="rectangle" if _is_rectangle(ring) else "polygon")
    if has_names:
        _set_default_name(layer, before)
        name_next(layer)


def name_next(layer: Shapes) -> None:
    """Let the shape that is drawn next have the next number, in layers that name their shapes so."""
    if not _default_name(layer).startswith(_NUMBERED):
        return
    taken = set(layer.features[NAME])
    name = next(name for k in count(len(layer.data) + 1) if (name := f"{_NUMBERED}{k}") not in taken)
    if name != _default_name(layer):
        _set_default_name(layer, name)


def box_ring(box: Box) -> np.ndarray:
    """Corners of a rectangle."""
    return np.array([[box.y0, box.x0], [box.y0, box.x1], [box.y1, box.x1], [box.y1, box.x0]], float)


def taken_boxes(rois: Sequence[Roi], shape: tuple[int, int]) -> list[Box]:
    """Rectangles around regions, on the slide."""
    bounds = [roi_bounds(roi, shape) for roi in rois]
    return [Box(rows.start, rows.stop, columns.start, columns.stop) for rows, columns in bounds]


def read_rois(path: Path, shape: tuple[int, int]) -> tuple[tuple[Annotation, ...], str]:
    """Read regions from GeoJSON; for any thread."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        annotations = read_geojson(path)
    if not any(box.area for box in taken_boxes(included(annotations), shape)):
        height, width = shape
        raise SlideError(
            f"{path.name} has no region on this slide of {width} x {height} px, expected one at least: choose the "
            "file of this slide, in pixels of its full resolution."
        )
    told = [str(warning.message) for warning in caught]
    return tuple(annotations), " ".join(told)


def imported_layer(
    annotations: Sequence[Annotation], title: str, image: Image, shape: tuple[int, int], viewer: napari.Viewer
) -> Shapes:
    """Show imported regions in a layer of their own."""
    rings = [one_stroke(annotation) for annotation in annotations]
    names = [
        f"{EXCLUDE} {annotation.name}".strip() if annotation.kind == "exclude" else annotation.name or f"ROI {number}"
        for number, annotation in enumerate(annotations, start=1)
    ]
    return new_layer(viewer, image, shape, title, rings, names=names, kind="polygon")


def _is_rectangle(ring: np.ndarray) -> bool:
    sides = ring[1] - ring[0], ring[3] - ring[0]
    return bool(abs(np.dot(*sides)) < _SQUARE * np.prod([np.linalg.norm(side) for side in sides]))


def _default_name(layer: Shapes) -> str:
    return str(layer.feature_defaults[NAME].iloc[0]) if NAME in layer.features else ""


def _set_default_name(layer: Shapes, name: str) -> None:
    layer.feature_defaults = {**layer.feature_defaults.iloc[0].to_dict(), NAME: name}
