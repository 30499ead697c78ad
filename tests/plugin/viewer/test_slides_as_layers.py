from dataclasses import replace
from pathlib import Path

import dask.array as da
import napari
import numpy as np
import pytest
import zarr
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer, Shapes
from napari.layers._layer_actions import _duplicate_layer

from napari_hrpn import __version__
from napari_hrpn.core import Box
from napari_hrpn.plugin.viewer import (
    camera_centre,
    channel_colormaps,
    channel_of,
    give_pixel_size,
    layers_of,
    placement,
    replace_slide,
    shapes_box,
    slide_from_layers,
    slide_layers,
    slide_of,
    slider_range,
    slides_in,
    visible_box,
)
from napari_hrpn.slides import Slide, SlideError, coarser_levels

TRANSFORMS = [
    {},
    {"scale": (0.5, 0.25), "translate": (30, -7)},
    {"rotate": 37, "scale": (2, 3)},
    {"shear": [0.4], "translate": (5, 8)},
    {"affine": [[0.8, 0.3, 11], [-0.5, 1.1, -4], [0, 0, 1]], "rotate": -120, "scale": (1, 0.3), "shear": [-0.2]},
]


def make_slide(shape=(3, 64, 80), names=("DAPI", "CD31", "QD"), **changes):
    pixels = np.random.default_rng(1).integers(0, 200, shape).astype(np.uint8)
    slide = Slide((da.from_array(pixels, chunks=(1, 32, 32)),), tuple(names), (0.5, 0.5), Path("a.ome.tif"))
    return replace(slide, **changes)


def make_layer(**attributes):
    return Image(np.random.default_rng(2).integers(0, 200, (90, 130)).astype(np.uint8), name="image", **attributes)


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("unit", ["um", "pixel"])
def test_a_layer_placed_on_another_lies_on_it(transform, unit):
    source = make_layer(**transform, units=(unit, unit), axis_labels=("y", "x"))
    added = Image(np.zeros((90, 130)), **placement(source))
    for point in ((0, 0), (89, 0), (0, 129), (12.5, 77.25)):
        assert added.data_to_world(point) == pytest.approx(source.data_to_world(point))
    assert added.units == source.units
    assert added.axis_labels == source.axis_labels


def test_moving_a_placed_layer_leaves_the_source_where_it_is():
    source = make_layer(scale=(2, 2))
    added = Image(np.zeros((90, 130)), **placement(source))
    added.translate = (5, 5)
    added.scale = (1, 1)
    assert tuple(source.translate) == (0, 0)
    assert tuple(source.scale) == (2, 2)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_the_visible_box_holds_just_the_pixels_in_view(transform):
    viewer = napari.components.ViewerModel()
    viewer.canvas.size = (60, 100)
    layer = viewer.add_layer(make_layer(**transform))
    middle = np.array(layer.data_to_world((40, 70)))
    viewer.scene.camera.center = (0, *middle)
    viewer.scene.camera.zoom = 2.5
    pixels = np.stack(np.meshgrid(np.arange(90), np.arange(130), indexing="ij"), -1).reshape(-1, 2)
    world = np.array([layer.data_to_world(pixel) for pixel in pixels])
    seen = pixels[(np.abs(world - middle) * 2.5 <= (30, 50)).all(axis=1)]
    box = visible_box(viewer, layer)
    assert box.y0 <= seen[:, 0].min()
    assert box.y1 > seen[:, 0].max()
    assert box.x0 <= seen[:, 1].min()
    assert box.x1 > seen[:, 1].max()
    if not {"shear", "rotate", "affine"} & set(transform):
        # the corners of the view touch at most the next pixel
        assert box.height <= np.ptp(seen[:, 0]) + 3
        assert box.width <= np.ptp(seen[:, 1]) + 3


def test_the_visible_box_is_what_a_real_window_shows(make_napari_viewer):
    viewer = make_napari_viewer()
    layer = viewer.add_image(np.zeros((900, 1300), np.uint8), scale=(0.5, 0.5))
    viewer.scene.camera.center = (0, 200, 300)
    viewer.scene.camera.zoom = 8
    viewer.screenshot(flash=False)
    top_left, bottom_right = layer.corner_pixels
    box = visible_box(viewer, layer)
    assert 0 < box.area < 900 * 1300
    assert np.abs(np.subtract((box.y0, box.x0), top_left)).max() <= 2
    assert np.abs(np.subtract((box.y1, box.x1), bottom_right)).max() <= 2


def test_nothing_of_a_layer_out_of_view_is_visible():
    viewer = napari.components.ViewerModel()
    layer = viewer.add_layer(make_layer())
    viewer.scene.camera.center = (0, 5000, 5000)
    viewer.scene.camera.zoom = 10
    assert visible_box(viewer, layer).area == 0


def test_in_three_dimensions_all_of_a_layer_is_visible():
    viewer = napari.components.ViewerModel()
    layer = viewer.add_layer(make_layer())
    viewer.dims.ndisplay = 3
    assert visible_box(viewer, layer) == Box(0, 90, 0, 130)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_the_camera_centre_is_the_pixel_under_the_middle_of_the_view(transform):
    viewer = napari.components.ViewerModel()
    # a stack beside it gives the world a third dimension
    viewer.add_image(np.zeros((4, 10, 10)))
    layer = viewer.add_layer(make_layer(**transform))
    viewer.scene.camera.center = (0, *layer.data_to_world((12.5, 77.0)))
    assert camera_centre(viewer, layer) == pytest.approx((12.5, 77.0))


def box_of(image, shapes):
    """The box of some shapes over an image, seen together."""
    viewer = napari.components.ViewerModel()
    viewer.layers.extend([image, shapes])
    return shapes_box(shapes, image, viewer)


def test_shapes_and_image_meet_in_the_world():
    image = make_layer(scale=(0.5, 0.5), translate=(10, 0), rotate=90)
    corners = np.array([(9.5, 19.5), (9.5, 49.5), (29.5, 49.5), (29.5, 19.5)])
    in_world = np.array([image.data_to_world(corner) for corner in corners])
    shapes = Shapes([in_world / 2], shape_type="polygon", scale=(2, 2))
    assert box_of(image, shapes) == Box(10, 30, 20, 50)


@pytest.mark.parametrize("kind", ["rectangle", "ellipse"])
@pytest.mark.parametrize("units", ["mm", "nm", "pixel"])
def test_shapes_in_other_units_are_over_the_pixels_that_they_are_seen_on(kind, units):
    image = make_layer(scale=(0.5, 0.25), units=("um", "um"))
    # where one layer is in pixels, napari draws numbers as they are
    um = {"mm": 1000, "nm": 0.001, "pixel": 1}[units]
    shapes = Shapes(
        [np.array([(9.5, 19.5), (9.5, 49.5), (29.5, 49.5), (29.5, 19.5)])],
        shape_type=kind,
        scale=np.divide((0.5, 0.25), um),
        units=(units, units),
    )
    assert box_of(image, shapes) == Box(10, 30, 20, 50)


def test_selected_shapes_count_before_all_shapes():
    image = make_layer()
    shapes = Shapes([np.array([(5, 5), (20, 20)]), np.array([(40, 60), (70, 90)])], shape_type="rectangle")
    assert box_of(image, shapes) == Box(5, 71, 5, 91)
    shapes.selected_data = {1}
    assert box_of(image, shapes) == Box(40, 71, 60, 91)


def test_no_box_without_shapes_on_the_image():
    assert box_of(make_layer(), Shapes()) is None
    outside = Shapes([np.array([(500, 500), (520, 520)])], shape_type="rectangle")
    assert box_of(make_layer(), outside) is None


def test_a_slide_is_found_by_its_layers():
    viewer = napari.components.ViewerModel()
    first, second = make_slide(), make_slide(source=Path("b.tif"))
    for slide in (first, second):
        for layer in slide_layers(slide):
            viewer.add_layer(Layer.create(*layer))
    viewer.add_layer(make_layer())
    assert slides_in(viewer) == [first, second]
    assert layers_of(viewer, second) == list(viewer.layers[3:6])
    assert [channel_of(layer) for layer in viewer.layers] == [0, 1, 2, 0, 1, 2, None]
    cached = make_slide()
    replace_slide(viewer.layers[1], cached)
    assert slide_of(viewer.layers[1]) is cached
    assert channel_of(viewer.layers[1]) == 1
    assert len(slides_in(viewer)) == 2


def test_brightfield_is_one_colour_layer():
    slide = make_slide(names=("Red", "Green", "Blue"), is_brightfield=True)
    ((data, attributes, kind),) = slide_layers(slide)
    layer = Layer.create(data, attributes, kind)
    assert layer.rgb
    assert channel_of(layer) is None
    np.testing.assert_array_equal(np.asarray(layer.data), np.moveaxis(slide.levels[0].compute(), 0, -1))


def test_pixels_of_unknown_size_are_pixels():
    ((_, attributes, _),) = slide_layers(make_slide((1, 8, 8), ["QD"], pixel_size_um=None))
    assert attributes["units"] == ("pixel", "pixel")
    assert attributes["scale"] == (1, 1)


@pytest.mark.parametrize(
    ("names", "colormaps"),
    [
        (("QD", "CD31", "Hoechst"), ("red", "green", "bop blue")),
        (("DIC", "FITC"), ("gray", "green")),
        (("0", "1"), ("cyan", "magenta")),
        (("Channel 0",), ("gray",)),
        (("Red", "Green", "Blue"), ("red", "green", "blue")),
    ],
)
def test_colours_say_what_a_channel_shows(names, colormaps):
    assert channel_colormaps(names) == colormaps


@pytest.mark.parametrize(
    ("limits", "dtype", "expected"),
    [
        ((5, 80), "uint8", (0, 255)),
        ((100, 1500), "uint16", (0, 4095)),
        ((100, 60000), "uint16", (0, 65535)),
        ((-20, 100), "int16", (-40, 255)),
        ((0.1, 0.5), "float32", (0, 1)),
    ],
)
def test_the_contrast_slider_leaves_room_but_not_too_much(limits, dtype, expected):
    assert slider_range(limits, np.dtype(dtype)) == pytest.approx(expected)


def test_layers_of_any_array_make_a_slide():
    pixels = np.random.default_rng(3).integers(0, 4000, (3, 70, 90)).astype(np.uint16)
    stored = zarr.array(pixels[2], chunks=(32, 32))
    arrays = (pixels[0], da.from_array(pixels[1], chunks=(16, 90)), stored)
    layers = [
        Image(array, name=name, scale=(0.001, 0.002), units="mm") for array, name in zip(arrays, "abc", strict=True)
    ]
    slide = slide_from_layers(layers, ["DAPI", "CD31", "QD"])
    np.testing.assert_array_equal(slide.levels[0].compute(), pixels)
    assert slide.channel_names == ("DAPI", "CD31", "QD")
    assert slide.pixel_size_um == pytest.approx((1, 2))
    assert slide.source == Path("a")


def test_multiscale_layers_keep_the_levels_they_share():
    finest = da.from_array(np.random.default_rng(4).integers(0, 255, (1, 300, 200)).astype(np.uint8))
    levels = [level[0] for level in (finest, *coarser_levels(finest, 100))]
    slide = slide_from_layers([Image(levels), Image(levels[:2])], ["a", "b"])
    assert slide.stored_levels == 2
    np.testing.assert_array_equal(slide.levels[1][1].compute(), levels[1].compute())


def test_a_large_single_array_gets_coarser_levels():
    slide = slide_from_layers([Image(np.zeros((1500, 30), np.uint8))], ["a"])
    assert [level.shape for level in slide.levels] == [(1, 1500, 30), (1, 750, 15), (1, 375, 8)]
    assert slide.stored_levels == 1
    assert slide.pixel_size_um is None


@pytest.mark.parametrize(
    ("make_layers", "sentence"),
    [
        (lambda: [Image(np.zeros((9, 9))), Image(np.zeros((9, 8)))], "differ in size"),
        (lambda: [Image(np.zeros((9, 9, 3)), rgb=True)], "colour image"),
        (lambda: [Image(np.zeros((4, 9, 9)))], "3 dimensions"),
        (lambda: [Labels(np.zeros((9, 9), int))], "holds labels"),
        (lambda: [Image(np.zeros((9, 9))), Image(np.zeros((9, 9)), translate=(4, 0))], "do not lie on each other"),
        (lambda: [Image(np.zeros((9, 9), np.int64))], "int64"),
        (list, "0 layers"),
    ],
)
def test_what_is_no_slide_is_refused_in_a_sentence(make_layers, sentence):
    layers = make_layers()
    with pytest.raises(SlideError, match=sentence):
        slide_from_layers(layers, [layer.name for layer in layers] or ["a"])


def is_plain(value):
    return isinstance(value, str | float | bool) or (isinstance(value, list) and all(map(is_plain, value)))


def test_a_script_reads_plain_facts_of_a_layer_that_a_copy_and_another_pixel_size_keep():
    viewer_model, slide = ViewerModel(), make_slide()
    for layer in map(Layer.create, *zip(*slide_layers(slide), strict=True)):
        viewer_model.add_layer(layer)
    facts = viewer_model.layers[1].metadata["napari-hrpn"]
    assert facts == {
        "kind": "slide",
        "version": __version__,
        "file": "a.ome.tif",
        "channel": "CD31",
        "pixel_size_um": [0.5, 0.5],
    }
    viewer_model.layers.selection = {viewer_model.layers[1]}
    _duplicate_layer(viewer_model.layers)
    copy = viewer_model.layers[2]
    assert copy.name.endswith("copy")
    assert copy.metadata["napari-hrpn"] == facts
    give_pixel_size(viewer_model, slide, (0.25, 2.0))
    sizes = [layer.metadata["napari-hrpn"]["pixel_size_um"] for layer in viewer_model.layers]
    assert sizes == [[0.25, 2.0]] * 4
    assert facts["pixel_size_um"] == [0.5, 0.5]
    assert all(is_plain(value) for layer in viewer_model.layers for value in layer.metadata["napari-hrpn"].values())


def test_plain_facts_without_a_pixel_size_or_a_single_channel_leave_out_what_is_not_known():
    (layer,) = slide_layers(make_slide(names=("red", "green", "blue"), pixel_size_um=None, is_brightfield=True))
    facts = layer[1]["metadata"]["napari-hrpn"]
    assert facts == {"kind": "slide", "version": __version__, "file": "a.ome.tif", "channel": ["red", "green", "blue"]}
