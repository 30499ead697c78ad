"""The OME-Zarr that we write, read back without our own reader."""

import errno
import tracemalloc
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import zarr
from ome_zarr_models.common.omero import Omero
from ome_zarr_models.v05.image import Image

from napari_hrpn.core import drive
from napari_hrpn.slides import Slide, SlideError, open_slide
from napari_hrpn.slides.metadata import channel_colors, multiscales_metadata
from napari_hrpn.slides.pyramid import coarser_levels
from napari_hrpn.slides.writers import ome_zarr_writer as writer
from napari_hrpn.slides.writers.ome_zarr_writer import level_shapes, write_ome_zarr
from napari_hrpn.slides.writers.output_path import _partial_folder
from support.ome_zarr import NAMES, halved, some_slide


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("shape", [(3, 900, 1101), (1, 513, 511), (2, 2201, 2599), (1, 7, 5)])
def test_every_level_is_what_numpy_computes(tmp_path, shape, dtype):
    slide, pixels = some_slide(shape, dtype)

    path = drive(write_ome_zarr(slide, tmp_path / "out.ome.zarr"))

    group = zarr.open_group(path, mode="r")
    expected = pixels
    for level in range(len(group.attrs["ome"]["multiscales"][0]["datasets"])):
        array = group[str(level)]
        assert array.dtype == dtype
        assert array.chunks == (1, 512, 512)
        np.testing.assert_array_equal(array[:], expected)
        coarsest, expected = expected, halved(expected)
    assert max(coarsest.shape[1:]) <= 512


def test_blocks_follow_the_chunks_of_the_slide_when_these_are_larger(tmp_path):
    slide, pixels = some_slide((1, 2500, 2300), chunk=2400)

    path = drive(write_ome_zarr(slide, tmp_path / "out.ome.zarr"))

    np.testing.assert_array_equal(zarr.open_array(path / "0", mode="r")[:], pixels)
    np.testing.assert_array_equal(zarr.open_array(path / "2", mode="r")[:], halved(halved(pixels)))


def test_levels_of_the_source_are_not_trusted(tmp_path):
    slide, pixels = some_slide()
    zeros = tuple(da.zeros_like(level) for level in slide.levels[1:])
    lying = Slide((slide.levels[0], *zeros), NAMES, None, slide.source, stored_levels=len(slide.levels))

    path = drive(write_ome_zarr(lying, tmp_path / "out.ome.zarr"))

    np.testing.assert_array_equal(zarr.open_array(path / "1", mode="r")[:], halved(pixels))


def test_metadata_follow_the_specification(tmp_path):
    slide, _ = some_slide()

    path = drive(write_ome_zarr(slide, tmp_path / "tumour.ome.zarr"))

    attributes = Image.from_zarr(zarr.open_group(path, mode="r")).ome_attributes
    multiscale = attributes.multiscales[0]
    assert multiscale.name == "tumour"
    assert [axis.name for axis in multiscale.axes] == ["c", "y", "x"]
    assert [axis.type for axis in multiscale.axes] == ["channel", "space", "space"]
    assert [axis.unit for axis in multiscale.axes[1:]] == ["micrometer", "micrometer"]
    channels = Omero.model_validate(attributes.omero).channels
    assert [channel.label for channel in channels] == list(NAMES)
    assert [channel.color for channel in channels] == ["0000FF", "00FF00", "FF0000"]
    scales = [dataset.coordinateTransformations[0].scale for dataset in multiscale.datasets]
    assert scales == [[1.0, 0.5, 0.325], [1.0, 1.0, 0.65], [1.0, 2.0, 1.3]]
    for channel in channels:
        assert 0 <= channel.window.start < channel.window.end <= 250


def test_coarse_pixels_lie_over_the_middle_of_the_fine_ones():
    shapes = level_shapes((1, 1025, 513))

    ome = multiscales_metadata("name", shapes, ["DAPI"], (0.5, 2.0))

    for level, dataset in enumerate(ome["multiscales"][0]["datasets"][1:], start=1):
        scale, translation = dataset["coordinateTransformations"]
        middle = np.mean(range(2**level))
        assert scale["scale"] == [1.0, 0.5 * 2**level, 2.0 * 2**level]
        assert translation["translation"] == [0.0, 0.5 * middle, 2.0 * middle]


def test_without_pixel_size_there_is_no_unit(tmp_path):
    slide, _ = some_slide(pixel_size_um=None)

    path = drive(write_ome_zarr(slide, tmp_path / "out.ome.zarr"))

    multiscale = Image.from_zarr(zarr.open_group(path, mode="r")).ome_attributes.multiscales[0]
    assert [axis.unit for axis in multiscale.axes[1:]] == [None, None]
    assert open_slide(path).pixel_size_um is None


def test_channels_without_a_role_get_colours_of_their_own():
    colors = channel_colors(["DAPI", "Channel 1", "Channel 2"])

    assert colors[0] == "0000FF"
    assert len({*colors}) == 3


def test_level_shapes_are_those_of_the_lazy_pyramid():
    for shape in [(1, 513, 4000), (2, 512, 512), (3, 5001, 2)]:
        finest = da.zeros(shape, chunks=shape, dtype="uint8")
        assert level_shapes(shape) == (shape, *(level.shape for level in coarser_levels(finest)))


def test_opens_as_the_same_slide(tmp_path, shared_data):
    slide = open_slide(shared_data / "dextran" / "fov01.ome.tif")

    copy = open_slide(drive(write_ome_zarr(slide, tmp_path / "copy.ome.zarr")))

    np.testing.assert_array_equal(copy.levels[0].compute(), slide.levels[0].compute())
    assert copy.channel_names == slide.channel_names
    assert copy.pixel_size_um == pytest.approx(slide.pixel_size_um)
    assert copy.stored_levels == len(copy.levels)


def test_reports_count_up_to_the_end(tmp_path):
    slide, _ = some_slide((1, 2301, 2999))

    reports = list(write_ome_zarr(slide, tmp_path / "out.ome.zarr"))

    assert [report.done for report in reports] == [1, 2, 3, 4]
    assert {report.total for report in reports} == {4}


def test_closing_early_leaves_nothing(tmp_path):
    slide, _ = some_slide((1, 2301, 2999))
    steps = write_ome_zarr(slide, tmp_path / "out.ome.zarr")
    next(steps)

    steps.close()

    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_leaves_does_not_open_and_is_begun_again(tmp_path):
    slide, pixels = some_slide((1, 2301, 2999))
    steps = write_ome_zarr(slide, tmp_path / "out.ome.zarr")
    next(steps)
    left = _partial_folder(tmp_path / "out.ome.zarr")
    killed = left.rename(tmp_path / "killed")
    steps.close()

    with pytest.raises(SlideError):
        open_slide(next(killed.glob("*/out.ome.zarr")))
    killed.rename(left)
    path = drive(write_ome_zarr(slide, tmp_path / "out.ome.zarr"))

    assert list(tmp_path.iterdir()) == [path]
    np.testing.assert_array_equal(zarr.open_array(path / "0", mode="r")[:], pixels)


def test_a_slide_that_breaks_while_it_is_read_leaves_nothing(tmp_path):
    def read(block_info):
        if block_info[None]["chunk-location"][1] > 0:
            raise SlideError("slide.tif is cut off.")
        return np.ones(block_info[None]["chunk-shape"], "uint8")

    finest = da.map_blocks(read, chunks=((1,), (2048, 100), (600,)), dtype="uint8", meta=np.empty((0, 0, 0), "uint8"))
    slide = Slide((finest,), ("DAPI",), None, Path("somewhere.tif"))

    with pytest.raises(SlideError, match="cut off"):
        drive(write_ome_zarr(slide, tmp_path / "out.ome.zarr"))

    assert list(tmp_path.iterdir()) == []


def test_an_output_that_exists_is_kept_unless_asked(tmp_path):
    slide, pixels = some_slide((1, 600, 600))
    path = tmp_path / "out.ome.zarr"
    drive(write_ome_zarr(slide, path))
    other, _ = some_slide((1, 300, 300))

    with pytest.raises(SlideError, match="exists already"):
        drive(write_ome_zarr(other, path))
    np.testing.assert_array_equal(zarr.open_array(path / "0", mode="r")[:], pixels)

    drive(write_ome_zarr(other, path, overwrite=True))
    assert zarr.open_array(path / "0", mode="r").shape == (1, 300, 300)
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_no_zarr_is_never_overwritten(tmp_path):
    slide, _ = some_slide((1, 30, 30))
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("precious")

    with pytest.raises(SlideError, match="not an OME-Zarr"):
        drive(write_ome_zarr(slide, tmp_path / "thesis", overwrite=True))

    assert (tmp_path / "thesis" / "chapter1.txt").read_text() == "precious"


@pytest.mark.parametrize("output", ["slide.ome.zarr", "slide.ome.zarr/copy.ome.zarr", "."])
def test_an_output_on_or_in_its_input_is_refused(tmp_path, output):
    slide, _ = some_slide((1, 30, 30))
    path = drive(write_ome_zarr(slide, tmp_path / "slide.ome.zarr"))
    before = sorted(tmp_path.rglob("*"))

    with pytest.raises(SlideError, match="choose another name"):
        drive(write_ome_zarr(open_slide(path), tmp_path / output, overwrite=True))

    assert sorted(tmp_path.rglob("*")) == before


def test_a_full_disk_is_told_in_a_sentence(tmp_path, monkeypatch):
    def no_space(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(writer, "copy_block", no_space)
    slide, _ = some_slide((1, 30, 30))

    with pytest.raises(SlideError, match=r"disk .* is full"):
        drive(write_ome_zarr(slide, tmp_path / "out.ome.zarr"))
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_told_in_a_sentence(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    slide, _ = some_slide((1, 30, 30))

    with pytest.raises(SlideError, match="could not be written"):
        drive(write_ome_zarr(slide, tmp_path / "file" / "out.ome.zarr"))


def test_memory_does_not_grow_with_the_slide(tmp_path):
    def peak(size):
        finest = da.full((1, size, size), 7, chunks=(1, 512, 512), dtype="uint16")
        slide = Slide((finest,), ("DAPI",), None, Path("somewhere.tif"))
        tracemalloc.start()
        drive(write_ome_zarr(slide, tmp_path / f"{size}.ome.zarr"))
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest

    assert peak(6144) < 1.3 * peak(2048)
