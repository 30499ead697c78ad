"""Label images of an OME-Zarr: they come back as they were written; what is none is left out with a warning."""

import json

import numpy as np
import pytest
import tifffile

from napari_hrpn.slides import SlideWarning, label_images, open_slide
from support.ome_zarr import write_image

VERSIONS = pytest.mark.parametrize("version", ["0.4", "0.5"])


def with_labels(path, version, **images):
    """A slide (c, y, x) of 3 channels, and label images with their levels."""
    pixels = np.random.default_rng(1).integers(0, 99, (3, 90, 121)).astype(np.uint16)
    write_image(path, [pixels], version=version)
    for name, levels in images.items():
        write_image(path / "labels" / name, levels, axes="zyx"[-levels[0].ndim :], version=version, labels=())
    (path / "labels").mkdir(exist_ok=True)
    listed = {"labels": list(images)}
    about = path / "labels" / (".zattrs" if version == "0.4" else "zarr.json")
    whole = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": {"version": "0.5", **listed}}}
    about.write_text(json.dumps(listed if version == "0.4" else whole))
    return open_slide(path)


@VERSIONS
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.uint32])
def test_labels_come_back_in_their_stored_levels(tmp_path, version, dtype):
    nuclei = np.random.default_rng(2).integers(0, 100, (90, 121)).astype(dtype)
    slide = with_labels(tmp_path / "a.zarr", version, nuclei=[nuclei, nuclei[::2, ::2]], vessels=[nuclei[::3, ::3]])
    first, second = label_images(slide)
    assert (first.source.name, second.source.name) == ("nuclei", "vessels")
    for level, written in zip(first.levels, (nuclei, nuclei[::2, ::2]), strict=True):
        assert level.dtype == dtype
        assert np.array_equal(level.compute()[0], written)
    assert np.array_equal(second.levels[0].compute()[0], nuclei[::3, ::3])


@VERSIONS
def test_a_large_label_image_without_levels_gets_none_of_averages(tmp_path, version):
    slide = with_labels(tmp_path / "a.zarr", version, cells=[np.ones((1200, 1300), np.uint16)])
    assert [level.shape for level in label_images(slide)[0].levels] == [(1, 1200, 1300)]


@VERSIONS
def test_what_is_no_label_image_is_left_out_with_a_warning(tmp_path, version):
    nuclei = np.ones((90, 121), np.uint8)
    images = {"odd": [nuclei.astype(np.float32)], "large": [nuclei.astype(np.int64)], "nuclei": [nuclei]}
    slide = with_labels(tmp_path / "a.zarr", version, **images)
    with pytest.warns(SlideWarning) as warned:
        assert [image.source.name for image in label_images(slide)] == ["nuclei"]
    said = " ".join(str(each.message) for each in warned)
    assert "odd has 1 channels of float32, expected one of whole numbers" in said
    assert "large holds pixels of type int64" in said


@pytest.mark.parametrize("listed", [None, {}, "nuclei", 5])
def test_a_list_that_is_none_means_no_labels(tmp_path, listed):
    slide = with_labels(tmp_path / "a.zarr", "0.4")
    (tmp_path / "a.zarr" / "labels" / ".zattrs").write_text(json.dumps({"labels": listed}))
    assert label_images(slide) == ()


@pytest.mark.parametrize("name", ["../other", "gone", 1.5, ["x"]])
def test_a_name_that_leads_nowhere_is_left_out_with_a_warning(tmp_path, name):
    slide = with_labels(tmp_path / "a.zarr", "0.4")
    (tmp_path / "a.zarr" / "labels" / ".zattrs").write_text(json.dumps({"labels": [name]}))
    with pytest.warns(SlideWarning):
        assert label_images(slide) == ()


def test_a_file_that_is_no_zarr_has_none(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.ones((30, 40), np.uint8))
    assert label_images(open_slide(tmp_path / "a.tif")) == ()
