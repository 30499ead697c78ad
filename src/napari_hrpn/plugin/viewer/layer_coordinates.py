"""Coordinates of layers: conversion of the view, shapes and labels to pixels of a slide.

The origin of a slide's points is the outer corner of its first pixel, that of napari's points the pixel's centre.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.core import Box
from napari_hrpn.slides import Annotation, LabelRegion, SlideError
from napari_hrpn.slides.annotation_properties import (
    class_of,
    classified,
    is_excluding,
    properties_of,
    read_properties,
)
from napari_hrpn.slides.polygons import ellipse, one_stroke

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

    from napari.components import ViewerModel
    from napari.layers import Image, Labels, Layer, Shapes
    from numpy.typing import NDArray
    from pandas import Series

HALF_A_PIXEL = 0.5
NAME = "name"
"""The feature of a Shapes layer with the names of its shapes."""
CLASS, ID = "class", "id"
"""Further features of the shapes that are annotations from a file, or are to be."""
_METADATA = "napari_hrpn"
_AREAS = ("rectangle", "ellipse", "polygon")


def placement(layer: Layer) -> dict[str, Any]:
    """Arguments for a new layer of the same size that place it exactly on a layer."""
    return {
        "scale": np.array(layer.scale),
        "translate": np.array(layer.translate),
        "rotate": np.array(layer.rotate),
        "shear": np.array(layer.shear),
        "affine": np.array(layer.affine.affine_matrix),
        "units": tuple(layer.units),
        "axis_labels": tuple(layer.axis_labels),
    }


def coarse_placement(
    layer: Image, downsample: tuple[float, float], corner_px: tuple[float, float] = (0.0, 0.0)
) -> dict[str, Any]:
    """Arguments for a new layer of coarser pixels that place it on a layer, from one of its pixels on."""
    arguments = placement(layer)
    factor = np.asarray(downsample, float)
    corner, down, across = (np.asarray(layer.data_to_world(point)) for point in ((0, 0), (1, 0), (0, 1)))
    # napari moves by the translation before it applies the affine
    steps = np.linalg.inv(arguments["affine"][:2, :2]) @ np.stack([down - corner, across - corner], axis=1)
    arguments["scale"] = arguments["scale"] * factor
    arguments["translate"] = arguments["translate"] + steps @ ((factor - 1) / 2 + corner_px)
    return arguments


def pixel_shape(layer: Image) -> tuple[int, int]:
    """Height and width of the finest level of a layer."""
    finest = layer.data[0] if layer.multiscale else layer.data
    height, width = finest.shape[-3:-1] if layer.rgb else finest.shape[-2:]
    return int(height), int(width)


def visible_box(viewer: ViewerModel, layer: Image) -> Box:
    """Box of the full-resolution pixels of a layer that are in view; all of them in 3D."""
    height, width = pixel_shape(layer)
    if viewer.dims.ndisplay != 2:
        return Box(0, height, 0, width)
    half = np.asarray(viewer.canvas.size) / (2 * viewer.scene.camera.zoom)
    signs = ((-1, -1), (-1, 1), (1, -1), (1, 1))
    return _box_around((_point_in_view(viewer, layer, half * sign) for sign in signs), (height, width))


def camera_centre(viewer: ViewerModel, layer: Image) -> tuple[float, float]:
    """Point of a layer in the middle of the view."""
    y, x = _point_in_view(viewer, layer, np.zeros(2))
    return float(y), float(x)


def shapes_box(shapes_layer: Shapes, slide_layer: Image, viewer: ViewerModel) -> Box | None:
    """Box of a slide around the selected shapes, or around all if none is selected."""
    rings = [ring for _, _, ring in _rings(shapes_layer, slide_layer, viewer, shapes_layer.selected_data or None)]
    box = _box_around(np.concatenate(rings) - HALF_A_PIXEL, pixel_shape(slide_layer)) if rings else None
    return box if box is not None and box.area else None


def shapes_on_slide(
    layer: Shapes, slide_layer: Image | None, viewer: ViewerModel | None, only: Container[int] | None = None
) -> tuple[dict[int, Annotation], list[str]]:
    """Convert shapes to regions of a slide, by their numbers in the layer; returns also the kinds of lines.

    A drawn shape excludes if the layer's name or one of its features says so (`is_excluding`). A shape without area, as
    a click without a drag makes, is no region. A shape from a file keeps all that the file says of it, its role too.
    Without a slide, regions are in pixels of the layer.
    """
    regions: dict[int, Annotation] = {}
    lines = []
    sources = annotation_sources(layer)
    # a copy of a shape has its features, but is another object
    is_copy = layer.features[ID].duplicated() if sources and ID in layer.features else None
    for index, kind, ring in _rings(layer, slide_layer, viewer, only):
        if kind not in _AREAS:
            lines.append(kind)
        elif len(ring) > 2 and np.ptp(ring, axis=0).prod() > 0:
            features = layer.features.iloc[index]
            source = None if is_copy is None or is_copy.iloc[index] else sources.get(features[ID])
            name = _shape_name(layer, index)
            excludes = _excludes(layer.name, features, name, source)
            drawn = Annotation(name, "exclude" if excludes else "include", ((ring,),))
            regions[index] = _with_class(drawn if source is None else _of_source(drawn, *source), features.get(CLASS))
    return regions, lines


def annotation_sources(layer: Shapes) -> dict[str, tuple[str, Annotation]]:
    """Shown names and annotations of the shapes that were read from a file, by their ids."""
    found = layer.metadata.get(_METADATA)
    objects = found.get("annotations", ()) if isinstance(found, dict) else ()
    return {key: (name, annotation) for key, name, annotation in objects if key}


def _excludes(layer_name: str, features: Series[Any], name: str, source: tuple[str, Annotation] | None) -> bool:
    """Whether a shape excludes: by any of its words if it was drawn, as the file says if it is from GeoJSON."""
    ignored = [CLASS, ID] if source and source[1].kind == "include" else []
    texts = [layer_name]
    if source and "geometry" in source[1].feature:
        shown, annotation = source
        renamed = {"properties": {**properties_of(annotation.feature), "name": name}}
        kind = annotation.kind if name == shown else read_properties(renamed)[1]
        has_new_word = annotation.kind == "exclude" or not is_excluding(shown, is_drawn=True)
        if kind == "exclude" or (name != shown and has_new_word and is_excluding(name, is_drawn=True)):
            return True
        # names of files and objects have the word for other reasons, columns that a user adds do not
        ignored, texts = [NAME, CLASS, ID], []
    texts += [value for value in features.drop(ignored, errors="ignore") if isinstance(value, str)]
    return any(is_excluding(text, is_drawn=True) for text in texts)


def _of_source(drawn: Annotation, shown: str, source: Annotation) -> Annotation:
    """The annotation that a shape was made from, with its present name and role, and outline if that was edited."""
    before, now = one_stroke(source.rings), drawn.rings[0][0]
    # napari stores points as 32-bit floats
    is_edited = before.shape != now.shape or not np.allclose(now, before, rtol=1e-7, atol=0.01)
    # the names of excluded regions are shown with this word before them
    name = source.name if drawn.name == shown and source.kind == "exclude" else drawn.name
    return replace(source, name=name, kind=drawn.kind, rings=drawn.rings if is_edited else source.rings)


def _with_class(annotation: Annotation, class_name: object) -> Annotation:
    if not isinstance(class_name, str) or class_name.strip() == class_of(annotation.feature):
        return annotation
    feature = classified(annotation.feature, class_name.strip())
    excludes = "exclude" in (annotation.kind, read_properties(feature)[1])
    return replace(annotation, kind="exclude" if excludes else "include", feature=feature)


def _rings(
    layer: Shapes, slide_layer: Image | None, viewer: ViewerModel | None, only: Container[int] | None
) -> Iterator[tuple[int, str, NDArray[np.float64]]]:
    """Yield number, kind and outline, in pixels of a slide, of each shape."""
    matrix, offset = np.eye(2), np.zeros(2)
    if slide_layer is not None and viewer is not None:
        matrix, offset = _between(layer, slide_layer, viewer)
    for index, (vertices, kind) in enumerate(zip(layer.data, layer.shape_type, strict=True)):
        if only is None or index in only:
            yield index, kind, _outline(vertices[:, -2:], kind) @ matrix.T + offset + HALF_A_PIXEL


def _shape_name(layer: Shapes, index: int) -> str:
    name = layer.features[NAME].iloc[index] if NAME in layer.features else None
    return name if isinstance(name, str) and name else f"ROI {index + 1}"


def labels_on_slide(layer: Labels, slide_layer: Image, viewer: ViewerModel) -> LabelRegion:
    """Return labels and their place on a slide; the labels are neither resampled nor copied."""
    if layer.ndim != 2:
        raise SlideError(
            f"The labels {layer.name!r} have {layer.ndim} dimensions, expected 2: split them with Layers > Split Stack."
        )
    matrix, offset = _between(layer, slide_layer, viewer)
    inverse = np.asarray(np.linalg.inv(matrix), np.float64)
    return LabelRegion(layer.name, layer.data[0] if layer.multiscale else layer.data, inverse, -inverse @ offset)


def points_in_layer(
    points: NDArray[np.float64], layer: Layer, slide_layer: Image, viewer: ViewerModel
) -> NDArray[np.float64]:
    """Convert points of a slide to points of a layer."""
    matrix, offset = _between(layer, slide_layer, viewer)
    return np.asarray((points - HALF_A_PIXEL - offset) @ np.linalg.inv(matrix).T)


def _between(layer: Layer, slide_layer: Image, viewer: ViewerModel) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Matrix and offset that convert (y, x) of a layer's data to pixels of the slide."""
    # napari draws all layers in one unit, unless the unit of one is no length; its `data_to_world` ignores units
    factors = np.ones(2)
    if viewer.layers.units is not None:
        pairs = zip(layer.units[-2:], slide_layer.units[-2:], strict=True)
        factors = np.array([float((1 * unit).to(other).magnitude) for unit, other in pairs])

    def on_slide(y: float, x: float) -> NDArray[np.float64]:
        world = np.asarray(layer.data_to_world((y, x)))[-2:] * factors
        return np.asarray(slide_layer.world_to_data(world))[-2:]

    offset = on_slide(0, 0)
    matrix = np.stack([on_slide(1, 0) - offset, on_slide(0, 1) - offset], axis=1)
    return matrix, offset


def _outline(vertices: NDArray[np.float64], kind: str) -> NDArray[np.float64]:
    if kind != "ellipse":
        return np.asarray(vertices, float)
    # an ellipse is given by the corners of the rectangle around it, which may be rotated
    centre, down, across = vertices.mean(axis=0), (vertices[3] - vertices[0]) / 2, (vertices[1] - vertices[0]) / 2
    return ellipse(centre, down, across)


def _point_in_view(viewer: ViewerModel, layer: Image, offset: NDArray[np.float64]) -> NDArray[np.float64]:
    """Point of a layer at an offset from the middle of the view."""
    world = np.array(viewer.dims.point, dtype=float)
    world[list(viewer.dims.displayed)] = np.asarray(viewer.scene.camera.center)[-2:] + offset
    return np.asarray(layer.world_to_data(world))[-2:]


def _box_around(points: Iterable[NDArray[np.float64]], shape: tuple[int, int]) -> Box:
    corners = np.array(list(points))
    # a pixel reaches half a pixel to all sides of its coordinates; 1e-6 allows for rounding
    low = np.floor(corners.min(axis=0) + HALF_A_PIXEL + 1e-6).astype(int)
    high = np.maximum(np.ceil(corners.max(axis=0) + HALF_A_PIXEL - 1e-6).astype(int), low + 1)
    (y0, x0), (y1, x1) = np.clip(low, 0, shape), np.clip(high, 0, shape)
    return Box(int(y0), int(y1), int(x0), int(x1))
