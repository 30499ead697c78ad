import gzip
import json
import re
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from napari_hrpn.slides import Annotation, SlideError, SlideWarning, read_geojson, region_mask, write_geojson

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


@pytest.mark.parametrize("flat", [[[30, 10], [30, 40], [30, 25.5]], [[5, 7]] * 3, [[0.1, 0.3], [0.2, 0.6], [0.7, 2.1]]])
def test_polygons_of_no_area_are_left_out(tmp_path: Path, flat: list[list[float]]) -> None:
    outline = {"type": "Polygon", "coordinates": [[*flat, flat[0]]]}
    path = save(tmp_path, [feature(name="sound"), feature(outline, name="flat")])
    with pytest.warns(SlideWarning, match=r"1 annotations that are points, lines or empty \(Polygon of no area\)"):
        (kept,) = read_geojson(path)
    assert kept.name == "sound"
    with pytest.raises(SlideError, match=r"no polygon among its 1 annotations \(Polygon of no area\)"):
        read_geojson(save(tmp_path, outline))
    # the areas of a bow tie cancel out, but it has pixels
    tie = {"type": "Polygon", "coordinates": [[[0, 0], [9, 9], [9, 0], [0, 9], [0, 0]]]}
    assert len(read_one(tmp_path, tie).rings) == 1


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


AS_TEXT = {"name": "Ignore*", "color": [180, 180, 180]}


@pytest.mark.parametrize(
    ("properties", "kind"),
    [
        ({"classification": json.dumps(AS_TEXT)}, "exclude"),
        ({"classification": str(AS_TEXT)}, "exclude"),
        ({"classification": json.dumps({"names": ["Tumor", "Ignore*"]})}, "exclude"),
        ({"classification": "Ignore*"}, "exclude"),
        ({"classification": "Necrosis*"}, "exclude"),
        ({"classification": {"name": "Tumor: Necrosis*"}}, "exclude"),
        ({"classification": ["Tumor", "Ignore*"]}, "exclude"),
        ({"classification": [AS_TEXT]}, "exclude"),
        ({"classification.name": "Ignore*"}, "exclude"),
        ({"name": " Hole "}, "exclude"),
        ({"name": "exclude 2"}, "exclude"),
        ({"name": "Ignored_03"}, "exclude"),
        ({"classification": "exclusion"}, "exclude"),
        ({"classification": "{'name': 'Tumor'"}, "include"),
        ({"classification": "[" * 9000}, "include"),
        ({"classification": "null"}, "include"),
        ({"classification": {"name": None, "names": None}}, "include"),
        ({"classification": 10**400}, "include"),
        ({"name": "whole"}, "include"),
        ({"name": "holes and more"}, "include"),
        ({"name": "a*"}, "include"),
        ({"measurements": {"a": 10**400, "b": None}}, "include"),
        ({"measurements": [{"name": "a", "value": 1}, 5]}, "include"),
    ],
)
def test_the_class_may_come_in_any_dialect(tmp_path: Path, properties: dict[str, object], kind: str) -> None:
    assert read_one(tmp_path, feature(**properties)).kind == kind


def test_what_a_class_was_made_of_is_no_name(tmp_path: Path) -> None:
    assert read_one(tmp_path, feature(classification=json.dumps({"name": "Tumor", "color": [1, 2, 3]}))).name == "Tumor"
    assert read_one(tmp_path, feature(classification="null")).name == ""


def test_properties_may_be_null_and_collections_nested_and_files_compressed(tmp_path: Path) -> None:
    nested = {"features": [{"type": "FeatureCollection", "features": [{**feature(), "properties": None}]}]}
    text = json.dumps(nested)
    assert len(read_one(tmp_path, nested).rings) == 1
    path = tmp_path / "drawn.geojson.gz"
    path.write_bytes(gzip.compress(text.encode()))
    assert len(read_geojson(path)) == 1
    path.write_bytes(gzip.compress(text.encode())[:-20])
    with pytest.raises(SlideError, match="cannot be read"):
        read_geojson(path)
    path.write_bytes(text.encode("utf-16"))
    assert len(read_geojson(path)) == 1


@pytest.mark.parametrize(
    "geometry",
    [
        None,
        {},
        {"type": "Polygon", "coordinates": []},
        {"type": "Polygon", "coordinates": [[]]},
        {"type": "Polygon", "coordinates": [[[1, 1], [2, 2], [1, 1]]]},
        {"type": "MultiPolygon", "coordinates": []},
        {"type": "MultiPolygon", "coordinates": [[]]},
        {"type": "MultiPolygon", "coordinates": [[[]]]},
        {"type": "GeometryCollection", "geometries": []},
        {"type": "GeometryCollection", "geometries": [None]},
    ],
)
def test_what_is_empty_is_left_out_among_good_ones(tmp_path: Path, geometry: object) -> None:
    with pytest.warns(SlideWarning, match="1 annotations that are points, lines or empty"):
        assert len(read_geojson(save(tmp_path, [feature(geometry), feature()]))) == 1


def test_empty_parts_leave_the_others_and_points_beside_polygons_are_counted(tmp_path: Path) -> None:
    several = {"type": "MultiPolygon", "coordinates": [[], [RING, []], [RING, [[1, 1], [2, 2], [1, 1]]]]}
    assert [len(polygon) for polygon in read_one(tmp_path, feature(several)).rings] == [1, 1]
    mixed = {"type": "GeometryCollection", "geometries": [POLYGON, {"type": "Point", "coordinates": [1, 2]}]}
    with pytest.warns(SlideWarning, match=r"1 annotations .*\(Point\)"):
        assert len(read_one(tmp_path, feature(mixed)).rings) == 1


def test_some_points_may_have_a_height(tmp_path: Path) -> None:
    geometry = {"type": "Polygon", "coordinates": [[[20, 10], [60, 10, 5], [60, 50]]]}
    ((outline,),) = read_one(tmp_path, feature(geometry)).rings
    np.testing.assert_array_equal(outline, [(10, 20), (10, 60), (50, 60)])


def test_names_hold_what_a_file_can_hold(tmp_path: Path) -> None:
    path = save(tmp_path, json.dumps(feature(name="a\x00b\n\ud800c", measurements={"\ud800": 1})))
    (annotation,) = read_geojson(path)
    assert annotation.name == "a b \ufffdc"
    write_geojson([annotation], tmp_path / "again.geojson")
    assert read_geojson(tmp_path / "again.geojson")[0].name == annotation.name


def mutants(text: str, count: int) -> Iterator[str]:
    """Texts in which a piece is cut, doubled, or replaced by another value."""
    random = np.random.default_rng(4)
    values = [
        "5",
        "-1",
        "null",
        "[]",
        "{}",
        '"a"',
        '"\\ud800"',
        "1" + "0" * 400,
        "1e400",
        "NaN",
        "true",
        "[[[[1]]]]",
        "\x00",
    ]
    pieces = [match.span() for match in re.finditer(r'"[^"]*"|[\d.]+|[\[{].*?[\]}]|[,:\[\]{}]', text)]
    for _ in range(count):
        start, end = pieces[random.integers(len(pieces))]
        other = [values[random.integers(len(values))], "", text[start:end] * 2][random.choice(3, p=(0.7, 0.15, 0.15))]
        yield text[:start] + other + text[end:]


@pytest.mark.filterwarnings("ignore::napari_hrpn.slides.SlideWarning")
def test_whatever_is_wrong_ends_in_regions_or_a_sentence(tmp_path: Path) -> None:
    properties = {"name": "a", "classification": {"name": "Tumor", "names": ["Tumor"]}, "measurements": {"n": 1.5}}
    several = {"type": "GeometryCollection", "geometries": [POLYGON, {"type": "MultiPolygon", "coordinates": [[RING]]}]}
    text = json.dumps(
        {"type": "FeatureCollection", "features": [feature(**properties), feature(several, **properties)]}
    )
    sentences = []
    for mutant in mutants(text, 300):
        try:
            annotations = read_geojson(save(tmp_path, mutant))
            region_mask(annotations, (100, 100))
            write_geojson(annotations, tmp_path / "again.geojson", overwrite=True)
        except SlideError as refused:
            sentences.append(str(refused))
    assert 100 < len(sentences) < 300
    assert not any("\n" in sentence for sentence in sentences)


def test_a_large_file_takes_no_more_than_four_times_its_size(tmp_path: Path) -> None:
    ring = np.random.default_rng(0).uniform(0, 1e4, (60, 2)).round(2).tolist()
    one = feature({"type": "Polygon", "coordinates": [ring]}, objectType="annotation", classification=AS_TEXT)
    path = save(tmp_path, {"type": "FeatureCollection", "features": [one] * 1500})
    tracemalloc.start()
    assert len(read_geojson(path)) == 1500
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * path.stat().st_size


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
        ('{"type": "FeatureCollection", "features": [', "is no GeoJSON or is incomplete"),
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
        (polygon([0, 0], [5, 5], [0, 0]), r"no polygon among its 1 annotations \(empty Polygon\)"),
        (polygon(), r"no polygon among its 1 annotations \(empty Polygon\)"),
        (feature({"type": "Polygon", "coordinates": {}}), "no list of points"),
        (feature({"type": "Polygon", "coordinates": 5}), "no list of points"),
        (polygon(["0", "0"], ["5", "5"], ["9", "0"]), "pair of finite numbers"),
        (feature({"type": "GeometryCollection", "geometries": 5}), "no list of points"),
        (feature({"type": ["Polygon"], "coordinates": []}), "geometry without a type"),
        (feature(5), "geometry without a type"),
        ({"features": [{"features": 5}]}, "no list of annotations"),
        ('{"features": [' + '{"features": [' * 20_000, "is no GeoJSON"),
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
    with pytest.raises(SlideError, match="is no file, expected annotations as GeoJSON: check the path"):
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
