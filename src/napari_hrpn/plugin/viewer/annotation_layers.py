"""Shapes layers of annotations from files: shapes keep their objects of QuPath while they are moved, named or measured.

``layer.metadata["napari_hrpn"]`` has "annotations", all objects of the file in its order, those without area too, which
are not shown: the id of the shape, the name that it is shown by, and the annotation. The shapes have the features
"name", "class" and "id". Shapes that were saved are among them. "on" is the slide on which they lie.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.plugin.viewer.layer_coordinates import (
    CLASS,
    HALF_A_PIXEL,
    ID,
    NAME,
    annotation_sources,
    placement,
    shapes_on_slide,
)
from napari_hrpn.plugin.viewer.open_slides import KEY, active_slide_layer, layers_of, slide_of
from napari_hrpn.slides import SlideError, slide_identity, write_geojson
from napari_hrpn.slides.annotation_properties import class_of, identified, object_id, own_name
from napari_hrpn.slides.polygons import one_stroke

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
    height, width = np.max([ring.max(axis=0) for ring in rings], axis=0).astype(int).tolist() if rings else (1, 1)
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
        **regions_style((height, width) if slide is None else slide.shape),
        **({} if image is None else placement(image)),
    }
    return [ring - HALF_A_PIXEL for ring in rings], attributes, "shapes"


def write_layers(layers: Sequence[Shapes], path: str, viewer: ViewerModel | None) -> int:
    """Write the shapes of layers as GeoJSON, and give new ones an id; returns how many paths and lines are left out.

    Objects of the file that a layer was read from come in its order, those that have no area too, then new ones.
    """
    names = " and ".join(repr(layer.name) for layer in layers)
    images = [None if viewer is None else _slide_layer(layer, viewer) for layer in layers]
    slides = [None if image is None else slide_of(image) for image in images]
    identity, *others = dict.fromkeys("" if slide is None else slide_identity(slide) for slide in slides)
    if others:
        raise SlideError(f"{names} lie on different slides, expected layers of one: save a file for each slide.")
    found = [_objects(layer, image, viewer, identity) for layer, image in zip(layers, images, strict=True)]
    # what was deleted from a file may leave nothing in it
    if not any(objects or KEY in layer.metadata for layer, (objects, _) in zip(layers, found, strict=True)):
        verb = "has" if len(layers) == 1 else "have"
        raise SlideError(f"{names} {verb} no shape with an area, expected at least one: draw a region.")
    # napari has asked whether a file may be replaced
    write_geojson([one for objects, _ in found for one in objects], path, slide=identity, overwrite=True)
    return sum(lines for _, lines in found)


def _objects(
    layer: Shapes, image: Image | None, viewer: ViewerModel | None, slide: str
) -> tuple[list[Annotation], int]:
    """The objects of a layer as they are now, and how many paths and lines are left out."""
    regions, lines = shapes_on_slide(layer, image, viewer)
    if regions:
        remember(layer, regions, slide)
    sources = annotation_sources(layer)
    current: dict[str, Annotation] = {}
    for index, region in shapes_on_slide(layer, image, viewer)[0].items():
        key = layer.features[ID].iloc[index]
        written = layer.features[NAME].iloc[index] if NAME in layer.features else None
        shown, source = sources[key]
        is_as_read = "geometry" in source.feature and region.rings is source.rings
        # QuPath refuses an outline that touches itself, as those of holes that were joined for napari do
        split = region if is_as_read else region.outlined()
        # an object that is called otherwise in the viewer only keeps its own name, or has none
        name = region.name if region.name != shown else own_name(region.feature)
        if isinstance(written, str) and not written.strip():
            name = ""
        current[key] = replace(split if split.rings else region, name=name)
    # a shape that has no area is no region, but was not deleted
    there = set(layer.features[ID]) if ID in layer.features else set()
    objects = layer.metadata.get(KEY, {}).get("annotations", ())
    kept = [current.get(key, one if key in there or not one.rings else None) for key, _, one in objects]
    return [one for one in kept if one is not None], len(lines)


def remember(layer: Shapes, regions: Mapping[int, Annotation], slide: str) -> None:
    """Give the shapes of regions that are new an id, which they keep when they are edited."""
    sources, features = annotation_sources(layer), layer.features.copy()
    ids = list(features[ID]) if ID in features else [""] * len(layer.data)
    objects = list(layer.metadata.get(KEY, {}).get("annotations", ()))
    seen: set[object] = set()
    for index, region in regions.items():
        if ids[index] not in sources or ids[index] in seen:
            number = next(k for k in count() if object_id(region.rings, slide, k) not in sources)
            new = identified(region, slide, number)
            # an id that the user has given stays
            if not isinstance(ids[index], str | int) or ids[index] == "" or ids[index] in seen:
                ids[index] = object_id(region.rings, slide, number)
            if CLASS in features:
                features.loc[features.index[index], CLASS] = class_of(new.feature)
            sources[ids[index]] = (new.name, new)
            objects.append((ids[index], new.name, new))
        seen.add(ids[index])
    layer.metadata[KEY] = {**layer.metadata.get(KEY, {}), "annotations": tuple(objects)}
    # napari would use the last features as defaults for the next shape
    defaults = layer.feature_defaults.iloc[0].to_dict() if len(layer.feature_defaults) else {}
    layer.features = features.assign(**{ID: np.array(ids, object)})
    layer.feature_defaults = {**defaults, ID: ""}


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
        return f"exclude {annotation.name}".strip()
    return annotation.name or f"ROI {number}"
