"""Shapes and labels become regions in pixels of a slide, whatever the transforms of the layers."""

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_hrpn.core import Box
from napari_hrpn.plugin.viewer import slide_layers
from napari_hrpn.plugin.viewer.drawn_regions import drawn_regions
from napari_hrpn.slides import SlideError, open_slide, read_geojson, read_regions

SQUARE = [[10, 20], [10, 50], [40, 50], [40, 20]]


@pytest.fixture
def slide(stained_file):
    """96 x 130 px of 0.5 x 0.25 µm."""
    return open_slide(stained_file)


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def image(viewer, slide):
    data, attributes, _ = slide_layers(slide)[0]
    return viewer.add_image(data, **attributes)


def rings(path):
    return [annotation.rings[0][0] for annotation in read_geojson(path)]


def test_a_shape_in_pixels_of_the_slide_is_written_as_it_is_drawn(viewer, slide, image, tmp_path):
    shapes = viewer.add_shapes([SQUARE], scale=image.scale, units=image.units)
    path = drawn_regions(shapes, slide, image, viewer).write(tmp_path / "regions")
    # napari counts from the middle of the first pixel, a file from its corner
    np.testing.assert_allclose(rings(path)[0], np.add(SQUARE, 0.5))


def test_scale_rotation_translation_and_affine_of_both_layers_count(viewer, slide, image, tmp_path):
    # the slide is turned: (y, x) lies at (100 - 0.25 x, 7 + 0.5 y) in the world
    image.rotate, image.translate = 90, (100, 7)
    # the shapes are magnified and moved, and an affine doubles their x: (y, x) lies at (2 y + 1, 2 (3 x + 5))
    drawn = np.array([[36, 1], [36, 6], [46, 6], [46, 1]])
    shapes = viewer.add_shapes([drawn], scale=(2, 3), translate=(1, 5), units=image.units)
    shapes.affine = np.diag([1, 2, 1])
    path = drawn_regions(shapes, slide, image, viewer).write(tmp_path)
    by_hand = [[(2 * (3 * x + 5) - 7) / 0.5, (100 - (2 * y + 1)) / 0.25] for y, x in drawn]
    np.testing.assert_allclose(rings(path)[0], np.add(by_hand, 0.5))


def test_a_turned_shapes_layer_is_turned_on_the_slide(viewer, slide, image, tmp_path):
    image.scale = (1, 1)
    shapes = viewer.add_shapes([[[0, 0], [0, 20], [10, 20], [10, 0]]], rotate=30, translate=(40, 60), units=image.units)
    path = drawn_regions(shapes, slide, image, viewer).write(tmp_path)
    cos, sin = np.sqrt(3) / 2, 0.5
    down, across = np.array([cos, sin]) * 10, np.array([-sin, cos]) * 20
    first = np.array([40.5, 60.5])
    np.testing.assert_allclose(rings(path)[0], [first, first + across, first + across + down, first + down], atol=1e-9)


def test_lengths_in_other_units_are_converted(viewer, slide, image, tmp_path):
    shapes = viewer.add_shapes([SQUARE], scale=(0.0005, 0.00025), units=("mm", "mm"))
    path = drawn_regions(shapes, slide, image, viewer).write(tmp_path)
    np.testing.assert_allclose(rings(path)[0], np.add(SQUARE, 0.5))


def test_shapes_without_a_length_lie_where_they_are_seen(viewer, slide, image, tmp_path):
    # a layer in pixels switches the units of the viewer off, so that numbers are drawn as they are
    shapes = viewer.add_shapes([np.multiply(SQUARE, (0.5, 0.25))])
    assert viewer.layers.units is None
    path = drawn_regions(shapes, slide, image, viewer).write(tmp_path)
    np.testing.assert_allclose(rings(path)[0], np.add(SQUARE, 0.5))


def test_an_ellipse_has_the_area_of_an_ellipse(viewer, slide, image, tmp_path):
    shapes = viewer.add_shapes([SQUARE], shape_type="ellipse", scale=image.scale, units=image.units)
    path = drawn_regions(shapes, slide, image, viewer).write(tmp_path)
    y, x = rings(path)[0].T
    area = abs(np.dot(y, np.roll(x, 1)) - np.dot(x, np.roll(y, 1))) / 2
    assert area == pytest.approx(np.pi * 15 * 15, rel=1e-3)
    assert (y.mean(), x.mean()) == pytest.approx((25.5, 35.5))
    inside = read_regions(path, slide.shape)
    assert inside.mask[25, 35]
    assert not inside.mask[11, 21]


@pytest.mark.parametrize(
    "arguments",
    [
        {"features": {"kind": ["include", "Excluded by hand"]}},
        {"features": {"number": [1, 2], "class": ["", "exclude"]}},
    ],
)
def test_a_shape_that_a_feature_calls_exclude_is_left_out(viewer, slide, image, tmp_path, arguments):
    hole = [[20, 30], [20, 40], [30, 40], [30, 30]]
    shapes = viewer.add_shapes([SQUARE, hole], scale=image.scale, units=image.units, **arguments)
    inside = read_regions(drawn_regions(shapes, slide, image, viewer).write(tmp_path), slide.shape).mask
    expected = np.zeros(slide.shape, bool)
    expected[11:41, 21:51] = True
    expected[21:31, 31:41] = False
    # of pixels that an edge goes through the middle of, either may be
    assert np.count_nonzero(inside != expected) <= 2 * (30 + 30 + 10 + 10)
    assert inside.sum() == pytest.approx(800, abs=2)


def test_a_layer_called_exclude_leaves_all_else(viewer, slide, image, tmp_path):
    shapes = viewer.add_shapes([SQUARE], scale=image.scale, units=image.units, name="Exclude folds")
    inside = read_regions(drawn_regions(shapes, slide, image, viewer).write(tmp_path), slide.shape).mask
    assert inside.sum() == pytest.approx(96 * 130 - 900, abs=2)
    assert inside[0, 0]
    assert not inside[25, 35]


def test_shapes_beside_the_slide_are_those_of_another(viewer, slide, image, tmp_path):
    beside = np.add(SQUARE, (0, 200)).tolist()
    shapes = viewer.add_shapes([SQUARE, beside], scale=image.scale, units=image.units)
    assert len(rings(drawn_regions(shapes, slide, image, viewer).write(tmp_path))) == 1
    shapes.data = [beside]
    with pytest.raises(SlideError, match=r"No shape of 'Shapes' lies on tumour 3"):
        drawn_regions(shapes, slide, image, viewer)
    # what is left out of another slide leaves all of this one
    shapes.name = "exclude"
    assert drawn_regions(shapes, slide, image, viewer).write(tmp_path) is None


@pytest.mark.parametrize(("kind", "points"), [("line", SQUARE[:2]), ("path", SQUARE)])
def test_lines_and_paths_are_refused(viewer, slide, image, kind, points):
    shapes = viewer.add_shapes([SQUARE, points], shape_type=["rectangle", kind], units=image.units, scale=image.scale)
    with pytest.raises(SlideError, match=f"a {kind}, which has no area"):
        drawn_regions(shapes, slide, image, viewer)


def test_an_empty_layer_and_a_click_without_a_drag_are_refused(viewer, slide, image):
    shapes = viewer.add_shapes(units=image.units, scale=image.scale)
    with pytest.raises(SlideError, match="No shape"):
        drawn_regions(shapes, slide, image, viewer)
    shapes.add_rectangles([[[5, 5], [5, 5], [5, 5], [5, 5]]])
    with pytest.raises(SlideError, match="No shape"):
        drawn_regions(shapes, slide, image, viewer)


def test_the_same_regions_are_the_same_file_and_others_another(viewer, slide, image, tmp_path):
    shapes = viewer.add_shapes([SQUARE], scale=image.scale, units=image.units)
    first = drawn_regions(shapes, slide, image, viewer).write(tmp_path)
    content = first.read_bytes()
    assert drawn_regions(shapes, slide, image, viewer).write(tmp_path) == first
    shapes.data = [np.add(SQUARE, 1)]
    second = drawn_regions(shapes, slide, image, viewer).write(tmp_path)
    assert second != first
    assert first.read_bytes() == content


def test_labels_of_the_same_pixels_come_back_pixel_for_pixel(viewer, slide, image, tmp_path):
    painted = np.random.default_rng(1).integers(0, 3, slide.shape)
    labels = viewer.add_labels(painted, scale=image.scale, units=image.units)
    path = drawn_regions(labels, slide, image, viewer).write(tmp_path)
    np.testing.assert_array_equal(read_regions(path, slide.shape).mask, painted != 0)


def test_labels_are_one_region_as_their_file_is(viewer, slide, image, tmp_path):
    painted = np.zeros((40, 30), np.uint8)
    painted[3:9, 5:8] = painted[20, 20] = 7
    for name in ("labels", "exclude"):
        labels = viewer.add_labels(painted, scale=(1.3, 2.1), rotate=20, units=image.units, name=name)
        drawn = drawn_regions(labels, slide, image, viewer)
        assert drawn.region().digest == read_regions(drawn.write(tmp_path), slide.shape).digest


def test_labels_are_resampled_through_both_transforms(viewer, slide, image, tmp_path):
    # 4 slide pixels per label and turned by 90 degrees; label (i, j) covers 4 x 4 slide pixels
    image.scale = (1, 1)
    painted = np.zeros((40, 30), np.uint8)
    painted[3, 5] = 7
    labels = viewer.add_labels(painted, scale=(4, 4), rotate=90, translate=(61.5, 1.5), units=image.units)
    mask = read_regions(drawn_regions(labels, slide, image, viewer).write(tmp_path), slide.shape).mask
    expected = np.zeros(slide.shape, bool)
    for y, x in np.ndindex(slide.shape):
        i, j = np.round(labels.world_to_data(image.data_to_world((y, x)))).astype(int)
        expected[y, x] = 0 <= i < 40 and 0 <= j < 30 and painted[i, j] != 0
    assert expected.sum() == 16
    np.testing.assert_array_equal(mask, expected)


def test_labels_called_exclude_leave_the_rest(viewer, slide, image, tmp_path):
    painted = np.zeros(slide.shape, int)
    painted[:10] = 1
    labels = viewer.add_labels(painted, scale=image.scale, units=image.units, name="to exclude")
    mask = read_regions(drawn_regions(labels, slide, image, viewer).write(tmp_path), slide.shape).mask
    np.testing.assert_array_equal(mask, painted == 0)


def test_empty_and_three_dimensional_labels_are_refused(viewer, slide, image, tmp_path):
    labels = viewer.add_labels(np.zeros(slide.shape, int), scale=image.scale, units=image.units)
    with pytest.raises(SlideError, match=r"No label of 'Labels' lies on tumour 3"):
        drawn_regions(labels, slide, image, viewer).write(tmp_path)
    stack = viewer.add_labels(np.ones((2, *slide.shape), int), name="stack")
    with pytest.raises(SlideError, match="'stack' have 3 dimensions, expected 2"):
        drawn_regions(stack, slide, image, viewer)


def test_labels_of_a_large_slide_are_written_coarsely(viewer, tmp_path):
    import dask.array as da

    from napari_hrpn.slides import Slide

    slide = Slide((da.zeros((1, 6000, 9000), dtype=np.uint8, chunks=1000),), ("DAPI",), None, tmp_path / "large.tif")
    data, attributes, _ = slide_layers(slide, limits=[(0, 1)])[0]
    image = viewer.add_image(data, **attributes)
    painted = np.zeros((60, 90), int)
    painted[20:40, 30:60] = 1
    # a label reaches from 100 i to 100 (i + 1) full-resolution pixels
    labels = viewer.add_labels(painted, scale=(100, 100), translate=(49.5, 49.5))
    path = drawn_regions(labels, slide, image, viewer).write(tmp_path)
    regions = read_regions(path, slide.shape)
    assert regions.mask.shape == (2731, 4096)
    assert regions.share(Box(2000, 4000, 3000, 6000)) == pytest.approx(1, abs=1e-3)
    assert regions.fraction == pytest.approx(1 / 9, rel=2e-3)
