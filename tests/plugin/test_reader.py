import napari
import numpy as np
import pytest
import tifffile
from napari.layers import Layer

from napari_hrpn.plugin.reader import get_reader, read_slides
from napari_hrpn.plugin.viewer import channel_of, slide_of, slides_in
from napari_hrpn.slides import SlideError, SlideWarning
from napari_hrpn.slides.formats import FILE_SUFFIXES
from support.object_storage import uploaded
from support.predictions import make_slide, save_slide


@pytest.mark.parametrize("name", ["a.OME.TIFF", *(f"a{suffix}" for suffix in FILE_SUFFIXES)])
def test_files_that_may_be_slides_are_taken_unopened(tmp_path, name):
    assert get_reader(str(tmp_path / name)) is not None


@pytest.mark.parametrize("name", ["a.png", "a.csv", "tif"])
def test_other_files_are_left_to_others(tmp_path, name):
    assert get_reader(str(tmp_path / name)) is None


def test_lists_are_taken_if_all_of_them_are_slides(tmp_path):
    assert get_reader([str(tmp_path / "a.tif"), str(tmp_path / "b.nd2")]) is not None
    assert get_reader([str(tmp_path / "a.tif"), str(tmp_path / "b.png")]) is None
    assert get_reader([]) is None


def test_folders_are_taken_if_they_are_zarr_or_hold_tiffs(tmp_path):
    for folder in ("slide.ome.zarr", "plain", "group", "stains", "empty"):
        (tmp_path / folder).mkdir()
    (tmp_path / "group" / ".zgroup").touch()
    (tmp_path / "stains" / "DAPI.tif").touch()
    (tmp_path / "plain" / "notes.txt").touch()
    taken = {folder.name for folder in tmp_path.iterdir() if folder.is_dir() and get_reader(str(folder))}
    assert taken == {"slide.ome.zarr", "group", "stains"}


@pytest.mark.parametrize("address", ["s3://bucket/a.ome.zarr", "https://host.invalid/a.zarr/", "gs://bucket/zarr.json"])
def test_addresses_are_taken_unopened_if_they_end_as_a_zarr(address):
    assert get_reader(address) is not None
    assert get_reader("s3://bucket/a.tif") is None


def test_an_address_becomes_layers(make_napari_viewer, bucket, tmp_path):
    slide = save_slide(make_slide(300, 200, tmp_path / "none"), tmp_path / "slide.ome.zarr")
    place = uploaded(tmp_path / "slide.ome.zarr", f"{bucket}/slide.ome.zarr")
    layers = make_napari_viewer().open(str(place), plugin="napari-hrpn")
    assert [layer.name for layer in layers] == ["DAPI · slide", "AF488 · slide", "QD · slide"]
    assert slide_of(layers[0]).source == place
    np.testing.assert_array_equal(np.asarray(layers[2].data), slide.levels[0][2])


def test_without_a_viewer_a_broken_file_raises(tmp_path):
    (tmp_path / "broken.tif").write_bytes(b"II*\0 but no more")
    with pytest.raises(SlideError, match=r"broken\.tif"):
        read_slides(str(tmp_path / "broken.tif"))


def test_a_dropped_slide_becomes_coloured_layers_in_micrometres(make_napari_viewer, stained_file, stained_pixels):
    viewer = make_napari_viewer()
    layers = viewer.open(str(stained_file), plugin="napari-hrpn")
    assert [layer.name for layer in layers] == ["DAPI · tumour 3", "CD31 · tumour 3", "QD · tumour 3"]
    assert [layer.colormap.name for layer in layers] == ["bop blue", "green", "red"]
    for index, layer in enumerate(layers):
        np.testing.assert_array_equal(np.asarray(layer.data), stained_pixels[index])
        assert tuple(layer.scale) == (0.5, 0.25)
        assert [str(unit) for unit in layer.units] == ["micrometer", "micrometer"]
        assert layer.axis_labels == ("y", "x")
        assert layer.blending == "additive"
        assert (layer.contrast_limits[0], layer.contrast_limits[1]) == pytest.approx(
            tuple(np.percentile(stained_pixels[index], [0.1, 99.8])), rel=0.02
        )
        low, high = layer.contrast_limits_range
        assert low == 0
        assert layer.contrast_limits[1] < high < 2**14
        assert channel_of(layer) == index
    assert slides_in(viewer) == [slide_of(layers[0])]


def test_a_broken_file_is_told_and_the_others_open(make_napari_viewer, notifications, tmp_path, stained_file):
    viewer = make_napari_viewer()
    broken = tmp_path / "broken.tif"
    broken.write_bytes(b"II*\0 but no more")
    assert viewer.open([str(broken), str(stained_file)], plugin="napari-hrpn") == list(viewer.layers)
    assert len(viewer.layers) == 3
    assert len(notifications) == 1
    assert notifications[0].startswith("broken.tif")


def test_images_of_one_file_open_one_above_the_other(tmp_path):
    path = tmp_path / "two.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as writer:
        for name, value in (("left", 7), ("right", 9)):
            pixels = np.full((20, 30), value, np.uint8)
            writer.write(pixels, metadata={"axes": "YX", "Name": name, "Channel": {"Name": ["DAPI"]}})
    layers = [Layer.create(*layer) for layer in read_slides(str(path))]
    assert [layer.name for layer in layers] == ["DAPI · two left", "DAPI · two right"]
    assert [layer.visible for layer in layers] == [True, False]
    assert [int(np.asarray(layer.data).max()) for layer in layers] == [7, 9]


def test_a_file_of_many_images_opens_the_first_and_tells_of_the_rest(tmp_path):
    path = tmp_path / "many.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as writer:
        for value in range(6):
            writer.write(np.full((20, 30), value, np.uint8), metadata={"axes": "YX"})
    with pytest.warns(SlideWarning, match="6 images and the first 4"):
        assert len(read_slides(str(path))) == 4


def test_a_folder_of_stains_is_one_slide(tmp_path, stained_pixels):
    folder = tmp_path / "tumour"
    folder.mkdir()
    for name, pixels in zip(("DAPI", "SpGreen", "SpOrange"), stained_pixels, strict=True):
        tifffile.imwrite(folder / f"{name}.tif", pixels)
    layers = [Layer.create(*layer) for layer in read_slides(str(folder))]
    assert [layer.name for layer in layers] == ["DAPI · tumour", "SpGreen · tumour", "SpOrange · tumour"]
    assert [layer.colormap.name for layer in layers] == ["bop blue", "green", "red"]
    assert [str(layer.units[0]) for layer in layers] == ["pixel"] * 3


@pytest.mark.filterwarnings("ignore::napari_hrpn.slides.SlideWarning")
def test_every_format_makes_layers_that_napari_can_show(shared_data):
    viewer = napari.components.ViewerModel()
    for path in sorted((shared_data / "formats").iterdir()):
        viewer.layers.clear()
        for layer in read_slides(str(path)):
            viewer.add_layer(Layer.create(*layer))
        assert len(slides_in(viewer)) == 1, path
        for layer in viewer.layers:
            # a thumbnail with something in it: neither black nor saturated
            grey = layer.thumbnail[..., :3].max(axis=-1)
            assert 5 < grey.mean() < 254, (path.name, layer.name)
