"""Annotations of QuPath become shapes on the slide, and go back as they were but for what was changed."""

import gzip
import json
import shutil
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from napari.layers import Shapes

from napari_hrpn.analysis import roi_images
from napari_hrpn.analysis.tissue.slide_penetration import ProbeImage
from napari_hrpn.plugin.reader import get_region_reader, read_annotations
from napari_hrpn.plugin.roi_correlation.exports import Exported, write_rois_geojson
from napari_hrpn.plugin.roi_correlation.new_regions import imported_layer
from napari_hrpn.plugin.roi_correlation.regions import shape_rois
from napari_hrpn.plugin.roi_correlation.results import RoiRow
from napari_hrpn.plugin.viewer import slide_layers
from napari_hrpn.plugin.viewer.annotation_layers import annotation_layer, write_layers
from napari_hrpn.plugin.viewer.drawn_regions import drawn_regions
from napari_hrpn.plugin.viewer.layer_coordinates import shapes_on_slide
from napari_hrpn.plugin.writer import write_shapes
from napari_hrpn.slides import SlideError, open_slide, read_geojson, slide_identity
from napari_hrpn.slides.annotation_properties import object_id

OUTER = [[10.25, 20.5], [90.75, 20.5], [90.75, 80.25], [10.25, 20.5]]
INNER = [[60, 30], [70, 30], [70, 40], [60, 30]]
TUMOR = {"name": "Tumor", "color": [200, 0, 0]}


def feature(number, coordinates, kind="Polygon", **properties):
    geometry = {"type": kind, "coordinates": coordinates}
    return {"type": "Feature", "id": str(UUID(int=number)), "geometry": geometry, "properties": properties}


NUCLEUS = {"type": "Polygon", "coordinates": [INNER]}
CELL = {**feature(4, [OUTER], objectType="cell", measurements={"Area": 2.5}), "nucleusGeometry": NUCLEUS}
FEATURES = [
    feature(1, [OUTER, INNER], objectType="annotation", name="core", classification=TUMOR, isLocked=True),
    feature(2, [1.5, 2], "Point", objectType="annotation"),
    feature(3, [INNER], objectType="annotation", classification={"name": "Ignore*", "color": [180, 180, 180]}),
    CELL,
    feature(5, [[OUTER], [INNER]], "MultiPolygon", objectType="annotation"),
]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "from QuPath.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": FEATURES}))
    return path


@pytest.fixture
def viewer(make_napari_viewer, stained_file):
    viewer = make_napari_viewer()
    viewer.open(str(stained_file), plugin="napari-hrpn")
    return viewer


def opened(viewer, file) -> Shapes:
    (layer,) = viewer.open(str(file), plugin="napari-hrpn")
    return layer


def saved(layer, path):
    assert write_shapes(str(path), [layer.as_layer_data_tuple()]) == [str(path)]
    return json.loads(Path(path).read_text("utf-8"))["features"]


@pytest.fixture
def slide(stained_file):
    return open_slide(stained_file)


def shapes(viewer, file, slide):
    """A viewer without a window does, where no plugin is asked."""
    data, attributes, _ = slide_layers(slide)[0]
    image = viewer.add_image(data, **attributes)
    data, attributes, _ = annotation_layer(read_geojson(file, everything=True), "annotations", slide, image)
    return viewer.add_shapes(data, **attributes), image


def test_a_dropped_file_lies_on_the_slide_and_is_saved_as_it_was(viewer, file, tmp_path, slide, notifications):
    layer = opened(viewer, file)
    assert (layer.name, layer.ndim, len(layer.data)) == ("from QuPath", 2, 4)
    np.testing.assert_array_equal(layer.scale, slide.pixel_size_um)
    assert [str(unit) for unit in layer.units] == ["micrometer", "micrometer"]
    assert layer.features.to_dict("list") == {
        "name": ["core", "exclude", "ROI 4", "ROI 5"],
        "class": ["Tumor", "Ignore*", "", ""],
        "id": [str(UUID(int=number)) for number in (1, 3, 4, 5)],
    }
    # the first pixel of a file reaches from 0 to 1, that of a layer from -0.5 to 0.5
    np.testing.assert_allclose(layer.data[1], np.array(INNER[:-1])[:, ::-1] - 0.5)
    assert "An object of from QuPath.geojson without area: not shown, but saved with its layer." in notifications
    for name in ("one.geojson", "two.geojson"):
        assert saved(layer, tmp_path / name) == FEATURES
        layer = opened(viewer, tmp_path / name)
    # what napari is asked to save goes the same way
    path = tmp_path / "by napari.geojson.gz"
    assert layer.save(str(path), plugin="napari-hrpn") == [str(path)]
    assert json.loads(gzip.decompress(path.read_bytes()))["features"] == FEATURES


def test_without_a_slide_shapes_are_in_pixels(make_napari_viewer, file, tmp_path, notifications):
    viewer = make_napari_viewer()
    layer = opened(viewer, file)
    np.testing.assert_array_equal(layer.scale, (1, 1))
    assert any(
        sentence.startswith("No slide is open, so from QuPath.geojson is shown in") for sentence in notifications
    )
    assert saved(layer, tmp_path / "again.geojson") == FEATURES


def test_moves_names_classes_copies_and_new_shapes_are_saved(file, slide, tmp_path):
    from napari.components import ViewerModel

    viewer = ViewerModel()
    layer, _ = shapes(viewer, file, slide)
    outlines = [np.array(one) for one in layer.data]
    outlines[0] = outlines[0] + (2, 3)
    layer.data = outlines
    features = layer.features.copy()
    features.loc[2, "name"], features.loc[3, "class"] = "a cell", "Stroma"
    layer.features = features
    # as napari does after a shape was selected, new shapes begin with its features
    layer.feature_defaults = features.iloc[1].to_dict()
    layer.add(np.array([[1, 1], [1, 9], [8, 9], [8, 1]]), shape_type="rectangle")
    assert write_layers([layer], tmp_path / "saved.geojson", viewer) == 0
    assert write_layers([layer], tmp_path / "again.geojson", viewer) == 0
    assert (tmp_path / "again.geojson").read_bytes() == (tmp_path / "saved.geojson").read_bytes()
    first, point, excluded, cell, several, new = json.loads((tmp_path / "saved.geojson").read_text())["features"]
    assert (point, excluded) == (FEATURES[1], FEATURES[2])
    moved = (np.array(first["geometry"].pop("coordinates")[0]) - (3, 2))[:4]
    np.testing.assert_allclose(moved, OUTER)
    assert first == {**FEATURES[0], "geometry": {"type": "Polygon"}}
    assert cell == {**CELL, "properties": {**CELL["properties"], "name": "a cell"}}
    assert several["properties"].pop("classification")["name"] == "Stroma"
    assert several == FEATURES[4]
    assert new["id"] not in {one["id"] for one in FEATURES}
    assert UUID(new["id"]).version == 5
    assert new["geometry"]["coordinates"] == [[[1.5, 1.5], [9.5, 1.5], [9.5, 8.5], [1.5, 8.5], [1.5, 1.5]]]


def test_only_drawn_shapes_exclude_by_a_word_in_the_name_of_layer_or_shape(tmp_path, slide):
    from napari.components import ViewerModel

    named = feature(6, [OUTER], objectType="annotation", name="Tumour (excludes necrosis)", classification=TUMOR)
    path = tmp_path / "necrosis excluded.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [*FEATURES, named]}))
    viewer = ViewerModel()
    layer, image = shapes(viewer, path, slide)
    layer.name = path.stem
    kinds = [one.kind for one in shapes_on_slide(layer, image, viewer)[0].values()]
    assert kinds == ["include", "exclude", *3 * ["include"]]
    assert kinds == [one.kind for one in read_geojson(path, everything=True) if one.rings]
    write_layers([layer], tmp_path / "again.geojson", viewer)
    assert json.loads((tmp_path / "again.geojson").read_text())["features"] == [*FEATURES, named]
    # a name that a user gives still decides, a class that excludes stays
    layer.features = layer.features.assign(name=["exclude core", "fold", "ROI 4", "excluded", "Tumour"])
    layer.add(np.array([[1, 1], [1, 9], [8, 9], [8, 1]]), shape_type="rectangle")
    kinds = [one.kind for one in shapes_on_slide(layer, image, viewer)[0].values()]
    assert kinds == ["exclude", "exclude", "include", "exclude", "include", "exclude"]
    # the words of files are those of napari too
    layer.name = "drawn"
    layer.features = layer.features.assign(name=["core", "fold", "ROI 4", "ROI 5", "Tumour", "hole 2"])
    kinds = [one.kind for one in shapes_on_slide(layer, image, viewer)[0].values()]
    assert kinds == ["include", "exclude", *3 * ["include"], "exclude"]


@pytest.mark.parametrize("outline", [[[30, 10], [30, 40], [30, 25]], [[5, 7], [25, 7], [15, 7]], [[5, 7]] * 3])
def test_polygons_without_area_are_saved_as_they_were_until_they_are_deleted(viewer, tmp_path, outline):
    flat = feature(6, [[*outline, outline[0]]], objectType="annotation", name="flat")
    path = tmp_path / "flat.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [flat, *FEATURES]}))
    layer = opened(viewer, path)
    assert saved(layer, tmp_path / "again.geojson") == [flat, *FEATURES]
    layer.selected_data = {0}
    layer.remove_selected()
    assert saved(layer, tmp_path / "deleted.geojson") == FEATURES


def test_edited_and_copied_shapes_are_polygons_with_holes_again(tmp_path, slide):
    from napari.components import ViewerModel

    far = [[110.5, 5], [120, 5], [120, 15], [110.5, 5]]
    several = feature(2, [[OUTER, INNER], [far]], "MultiPolygon", objectType="annotation")
    (tmp_path / "holes.geojson").write_text(json.dumps([FEATURES[0], several]))
    viewer = ViewerModel()
    layer, _ = shapes(viewer, tmp_path / "holes.geojson", slide)
    outlines = [np.array(one) for one in layer.data]
    outlines[0][1] += (0, 0.25)
    layer.data = [outlines[0], outlines[1] + np.array((2, 3))]
    layer.feature_defaults = layer.features.iloc[0].to_dict()
    layer.add(outlines[1] + 7, shape_type="polygon")
    for name in ("one.geojson", "two.geojson"):
        write_layers([layer], tmp_path / name, viewer)
    assert (tmp_path / "one.geojson").read_bytes() == (tmp_path / "two.geojson").read_bytes()
    edited, moved, copied = json.loads((tmp_path / "one.geojson").read_text())["features"]
    assert [edited["id"], moved["id"]] == [FEATURES[0]["id"], several["id"]]
    changed = [[10.25, 20.5], [91, 20.5], [90.75, 80.25], [10.25, 20.5]]
    assert edited["geometry"]["type"] == "Polygon"
    assert [_points(ring) for ring in edited["geometry"]["coordinates"]] == [_points(changed), _points(INNER)]
    for one, shift in ((moved, (3, 2)), (copied, (7, 7))):
        assert one["geometry"]["type"] == "MultiPolygon"
        polygons = [[_points(ring, shift) for ring in rings] for rings in one["geometry"]["coordinates"]]
        expected = [[_points(OUTER), _points(INNER)], [_points(far)]]
        assert sorted(polygons, key=len) == sorted(expected, key=len)


def _points(ring, shift=(0, 0)):
    """Points of a closed ring, from whichever it begins."""
    assert ring[0] == ring[-1]
    return sorted((np.array(ring[1:]) - shift).round(3).tolist())


def test_a_second_export_of_drawn_shapes_has_the_same_ids(viewer, slide, tmp_path):
    triangle = np.array([[10, 20], [10, 50], [40, 50]])
    drawn = viewer.add_shapes([triangle, triangle], shape_type="polygon", scale=(0.5, 0.25), units=("um", "um"))
    first, twin = saved(drawn, tmp_path / "a.geojson")
    (annotation, _) = read_geojson(tmp_path / "a.geojson")
    assert [one["id"] for one in (first, twin)] == [
        object_id(annotation.rings, slide_identity(slide), number) for number in (0, 1)
    ]
    assert saved(drawn, tmp_path / "a.geojson") == [first, twin]
    # the same shapes in a layer that was never saved
    again = viewer.add_shapes([triangle], shape_type="polygon", scale=(0.5, 0.25), units=("um", "um"))
    assert saved(again, tmp_path / "b.geojson") == [first]
    # one that is edited after it was saved stays the same object, and the next one is another
    drawn.data = [triangle + 5, triangle]
    drawn.add(triangle, shape_type="polygon")
    ids = [one["id"] for one in saved(drawn, tmp_path / "c.geojson")]
    assert ids[:2] == [first["id"], twin["id"]]
    assert len(set(ids)) == 3
    assert list(drawn.feature_defaults["id"]) == [""]


def test_layers_are_saved_together_and_what_is_left_of_a_file_too(viewer, file, tmp_path):
    layer = opened(viewer, file)
    triangle = np.array([[10, 20], [10, 50], [40, 50]])
    drawn = viewer.add_shapes([triangle], shape_type="polygon", scale=(0.5, 0.25), units=("um", "um"))
    viewer.add_shapes(ndim=2, name="empty", scale=(0.5, 0.25), units=("um", "um"))
    viewer.layers.selection = set(viewer.layers[-3:])
    path = tmp_path / "together.geojson"
    assert viewer.layers.save(str(path), selected=True, plugin="napari-hrpn") == [str(path)]
    *first, new = json.loads(path.read_text())["features"]
    assert (first, [new]) == (FEATURES, saved(drawn, tmp_path / "alone.geojson"))
    # the point of the file is no shape, but is still there when all shapes are deleted
    layer.selected_data = set(range(len(layer.data)))
    layer.remove_selected()
    assert saved(layer, tmp_path / "rest.geojson") == FEATURES[1:2]
    (rest,) = viewer.open(str(tmp_path / "rest.geojson"), plugin="napari-hrpn")
    assert saved(rest, tmp_path / "again.geojson") == FEATURES[1:2]


def test_a_name_that_was_emptied_is_empty_and_a_moved_collection_keeps_its_points(tmp_path, slide):
    from napari.components import ViewerModel

    point = {"type": "Point", "coordinates": [12, 22]}
    mixed = {"type": "GeometryCollection", "geometries": [point, {"type": "Polygon", "coordinates": [OUTER]}]}
    mixed = {**feature(6, [], name="mixed"), "geometry": mixed}
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "name": "of Ada", "features": [FEATURES[0], mixed]}))
    viewer = ViewerModel()
    layer, _ = shapes(viewer, path, slide)
    layer.add(np.array([[1, 1], [1, 9], [8, 9], [8, 1]]), shape_type="rectangle")
    layer.features = layer.features.assign(name=["", "mixed", " "])
    outlines = [np.array(one) for one in layer.data]
    outlines[1] = outlines[1] + 2
    layer.data = outlines
    for name in ("one.geojson", "two.geojson"):
        write_layers([layer], tmp_path / name, viewer)
    assert (tmp_path / "one.geojson").read_bytes() == (tmp_path / "two.geojson").read_bytes()
    found = json.loads((tmp_path / "one.geojson").read_text())
    assert found["name"] == "of Ada"
    core, moved, new = found["features"]
    assert core == {**FEATURES[0], "properties": {**FEATURES[0]["properties"], "name": ""}}
    assert new["properties"]["name"] == ""
    outline, kept = moved["geometry"].pop("geometries")
    assert kept == point
    np.testing.assert_allclose(outline["coordinates"], np.array([OUTER]) + 2)
    assert moved == {**mixed, "geometry": {"type": "GeometryCollection"}}


def test_layers_on_two_slides_are_no_file(tmp_path, slide, stained_file, file):
    from napari.components import ViewerModel

    viewer = ViewerModel()
    other = open_slide(shutil.copy(stained_file, tmp_path / "other.ome.tif"))
    layers = [shapes(viewer, file, one)[0] for one in (slide, other)]
    with pytest.raises(SlideError, match=r"'annotations' and 'annotations.*' lie on different slides, expected layers"):
        write_layers(layers, tmp_path / "none.geojson", viewer)
    assert not (tmp_path / "none.geojson").exists()


def test_measured_regions_keep_what_qupath_said_of_them(file, slide, tmp_path):
    from napari.components import ViewerModel

    viewer = ViewerModel()
    data, attributes, _ = slide_layers(slide)[0]
    image = viewer.add_image(data, **attributes)
    layer = imported_layer(read_geojson(file, everything=True), "ROIs", image, slide.shape, viewer)
    listed = shape_rois(layer, image, viewer, names_layer=True).rois
    assert [one.name for one in listed] == ["ROIs: core", "ROIs: ROI 4", "ROIs: ROI 5"]
    images = roi_images(ProbeImage("real", slide, 2), (ProbeImage("predicted", slide, 2),))
    rows = tuple(RoiRow(one) for one in listed)
    write_rois_geojson(Exported(images, rows, "ROIs"), tmp_path / "rois.geojson")
    core, cell, several, excluded = json.loads((tmp_path / "rois.geojson").read_text())["features"]
    assert core == FEATURES[0]
    assert cell == {**CELL, "properties": {**CELL["properties"], "name": "ROI 4"}}
    assert several["id"] == FEATURES[4]["id"]
    assert excluded == FEATURES[2]
    region = drawn_regions(layer, slide, image, viewer).region()
    np.testing.assert_array_equal(region.within(slice(0, 10), slice(0, 10)), False)


def test_files_that_are_damaged_or_no_annotations_end_in_a_sentence(viewer, tmp_path, notifications):
    (tmp_path / "cut.geojson").write_text('{"type": "FeatureCollection", "features": [')
    (tmp_path / "no.geojson.gz").write_bytes(b"no gzip")
    for name in ("cut.geojson", "no.geojson.gz"):
        assert viewer.open(str(tmp_path / name), plugin="napari-hrpn") == []
        assert notifications[-1].startswith(f"{name} is no GeoJSON or is incomplete")
    empty = ([], {"name": "empty", "ndim": 2, "units": ("um", "um")}, "shapes")
    with pytest.raises(SlideError, match="has no shape with an area"):
        write_shapes(str(tmp_path / "none.geojson"), [empty])
    assert get_region_reader(str(tmp_path / "a.roi")) is read_annotations
    assert get_region_reader(str(tmp_path / "a.zip")) is None
    assert get_region_reader([str(tmp_path / "a.GEOJSON"), str(tmp_path / "a.tif")]) is None
