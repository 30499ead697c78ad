"""The maximum over the planes of a stack, as a slide of its own."""

import numpy as np
import pytest
import tifffile

from napari_hrpn.core import drive
from napari_hrpn.slides import SlideError, open_slide, slide_identity, write_ome_zarr
from support.ome_zarr import halved, write_image

PIXELS = np.random.default_rng(5).integers(0, 60000, (3, 2, 90, 1100)).astype("uint16")


@pytest.fixture(params=["stack.ome.tif", "stack.ome.zarr"])
def stack(request, tmp_path):
    path = tmp_path / request.param
    if path.suffix == ".tif":
        channels = {"axes": "ZCYX", "Channel": {"Name": ["DAPI", "CD31"]}}
        tifffile.imwrite(path, PIXELS, metadata=channels, tile=(64, 64), photometric="minisblack")
    else:
        write_image(path, [PIXELS.transpose(1, 0, 2, 3)], axes="czyx", version="0.4", labels=("DAPI", "CD31"))
    return path


@pytest.mark.filterwarnings("error")
def test_every_level_is_that_of_the_maximum(stack, tmp_path):
    slide = open_slide(stack, z="max")
    expected = PIXELS.max(axis=0)
    assert (slide.z, slide.channel_names, slide.stored_levels) == ("max", ("DAPI", "CD31"), 1)
    assert len(slide.levels) > 1
    for level in slide.levels:
        np.testing.assert_array_equal(level.compute(), expected)
        expected = halved(expected)
    copy = open_slide(drive(write_ome_zarr(slide, tmp_path / "flat.ome.zarr")))
    np.testing.assert_array_equal(copy.levels[0].compute(), PIXELS.max(axis=0))
    assert copy.z is None


def test_it_is_another_slide_than_a_plane(stack):
    assert len({slide_identity(open_slide(stack, z=z)) for z in ("max", 0, 1)}) == 3


def test_of_one_plane_it_is_the_plane(tmp_path):
    path = tmp_path / "flat.tif"
    tifffile.imwrite(path, PIXELS[0], photometric="minisblack", metadata={"axes": "CYX"})
    assert open_slide(path, z="max").z is None


def test_another_word_is_refused(stack):
    with pytest.raises(SlideError, match="z is 'mean', expected the number of a plane from 0, or max"):
        open_slide(stack, z="mean")
