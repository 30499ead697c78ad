"""OME-Zarr in its versions, axes and layouts, against arrays that zarr wrote and reads itself."""

import json

import numpy as np
import pytest
import zarr

from napari_hrpn.slides import SlideError, SlideWarning, list_series, open_slide
from support.ome_zarr import write_attributes, write_image


@pytest.fixture
def pixels():
    return np.random.default_rng(1).integers(0, 4000, (3, 130, 170), np.uint16)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_both_versions_give_pixels_names_and_micrometres(tmp_path, pixels, version):
    path = tmp_path / "no_suffix_needed"
    write_image(path, [pixels, pixels[:, ::2, ::2]], version=version, unit="nanometer", scale=500)
    slide = open_slide(path)
    assert slide.channel_names == ("DAPI", "CD31", "QD")
    assert slide.pixel_size_um == (0.5, 0.5)
    assert slide.stored_levels == len(slide.levels) == 2
    assert np.array_equal(slide.levels[0].compute(), pixels)
    assert np.array_equal(slide.levels[1][2, 10:, 5:60].compute(), pixels[2, ::2, ::2][10:, 5:60])
    assert list_series(path)[0].name == "tumour"


@pytest.mark.parametrize("axes", ["yx", "cyx", "zyx", "tyx", "czyx", "tczyx", "xyc", "zcxy", "tcyx"])
def test_any_axes_in_any_order(tmp_path, axes):
    sizes = {"t": 2, "c": 3, "z": 4, "y": 50, "x": 70}
    image = np.random.default_rng(2).integers(0, 255, [sizes[axis] for axis in axes], np.uint8)
    write_image(tmp_path / "image.zarr", [image], axes=axes, labels=())
    z, t = (1 if "z" in axes else None), (1 if "t" in axes else None)
    slide = open_slide(tmp_path / "image.zarr", z=z, t=t)
    plane = image
    kept = axes
    for axis in "zt":
        if axis in kept:
            plane = np.take(plane, 1, kept.index(axis))
            kept = kept.replace(axis, "")
    plane = np.transpose(plane, [kept.index(axis) for axis in "cyx" if axis in kept]).reshape(-1, 50, 70)
    assert np.array_equal(slide.levels[0].compute(), plane)
    assert (slide.z, slide.t) == (z, t)
    assert slide.channel_names == tuple(f"Channel {index}" for index in range(len(plane)))


def test_middle_plane_is_taken_with_a_warning(tmp_path):
    image = np.arange(5, dtype=np.uint8)[:, None, None] * np.ones((5, 20, 20), np.uint8)
    write_image(tmp_path / "image.zarr", [image], axes="zyx", labels=())
    with pytest.warns(SlideWarning, match="z=2 is opened"):
        assert open_slide(tmp_path / "image.zarr").levels[0].compute().max() == 2


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_conversion_with_numbered_images(tmp_path, pixels, version):
    path = tmp_path / "converted.zarr"
    write_attributes(path, {"bioformats2raw.layout": 3}, version)
    write_image(path / "0", [pixels], version=version)
    write_image(path / "1", [pixels[:1] // 2], version=version, labels=("overview",))
    assert [info.shape for info in list_series(path)] == [(3, 130, 170), (1, 130, 170)]
    with pytest.warns(SlideWarning, match="2 images and image 0"):
        assert np.array_equal(open_slide(path).levels[0].compute(), pixels)
    assert open_slide(path, series=1).channel_names == ("overview",)


def test_metadata_file_stands_for_its_folder(tmp_path, pixels):
    write_image(tmp_path / "image.zarr", [pixels])
    assert open_slide(tmp_path / "image.zarr" / "zarr.json").channel_names == ("DAPI", "CD31", "QD")


def test_plain_array_opens_where_it_is_a_plane(tmp_path, pixels):
    zarr.create_array(store=str(tmp_path / "plain"), data=pixels)
    assert np.array_equal(open_slide(tmp_path / "plain").levels[0].compute(), pixels)
    zarr.create_array(store=str(tmp_path / "stack"), data=np.zeros((2, 2, 9, 9), np.uint8))
    with pytest.raises(SlideError, match="plain Zarr array"):
        open_slide(tmp_path / "stack")


def test_piece_that_is_left_out_is_background_and_one_of_garbage_an_error(tmp_path, pixels):
    write_image(tmp_path / "image.zarr", [pixels])
    piece = tmp_path / "image.zarr" / "0" / "c" / "0" / "1" / "1"
    slide = open_slide(tmp_path / "image.zarr")
    piece.write_bytes(b"garbage")
    with pytest.raises(SlideError, match=r"image\.zarr: channel 0.*cannot be read"):
        slide.levels[0].compute(scheduler="synchronous")
    piece.unlink()
    assert not slide.levels[0][0, 64:128, 64:128].compute().any()


def damaged(change):
    def write(folder):
        write_image(folder, [np.zeros((3, 20, 20), np.uint8)])
        path = folder / "zarr.json"
        content = json.loads(path.read_text())
        change(content["attributes"]["ome"])
        path.write_text(json.dumps(content))

    return write


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda folder: write_attributes(folder, {"plate": {"wells": []}}), "plate of many fields"),
        (lambda folder: write_attributes(folder, {"nothing": 1}), "without the metadata of an image"),
        (lambda folder: write_attributes(folder, {"multiscales": []}), "without the metadata|no image|0 images"),
        (damaged(lambda ome: ome["multiscales"][0]["datasets"].clear()), "not understood|no levels"),
        (damaged(lambda ome: ome["multiscales"][0]["datasets"][0].update(path="9")), "level 9 that is missing"),
        (damaged(lambda ome: ome["multiscales"][0]["axes"].pop(0)), "3 axes but names 2|not understood"),
        (damaged(lambda ome: ome["multiscales"][0]["axes"][0].update(name="q")), "axes q, y, x"),
        (damaged(lambda ome: ome.update(multiscales="x")), "not understood"),
        (damaged(lambda ome: ome.update(multiscales=[7])), "not understood"),
        (lambda folder: (folder.mkdir(), (folder / "zarr.json").write_text("{")), "JSON"),
        (lambda folder: (folder.mkdir(), (folder / "zarr.json").write_text("[" * 100_000)), "JSON"),
        (lambda folder: (folder.mkdir(), (folder / ".zattrs").write_text("[]")), "without the metadata"),
    ],
)
def test_damaged_metadata_get_one_sentence(tmp_path, write, said):
    write(tmp_path / "image.zarr")
    with pytest.raises(SlideError, match=said) as caught:
        open_slide(tmp_path / "image.zarr")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "arrays", "size_um"),
    [
        ("merck_z0708_3ch_v04.ome.zarr", ["s0", "s1", "s2", "s3", "s4"], (4.0, 4.0)),
        ("merck_z0708_3ch_v05.ome.zarr", ["s0", "s1", "s2", "s3", "s4"], (4.0, 4.0)),
        ("blobs_image_v04.ome.zarr", ["0"], None),
        ("blobs_image_v05.ome.zarr", ["0"], None),
    ],
)
def test_real_image_matches_what_zarr_reads(shared_data, name, arrays, size_um):
    path = shared_data / "formats" / name
    slide = open_slide(path)
    assert slide.pixel_size_um == size_um
    assert len(slide.levels) == len(arrays)
    for level, array in zip(slide.levels, arrays, strict=True):
        assert np.array_equal(level.compute(scheduler="synchronous"), zarr.open_array(path / array, mode="r")[...])
