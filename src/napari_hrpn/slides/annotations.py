"""Annotated regions, and the GeoJSON in which QuPath keeps them: pixels of the full resolution, x before y."""

from __future__ import annotations

import json
import math
import os
import uuid
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_hrpn.core.plain_text import printable
from napari_hrpn.slides.errors import SlideError, SlideWarning
from napari_hrpn.slides.geojson_features import class_names, features_of, is_excluding, measurements_of, text_of
from napari_hrpn.slides.location import user_path
from napari_hrpn.slides.writers.output_path import partial_output

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Polygons = tuple[tuple[NDArray[np.float64], ...], ...]

_COLOURS = {"include": [46, 160, 67], "exclude": [200, 60, 60]}
# no slide is that large, and arithmetic with more might overflow
_FURTHEST_PX = 1e9
# an outline of fewer points has no area
_FEWEST_POINTS = 3


@dataclass(frozen=True, eq=False)
class Annotation:
    """A region of a slide that somebody drew.

    Attributes
    ----------
    name : str
        What it is called; may be empty.
    kind : {"include", "exclude"}
        Whether it adds to what is looked at, or takes from it.
    rings : tuple of tuple of numpy.ndarray
        Polygons; each has its outline and then its holes, arrays of shape (n, 2) of y and x in full-resolution
        pixels from the outer corner of the slide, the first point not repeated at the end.
    measurements : mapping of str to float
        Numbers that belong to it.
    excluded : tuple of tuple of numpy.ndarray
        Polygons of other annotations that are taken away from it.
    """

    name: str
    kind: Literal["include", "exclude"]
    rings: Polygons
    measurements: Mapping[str, float] = field(default_factory=dict)
    excluded: Polygons = ()


def read_geojson(path: str | os.PathLike[str]) -> tuple[Annotation, ...]:
    """Read annotations from GeoJSON, as QuPath and others write it.

    Parameters
    ----------
    path : str or os.PathLike
        A FeatureCollection, a list of features or a single one, with Polygons and MultiPolygons; it may be
        compressed with gzip. One excludes where its class ends with an asterisk, such as "Ignore*", or where its
        name or class is "exclude", "ignore" or "hole", whatever number follows; all others include.

    Returns
    -------
    tuple of Annotation
        In the order of the file; points, lines and what is empty are left out with a `SlideWarning`.

    Raises
    ------
    SlideError
        If the file cannot be read, has no polygon, or coordinates that are none.
    """
    checked = user_path(path)
    annotations, without = [], []
    try:
        for index, feature in enumerate(features_of(checked), start=1):
            polygons, others = _polygons(feature, f"Annotation {index} of {checked.name}")
            without += others
            if polygons:
                annotations.append(_annotation(feature, polygons))
    except SlideError:
        raise
    except (ValueError, RecursionError) as error:
        msg = f"{checked.name} is no GeoJSON or was cut short ({error}): export the annotations again as GeoJSON."
        raise SlideError(msg) from error
    kinds = ", ".join(sorted(set(without))[:5])
    if not annotations:
        msg = (
            f"{checked.name} has no polygon among its {len(without)} annotations{f' ({kinds})' if kinds else ''}, "
            "expected at least one: draw a region and export it as GeoJSON."
        )
        raise SlideError(msg)
    if without:
        left_out = f"{len(without)} annotations that are points, lines or empty ({kinds})"
        msg = f"{checked.name} has {left_out}: they are left out."
        warnings.warn(msg, SlideWarning, stacklevel=2)
    return tuple(annotations)


def write_geojson(annotations: Sequence[Annotation], path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write annotations as GeoJSON that QuPath opens.

    Parameters
    ----------
    annotations : sequence of Annotation
        What to write; measurements that are not finite are left out, since JSON has no word for them.
    path : str or os.PathLike
        The file; it appears whole or not at all.
    overwrite : bool
        Whether a file that exists may be replaced.

    Raises
    ------
    SlideError
        If the file exists already or cannot be written.
    """
    collection = {"type": "FeatureCollection", "features": [_feature(annotation) for annotation in annotations]}
    text = json.dumps(collection, ensure_ascii=False, allow_nan=False)
    with partial_output(user_path(path), None, overwrite=overwrite) as partial:
        partial.write_text(text, encoding="utf-8")


def _polygons(feature: Mapping[str, Any], what: str) -> tuple[Polygons, list[str]]:
    """Polygons of a feature, and the kinds of its parts that have no area."""
    # a feature has a geometry; what has coordinates is one itself
    geometry = feature if "coordinates" in feature or "geometries" in feature else feature.get("geometry")
    polygons, others = [], []
    for kind, coordinates in _parts(geometry, what):
        rings = [_ring(points, what) for points in _listed(coordinates, what)] if kind == "Polygon" else []
        if rings and len(rings[0]) >= _FEWEST_POINTS:
            polygons.append(tuple(ring for ring in rings if len(ring) >= _FEWEST_POINTS))
        else:
            others.append(f"empty {kind}" if kind == "Polygon" else kind)
    return tuple(polygons), others


def _parts(geometry: object, what: str) -> Iterator[tuple[str, Any]]:
    """Kind and coordinates of each polygon in a geometry, and of what is none."""
    if geometry is None or geometry == {}:
        yield "none", None
        return
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    if not isinstance(geometry, dict) or not isinstance(kind, str):
        msg = f"{what} has a geometry that names no type, expected such as Polygon: export it again as GeoJSON."
        raise SlideError(msg)
    if kind == "MultiPolygon":
        members = _listed(geometry.get("coordinates"), what)
        yield from (("Polygon", member) for member in members if member != [])
        if not any(members):
            yield "empty MultiPolygon", None
    elif kind == "GeometryCollection":
        for part in _listed(geometry.get("geometries"), what) or [None]:
            yield from _parts(part, what)
    else:
        yield printable(kind)[:40], geometry.get("coordinates")


def _listed(value: object, what: str) -> list[Any]:
    if not isinstance(value, list):
        msg = f"{what} has an outline that is no list of points, expected x and y of each: export it again as GeoJSON."
        raise SlideError(msg)
    return value


def _ring(points: object, what: str) -> NDArray[np.float64]:
    listed = _listed(points, what)
    if not listed:
        return np.empty((0, 2))
    try:
        ring = np.array(listed)
    except ValueError:
        # some points may have a height
        ring = np.array([point[:2] for point in listed if isinstance(point, list) and len(point) >= 2])
    sound = ring.ndim == 2 and ring.shape[1] >= 2 and len(ring) == len(listed) and ring.dtype.kind == "f"
    if not sound or not (np.abs(ring[:, :2]) < _FURTHEST_PX).all():
        msg = f"{what} has a point that is no pair of finite numbers, expected x and y: delete it or draw it again."
        raise SlideError(msg)
    ring = ring[:-1] if len(ring) > 1 and (ring[0, :2] == ring[-1, :2]).all() else ring
    return np.ascontiguousarray(ring[:, 1::-1], np.float64)


def _annotation(feature: Mapping[str, Any], polygons: Polygons) -> Annotation:
    properties = feature.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    name, classes = text_of(properties.get("name")), class_names(properties)
    excludes = is_excluding(name) or any(each.endswith("*") or is_excluding(each) for each in classes)
    class_name = classes[0] if classes else ""
    says_kind_alone = class_name.casefold() == "include" or is_excluding(class_name) or class_name.endswith("*")
    return Annotation(
        name=name or ("" if says_kind_alone else class_name),
        kind="exclude" if excludes else "include",
        rings=polygons,
        measurements=measurements_of(properties.get("measurements")),
    )


def _feature(annotation: Annotation) -> dict[str, Any]:
    polygons = [[_closed(ring) for ring in polygon] for polygon in annotation.rings]
    is_single = len(polygons) == 1
    properties = {
        "objectType": "annotation",
        "name": printable(annotation.name),
        "classification": {"name": annotation.kind, "color": _COLOURS[annotation.kind]},
    }
    numbers = {name: float(value) for name, value in annotation.measurements.items() if math.isfinite(value)}
    return {
        "type": "Feature",
        "id": str(uuid.uuid4()),
        "geometry": {
            "type": "Polygon" if is_single else "MultiPolygon",
            "coordinates": polygons[0] if is_single else polygons,
        },
        "properties": properties | ({"measurements": numbers} if numbers else {}),
    }


def _closed(ring: NDArray[np.float64]) -> list[list[float]]:
    points: list[list[float]] = np.concatenate([ring, ring[:1]])[:, ::-1].tolist()
    return points
