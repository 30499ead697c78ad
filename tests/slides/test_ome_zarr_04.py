"""OME-Zarr 0.4, for programs that do not read 0.5: the pixels of 0.5, in the layout of the older specification."""

import json

import numpy as np
import pytest
import zarr
from ome_zarr_models.v04.image import Image
from ome_zarr_models.v05.image import Image as Newer

from napari_hrpn.core import drive
from napari_hrpn.slides import SlideError, open_slide
from napari_hrpn.slides.writers.ome_zarr_writer import write_ome_zarr
from support.ome_zarr import NAMES, some_slide


@pytest.fixture
def both(tmp_path):
    """The same slide in both versions."""
    slide, _ = some_slide()
    return [drive(write_ome_zarr(slide, tmp_path / f"{v}.ome.zarr", version=v)) for v in ("0.4", "0.5")]


def test_pixels_and_pyramid_are_those_of_the_newer_version(both):
    older, newer = (zarr.open_group(path, mode="r") for path in both)
    levels = [str(level) for level in range(3)]
    assert sorted(older) == sorted(newer) == levels
    for level in levels:
        np.testing.assert_array_equal(older[level][:], newer[level][:])
        assert (older[level].dtype, older[level].chunks) == (newer[level].dtype, newer[level].chunks)


def test_metadata_follow_the_specification(both):
    image = Image.from_zarr(zarr.open_group(both[0], mode="r", zarr_format=2)).attributes
    newer = Newer.from_zarr(zarr.open_group(both[1], mode="r")).ome_attributes
    assert image.multiscales[0].version == "0.4"
    assert [dataset.model_dump() for dataset in image.multiscales[0].datasets] == [
        dataset.model_dump() for dataset in newer.multiscales[0].datasets
    ]
    assert [axis.model_dump() for axis in image.multiscales[0].axes] == [
        axis.model_dump() for axis in newer.multiscales[0].axes
    ]
    assert [channel.label for channel in image.omero.channels] == list(NAMES)
    attributes = json.loads((both[0] / ".zattrs").read_text())
    assert attributes["omero"]["version"] == "0.4"
    assert all(
        {"min", "max", "start", "end"} == channel["window"].keys() for channel in attributes["omero"]["channels"]
    )


def test_files_are_those_of_zarr_2_with_chunks_in_folders(both):
    array = json.loads((both[0] / "0" / ".zarray").read_text())
    assert (array["zarr_format"], array["dimension_separator"], array["order"]) == (2, "/", "C")
    # zstd without blosc is unknown to the Java readers of this version
    assert array["compressor"]["id"] == "blosc"
    assert (both[0] / "0" / "2" / "1" / "2").is_file()
    assert not list(both[0].rglob("zarr.json"))


def test_it_opens_as_the_same_slide(both):
    older, newer = map(open_slide, both)
    assert older.channel_names == newer.channel_names == NAMES
    assert older.pixel_size_um == newer.pixel_size_um == (0.5, 0.325)
    assert older.stored_levels == newer.stored_levels == 3
    np.testing.assert_array_equal(older.levels[1].compute(), newer.levels[1].compute())


def test_it_is_replaced_only_if_asked_and_only_if_nothing_else_is_in_it(both):
    slide, _ = some_slide((1, 300, 300))
    with pytest.raises(SlideError, match="exists already"):
        drive(write_ome_zarr(slide, both[0], version="0.4"))
    note = both[0] / "notes.txt"
    note.write_text("precious")
    with pytest.raises(SlideError, match=r"notes\.txt, which this program did not write"):
        drive(write_ome_zarr(slide, both[0], version="0.4", overwrite=True))
    note.unlink()
    drive(write_ome_zarr(slide, both[0], version="0.5", overwrite=True))
    drive(write_ome_zarr(slide, both[1], version="0.4", overwrite=True))
    assert [open_slide(path).shape for path in both] == [(300, 300)] * 2
    assert not (both[0] / ".zattrs").exists()
    assert not (both[1] / "zarr.json").exists()
