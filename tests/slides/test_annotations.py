import json
from pathlib import Path

import numpy as np
import pytest

from napari_hrpn.slides import Annotation, SlideError, SlideWarning, read_geojson, write_geojson

RING = [[20.0, 10.0], [60.0, 10.0], [60.5, 50.25], [20.0, 10.0]]
HOLE = [[30, 15], [40, 15], [40, 20], [30, 15]]
POLYGON = {"type": "Polygon", "coordinates": [RING, HOLE]}


def feature(geometry: object = POLYGON, **properties: object) -> dict[str, object]:
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def save(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "drawn.geojson"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def read_one(tmp_path: Path, content: object) -> Annotation:
    (annotation,) = read_geojson(save(tmp_path, content))
    return annotation


@pytest.mark.parametrize(
    "content",
    [{"type": "FeatureCollection", "features": [feature()]}, [feature()], feature(), POLYGON],
    ids=["collection", "list", "feature", "geometry"],
)
def test_collection_list_and_single_feature_read_alike(tmp_path: Path, content: object) -> None:
    ((outline, hole),) = read_one(tmp_path, content).rings
    np.testing.assert_array_equal(outline, [(10, 20), (10, 60), (50.25, 60.5)])
    np.testing.assert_array_equal(hole, [(15, 30), (15, 40), (20, 40)])


def test_multipolygon_is_one_annotation(tmp_path: Path) -> None:
    geometry = {"type": "MultiPolygon", "coordinates": [[RING], [HOLE]]}
    collection = {"type": "GeometryCollection", "geometries": [POLYGON, geometry]}
    assert [len(polygon) for polygon in read_one(tmp_path, feature(geometry)).rings] == [1, 1]
    assert [len(polygon) for polygon in read_one(tmp_path, feature(collection)).rings] == [2, 1, 1]


def test_outline_may_be_open_and_points_may_have_a_depth(tmp_path: Path) -> None:
    geometry = {"type": "Polygon", "coordinates": [[[20, 10, 0], [60, 10, 0], [60, 50, 0]]]}
    ((outline,),) = read_one(tmp_path, feature(geometry)).rings
    np.testing.assert_array_equal(outline, [(10, 20), (10, 60), (50, 60)])


@pytest.mark.parametrize(
    ("properties", "name", "kind"),
    [
        ({}, "", "include"),
        ({"name": "core", "classification": {"name": "Tumor", "color": [200, 0, 0]}}, "core", "include"),
        ({"classification": {"name": "Tumor"}}, "Tumor", "include"),
        ({"classification": "Stroma"}, "Stroma", "include"),
        ({"classification": {"names": ["Tumor", "Positive"]}}, "Tumor", "include"),
        ({"classification": {"name": "Ignore*"}}, "", "exclude"),
        ({"name": "fold", "classification": {"name": "EXCLUDE"}}, "fold", "exclude"),
        ({"name": "Exclude"}, "Exclude", "exclude"),
        ({"name": "exclusive"}, "exclusive", "include"),
        ({"name": 7, "classification": None}, "", "include"),
    ],
)
def test_name_and_class_are_those_of_qupath(
    tmp_path: Path, properties: dict[str, object], name: str, kind: str
) -> None:
    annotation = read_one(tmp_path, feature(**properties))
    assert (annotation.name, annotation.kind) == (name, kind)


def test_points_and_lines_are_left_out_and_counted(tmp_path: Path) -> None:
    others = [{"type": "Point", "coordinates": [1, 2]}, {"type": "LineString", "coordinates": RING}, None]
    path = save(tmp_path, [feature(), *map(feature, others)])
    with pytest.warns(SlideWarning, match="3 annotations that are points, lines or empty"):
        assert len(read_geojson(path)) == 1


def polygon(*points: object) -> dict[str, object]:
    return feature({"type": "Polygon", "coordinates": [list(points)]})


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"type": "FeatureCollection", "features": [', "is no GeoJSON or was cut short"),
        ("", "is no GeoJSON"),
        ("[" * 100_000, "is no GeoJSON"),
        ("7", "no list of annotations"),
        ('"text"', "no list of annotations"),
        ([RING], "no list of annotations"),
        ({"features": None}, "no list of annotations"),
        ([], "no polygon among its 0 annotations"),
        ({}, "no polygon among its 1 annotations"),
        ([feature({"type": "Point", "coordinates": [1, 2]})], "no polygon among its 1 annotations"),
        ([feature(), polygon([0, 0], [5, float("nan")], [5, 5])], "Annotation 2 of drawn.geojson has a point"),
        (polygon([0, 0], [5, float("inf")], [5, 5]), "pair of finite numbers"),
        (polygon([0, 0], [5, 1e300], [5, 5]), "pair of finite numbers"),
        (polygon([0, 0], [5, 10**400], [5, 5]), "pair of finite numbers"),
        (polygon([0, 0], [5], [5, 5]), "pair of finite numbers"),
        (polygon([0, 0], [5, None], [5, 5]), "pair of finite numbers"),
        (polygon([0, 0], {"x": 1}, [5, 5]), "pair of finite numbers"),
        (polygon([0, 0], [5, 5], [0, 0]), "outline of 2 points, expected 3 or more"),
        (polygon(), "pair of finite numbers"),
        (feature({"type": "Polygon", "coordinates": []}), "no list of points"),
        (feature({"type": "MultiPolygon", "coordinates": None}), "no list of points"),
        (feature({"type": "MultiPolygon", "coordinates": [7]}), "no list of points"),
    ],
)
def test_what_is_no_region_is_refused_in_a_sentence(tmp_path: Path, content: object, sentence: str) -> None:
    with pytest.raises(SlideError, match=sentence) as refused:
        read_geojson(save(tmp_path, content))
    assert "\n" not in str(refused.value)


def test_file_that_is_missing_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match="There is no file"):
        read_geojson(tmp_path / "drawn.geojson")
    with pytest.raises(SlideError, match="cannot be read"):
        read_geojson(tmp_path)
    (tmp_path / "drawn.geojson").write_bytes(b"\xff\xfe\x00[")
    with pytest.raises(SlideError, match="is no GeoJSON"):
        read_geojson(tmp_path / "drawn.geojson")


ONE = Annotation(
    "Rand µ", "include", ((np.array([(1.5, 2.0), (1.5, 9.0), (8.25, 9.0)]), np.array([(2.0, 6.0), (2, 8), (4, 8)])),)
)
OTHER = Annotation(
    "",
    "exclude",
    ((np.array([(0.0, 0.0), (0, 1), (1, 1)]),), (np.array([(5.0, 5.0), (5, 6), (6, 6)]),)),
    {"area": 1.5, "r2": float("nan")},
)


def test_what_is_written_reads_back_the_same(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "drawn.geojson"
    write_geojson([ONE, OTHER], path)
    back = read_geojson(path)
    assert [(each.name, each.kind) for each in back] == [("Rand µ", "include"), ("", "exclude")]
    assert [dict(each.measurements) for each in back] == [{}, {"area": 1.5}]
    for written, read in zip((ONE, OTHER), back, strict=True):
        for rings_written, rings_read in zip(written.rings, read.rings, strict=True):
            for ring_written, ring_read in zip(rings_written, rings_read, strict=True):
                np.testing.assert_array_equal(ring_read, ring_written)


def test_what_is_written_has_what_qupath_asks_for(tmp_path: Path) -> None:
    write_geojson([ONE, OTHER], tmp_path / "drawn.geojson")
    written = json.loads((tmp_path / "drawn.geojson").read_text("utf-8"))
    assert written["type"] == "FeatureCollection"
    first, second = written["features"]
    assert first["type"] == "Feature"
    assert first["id"] != second["id"]
    assert first["properties"]["objectType"] == "annotation"
    assert first["properties"]["classification"]["name"] == "include"
    assert all(0 <= part <= 255 for part in first["properties"]["classification"]["color"])
    assert first["geometry"]["type"] == "Polygon"
    assert first["geometry"]["coordinates"][0] == [[2.0, 1.5], [9.0, 1.5], [9.0, 8.25], [2.0, 1.5]]
    assert second["geometry"]["type"] == "MultiPolygon"
    assert second["properties"]["measurements"] == {"area": 1.5}


def test_file_that_exists_is_replaced_only_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "drawn.geojson"
    write_geojson([ONE], path)
    with pytest.raises(SlideError, match="exists already"):
        write_geojson([ONE, OTHER], path)
    assert len(read_geojson(path)) == 1
    write_geojson([ONE, OTHER], path, overwrite=True)
    assert len(read_geojson(path)) == 2
    assert [file.name for file in tmp_path.iterdir()] == ["drawn.geojson"]
