"""GeoJSON files of annotated regions, as written by QuPath, Fiji and geopandas: full-resolution pixels, x before y."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from napari_hrpn.core.plain_text import printable
from napari_hrpn.slides.annotation_properties import (
    class_of,
    is_of_class,
    properties_of,
    read_properties,
)
from napari_hrpn.slides.errors import SlideError, warn
from napari_hrpn.slides.location import user_path
from napari_hrpn.slides.polygons import is_on_a_line
from napari_hrpn.slides.region import Annotation

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_hrpn.slides.polygons import Polygons

_DEGREES = re.compile("CRS84|EPSG:+4326")
_LARGEST_BYTES, _MOST_PER_BYTE, _ALWAYS_BYTES = 2**32, 100, 2**24
# no slide is larger, and arithmetic with larger coordinates might overflow
_FURTHEST_PX = 1e9
# an outline with fewer points has no area
_FEWEST_POINTS = 3


def read_geojson(
    path: str | os.PathLike[str], *, classes: Sequence[str] = (), everything: bool = False
) -> tuple[Annotation, ...]:
    """Read annotations from GeoJSON, as written by QuPath and other programs.

    Parameters
    ----------
    path : str or os.PathLike
        A FeatureCollection, a list of features or a single feature, with Polygons and MultiPolygons; it may be
        compressed with gzip. Child objects of QuPath follow their parents. An annotation excludes if its class ends
        with an asterisk, such as "Ignore*", or if its name or class is "exclude", "ignore" or "hole", with or without
        a number; all others include.
    classes : sequence of str
        Only annotations of these classes, and of classes derived from them, such as "Tumor: Positive"; all if empty.
    everything : bool
        Whether objects without area are returned too, those that are no polygons with no rings, so that
        `write_geojson` writes the whole file again.

    Returns
    -------
    tuple of Annotation
        Annotations in the order of the file; points, lines, empty ones and polygons of no area are left out with a
        `SlideWarning`.

    Raises
    ------
    SlideError
        If the file cannot be read, has no polygon, has none of the classes, or has coordinates that are not valid or
        in degrees.
    """
    checked = user_path(path)
    name = checked.name
    try:
        # words, because JSON cannot store numbers that are not finite and QuPath writes these words too
        content = json.loads(_text(checked), parse_constant=str, object_hook=_with_arrays)
        features = [*_features(content if isinstance(content, list) else [content], name, {})]
        found = [
            _annotation(feature, collection, f"Annotation {index} of {name}")
            for index, (feature, collection) in enumerate(features, 1)
        ]
    except (ValueError, RecursionError) as error:
        if isinstance(error, SlideError):
            raise
        msg = f"{name} is no GeoJSON or is incomplete ({error}): export the annotations again as GeoJSON."
        raise SlideError(msg) from error
    if not everything:
        found = _with_area(found, name)
    _check_unit([annotation for annotation, _ in found if annotation.rings], content, name)
    return _of_classes([annotation for annotation, _ in found], classes, name)


def _with_area(found: list[tuple[Annotation, list[str]]], name: str) -> list[tuple[Annotation, list[str]]]:
    is_flat = [bool(one.rings) and all(is_on_a_line(outline) for outline, *_ in one.rings) for one, _ in found]
    left_out = [kind for _, kinds in found for kind in kinds] + sum(is_flat) * ["Polygon of no area"]
    kinds = ", ".join(sorted(set(left_out))[:5])
    with_area = [one for one, flat in zip(found, is_flat, strict=True) if one[0].rings and not flat]
    if not with_area:
        msg = (
            f"{name} has no polygon among its {len(left_out)} annotations{f' ({kinds})' if kinds else ''}, "
            "expected at least one: draw a region and export it as GeoJSON."
        )
        raise SlideError(msg)
    if left_out:
        warn(f"{name} has {len(left_out)} annotations that are points, lines or empty ({kinds}): they are left out.")
    return with_area


def _of_classes(annotations: Sequence[Annotation], classes: Sequence[str], name: str) -> tuple[Annotation, ...]:
    kept = tuple(one for one in annotations if not classes or is_of_class(one.feature, classes))
    if annotations and not kept:
        there = sorted({class_of(one.feature) for one in annotations} - {""})
        found = f"expected one of {', '.join(there)}: choose one of these" if there else "as its objects have none: "
        words = found if there else f"{found}set one in QuPath, or use all objects"
        raise SlideError(f"{name} has no object of the class {' or '.join(classes)}, {words}.")
    return kept


def _check_unit(annotations: Sequence[Annotation], content: object, name: str) -> None:
    """Refuse longitudes and latitudes: named as such, or outlines that are all smaller than a pixel."""
    if not annotations:
        return
    low, high = (np.stack(corners) for corners in zip(*(one.extent for one in annotations), strict=True))
    (y0, x0), (y1, x1) = low.min(axis=0), high.max(axis=0)
    crs = content.get("crs") if isinstance(content, dict) else None
    names_degrees = bool(_DEGREES.search(json.dumps(crs))) if isinstance(crs, dict) else False
    is_small = bool((high - low < 1).all())
    if (names_degrees or is_small) and max(-x0, x1) <= 180 and max(-y0, y1) <= 90:
        raise SlideError(
            f"{name} seems to be in degrees of longitude and latitude (x {x0:.6g} to {x1:.6g}, y {y0:.6g} to "
            f"{y1:.6g}), expected pixels of the slide's full resolution: export the annotations from QuPath, or "
            "convert them to pixels."
        )


def _text(path: Path) -> str:
    if path.exists() and not path.is_file():
        # a pipe would block, and a device may have no end
        raise SlideError(f"{path} is no file, expected annotations as GeoJSON: check the path.")
    try:
        data = path.read_bytes()
        if data.startswith(b"\x1f\x8b"):
            # a file of a few MB may unpack to any size; outlines shrink to a third or so
            most = min(_LARGEST_BYTES, _MOST_PER_BYTE * len(data) + _ALWAYS_BYTES)
            with gzip.open(path) as file:
                data = file.read(most + 1)
            if len(data) > most:
                raise SlideError(
                    f"{path.name} unpacks to more than {most / 1e6:,.0f} MB, expected annotations as GeoJSON: "
                    "export them again, or unpack the file yourself if it is sound."
                )
    except FileNotFoundError as error:
        raise SlideError(f"There is no file {path}, expected annotations as GeoJSON: check the path.") from error
    except (OSError, EOFError, zlib.error) as error:
        words = getattr(error, "strerror", None) or str(error)
        raise SlideError(f"{path.name} cannot be read ({words}), expected annotations as GeoJSON.") from error
    return data.decode(json.detect_encoding(data))


def _with_arrays(found: dict[str, Any]) -> dict[str, Any]:
    """Convert outlines to arrays while parsing, because lists of points take far more memory than their text."""
    kind, members = found.get("type"), found.get("coordinates")
    if kind == "Polygon" and isinstance(members, list):
        found["coordinates"] = [_ring(points) for points in members]
    elif kind == "MultiPolygon" and isinstance(members, list):
        found["coordinates"] = [
            [_ring(points) for points in polygon] if isinstance(polygon, list) else polygon for polygon in members
        ]
    return found


def _ring(points: object) -> object:
    """Points of an outline as an array, as they are in the file; unchanged if they are not valid."""
    if not isinstance(points, list):
        return points
    try:
        ring = np.array(points) if points else np.empty((0, 2))
    except ValueError:
        # some points have a third coordinate, their height
        return points
    sound = ring.ndim == 2 and ring.shape[1] >= 2 and ring.dtype.kind in "iuf"
    return ring.astype(np.float64) if sound and (np.abs(ring[:, :2]) < _FURTHEST_PX).all() else points


def _outline(points: object) -> NDArray[np.float64] | None:
    """An outline as an array of y and x, without the first point repeated; None if it is not valid."""
    ring = points
    if isinstance(points, list):
        ring = _ring([point[:2] for point in points if isinstance(point, list) and len(point) >= 2])
    if not isinstance(ring, np.ndarray) or len(ring) != len(cast("Sequence[object]", points)):
        return None
    is_closed = len(ring) > 1 and bool((ring[0, :2] == ring[-1, :2]).all())
    return ring[: -1 if is_closed else None, 1::-1]


def _features(
    elements: list[Any], name: str, collection: dict[str, Any]
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """All features, including those of nested collections and the children of each, and the members of collections."""
    for element in elements:
        if isinstance(element, dict) and "features" not in element:
            # a feature has a geometry; an object with coordinates is a geometry itself
            is_bare = "coordinates" in element or "geometries" in element
            feature = {"type": "Feature", "geometry": element, "properties": {}} if is_bare else element
            yield feature, collection
            yield from _features(children_of(feature), name, collection)
            continue
        members = element["features"] if isinstance(element, dict) else None
        if not isinstance(members, list):
            raise SlideError(
                f"{name} holds no list of annotations, expected a GeoJSON FeatureCollection: export it again as "
                "GeoJSON."
            )
        others = {key: value for key, value in element.items() if key not in ("type", "features")}
        yield from _features(members, name, {**collection, **others})


def children_of(feature: Mapping[str, Any]) -> list[Any]:
    """Child objects in a feature of QuPath."""
    found = properties_of(feature).get("childObjects")
    return found if isinstance(found, list) else []


def _annotation(feature: dict[str, Any], collection: dict[str, Any], what: str) -> tuple[Annotation, list[str]]:
    """The annotation of a feature, and the kinds of its parts that have no area."""
    polygons, others = polygons_of(feature.get("geometry"), what)
    name, kind, measurements = read_properties(feature)
    return Annotation(name, kind, polygons, measurements, feature=feature, collection=collection), others


def polygons_of(geometry: object, what: str) -> tuple[Polygons, list[str]]:
    """Polygons of a geometry, and the kinds of its parts that have no area."""
    polygons, others = [], []
    for kind, coordinates in _parts(geometry, what):
        rings = _checked_rings(coordinates, what) if kind == "Polygon" else []
        if rings and len(rings[0]) >= _FEWEST_POINTS:
            polygons.append(tuple(ring for ring in rings if len(ring) >= _FEWEST_POINTS))
        else:
            others.append(f"empty {kind}" if kind == "Polygon" else kind)
    return tuple(polygons), others


def parts_without_area(geometry: dict[str, Any]) -> list[dict[str, Any]]:
    """Members of a collection of geometries that are no polygons, as they were read."""
    if geometry.get("type") == "GeometryCollection":
        return [part for member in geometry["geometries"] if member for part in parts_without_area(member)]
    return [] if polygons_of(geometry, "")[0] else [geometry]


def _parts(geometry: object, what: str) -> Iterator[tuple[str, Any]]:
    """Kind and coordinates of each polygon in a geometry, and of each other part."""
    if geometry is None or geometry == {}:
        yield "none", None
        return
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    if not isinstance(geometry, dict) or not isinstance(kind, str):
        msg = f"{what} has a geometry without a type, expected one such as Polygon: export it again as GeoJSON."
        raise SlideError(msg)
    if kind == "MultiPolygon":
        members = [member for member in _listed(geometry.get("coordinates"), what) if member != []]
        yield from (("Polygon", member) for member in members)
        if not members:
            yield "empty MultiPolygon", None
    elif kind == "GeometryCollection":
        for part in _listed(geometry.get("geometries"), what) or [None]:
            yield from _parts(part, what)
    else:
        yield printable(kind)[:40], geometry.get("coordinates")


def _checked_rings(rings: object, what: str) -> list[NDArray[np.float64]]:
    outlines = []
    for ring in _listed(rings, what):
        outline = _outline(ring if isinstance(ring, np.ndarray) else _listed(ring, what))
        if outline is None:
            msg = f"{what} has a point that is no pair of finite numbers, expected x and y: delete it or draw it again."
            raise SlideError(msg)
        outlines.append(outline)
    return outlines


def _listed(value: object, what: str) -> list[Any]:
    if not isinstance(value, list):
        msg = f"{what} has an outline that is no list of points, expected x and y of each: export it again as GeoJSON."
        raise SlideError(msg)
    return value
