"""GeoJSON files of annotated regions, as written by QuPath, Fiji and geopandas: full-resolution pixels, x before y."""

from __future__ import annotations

import ast
import gzip
import json
import math
import re
import uuid
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.core.plain_text import printable
from napari_hrpn.slides.errors import SlideError, warn
from napari_hrpn.slides.location import user_path
from napari_hrpn.slides.region import Annotation
from napari_hrpn.slides.writers.output_path import partial_output

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_hrpn.slides.polygons import Polygons

_COLOURS = {"include": [46, 160, 67], "exclude": [200, 60, 60]}
_EXCLUDING = re.compile(r"(exclude[ds]?|excluding|exclusions?|ignored?|holes?)[\s_.:#-]*\d*\*?", re.IGNORECASE)
_LARGEST_BYTES = 4 * 2**30
_LONGEST_CLASS = 10_000
# no slide is larger, and arithmetic with larger coordinates might overflow
_FURTHEST_PX = 1e9
# an outline with fewer points has no area
_FEWEST_POINTS = 3


def read_geojson(path: str | os.PathLike[str]) -> tuple[Annotation, ...]:
    """Read annotations from GeoJSON, as written by QuPath and other programs.

    Parameters
    ----------
    path : str or os.PathLike
        A FeatureCollection, a list of features or a single feature, with Polygons and MultiPolygons; it may be
        compressed with gzip. An annotation excludes if its class ends with an asterisk, such as "Ignore*", or if its
        name or class is "exclude", "ignore" or "hole", with or without a number; all others include.

    Returns
    -------
    tuple of Annotation
        Annotations in the order of the file; points, lines and empty ones are left out with a `SlideWarning`.

    Raises
    ------
    SlideError
        If the file cannot be read, has no polygon, or has coordinates that are not valid.
    """
    checked = user_path(path)
    name, annotations, left_out = checked.name, [], []
    try:
        # as float, because Python refuses to convert very long whole numbers to int
        content = json.loads(_text(checked), parse_int=float, object_hook=_with_arrays)
    except (ValueError, RecursionError) as error:
        if isinstance(error, SlideError):
            raise
        msg = f"{name} is no GeoJSON or is incomplete ({error}): export the annotations again as GeoJSON."
        raise SlideError(msg) from error
    for index, feature in enumerate(_features(content if isinstance(content, list) else [content], name), start=1):
        polygons, others = _polygons(feature, f"Annotation {index} of {name}")
        left_out += others
        if polygons:
            annotations.append(_annotation(feature, polygons))
    kinds = ", ".join(sorted(set(left_out))[:5])
    if not annotations:
        msg = (
            f"{name} has no polygon among its {len(left_out)} annotations{f' ({kinds})' if kinds else ''}, "
            "expected at least one: draw a region and export it as GeoJSON."
        )
        raise SlideError(msg)
    if left_out:
        warn(f"{name} has {len(left_out)} annotations that are points, lines or empty ({kinds}): they are left out.")
    return tuple(annotations)


def _text(path: Path) -> str:
    if path.exists() and not path.is_file():
        # a pipe would block, and a device may have no end
        raise SlideError(f"{path} is no file, expected annotations as GeoJSON: check the path.")
    try:
        data = path.read_bytes()
        if data.startswith(b"\x1f\x8b"):
            with gzip.open(path) as file:
                data = file.read(_LARGEST_BYTES)
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
    """An outline as an array of y and x; unchanged if it is not valid."""
    if not isinstance(points, list):
        return points
    if not points:
        return np.empty((0, 2))
    try:
        ring = np.array(points)
    except ValueError:
        # some points have a third coordinate, their height
        ring = np.array([point[:2] for point in points if isinstance(point, list) and len(point) >= 2])
    sound = ring.ndim == 2 and ring.shape[1] >= 2 and len(ring) == len(points) and ring.dtype.kind == "f"
    if not sound or not (np.abs(ring[:, :2]) < _FURTHEST_PX).all():
        return points
    ring = ring[:-1] if len(ring) > 1 and (ring[0, :2] == ring[-1, :2]).all() else ring
    return np.ascontiguousarray(ring[:, 1::-1])


def _features(elements: list[Any], name: str) -> Iterator[dict[str, Any]]:
    """All features, including those of nested collections."""
    for element in elements:
        if isinstance(element, dict) and "features" not in element:
            yield element
            continue
        members = element["features"] if isinstance(element, dict) else None
        if not isinstance(members, list):
            raise SlideError(
                f"{name} holds no list of annotations, expected a GeoJSON FeatureCollection: export it again as "
                "GeoJSON."
            )
        yield from _features(members, name)


def _polygons(feature: Mapping[str, Any], what: str) -> tuple[Polygons, list[str]]:
    """Polygons of a feature, and the kinds of its parts that have no area."""
    # a feature has a geometry; an object with coordinates is a geometry itself
    geometry = feature if "coordinates" in feature or "geometries" in feature else feature.get("geometry")
    polygons, others = [], []
    for kind, coordinates in _parts(geometry, what):
        rings = _checked_rings(coordinates, what) if kind == "Polygon" else []
        if rings and len(rings[0]) >= _FEWEST_POINTS:
            polygons.append(tuple(ring for ring in rings if len(ring) >= _FEWEST_POINTS))
        else:
            others.append(f"empty {kind}" if kind == "Polygon" else kind)
    return tuple(polygons), others


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
    for ring in _listed(rings, what):
        if not isinstance(ring, np.ndarray):
            _listed(ring, what)
            msg = f"{what} has a point that is no pair of finite numbers, expected x and y: delete it or draw it again."
            raise SlideError(msg)
    return _listed(rings, what)


def _listed(value: object, what: str) -> list[Any]:
    if not isinstance(value, list):
        msg = f"{what} has an outline that is no list of points, expected x and y of each: export it again as GeoJSON."
        raise SlideError(msg)
    return value


def _annotation(feature: Mapping[str, Any], polygons: Polygons) -> Annotation:
    properties = feature.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    classification = properties.get("classification")
    name = _printed(properties.get("name"))
    classes = _class_names(properties.get("classification.name") if classification is None else classification)
    are_excluding = [class_name.endswith("*") or _is_excluding(class_name) for class_name in classes]
    # a class that only means include or exclude is no name
    named = classes[0] if classes and not are_excluding[0] and classes[0].casefold() != "include" else ""
    return Annotation(
        name=name or named,
        kind="exclude" if _is_excluding(name) or any(are_excluding) else "include",
        rings=polygons,
        measurements=_measurements(properties.get("measurements")),
    )


def _is_excluding(name: str) -> bool:
    """Whether a name is a word for an excluded region, with or without a number."""
    return bool(_EXCLUDING.fullmatch(name.strip()))


def _printed(value: object) -> str:
    return printable(value) if isinstance(value, str) else ""


def _class_names(found: object) -> list[str]:
    """Names of the class of a feature, the most general one first; empty if it has none."""
    if isinstance(found, dict):
        names = found.get("names")
        # derived classes of QuPath have several names
        listed = [found.get("name"), *(names if isinstance(names, list) else [])]
        return list(dict.fromkeys(filter(None, map(_printed, listed))))
    if isinstance(found, list):
        return [name for part in found for name in _class_names(part)]
    text = _printed(found)
    if text[:1] in ("{", "["):
        return _class_names(_literal(text))
    return [] if text in ("", "null", "None", "nan") else [text]


def _literal(text: str) -> object:
    """The dict or list that was written as text, as JSON or as a Python literal; None if it is neither."""
    for read in (json.loads, ast.literal_eval):
        try:
            found: object = read(text[:_LONGEST_CLASS])
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
        return found
    return None


def _measurements(found: object) -> dict[str, float]:
    """Measurements of a feature: its numbers by name."""
    if isinstance(found, list):
        named = [entry for entry in found if isinstance(entry, dict) and _printed(entry.get("name"))]
        found = {entry["name"]: entry.get("value") for entry in named}
    pairs = found.items() if isinstance(found, dict) else ()
    return {printable(name): value for name, value in pairs if isinstance(value, float)}


def write_geojson(annotations: Sequence[Annotation], path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write annotations as GeoJSON for QuPath.

    Parameters
    ----------
    annotations : sequence of Annotation
        The annotations; measurements that are not finite are left out, because JSON cannot store them.
    path : str or os.PathLike
        The file; it is written completely or not at all.
    overwrite : bool
        Whether a file that exists may be replaced.

    Raises
    ------
    SlideError
        If the file exists already or cannot be written.
    """
    with (
        partial_output(user_path(path), None, overwrite=overwrite) as partial,
        partial.open("w", encoding="utf-8") as file,
    ):
        # written one by one, because all together would take many times the memory of the file
        file.write('{"type": "FeatureCollection", "features": [')
        for index, annotation in enumerate(annotations):
            text = json.dumps(feature(annotation), ensure_ascii=False, allow_nan=False)
            file.write(f"{', ' if index else ''}{text}")
        file.write("]}")


def feature(annotation: Annotation) -> dict[str, Any]:
    """An annotation as a feature of GeoJSON."""
    polygons = [[np.vstack([ring, ring[:1]])[:, ::-1].tolist() for ring in rings] for rings in annotation.rings]
    is_single = len(polygons) == 1
    properties: dict[str, Any] = {
        "objectType": "annotation",
        "name": printable(annotation.name),
        "classification": {"name": annotation.kind, "color": _COLOURS[annotation.kind]},
    }
    if numbers := {name: float(value) for name, value in annotation.measurements.items() if math.isfinite(value)}:
        properties["measurements"] = numbers
    return {
        "type": "Feature",
        "id": str(uuid.uuid4()),
        "geometry": {
            "type": "Polygon" if is_single else "MultiPolygon",
            "coordinates": polygons[0] if is_single else polygons,
        },
        "properties": properties,
    }
