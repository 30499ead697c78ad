"""Properties of an annotation in GeoJSON as QuPath writes them: name, class, role, measurements and identity.

The role says whether an annotation is included or excluded. It follows from class and name; if it does not, it is kept
in the metadata of the object, which QuPath keeps too.
"""

from __future__ import annotations

import ast
import hashlib
import json
import math
import re
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_hrpn.core.plain_text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_hrpn.slides.polygons import Polygons
    from napari_hrpn.slides.region import Annotation

_COLOURS = {"include": [46, 160, 67], "exclude": [200, 60, 60]}
_EXCLUDING = re.compile(r"(exclude[ds]?|excluding|exclusions?|ignored?|holes?)[\s_.:#-]*\d*\*?", re.IGNORECASE)
_LONGEST_CLASS = 10_000
_LARGEST = 1e300
_DERIVED = ": "
_ROLE = "napari-hrpn role"
_OBJECTS = uuid.UUID("5a5bcf9c-6f0e-5b6e-9d0b-3f6d1f0f7c52")


def properties_of(feature: Mapping[str, Any]) -> dict[str, Any]:
    """Properties of a feature; empty if it has none."""
    found = feature.get("properties")
    return found if isinstance(found, dict) else {}


def own_name(feature: Mapping[str, Any]) -> str:
    """Name of a feature; empty if it has none or is only called by its class."""
    return _printed(properties_of(feature).get("name"))


def class_of(feature: Mapping[str, Any]) -> str:
    """Full name of the class of a feature, such as "Tumor: Positive"; empty if it has none."""
    return _full_name(_DERIVED.join(_classes(properties_of(feature))))


def is_of_class(feature: Mapping[str, Any], names: Sequence[str]) -> bool:
    """Whether a feature has one of the classes, or a class that is derived from one of them."""
    found = class_of(feature) + _DERIVED
    return any(found.startswith(_full_name(name) + _DERIVED) for name in names)


def is_excluding(text: str, *, is_drawn: bool = False) -> bool:
    """Whether a text says that a region is excluded.

    Names and classes in files do so if they are one of a few words, with or without a number, since objects have other
    names with these words. Those of regions that were drawn in napari, of their layer and columns do so too if they
    have "exclude" anywhere.
    """
    return bool(_EXCLUDING.fullmatch(text.strip())) or (is_drawn and "exclude" in text.casefold())


def read_properties(feature: Mapping[str, Any]) -> tuple[str, Literal["include", "exclude"], dict[str, float]]:
    """Name, role and measurements of a feature."""
    properties = properties_of(feature)
    name, classes = own_name(feature), _classes(properties)
    are_excluding = [class_name.endswith("*") or is_excluding(class_name) for class_name in classes]
    # a class that only means include or exclude is no name
    named = classes[0] if classes and not are_excluding[0] and classes[0].casefold() != "include" else ""
    metadata = properties.get("metadata")
    role = metadata.get(_ROLE) if isinstance(metadata, dict) else None
    excludes = role == "exclude" or (role != "include" and (is_excluding(name) or any(are_excluding)))
    return name or named, "exclude" if excludes else "include", _measurements(properties.get("measurements"))


def changed_properties(
    feature: Mapping[str, Any], name: str, kind: Literal["include", "exclude"], measurements: Mapping[str, float]
) -> dict[str, Any]:
    """Properties of a feature with another name, role or further measurements; all that is the same stays as it is."""
    before = read_properties(feature)
    changed = dict(properties_of(feature))
    if not feature:
        changed = {
            "objectType": "annotation",
            "name": printable(name),
            "classification": {"name": kind, "color": _COLOURS[kind]},
        }
    elif name != before[0] and (name or own_name(feature)):
        changed["name"] = printable(name)
    numbers = {title: float(value) for title, value in measurements.items() if math.isfinite(value)}
    if numbers and dict(measurements) != before[2]:
        changed["measurements"] = _merged(changed.get("measurements"), numbers)
    if read_properties({"properties": changed})[1] != kind:
        metadata = changed.get("metadata")
        changed["metadata"] = {**(metadata if isinstance(metadata, dict) else {}), _ROLE: kind}
    return changed


def classified(feature: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A feature with another class; none if the name is empty."""
    properties = {key: value for key, value in properties_of(feature).items() if key != "classification"}
    if name:
        # QuPath refuses a class without a colour, and keeps its own for the classes that it knows
        colour = list(hashlib.sha256(name.encode()).digest()[:3])
        properties["classification"] = {"name": name, "color": colour}
    return {"type": "Feature", **feature, "properties": {"objectType": "annotation", **properties}}


def identified(annotation: Annotation, slide: str, number: int = 0) -> Annotation:
    """A new annotation as the object that it will be in a file, with an identity; others stay as they are."""
    if annotation.feature.keys() & {"id", "geometry"}:
        return annotation
    properties = changed_properties(annotation.feature, annotation.name, annotation.kind, annotation.measurements)
    found = {"type": "Feature", "id": object_id(annotation.rings, slide, number), "properties": properties}
    return replace(annotation, feature=found)


def object_id(rings: Polygons, slide: str = "", number: int = 0) -> str:
    """Identity of a new object on a slide, which follows from its outline; a number tells equal outlines apart."""
    # programs and layers round differently, by less than a hundredth of a pixel
    outline = [[(np.round(ring, 2) + 0.0).tolist() for ring in polygon] for polygon in rings]
    facts = (slide, outline, number) if number else (slide, outline)
    return str(uuid.uuid5(_OBJECTS, repr(facts)))


def _merged(stored: object, numbers: Mapping[str, float]) -> object:
    """Measurements with further ones, in the form that they have: by name, or as a list as in QuPath before 0.4."""
    if not isinstance(stored, list):
        return {**(stored if isinstance(stored, dict) else {}), **numbers}
    others = [one for one in stored if not (isinstance(one, dict) and _printed(one.get("name")) in numbers)]
    return [*others, *({"name": name, "value": value} for name, value in numbers.items())]


def _printed(value: object) -> str:
    return printable(value) if isinstance(value, str) else ""


def _full_name(name: str) -> str:
    return _DERIVED.join(part.strip() for part in name.split(":"))


def _classes(properties: Mapping[str, Any]) -> list[str]:
    found = properties.get("classification")
    return _class_names(properties.get("classification.name") if found is None else found)


def _class_names(found: object) -> list[str]:
    """Names of the class of a feature, the most general one first; empty if it has none."""
    if isinstance(found, dict):
        names = found.get("names")
        # derived classes of QuPath have several names, or a parent before version 0.4
        parents = _class_names(found.get("parentClass"))
        listed = [*parents, found.get("name"), *(names if isinstance(names, list) else [])]
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
    numbers = ((name, value) for name, value in pairs if isinstance(value, int | float) and not isinstance(value, bool))
    # a whole number may have too many digits for a float
    return {printable(name): float(value) if abs(value) < _LARGEST else math.inf for name, value in numbers}
