"""Shapes layers of annotations from files: shapes keep their objects of QuPath while they are moved, named or measured.

``layer.metadata["napari_hrpn"]`` has "annotations", all objects of the file in its order, those without area too, which
are not shown: the id of the shape, the name that it is shown by, and the annotation. The shapes have the features
"name", "class" and "id". "on" is the slide on which they lie.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.plugin.viewer.layer_coordinates import (
    CLASS,
    EXCLUDE,
    HALF_A_PIXEL,
    ID,
    NAME,
    annotation_sources,
    placement,
    shapes_on_slide,
)
from napari_hrpn.plugin.viewer.open_slides import KEY, active_slide_layer, layers_of
from napari_hrpn.slides import slide_identity
from napari_hrpn.slides.annotation_properties import class_of, object_id
from napari_hrpn.slides.polygons import one_stroke

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.components import ViewerModel
    from napari.layers import Image, Shapes

    from napari_hrpn.plugin.viewer.slides_as_layers import LayerData
    from napari_hrpn.slides import Annotation, Slide

_EDGE, _FACE = "#ffd400", [1.0, 0.83, 0.0, 0.06]
_EDGE_PER_SIDE = 1 / 400
_TEXT_POINTS = 9


def regions_style(shape: tuple[int, int]) -> dict[str, Any]:
    """Colours, text and width of the edges of a layer of regions on a slide of some height and width."""
    return {
        "text": {"string": f"{{{NAME}}}", "anchor": "upper_left", "size": _TEXT_POINTS, "color": _EDGE},
        "edge_color": _EDGE,
        "face_color": _FACE,
        "edge_width": max(1.0, max(shape) * _EDGE_PER_SIDE),
    }


def annotation_layer(
    annotations: Sequence[Annotation], title: str, slide: Slide | None = None, image: Image | None = None
) -> LayerData:
    """Convert annotations to a Shapes layer on a layer of their slide, or in pixels if they have none."""
    identity = "" if slide is None else slide_identity(slide)
    objects: list[tuple[str, str, Annotation]] = []
    taken: set[str] = set()
    for number, annotation in enumerate(annotations, start=1):
        key = _key(annotation, identity, taken) if annotation.rings else ""
        taken.add(key)
        objects.append((key, _shown_name(annotation, number), annotation))
    shown = [one for one in objects if one[2].rings]
    rings = [one_stroke(annotation.rings) for _, _, annotation in shown]
    extent = np.ceil(np.max([ring.max(axis=0) for ring in rings], axis=0)) if rings else (1, 1)
    columns = {
        NAME: [name for _, name, _ in shown],
        CLASS: [class_of(annotation.feature) for _, _, annotation in shown],
        ID: [key for key, _, _ in shown],
    }
    attributes = {
        "name": title,
        "ndim": 2,
        "shape_type": "polygon",
        "features": {column: np.array(values, object) for column, values in columns.items()},
        "feature_defaults": {NAME: f"ROI {len(annotations) + 1}", CLASS: "", ID: ""},
        "metadata": {KEY: {"annotations": tuple(objects), "on": slide}},
        **regions_style(tuple(extent) if slide is None else slide.shape),
        **({} if image is None else placement(image)),
    }
    return [ring - HALF_A_PIXEL for ring in rings], attributes, "shapes"


def layer_annotations(layer: Shapes, viewer: ViewerModel | None) -> tuple[tuple[Annotation, ...], Slide | None, int]:
    """Annotations of a layer as they belong into a file, their slide, and the number of paths and lines left out.

    Objects of the file that the layer was read from come in its order, those that have no area too, then new ones.
    """
    image = None if viewer is None else _slide_layer(layer, viewer)
    regions, lines = shapes_on_slide(layer, image, viewer)
    sources = annotation_sources(layer)
    ids = dict(enumerate(layer.features[ID])) if ID in layer.features else {}
    current: dict[str, Annotation] = {}
    new = []
    for index, region in regions.items():
        if ids.get(index) in sources and ids[index] not in current:
            name, source = sources[ids[index]]
            current[ids[index]] = replace(region, name=source.name) if region.name == name else region
        else:
            new.append(region)
    objects = layer.metadata.get(KEY, {}).get("annotations", ())
    kept = [current.get(key) if annotation.rings else annotation for key, _, annotation in objects]
    slide = None if image is None else image.metadata[KEY]["slide"]
    return (*(one for one in kept if one is not None), *new), slide, len(lines)


def _slide_layer(layer: Shapes, viewer: ViewerModel) -> Image | None:
    """A layer of the slide that shapes lie on."""
    slide = layer.metadata.get(KEY, {}).get("on")
    shown = layers_of(viewer, slide) if slide is not None else []
    return shown[0] if shown else active_slide_layer(viewer)


def _key(annotation: Annotation, slide: str, taken: set[str]) -> str:
    """An id that no other shape of the layer has; objects of old versions of QuPath are called by their type only."""
    key, number = str(annotation.feature.get("id") or object_id(annotation.rings, slide)), 0
    while key in taken:
        number += 1
        key = object_id(annotation.rings, slide, number)
    return key


def _shown_name(annotation: Annotation, number: int) -> str:
    if annotation.kind == "exclude":
        return f"{EXCLUDE} {annotation.name}".strip()
    return annotation.name or f"ROI {number}"
