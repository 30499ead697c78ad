"""Regions under any transform, against the pixels whose centres napari itself puts inside."""

import numpy as np
import pandas as pd
import pytest
from napari.components import ViewerModel
from skimage.measure import points_in_poly

from napari_hrpn.core import Box
from napari_hrpn.plugin.roi_correlation.new_regions import add_boxes, imported_layer, new_layer, read_rois
from napari_hrpn.plugin.roi_correlation.regions import label_rois, name_last, shape_rois
from napari_hrpn.plugin.viewer import placement
from napari_hrpn.plugin.viewer.layer_coordinates import labels_on_slide, points_in_layer
from napari_hrpn.slides import Annotation, SlideError, included, write_geojson
from support.roi_shapes import box

SHAPE = (60, 90)
WHOLE = slice(0, SHAPE[0]), slice(0, SHAPE[1])
PLACES = {
    "pixels": {},
    "scale": {"scale": (0.65, 0.325), "units": ("um", "um")},
    "offset": {"translate": (-13, 40)},
    "rotation": {"rotate": 33},
    "shear": {"shear": [0.4]},
    "flipped": {"scale": (-2, 1)},
    "affine": {"affine": np.array([[1.2, 0.3, 5], [-0.2, 0.9, -7], [0, 0, 1]])},
    "all": {"scale": (2, 3), "rotate": -20, "shear": [0.1], "translate": (5, 6)},
}
RINGS = {"core": box(5, 50, 5, 50), "rim": box(40, 60, 50, 80)}
SHAPES = {
    # no centre of a pixel lies on an edge
    "rectangle": np.array([[5.3, 10.4], [5.3, 70.4], [41.3, 70.4], [41.3, 10.4]]),
    "ellipse": np.array([[8.1, 20.2], [8.1, 80.2], [52.1, 80.2], [52.1, 20.2]]),
    "polygon": np.array([[3.17, 5.31], [50.41, 30.29], [20.03, 85.77], [10.63, 40.47]]),
}


def opened(place, shapes_place):
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros(SHAPE), name="real", **place)
    return viewer, image, viewer.add_shapes(None, ndim=2, name="mine", **shapes_place)


def centres_inside(image, layer, vertices, kind):
    """Brute force: each centre of a pixel goes through napari's own transforms."""
    points = np.array([layer.world_to_data(image.data_to_world(centre)) for centre in np.ndindex(SHAPE)])
    if kind == "ellipse":
        middle, radii = vertices.mean(axis=0), np.ptp(vertices, axis=0) / 2
        inside = (((points - middle) / radii) ** 2).sum(axis=1) <= 1
    else:
        inside = points_in_poly(points, vertices)
    return inside.reshape(SHAPE)


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("name", PLACES)
def test_pixels_are_those_that_napari_puts_inside(name, kind):
    other = {"rotate": 12, "scale": (0.8, 1.1), "translate": (2, -4)}
    place = PLACES[name]
    if "units" in place:
        other["units"] = place["units"]
    viewer, image, layer = opened(place, other)
    # the same vertices seen in the world of the image
    vertices = np.array([layer.world_to_data(image.data_to_world(vertex)) for vertex in SHAPES[kind]])
    if kind == "ellipse":
        vertices = box(5, 40, 8, 60)
    layer.add(vertices, shape_type=kind)
    (listed,) = shape_rois(layer, image, viewer).rois
    mask = listed.roi.within(*WHOLE)
    expected = centres_inside(image, layer, vertices, kind)
    assert expected.any()
    # an ellipse is a polygon of many points
    assert np.count_nonzero(mask != expected) <= (0.01 * expected.sum() if kind == "ellipse" else 0)


def test_layers_in_other_units_meet():
    viewer, image, layer = opened(
        {"scale": (0.5, 0.5), "units": ("um", "um")}, {"scale": (1e-3, 1e-3), "units": ("mm", "mm")}
    )
    layer.add(box(5, 15, 10, 20), shape_type="rectangle")
    (listed,) = shape_rois(layer, image, viewer).rois
    expected = np.zeros(SHAPE, bool)
    # a millimetre's thousandth is two pixels
    expected[9:29, 19:39] = True
    assert np.count_nonzero(listed.roi.within(*WHOLE)) in range(380, 421)
    assert (listed.roi.within(*WHOLE) & expected).sum() > 350


def test_points_go_to_a_layer_and_back():
    viewer, image, layer = opened(PLACES["all"], PLACES["affine"])
    boxes = [Box(3, 20, 5, 30), Box(30, 50, 40, 80)]
    add_boxes(boxes, ["a", "b"], layer, image, viewer)
    listed = shape_rois(layer, image, viewer).rois
    for one, added in zip(listed, boxes, strict=True):
        expected = np.zeros(SHAPE, bool)
        expected[added.y0 : added.y1, added.x0 : added.x1] = True
        np.testing.assert_array_equal(one.roi.within(*WHOLE), expected)
    corner = points_in_layer(np.array([[0.5, 0.5]]), layer, image, viewer)[0]
    np.testing.assert_allclose(image.world_to_data(layer.data_to_world(corner)), 0, atol=1e-9)


def test_names_come_from_the_feature_and_excluding_shapes_are_no_regions():
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros(SHAPE))
    layer = new_layer(viewer, image, SHAPE, rings=[box(0, 9, 0, 9), box(20, 30, 0, 9)], names=["core", "exclude this"])
    found = shape_rois(layer, image, viewer)
    assert [one.name for one in found.rois] == ["core"]
    assert found.note == "1 shape is excluded from the others of the layer."
    add_boxes([Box(30, 40, 40, 50)], ["rim"], layer, image, viewer)
    layer.add(box(50, 55, 50, 60), shape_type="rectangle")
    assert [one.name for one in shape_rois(layer, image, viewer).rois] == ["core", "rim", "ROI 4"]
    name_last(layer, pd.DataFrame({"name": ["edge"], "other": [1]}))
    assert [one.name for one in shape_rois(layer, image, viewer).rois] == ["core", "rim", "edge"]
    assert layer.feature_defaults["name"].iloc[0] == "ROI 4"
    assert list(layer.features) == ["name"]
    for key, value in placement(image).items():
        np.testing.assert_array_equal(getattr(layer, key) if key != "affine" else layer.affine.affine_matrix, value)


def test_an_imported_polygon_keeps_its_holes():
    hole = Annotation("holed", "include", ((box(5, 50, 5, 80) + 0.5, box(20, 30, 20, 60) + 0.5),))
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros(SHAPE), **PLACES["rotation"])
    layer = imported_layer([hole], "from QuPath", image, SHAPE, viewer)
    (listed,) = shape_rois(layer, image, viewer).rois
    expected = np.zeros(SHAPE, bool)
    expected[5:50, 5:80] = True
    expected[20:30, 20:60] = False
    np.testing.assert_array_equal(listed.roi.within(*WHOLE), expected)
    assert listed.name == "holed"


def test_what_an_imported_file_excludes_is_taken_away_as_an_evaluation_does(tmp_path):
    corner = Annotation("lumen", "exclude", ((box(20, 70, 20, 60) + 0.5, box(25, 28, 30, 40) + 0.5),))
    core, rim = (Annotation(name, "include", ((ring + 0.5,),)) for name, ring in RINGS.items())
    write_geojson([core, corner, rim], tmp_path / "regions.geojson")
    found, note = read_rois(tmp_path / "regions.geojson", SHAPE)
    assert note == ""
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros(SHAPE), **PLACES["rotation"])
    layer = imported_layer(found, "from QuPath", image, SHAPE, viewer)
    listed = shape_rois(layer, image, viewer)
    assert [one.name for one in listed.rois] == ["core", "rim"]
    for one, expected in zip(listed.rois, included([core, corner, rim]), strict=True):
        np.testing.assert_array_equal(one.roi.within(*WHOLE), expected.within(*WHOLE))
    # one that moves alone is without it too
    (moved,) = shape_rois(layer, image, viewer, {0}, listed.excluded).rois
    assert moved.digest == listed.rois[0].digest


def test_too_many_labels_are_refused():
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros(SHAPE))
    labels = viewer.add_labels(np.arange(SHAPE[0] * SHAPE[1]).reshape(SHAPE), name="cells")
    with pytest.raises(SlideError, match=r"more than 1,000 values, expected one for each region"):
        label_rois(labels, labels_on_slide(labels, image, viewer))
    stack = viewer.add_labels(np.zeros((2, 3, 4), int))
    with pytest.raises(SlideError, match="3 dimensions"):
        labels_on_slide(stack, image, viewer)
