import numpy as np
import pytest
from napari.layers import Image, Layer

from napari_hrpn.plugin.reader import read_slides
from napari_hrpn.plugin.writer import write_image, write_images
from napari_hrpn.slides import SlideError, open_slide


def image(value=0, shape=(40, 50), **attributes):
    pixels = np.random.default_rng(value).integers(0, 4000, shape).astype(np.uint16)
    return Image(pixels, **attributes).as_layer_data_tuple()


@pytest.mark.parametrize("ending", ["ome.zarr", "ome.tif"])
def test_channels_of_an_open_slide_are_written_whole(tmp_path, stained_file, stained_pixels, ending):
    path = tmp_path / f"copy.{ending}"
    layers = [Layer.create(*layer).as_layer_data_tuple() for layer in read_slides(str(stained_file))]
    assert write_images(str(path), layers) == [str(path)]
    slide = open_slide(path)
    np.testing.assert_array_equal(slide.levels[0].compute(), stained_pixels)
    assert slide.channel_names == ("DAPI", "CD31", "QD")
    assert slide.pixel_size_um == pytest.approx((0.5, 0.25))


@pytest.mark.parametrize("ending", ["ome.zarr", "ome.tif"])
def test_one_layer_of_a_slide_is_written_alone(tmp_path, stained_file, stained_pixels, ending):
    path = tmp_path / f"vessels.{ending}"
    vessels = Layer.create(*read_slides(str(stained_file))[1]).as_layer_data_tuple()
    write_image(str(path), *vessels[:2])
    slide = open_slide(path)
    np.testing.assert_array_equal(slide.levels[0].compute(), stained_pixels[1:2])
    assert slide.channel_names == ("CD31",)


def test_any_layers_of_one_size_make_a_slide(tmp_path):
    path = tmp_path / "made.ome.zarr"
    units = {"units": ("um", "um"), "scale": (0.5, 0.5)}
    layers = [image(1, name="nuclei", **units), image(2, name="vessels", **units)]
    write_images(str(path), layers)
    slide = open_slide(path)
    assert slide.channel_names == ("nuclei", "vessels")
    assert slide.pixel_size_um == pytest.approx((0.5, 0.5))
    np.testing.assert_array_equal(slide.levels[0][1].compute(), layers[1][0])


def test_a_multiscale_layer_is_written_from_its_finest_level(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (1300, 700)).astype(np.uint8)
    data, attributes, _ = Image([pixels, pixels[::2, ::2]], name="QD").as_layer_data_tuple()
    write_image(str(tmp_path / "a.ome.tif"), data, attributes)
    slide = open_slide(tmp_path / "a.ome.tif")
    np.testing.assert_array_equal(slide.levels[0][0].compute(), pixels)
    assert len(slide.levels) > 1


def test_layers_that_differ_in_size_are_refused(tmp_path):
    with pytest.raises(SlideError, match="differ in size"):
        write_images(str(tmp_path / "a.ome.tif"), [image(name="a"), image(shape=(40, 51), name="b")])
    assert list(tmp_path.iterdir()) == []


def test_other_endings_are_refused(tmp_path):
    data, attributes, _ = image()
    with pytest.raises(SlideError, match=r"\.ome\.zarr"):
        write_image(str(tmp_path / "a.png"), data, attributes)


def test_a_folder_is_not_overwritten_since_no_dialog_asks(tmp_path):
    data, attributes, _ = image(1)
    path = tmp_path / "a.ome.zarr"
    write_image(str(path), data, attributes)
    with pytest.raises(SlideError, match="exists already"):
        write_image(str(path), image(2)[0], attributes)
    np.testing.assert_array_equal(open_slide(path).levels[0][0].compute(), data)


def test_a_slide_is_never_written_onto_itself(stained_file, stained_pixels):
    layers = [Layer.create(*layer).as_layer_data_tuple() for layer in read_slides(str(stained_file))]
    with pytest.raises(SlideError, match="choose another name"):
        write_images(str(stained_file), layers)
    np.testing.assert_array_equal(open_slide(stained_file).levels[0].compute(), stained_pixels)


@pytest.mark.parametrize("ending", ["ome.zarr", "ome.tif"])
def test_the_viewer_saves_with_this_writer(make_napari_viewer, tmp_path, stained_file, stained_pixels, ending):
    viewer = make_napari_viewer()
    viewer.open(str(stained_file), plugin="napari-hrpn")
    path = tmp_path / f"saved.{ending}"
    assert viewer.layers.save(str(path), plugin="napari-hrpn") == [str(path)]
    np.testing.assert_array_equal(open_slide(path).levels[0].compute(), stained_pixels)
    one = tmp_path / f"one.{ending}"
    assert viewer.layers[2].save(str(one), plugin="napari-hrpn") == [str(one)]
    assert open_slide(one).channel_names == ("QD",)
