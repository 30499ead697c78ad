"""Objects of QuPath come back as they were: their JSON is equal, however often they are read and written."""

import gzip
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest

from napari_hrpn.slides import Annotation, SlideError, included, read_geojson, read_regions, taken_away, write_geojson
from napari_hrpn.slides.annotation_properties import class_of, classified, is_excluding

Json = dict[str, object]
OUTLINE = [[20.5, 10], [60, 10], [60.25, 50.75], [20.5, 10]]
HOLE = [[40, 15], [50, 15], [50, 20], [40, 15]]
POLYGON: Json = {"type": "Polygon", "coordinates": [OUTLINE, HOLE]}
OTHER: Json = {"type": "Polygon", "coordinates": [[[70, 70], [90, 70], [90, 95], [70, 70]]]}
IGNORE = {"name": "Ignore*", "color": [180, 180, 180]}
TUMOR = {"name": "Tumor", "color": [200, 0, 0]}


def feature(number: int, geometry: object = POLYGON, **properties: object) -> Json:
    """A feature as QuPath writes it."""
    return {"type": "Feature", "id": str(UUID(int=number)), "geometry": geometry, "properties": properties}


def cell(number: int, **properties: object) -> Json:
    measurements = {"Nucleus: Area": 31.25, "DAPI: Mean": 120, "Ratio": "NaN", "Limit": "-Infinity"}
    found = feature(number, OTHER, objectType="cell", measurements=measurements, **properties)
    return {**found, "nucleusGeometry": {**OTHER, "plane": {"c": 1, "z": 0, "t": 0}}}


FEATURES = [
    feature(1, objectType="annotation", name="core µ", classification=TUMOR, isLocked=True),
    feature(2, {**OTHER, "isEllipse": True, "plane": {"c": -1, "z": 3, "t": 2}}, objectType="annotation"),
    feature(3, {"type": "MultiPolygon", "coordinates": [[OUTLINE, HOLE], OTHER["coordinates"]]}, color=[1, 2, 3]),
    feature(4, {"type": "MultiPolygon", "coordinates": [[OUTLINE]]}, classification=IGNORE),
    cell(5, classification={"names": ["Tumor", "Positive"], "color": [250, 62, 62, 128]}),
    feature(6, OTHER, objectType="tile", metadata={"who": "Ada", "when": "today"}, unknown={"a": [None, True, 10**20]}),
    feature(7, OTHER, objectType="tmaCore", name="A-1", isMissing=False),
    feature(8, {"type": "Point", "coordinates": [3.5, 4]}, objectType="annotation", classification=TUMOR),
    feature(9, {"type": "MultiPoint", "coordinates": [[3.5, 4], [5, 6]]}, objectType="annotation"),
    feature(10, {"type": "LineString", "coordinates": [[3.5, 4], [5, 6]]}, objectType="annotation"),
    feature(11, {}, objectType="annotation"),
    feature(
        12,
        objectType="annotation",
        childObjects=[
            feature(13, OTHER, objectType="annotation", name="inner", childObjects=[cell(14), cell(15)]),
            feature(16, {"type": "Point", "coordinates": [1, 1]}, objectType="detection"),
            feature(17, None, objectType="annotation", name="nowhere"),
        ],
    ),
]  # fmt: skip
OLD = [
    {
        "type": "Feature",
        "id": "PathDetectionObject",
        "geometry": {"type": "Polygon", "coordinates": [[[1, 2], [9, 2], [9, 9, 5], [1, 2]]]},
        "properties": {
            "isLocked": False,
            "measurements": [{"name": "Area", "value": 12.5}, {"name": "Perimeter", "value": 4}],
            "classification": {"name": "Positive", "colorRGB": -377282, "parentClass": {"name": "Tumor"}},
        },
    }
]  # fmt: skip


def collection(features: Sequence[object]) -> Json:
    return {"type": "FeatureCollection", "features": list(features)}


def save(path: Path, content: object) -> Path:
    text = json.dumps(content, ensure_ascii=False).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def load(path: Path) -> Json:
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    found: Json = json.loads(text)
    return found


def written(annotations: Sequence[Annotation], folder: Path, **options: str) -> list[Json]:
    write_geojson(annotations, folder / "written.geojson", overwrite=True, **options)
    features = load(folder / "written.geojson")["features"]
    assert isinstance(features, list)
    return features


@pytest.mark.parametrize("name", ["a.geojson", "a.geojson.gz"])
@pytest.mark.parametrize("features", [FEATURES, OLD, *([one] for one in FEATURES)], ids=lambda some: f"{len(some)}")
def test_ten_round_trips_change_nothing(tmp_path: Path, features: list[Json], name: str) -> None:
    path = save(tmp_path / name, collection(features))
    for _ in range(10):
        write_geojson(read_geojson(path, everything=True), path, overwrite=True)
    assert load(path) == collection(features)


def test_members_of_a_collection_and_features_without_geometry_stay(tmp_path: Path) -> None:
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::404000"}}
    bare: Json = {"type": "Feature", "properties": {"name": "no geometry"}}
    whole = {**collection([*FEATURES[:2], bare]), "name": "drawn by Ada", "crs": crs, "xyz": {"a": [1, None, 1e300]}}
    path = save(tmp_path / "a.geojson", whole)
    for _ in range(3):
        write_geojson(read_geojson(path, everything=True), path, overwrite=True)
    assert load(path) == whole
    # regions of two files are one collection, and the first file names it
    other = read_geojson(save(tmp_path / "b.geojson", {**collection(FEATURES[2:3]), "name": "other", "who": "Bob"}))
    write_geojson([*read_geojson(path, everything=True)[:2], *other], path, overwrite=True)
    assert load(path) == {**whole, "who": "Bob", "features": FEATURES[:3]}


def test_points_beside_an_outline_that_was_moved_stay(tmp_path: Path) -> None:
    point, empty = {"type": "Point", "coordinates": [1, 2]}, {"type": "Polygon", "coordinates": []}
    line = {"type": "LineString", "coordinates": [[1, 2], [3, 4]]}
    inner = {"type": "GeometryCollection", "geometries": [line, OTHER]}
    mixed = {"type": "GeometryCollection", "geometries": [point, POLYGON, inner, empty], "plane": {"z": 3}}
    (first,) = read_geojson(save(tmp_path / "a.geojson", feature(1, mixed)), everything=True)
    assert written([first], tmp_path) == [feature(1, mixed)]
    (moved,) = written([replace(first, rings=((first.rings[1][0] + 1,),))], tmp_path)
    outline = {"type": "Polygon", "coordinates": [[[71, 71], [91, 71], [91, 96], [71, 71]]]}
    assert moved == feature(1, {**mixed, "geometries": [outline, point, line, empty]})


@pytest.mark.parametrize(
    "content",
    [FEATURES[0], FEATURES, {"features": [{"features": FEATURES}]}, {**collection(FEATURES), "name": "layer"}],
    ids=["feature", "list", "nested", "named"],
)
def test_every_form_becomes_one_collection(tmp_path: Path, content: object) -> None:
    annotations = read_geojson(save(tmp_path / "a.geojson", content), everything=True)
    assert written(annotations, tmp_path) == (FEATURES[:1] if content is FEATURES[0] else FEATURES)


def test_a_bare_geometry_becomes_a_feature(tmp_path: Path) -> None:
    annotations = read_geojson(save(tmp_path / "a.geojson", POLYGON))
    assert written(annotations, tmp_path) == [{"type": "Feature", "geometry": POLYGON, "properties": {}}]


def test_what_stands_for_no_properties_stays(tmp_path: Path) -> None:
    features = [{**FEATURES[0], "properties": None}, {"type": "Feature", "geometry": OTHER}]
    assert written(read_geojson(save(tmp_path / "a.geojson", features)), tmp_path) == features


def test_numbers_and_letters_that_json_has_no_place_for_are_kept_as_words(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps(feature(1, a=float("nan"), b="\ud800")).replace('"b"', '"c": -1e400, "b"'))
    first = written(read_geojson(path), tmp_path)
    assert first == [feature(1, a="NaN", c="-Infinity", b="\ud800")]
    assert written(read_geojson(tmp_path / "written.geojson"), tmp_path) == first


def test_children_are_regions_and_go_back_into_their_parents(tmp_path: Path) -> None:
    annotations = read_geojson(save(tmp_path / "a.geojson", FEATURES[-1]), everything=True)
    assert [one.feature["id"] for one in annotations] == [str(UUID(int=number)) for number in (12, 13, 14, 15, 16, 17)]
    without = [one for index, one in enumerate(annotations) if index != 2]
    inner = feature(13, OTHER, objectType="annotation", name="inner", childObjects=[cell(15)])
    others = FEATURES[-1]["properties"]["childObjects"][1:]  # type: ignore[index]
    expected = feature(12, objectType="annotation", childObjects=[inner, *others])
    assert written(without, tmp_path) == [expected]
    # a child whose parent is left out stands alone
    assert written(annotations[2:3], tmp_path) == [cell(14)]


def test_what_changes_is_written_and_nothing_else(tmp_path: Path) -> None:
    first, *_ = read_geojson(save(tmp_path / "a.geojson", collection(FEATURES[:1])))
    renamed, excluded, measured, drawn = written(
        [
            replace(first, name="rim"),
            replace(first, kind="exclude"),
            replace(first, measurements={"r": 0.5, "none": float("nan")}),
            replace(first, rings=first.rings[0:1] * 2),
        ],
        tmp_path,
    )
    properties: Json = FEATURES[0]["properties"]  # type: ignore[assignment]
    assert renamed == {**FEATURES[0], "properties": {**properties, "name": "rim"}}
    assert excluded == {**FEATURES[0], "properties": {**properties, "metadata": {"napari-hrpn role": "exclude"}}}
    assert measured == {**FEATURES[0], "properties": {**properties, "measurements": {"r": 0.5}}}
    assert drawn == {**FEATURES[0], "geometry": {"type": "MultiPolygon", "coordinates": [[OUTLINE, HOLE]] * 2}}
    back = read_geojson(tmp_path / "written.geojson")
    assert [(one.name, one.kind) for one in back] == [
        ("rim", "include"), ("core µ", "exclude"), ("core µ", "include"), ("core µ", "include")
    ]  # fmt: skip


def test_measured_regions_and_what_was_subtracted_from_them_are_the_objects_of_the_file(tmp_path: Path) -> None:
    far: Json = {"type": "MultiPolygon", "coordinates": [[[[900, 900], [950, 900], [900, 950], [900, 900]]], [HOLE]]}
    features = [
        feature(1, objectType="annotation", name="core"),
        feature(2, {"type": "Polygon", "coordinates": [HOLE]}, name="fold", classification=IGNORE, isLocked=True),
        feature(3, far, objectType="annotation", name="hole 2", measurements={"Area": 3.5}),
        feature(4, OTHER, objectType="detection"),
    ]
    regions = included(read_geojson(save(tmp_path / "a.geojson", collection(features))))
    assert [[one.name for one in region.excluded] for region in regions] == [["fold", "hole 2"], ["hole 2"]]
    # those of its outlines that do not meet a region are no part of it
    assert [len(region.holes) for region in regions] == [2, 0]
    assert written([*regions, *taken_away(regions)], tmp_path) == [features[index] for index in (0, 3, 1, 2)]


@pytest.mark.parametrize(
    ("text", "of_file", "drawn"),
    [
        ("Exclude 2", True, True),
        ("hole", True, True),
        ("ignored_03", True, True),
        ("to exclude", False, True),
        ("Tumour (excludes necrosis)", False, True),
        ("Wholesome", False, False),
        ("", False, False),
    ],
)
def test_words_that_exclude_in_files_exclude_in_napari_too(text: str, of_file: bool, drawn: bool) -> None:
    assert (is_excluding(text), is_excluding(text, is_drawn=True)) == (of_file, drawn)


def test_an_edited_ellipse_is_none_any_more_and_stays_on_its_plane(tmp_path: Path) -> None:
    (ellipse,) = read_geojson(save(tmp_path / "a.geojson", FEATURES[1]))
    (moved,) = written([replace(ellipse, rings=((ellipse.rings[0][0] + 1,),))], tmp_path)
    outline = [[71, 71], [91, 71], [91, 96], [71, 71]]
    geometry = {"type": "Polygon", "coordinates": [outline], "plane": {"c": -1, "z": 3, "t": 2}}
    assert moved == {**FEATURES[1], "geometry": geometry}


def test_measurements_join_those_that_are_there_in_their_form(tmp_path: Path) -> None:
    (old,) = read_geojson(save(tmp_path / "old.geojson", OLD))
    (cell_,) = read_geojson(save(tmp_path / "cell.geojson", FEATURES[4]))
    assert old.measurements == {"Area": 12.5, "Perimeter": 4}
    assert cell_.measurements == {"Nucleus: Area": 31.25, "DAPI: Mean": 120}
    first, second = written([replace(one, measurements={"r": 0.5, "Area": 13.0}) for one in (old, cell_)], tmp_path)
    listed = [{"name": "Perimeter", "value": 4}, {"name": "r", "value": 0.5}, {"name": "Area", "value": 13.0}]
    assert first["properties"] == {**OLD[0]["properties"], "measurements": listed}  # type: ignore[dict-item]
    before: Json = FEATURES[4]["properties"]  # type: ignore[assignment]
    together = {**before["measurements"], "r": 0.5, "Area": 13.0}  # type: ignore[dict-item]
    assert second == {**FEATURES[4], "properties": {**before, "measurements": together}}


RING = np.array([(1.5, 2.0), (1.5, 9.0), (8.25, 9.0)])


def test_new_objects_are_recognised_by_slide_and_outline(tmp_path: Path) -> None:
    def ids(*annotations: Annotation, slide: str = "one") -> list[object]:
        return [one["id"] for one in written(annotations, tmp_path, slide=slide)]

    new = Annotation("ROI 1", "include", ((RING,),))
    (first,) = ids(new)
    assert UUID(str(first)).version == 5
    assert ids(replace(new, name="ROI 2", kind="exclude")) == [first]
    assert ids(Annotation("", "include", ((RING + 1e-5,),))) == [first]
    assert ids(new, slide="other") != [first]
    assert ids(replace(new, rings=((RING + 1,),))) != [first]
    twice = ids(new, new)
    assert twice[0] == first != twice[1]
    # an object that has an identity keeps it, whatever becomes of its outline
    (written_,) = read_geojson(tmp_path / "written.geojson")[:1]
    assert ids(replace(written_, rings=((RING * 2,),)), slide="other") == [first]
    # one that was read without identity gets one with the first change
    (plain,) = read_geojson(save(tmp_path / "plain.geojson", POLYGON))
    assert "id" not in written([plain], tmp_path)[0]
    assert ids(replace(plain, name="core")) == ids(replace(plain, name="rim"))


def test_a_new_object_has_its_role_or_the_class_that_it_was_given(tmp_path: Path) -> None:
    new = Annotation("exclude 2", "include", ((RING,),))
    tumour = replace(new, name="core", feature=classified(new.feature, "Tumor: Positive"))
    plain, of_class = written([new, tumour], tmp_path)
    assert plain["properties"] == {
        "objectType": "annotation",
        "name": "exclude 2",
        "classification": {"name": "include", "color": [46, 160, 67]},
        "metadata": {"napari-hrpn role": "include"},
    }
    colour = of_class["properties"]["classification"].pop("color")  # type: ignore[index]
    assert all(0 <= part <= 255 for part in colour)
    assert of_class["properties"] == {
        "objectType": "annotation", "name": "core", "classification": {"name": "Tumor: Positive"}
    }  # fmt: skip
    assert [one.kind for one in read_geojson(tmp_path / "written.geojson")] == ["include", "include"]


@pytest.mark.parametrize(
    ("classes", "numbers"),
    [
        ([], [1, 2, 3, 4, 5, 6, 7, 12, 13, 14, 15]),
        (["Tumor"], [1, 5]),
        (["Tumor: Positive"], [5]),
        (["Tumor:Positive"], [5]),
        (["Ignore*", "Tumor"], [1, 4, 5]),
        ([""], [2, 3, 6, 7, 12, 13, 14, 15]),
    ],
)
@pytest.mark.filterwarnings("ignore::napari_hrpn.slides.SlideWarning")
def test_classes_are_chosen_by_their_exact_name_with_those_derived_from_it(
    tmp_path: Path, classes: list[str], numbers: list[int]
) -> None:
    path = save(tmp_path / "a.geojson", collection(FEATURES))
    found = read_geojson(path, classes=classes)
    assert [one.feature["id"] for one in found] == [str(UUID(int=number)) for number in numbers]


@pytest.mark.filterwarnings("ignore::napari_hrpn.slides.SlideWarning")
def test_a_class_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    path = save(tmp_path / "a.geojson", collection(FEATURES))
    there = r"expected one of Ignore\*, Tumor, Tumor: Positive: choose one of these\."
    for name in ("tumor", "Tum", "Positive"):
        with pytest.raises(SlideError, match=rf"^a\.geojson has no object of the class {name}, {there}$"):
            read_geojson(path, classes=[name])
    with pytest.raises(SlideError, match="class Tumor, as its objects have none: set one in QuPath"):
        read_geojson(save(path, FEATURES[1]), classes=["Tumor"])
    assert class_of(OLD[0]) == "Tumor: Positive"


@pytest.mark.filterwarnings("ignore::napari_hrpn.slides.SlideWarning")
def test_a_class_restricts_a_mask_and_a_label_image_has_none(tmp_path: Path) -> None:
    path = save(tmp_path / "a.geojson", collection(FEATURES))
    regions = included(read_geojson(path, classes=["Tumor: Positive"]))
    (only,) = regions
    mask = read_regions(path, (100, 100), classes=["Tumor: Positive"])
    np.testing.assert_array_equal(mask.mask, only.within(slice(0, 100), slice(0, 100)))
    np.save(tmp_path / "labels.npy", np.ones((100, 100), np.uint8))
    with pytest.raises(SlideError, match=r"labels\.npy is a label image, whose objects have no class"):
        read_regions(tmp_path / "labels.npy", (100, 100), classes=["Tumor"])


def in_degrees(**members: object) -> Json:
    outline = [[8.54, 47.36], [8.55, 47.36], [8.55, 47.37], [8.54, 47.36]]
    return {**collection([feature(1, {"type": "Polygon", "coordinates": [outline]})]), **members}


CRS = {"crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}}}


@pytest.mark.parametrize("content", [in_degrees(), in_degrees(**CRS), {**collection(FEATURES[:1]), **CRS}])
def test_degrees_are_refused(tmp_path: Path, content: Json) -> None:
    with pytest.raises(SlideError, match="seems to be in degrees of longitude and latitude"):
        read_geojson(save(tmp_path / "a.geojson", content))


def test_pixels_that_are_called_degrees_are_pixels(tmp_path: Path) -> None:
    # geopandas calls whatever it reads from GeoJSON so
    outline = [[2000, 47], [3000, 47], [3000, 1000], [2000, 47]]
    content = {**collection([feature(1, {"type": "Polygon", "coordinates": [outline]})]), **CRS}
    assert len(read_geojson(save(tmp_path / "a.geojson", content))) == 1


def test_a_compressed_file_is_whole_sound_and_not_too_large(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson.gz"
    write_geojson([Annotation("", "include", ((RING,),))], path)
    with pytest.raises(SlideError, match="exists already"):
        write_geojson([Annotation("", "include", ((RING,),))], path)
    assert path.read_bytes()[:2] == b"\x1f\x8b"
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(SlideError, match="cannot be read"):
        read_geojson(path)
    path.write_bytes(b"no gzip")
    with pytest.raises(SlideError, match="is no GeoJSON"):
        read_geojson(path)
    path.write_bytes(gzip.compress(b"[" + b" " * 60_000_000 + b"]"))
    with pytest.raises(SlideError, match=r"unpacks to more than \d+ MB"):
        read_geojson(path)


def test_the_script_of_the_manual_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Path(__file__).parents[2] / "docs" / "qupath.md"
    (script,) = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    save(tmp_path / "slide.geojson", collection(FEATURES[:1] + FEATURES[7:8]))
    monkeypatch.chdir(tmp_path)
    exec(script, {})
    first, point = load(tmp_path / "slide with uptake.geojson")["features"]  # type: ignore[misc]
    assert first == {**FEATURES[0], "properties": {**FEATURES[0]["properties"], "measurements": {"uptake": 0.5}}}  # type: ignore[dict-item]
    assert point == FEATURES[7]
