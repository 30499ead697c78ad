"""The OME-TIFF that we write, read back with tifffile."""

import shutil
import tracemalloc
from pathlib import Path
from xml.etree import ElementTree

import dask.array as da
import numpy as np
import pytest
import tifffile

from napari_hrpn.core import drive
from napari_hrpn.slides import Slide, SlideError, open_slide
from napari_hrpn.slides.writers import ome_tiff_writer as writer
from napari_hrpn.slides.writers.ome_tiff_writer import write_ome_tiff
from napari_hrpn.slides.writers.ome_zarr_writer import write_ome_zarr
from napari_hrpn.slides.writers.output_path import _partial_folder

NAMES = ("DAPI", "CD31", "QD µ")
OME = "{http://www.openmicroscopy.org/Schemas/OME/2016-06}"


def some_slide(shape=(3, 900, 1101), dtype="uint16", pixel_size_um=(0.5, 0.325)):
    pixels = np.random.default_rng(shape[1]).integers(0, 250, shape).astype(dtype)
    finest = da.from_array(pixels, chunks=(1, 512, 512))
    return Slide((finest,), NAMES[: shape[0]], pixel_size_um, Path("somewhere.tif")), pixels


def halved(level):
    """Mean of the pixels there are in each 2x2, one by one quarter of the padded level."""
    _, height, width = level.shape
    padded = np.pad(level.astype(float), ((0, 0), (0, height % 2), (0, width % 2)), constant_values=np.nan)
    mean = np.nanmean([padded[:, y::2, x::2] for y in (0, 1) for x in (0, 1)], axis=0)
    return (np.floor(mean + 0.5) if level.dtype.kind in "iu" else mean).astype(level.dtype)


@pytest.mark.parametrize("write", [write_ome_tiff, write_ome_zarr])
@pytest.mark.parametrize("side", [1e-9, 0.0, -1.0, float("nan"), 1e300])
def test_a_size_of_pixels_that_no_slide_is_opened_with_is_refused(tmp_path, side, write):
    slide, _ = some_slide((1, 7, 5), pixel_size_um=(side, side))
    with pytest.raises(SlideError, match=r"expected 0\.01 to 100 µm"):
        drive(write(slide, tmp_path / "a"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("shape", [(3, 900, 1101), (1, 513, 511), (2, 1301, 4199), (1, 7, 5)])
def test_every_level_is_what_numpy_computes(tmp_path, shape, dtype):
    slide, pixels = some_slide(shape, dtype)

    path = drive(write_ome_tiff(slide, tmp_path / "out.ome.tif"))

    with tifffile.TiffFile(path) as file:
        assert file.is_ome
        assert len(file.series) == 1
        assert not file.is_bigtiff
        page = file.pages.first
        assert page.tile == (512, 512)
        assert page.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
        expected = pixels
        for level in file.series[0].levels:
            np.testing.assert_array_equal(level.asarray().reshape(expected.shape), expected)
            coarsest, expected = expected, halved(expected)
        assert max(coarsest.shape[1:]) <= 512


def test_names_sizes_and_colours_stand_in_the_xml(tmp_path):
    slide, _ = some_slide()

    path = drive(write_ome_tiff(slide, tmp_path / "tumour.ome.tif"))

    with tifffile.TiffFile(path) as file:
        root = ElementTree.fromstring(file.ome_metadata)
        resolution = file.pages.first.get_resolution("MICROMETER")
    image = root.find(f"{OME}Image")
    pixels = image.find(f"{OME}Pixels")
    assert image.get("Name") == "tumour"
    assert (float(pixels.get("PhysicalSizeY")), float(pixels.get("PhysicalSizeX"))) == (0.5, 0.325)
    assert pixels.get("PhysicalSizeXUnit", "µm") == "µm"
    channels = pixels.findall(f"{OME}Channel")
    assert [channel.get("Name") for channel in channels] == list(NAMES)
    opaque = [int(channel.get("Color")) & 0xFFFFFFFF for channel in channels]
    assert opaque == [0x0000FFFF, 0x00FF00FF, 0xFF0000FF]
    assert resolution == pytest.approx((1 / 0.325, 1 / 0.5))


def test_opens_as_the_same_slide(tmp_path):
    slide, pixels = some_slide()

    copy = open_slide(drive(write_ome_tiff(slide, tmp_path / "copy.ome.tif")))

    np.testing.assert_array_equal(copy.levels[0].compute(), pixels)
    assert copy.channel_names == NAMES
    assert copy.pixel_size_um == pytest.approx((0.5, 0.325))
    assert copy.stored_levels == len(copy.levels) == 3


def test_a_real_field_survives(tmp_path, shared_data):
    slide = open_slide(shared_data / "dextran" / "fov01.ome.tif")

    copy = open_slide(drive(write_ome_tiff(slide, tmp_path / "copy.ome.tif")))

    np.testing.assert_array_equal(copy.levels[0].compute(), slide.levels[0].compute())
    assert copy.channel_names == slide.channel_names
    assert copy.pixel_size_um == pytest.approx(slide.pixel_size_um)


def test_a_large_slide_becomes_a_bigtiff(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "CLASSIC_TIFF_BYTES", 10_000)
    slide, pixels = some_slide((1, 600, 70))

    path = drive(write_ome_tiff(slide, tmp_path / "out.ome.tif"))

    with tifffile.TiffFile(path) as file:
        assert file.is_bigtiff
        np.testing.assert_array_equal(file.series[0].levels[0].asarray().reshape(pixels.shape), pixels)


def test_reports_count_up_to_the_end(tmp_path):
    slide, _ = some_slide((1, 2301, 4999))

    reports = list(write_ome_tiff(slide, tmp_path / "out.ome.tif"))

    done = [report.done for report in reports]
    assert done == sorted(done)
    assert len({report.total for report in reports}) == 1
    assert done[-1] == reports[-1].total


@pytest.mark.parametrize("steps_taken", [1, 8])
def test_closing_early_leaves_nothing(tmp_path, steps_taken):
    slide, _ = some_slide((1, 2301, 4999))
    steps = write_ome_tiff(slide, tmp_path / "out.ome.tif")
    for _ in range(steps_taken):
        report = next(steps)

    steps.close()

    assert (2 * report.done > report.total) == (steps_taken == 8)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_leaves_does_not_open(tmp_path, monkeypatch):
    slide, _ = some_slide()
    killed = tmp_path / "killed.ome.tif"
    exchange = writer._exchange_start

    def killed_before_the_end(file, start):
        file.flush()
        shutil.copy(next(_partial_folder(tmp_path / "out.ome.tif").glob("*/out.ome.tif")), killed)
        return exchange(file, start)

    monkeypatch.setattr(writer, "_exchange_start", killed_before_the_end)
    steps = write_ome_tiff(slide, tmp_path / "out.ome.tif")
    next(steps)
    with pytest.raises(SlideError):
        open_slide(next(_partial_folder(tmp_path / "out.ome.tif").glob("*/.levels")))
    path = drive(steps)

    assert killed.stat().st_size > 0.9 * path.stat().st_size
    with pytest.raises(SlideError):
        open_slide(killed)


def test_what_an_earlier_run_left_is_cleared_away(tmp_path):
    slide, pixels = some_slide()
    left = _partial_folder(tmp_path / "out.ome.tif") / ("0" * 32)
    (left / ".levels" / "0").mkdir(parents=True)
    (left / "out.ome.tif").write_text("half a file")

    path = drive(write_ome_tiff(slide, tmp_path / "out.ome.tif"))

    assert list(tmp_path.iterdir()) == [path]
    np.testing.assert_array_equal(tifffile.imread(path), pixels)


def test_an_output_that_exists_is_kept_unless_asked(tmp_path):
    slide, _ = some_slide((1, 30, 30))
    path = tmp_path / "out.ome.tif"
    path.write_text("precious")

    with pytest.raises(SlideError, match="exists already"):
        drive(write_ome_tiff(slide, path))
    assert path.read_text() == "precious"

    drive(write_ome_tiff(slide, path, overwrite=True))
    assert tifffile.imread(path).size == 900
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_never_replaced(tmp_path):
    slide, _ = some_slide((1, 30, 30))

    with pytest.raises(SlideError, match="is a folder"):
        drive(write_ome_tiff(slide, tmp_path, overwrite=True))


def test_a_slide_is_not_written_onto_itself(tmp_path):
    slide, _ = some_slide((1, 30, 30))
    path = drive(write_ome_tiff(slide, tmp_path / "slide.ome.tif"))
    before = path.read_bytes()

    with pytest.raises(SlideError, match="choose another name"):
        drive(write_ome_tiff(open_slide(path), path, overwrite=True))

    assert path.read_bytes() == before


def test_pixels_that_ome_tiff_has_no_type_for_are_refused(tmp_path):
    finest = da.zeros((1, 30, 30), dtype="int64")

    with pytest.raises(SlideError, match="OME-Zarr instead"):
        drive(write_ome_tiff(Slide((finest,), ("DAPI",), None, Path("a.tif")), tmp_path / "out.ome.tif"))


def test_memory_does_not_grow_with_the_slide(tmp_path):
    def peak(size):
        finest = da.full((1, size, size), 7, chunks=(1, 512, 512), dtype="uint16")
        slide = Slide((finest,), ("DAPI",), None, Path("somewhere.tif"))
        tracemalloc.start()
        drive(write_ome_tiff(slide, tmp_path / f"{size}.ome.tif"))
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest

    # a smaller slide would not fill the 32 MB of tiles that are compressed together
    assert peak(9216) < 1.3 * peak(6144)


def test_names_that_xml_cannot_hold_are_written_as_text_and_read_back(tmp_path):
    names = ("DAPI\x00", "a \"b\" <c> & 'd'", "half \ud800 pair", "D\u0308\u2028\x85\ufffe \u4e2d")
    slide = Slide((da.zeros((4, 30, 30), dtype=np.uint8, chunks=(1, 30, 30)),), names, None, tmp_path / "made")
    path = drive(write_ome_tiff(slide, tmp_path / "made.ome.tif"))
    assert open_slide(path).channel_names == ("DAPI", "a \"b\" <c> & 'd'", "half \ufffd pair", "D\u0308 \u4e2d")
    with tifffile.TiffFile(path) as tif:
        ElementTree.fromstring(tif.ome_metadata)
