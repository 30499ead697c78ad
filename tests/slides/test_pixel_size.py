"""Pixel sizes that cannot be are told and not used; a user who knows the size gives it."""

import math
import warnings

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from napari_hrpn.cli.options import opening
from napari_hrpn.cli.terminal import CommandError
from napari_hrpn.slides import SlideError, SlideWarning, list_series, open_slide
from napari_hrpn.slides.units import usable_pixel_size


@pytest.fixture
def slide_file(tmp_path):
    def write(size_x, size_y=None):
        size_y = size_x if size_y is None else size_y
        metadata = {"axes": "CYX", "PhysicalSizeX": size_x, "PhysicalSizeY": size_y}
        tifffile.imwrite(tmp_path / "a.ome.tif", np.ones((2, 9, 9), np.uint8), metadata=metadata)
        return tmp_path / "a.ome.tif"

    return write


IMPOSSIBLE = [0.0002744, 5000, 0, -0.5, math.nan, math.inf]


@pytest.mark.parametrize("size", IMPOSSIBLE)
def test_size_of_no_microscope_is_told_and_not_used(slide_file, size):
    path = slide_file(size)
    with pytest.warns(SlideWarning, match=r"expected 0\.01 to 100 µm.*not used.*--pixel-size") as caught:
        slide = open_slide(path)
    assert f"{size:.4g} x" in str(caught[0].message)
    assert slide.pixel_size_um is None
    assert list_series(path)[0].pixel_size_um is None
    with pytest.raises(SlideError, match=r"expected 0\.01 to 100 µm"):
        slide.with_pixel_size(size)


def test_sides_that_differ_a_thousandfold_are_told(slide_file):
    with pytest.warns(SlideWarning, match=r"0\.274 x 0\.000274 µm, expected.*factor of 10 at most"):
        assert open_slide(slide_file(0.274, 0.000274)).pixel_size_um is None


@pytest.mark.parametrize("size", [(0.01, 0.1), (100.0, 10.0), (0.2744, 0.2744)])
def test_sizes_of_microscopes_are_used(size):
    assert usable_pixel_size(size) == size


def test_given_size_replaces_that_of_the_file(slide_file):
    path = slide_file(0.5)
    slide = open_slide(path)
    assert (slide.pixel_size_um, slide.pixel_size_is_given) == ((0.5, 0.5), False)
    assert slide.with_pixel_size(0.5) is slide
    given = slide.with_pixel_size(0.25)
    assert (given.pixel_size_um, given.pixel_size_is_given) == ((0.25, 0.25), True)
    assert given.levels is slide.levels
    assert open_slide(path, pixel_size_um=(0.3, 0.4)).pixel_size_um == (0.3, 0.4)


@pytest.mark.parametrize(
    ("text", "size"),
    [(None, None), ("0.2744", (0.2744, 0.2744)), ("0.50,0.25", (0.5, 0.25)), (" 1 ", (1.0, 1.0)), ("1e-1", (0.1, 0.1))],
)
def test_option_is_a_number_or_a_pair(text, size):
    assert opening({"pixel_size": text})["pixel_size_um"] == size


@pytest.mark.parametrize("text", ["0,5", "1,5", "", "x", "1.0,2.0,3.0", "0.5 mm", ","])
def test_option_that_may_be_read_in_two_ways_is_refused(text):
    with pytest.raises(CommandError, match=r"such as 0"):
        opening({"pixel_size": text})


def test_info_shows_the_given_size(slide_file):
    from napari_hrpn.cli.entry import app

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shown = CliRunner().invoke(app, ["info", str(slide_file(0.0002744)), "--pixel-size", "0.2744"])
    assert "0.2744 µm" in shown.output
