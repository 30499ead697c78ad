"""GeoJSON files of annotated regions for QuPath: objects that were read from GeoJSON are written as they were."""

from __future__ import annotations

import gzip
import io
import json
from collections import Counter
from contextlib import ExitStack
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np

from napari_hrpn.slides.annotation_properties import changed_properties, object_id, properties_of
from napari_hrpn.slides.geojson import children_of, parts_without_area, polygons_of
from napari_hrpn.slides.location import user_path
from napari_hrpn.slides.writers.output_path import partial_output

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    from napari_hrpn.slides.polygons import Polygons
    from napari_hrpn.slides.region import Annotation


def write_geojson(
    annotations: Sequence[Annotation], path: str | os.PathLike[str], *, slide: str = "", overwrite: bool = False
) -> None:
    """Write annotations as GeoJSON for QuPath.

    Parameters
    ----------
    annotations : sequence of Annotation
        The annotations; those that were read from GeoJSON are written as they were, with all that QuPath knows of
        them, but for a name, role or outline that has changed and for new measurements. Measurements that are not
        finite are left out, because JSON cannot store them. Further members of their collection are written too; of
        several collections, the first that has a member decides.
    path : str or os.PathLike
        The file; it is written completely or not at all, and compressed if its name ends in .gz.
    slide : str
        Identity of their slide, from `slide_identity`. With the outline, it decides the identity of objects that have
        none, by which QuPath recognises an object that it has already.
    overwrite : bool
        Whether a file that exists may be replaced.

    Raises
    ------
    SlideError
        If the file exists already or cannot be written.
    """
    checked = user_path(path)
    with partial_output(checked, None, overwrite=overwrite) as partial, ExitStack() as stack:
        raw: IO[bytes] = stack.enter_context(partial.open("wb"))
        if checked.suffix.lower() == ".gz":
            raw = cast("IO[bytes]", stack.enter_context(gzip.GzipFile("", "wb", fileobj=raw, mtime=0)))
        # half of a pair of surrogates cannot be encoded, and its escape sequence is that of JSON
        file = stack.enter_context(io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", newline=""))
        members: dict[str, Any] = {}
        for collection in {id(one.collection): one.collection for one in annotations}.values():
            members = {**collection, **members}
        file.write(f'{_text({"type": "FeatureCollection", **members})[:-1]}, "features": [')
        # written one by one, because all together would take many times the memory of the file
        for index, text in enumerate(feature_texts(annotations, slide)):
            file.write(f"{', ' if index else ''}{text}")
        file.write("]}")


def feature_texts(annotations: Sequence[Annotation], slide: str = "") -> Iterator[str]:
    """Annotations as features of GeoJSON, one by one; children are in their parents, if these are among them."""
    sources = {_key(one.feature): one for one in annotations}
    children = (child for one in sources.values() for child in children_of(one.feature) if isinstance(child, dict))
    nested = set(map(_key, children)) & sources.keys()
    repeats: Counter[str] = Counter()
    for one in annotations:
        if _key(one.feature) not in nested:
            yield _text(_feature(one, slide, sources, repeats))


def _key(feature: Mapping[str, Any]) -> int:
    """What an object and its annotation have in common, whatever else of it was changed."""
    geometry = feature.get("geometry")
    return id(feature if geometry is None else geometry)


def _text(content: object) -> str:
    try:
        return json.dumps(content, ensure_ascii=False, allow_nan=False, default=np.ndarray.tolist)
    except ValueError:
        # a number such as 1e400 was read as infinite
        words = json.loads(json.dumps(content, default=np.ndarray.tolist), parse_constant=str)
        return json.dumps(words, ensure_ascii=False)


def _feature(
    annotation: Annotation, slide: str, sources: Mapping[int, Annotation], repeats: Counter[str]
) -> dict[str, Any]:
    source = annotation.feature
    changed: dict[str, Any] = {}
    if (geometry := _geometry(annotation)) is not source.get("geometry"):
        changed["geometry"] = geometry
    properties = changed_properties(source, annotation.name, annotation.kind, annotation.measurements)
    if properties != properties_of(source):
        changed["properties"] = properties
    found: dict[str, Any] = {"type": "Feature", **source}
    if changed and source.get("id") is None:
        first = object_id(annotation.rings, slide)
        found = {"type": "Feature", **source, "id": object_id(annotation.rings, slide, repeats[first])}
        repeats[first] += 1
    if children := children_of(source):
        kept = (sources.get(_key(child)) for child in children if isinstance(child, dict))
        features = [_feature(one, slide, sources, repeats) for one in kept if one is not None]
        changed["properties"] = {**properties, "childObjects": features}
    return {**found, **changed}


def _geometry(annotation: Annotation) -> object:
    """Geometry as it was read, or a new one on the same plane if the outline is another."""
    stored = annotation.feature.get("geometry")
    before = polygons_of(stored, annotation.name)[0] if stored is not None else ()
    if annotation.feature and _are_equal(before, annotation.rings):
        return stored
    polygons = [[np.vstack([ring, ring[:1]])[:, ::-1].tolist() for ring in rings] for rings in annotation.rings]
    is_single = len(polygons) == 1
    outline = {
        "type": "Polygon" if is_single else "MultiPolygon",
        "coordinates": polygons[0] if is_single else polygons,
    }
    if not isinstance(stored, dict):
        return outline
    # points and lines beside the outline stay where they are
    if stored.get("type") == "GeometryCollection" and (others := parts_without_area(stored)):
        return {**stored, "geometries": [outline, *others]}
    return {**outline, **({"plane": stored["plane"]} if "plane" in stored else {})}


def _are_equal(some: Polygons, others: Polygons) -> bool:
    return [len(polygon) for polygon in some] == [len(polygon) for polygon in others] and all(
        np.array_equal(ring, other)
        for polygon, same in zip(some, others, strict=True)
        for ring, other in zip(polygon, same, strict=True)
    )
