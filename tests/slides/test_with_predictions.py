"""A slide with its predictions as further channels: what QuPath measures beside the stains."""

import shutil
import tracemalloc
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import tifffile
import zarr

from napari_hrpn.core import drive
from napari_hrpn.slides import (
    Slide,
    SlideError,
    SlideWarning,
    open_slide,
    slide_fingerprint,
    slide_identity,
    with_predictions,
    write_ome_tiff,
    write_ome_zarr,
)
from support.ome_zarr import NAMES, halved, some_slide

SHAPE = (700, 1030)


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slides")
    return open_slide(drive(write_ome_zarr(some_slide((3, *SHAPE))[0], folder / "slide.ome.zarr")))


def predicted(slide, path, dtype="uint16", title="HRPN", names=("predicted QD",), checkpoint="1", shape=SHAPE, um=None):
    """A complete prediction of a slide, as its store records it."""
    pixels = np.random.default_rng(len(title)).integers(0, 250, (len(names), *shape)).astype(dtype)
    size = slide.pixel_size_um if um is None else um
    drive(write_ome_zarr(Slide((da.from_array(pixels),), names, size, Path("nowhere")), path))
    request = {"slide": slide_identity(slide), "fingerprint": slide_fingerprint(slide), "checkpoint": checkpoint}
    record = {"kind": "prediction", "complete": True, "title": title, "request": request}
    zarr.open_group(path, mode="r+").attrs["napari_hrpn"] = record
    return open_slide(path)


def test_channels_stand_behind_those_of_the_slide_with_names_and_colours(slide, tmp_path):
    first = predicted(slide, tmp_path / "a.ome.zarr", names=("predicted QD", "sd"))
    second = predicted(slide, tmp_path / "b.ome.zarr", title="GANDA", checkpoint="2")
    whole, colors = with_predictions(slide, [first, second])
    assert whole.channel_names == (*NAMES, "predicted QD", "sd", "predicted QD (GANDA)")
    assert colors[:3] == ("0000FF", "00FF00", "FF0000")
    assert len({colors[3], colors[5], *colors[:3]}) == 5
    assert whole.pixel_size_um == slide.pixel_size_um
    np.testing.assert_array_equal(
        whole.levels[0].compute(), np.concatenate([one.levels[0].compute() for one in (slide, first, second)])
    )


@pytest.mark.parametrize("name", ["both.ome.tif", "both.ome.zarr"])
def test_one_pyramid_is_written(slide, tmp_path, name):
    whole, colors = with_predictions(slide, [predicted(slide, tmp_path / "a.ome.zarr")])
    write = write_ome_tiff if name.endswith(".tif") else write_ome_zarr
    path = drive(write(whole, tmp_path / name, colors=colors))
    copy = open_slide(path)
    assert copy.channel_names == (*NAMES, "predicted QD")
    expected = whole.levels[0].compute()
    for level in copy.levels:
        np.testing.assert_array_equal(level.compute(), expected)
        expected = halved(expected)
    if name.endswith(".tif"):
        with tifffile.TiffFile(path) as file:
            channels = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]["Channel"]
        found = [f"{channel['Color'] & 0xFFFFFFFF:08X}"[:6] for channel in channels]
        assert [channel["Name"] for channel in channels] == list(copy.channel_names)
    else:
        found = [one["color"] for one in zarr.open_group(path, mode="r").attrs["ome"]["omero"]["channels"]]
    assert tuple(found) == colors


def test_types_that_differ_become_one_that_holds_all_values(slide, tmp_path):
    whole, _ = with_predictions(slide, [predicted(slide, tmp_path / "a.ome.zarr", "float32")])
    assert (slide.dtype, whole.dtype) == ("uint16", "float32")
    np.testing.assert_array_equal(whole.levels[0][:3].compute(), slide.levels[0].compute())


def test_a_copy_of_the_slide_has_the_same_predictions(slide, tmp_path):
    prediction = predicted(slide, tmp_path / "a.ome.zarr")
    copy = open_slide(shutil.copytree(slide.source, tmp_path / "copy.ome.zarr"))
    assert slide_identity(copy) != slide_identity(slide)
    assert len(with_predictions(copy, [prediction])[0].channel_names) == 4


def test_what_is_no_prediction_of_the_slide_is_refused_in_a_sentence(slide, tmp_path):
    small = predicted(slide, tmp_path / "small.ome.zarr", shape=(700, 900))
    with pytest.raises(SlideError, match=r"small\.ome\.zarr has 900 x 700 px and slide\.ome\.zarr 1030 x 700 px"):
        with_predictions(slide, [small])
    coarse = predicted(slide, tmp_path / "coarse.ome.zarr", um=(0.5, 0.65))
    with pytest.raises(SlideError, match=r"pixels of 0\.5 x 0\.65 µm and slide\.ome\.zarr of 0\.5 x 0\.325 µm"):
        with_predictions(slide, [coarse])
    pixels = np.zeros((3, *SHAPE), "uint16")
    other = Slide((da.from_array(pixels),), NAMES, slide.pixel_size_um, Path("other"))
    other = open_slide(drive(write_ome_zarr(other, tmp_path / "other.ome.zarr")))
    with pytest.raises(SlideError, match=r"a\.ome\.zarr was predicted from another slide than other\.ome\.zarr"):
        with_predictions(other, [predicted(slide, tmp_path / "a.ome.zarr")])


def test_the_slide_itself_is_refused_and_an_image_without_a_record_named(slide, tmp_path):
    with pytest.raises(SlideError, match=r"slide\.ome\.zarr is the slide itself, expected a prediction of it"):
        with_predictions(slide, [slide])
    copy = open_slide(shutil.copytree(slide.source, tmp_path / "copy.ome.zarr"))
    with pytest.warns(SlideWarning, match=r"copy\.ome\.zarr has no record of a prediction: whether it belongs"):
        with_predictions(slide, [copy])


@pytest.mark.filterwarnings("ignore::napari_hrpn.slides.SlideWarning")
def test_memory_does_not_grow_with_the_slide(tmp_path):
    def peak(size):
        one, two = (da.full((1, size, size), 7, chunks=(1, edge, edge), dtype="uint16") for edge in (512, 256))
        slide, prediction = (Slide((level,), (name,), None, Path(name)) for level, name in ((one, "a"), (two, "b")))
        whole, _ = with_predictions(slide, [prediction])
        tracemalloc.start()
        drive(write_ome_zarr(whole, tmp_path / f"{size}.ome.zarr"))
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest

    assert peak(6144) < 1.3 * peak(2048)
