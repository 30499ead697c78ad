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

from napari_hrpn.slides.errors import SlideError, SlideWarning
from napari_hrpn.slides.output_path import partial_output
from napari_hrpn.slides.user_path import user_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    Polygons = tuple[tuple[NDArray[np.float64], ...], ...]

EXCLUDING = ("exclude", "excluded", "ignore", "ignore*")
COLOURS = {"include": [46, 160, 67], "exclude": [200, 60, 60]}
# no slide is that large, and arithmetic with more might overflow
FURTHEST_PX = 1e9


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
    """

    name: str
    kind: Literal["include", "exclude"]
    rings: Polygons
    measurements: Mapping[str, float] = field(default_factory=dict)


def read_geojson(path: str | os.PathLike[str]) -> tuple[Annotation, ...]:
    """Read annotations from GeoJSON, as QuPath and others write it.

    Parameters
    ----------
    path : str or os.PathLike
        A FeatureCollection, a list of features or a single one, with Polygons and MultiPolygons. One whose name
        or classification is "exclude", "ignore" or "Ignore*" excludes; all others include.

    Returns
    -------
    tuple of Annotation
        In the order of the file; points and lines are left out with a `SlideWarning`.

    Raises
    ------
    SlideError
        If the file cannot be read, has no polygon, or one with fewer than 3 points or coordinates that are none.
    """
    checked = user_path(path)
    features = _features(_parsed(checked), checked.name)
    annotations = []
    for index, feature in enumerate(features):
        if polygons := _polygons(feature, f"Annotation {index + 1} of {checked.name}"):
            annotations.append(_annotation(feature, polygons))
    skipped = len(features) - len(annotations)
    if not annotations:
        msg = (
            f"{checked.name} has no polygon among its {len(features)} annotations, expected at least one: draw a "
            "region and export it as GeoJSON."
        )
        raise SlideError(msg)
    if skipped:
        msg = f"{checked.name} has {skipped} annotations that are points, lines or empty: they are left out."
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


def _parsed(path: Path) -> object:
    try:
        parsed: object = json.loads(path.read_text(encoding="utf-8-sig"))
        return parsed
    except FileNotFoundError as error:
        raise SlideError(f"There is no file {path}, expected annotations as GeoJSON: check the path.") from error
    except OSError as error:
        raise SlideError(f"{path.name} cannot be read ({error.strerror}), expected annotations as GeoJSON.") from error
    except (ValueError, RecursionError) as error:
        msg = f"{path.name} is no GeoJSON or was cut short ({error}): export the annotations again as GeoJSON."
        raise SlideError(msg) from error


def _features(parsed: object, name: str) -> list[Mapping[str, Any]]:
    found = parsed.get("features", [parsed]) if isinstance(parsed, dict) else parsed
    if not isinstance(found, list) or not all(isinstance(feature, dict) for feature in found):
        msg = f"{name} holds no list of annotations, expected a GeoJSON FeatureCollection: export it again as GeoJSON."
        raise SlideError(msg)
    return found


def _polygons(feature: Mapping[str, Any], what: str) -> Polygons:
    # a feature has a geometry; what has coordinates is one itself
    geometry = feature if "coordinates" in feature else feature.get("geometry")
    return tuple(
        tuple(_ring(points, what) for points in _listed(polygon, what)) for polygon in _outlined(geometry, what)
    )


def _outlined(geometry: object, what: str) -> Iterator[Any]:
    """Coordinates of each polygon in a geometry."""
    if not isinstance(geometry, dict):
        return
    kind, coordinates = geometry.get("type"), geometry.get("coordinates")
    if kind == "Polygon":
        yield coordinates
    elif kind == "MultiPolygon":
        yield from _listed(coordinates, what)
    elif kind == "GeometryCollection":
        for part in geometry.get("geometries") or ():
            yield from _outlined(part, what)


def _listed(value: object, what: str) -> list[Any]:
    if not isinstance(value, list) or not value:
        msg = f"{what} has an outline that is no list of points, expected x and y of each: export it again as GeoJSON."
        raise SlideError(msg)
    return value


def _ring(points: object, what: str) -> NDArray[np.float64]:
    try:
        ring = np.array(points, np.float64)
    except (TypeError, ValueError, OverflowError):
        ring = np.empty(0)
    if ring.ndim != 2 or ring.shape[1] < 2 or not (np.abs(ring[:, :2]) < FURTHEST_PX).all():
        msg = f"{what} has a point that is no pair of finite numbers, expected x and y: delete it or draw it again."
        raise SlideError(msg)
    ring = ring[:-1] if len(ring) > 1 and (ring[0, :2] == ring[-1, :2]).all() else ring
    if len(ring) < 3:
        msg = f"{what} has an outline of {len(ring)} points, expected 3 or more: delete it or draw it again."
        raise SlideError(msg)
    return np.ascontiguousarray(ring[:, 1::-1])


def _annotation(feature: Mapping[str, Any], polygons: Polygons) -> Annotation:
    properties = feature.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    name, classification = _text(properties.get("name")), _class_name(properties.get("classification"))
    excludes = any(text.strip().casefold() in EXCLUDING for text in (name, classification))
    measurements = properties.get("measurements")
    numbers = measurements.items() if isinstance(measurements, dict) else ()
    return Annotation(
        name=name or ("" if classification.strip().casefold() in ("include", *EXCLUDING) else classification),
        kind="exclude" if excludes else "include",
        rings=polygons,
        measurements={key: float(value) for key, value in numbers if isinstance(value, int | float)},
    )


def _class_name(classification: object) -> str:
    if not isinstance(classification, dict):
        return _text(classification)
    # derived classes of QuPath have several names, the first the most general
    names = classification.get("names")
    return _text(classification.get("name")) or _text(names[0] if isinstance(names, list) and names else "")


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _feature(annotation: Annotation) -> dict[str, Any]:
    polygons = [[_closed(ring) for ring in polygon] for polygon in annotation.rings]
    is_single = len(polygons) == 1
    properties = {
        "objectType": "annotation",
        "name": annotation.name,
        "classification": {"name": annotation.kind, "color": COLOURS[annotation.kind]},
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
