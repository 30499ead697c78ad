"""LIF: small files made here, against what was written and the library's own reading; bad ones get a sentence."""

import importlib.util

import numpy as np
import pytest

from napari_hrpn.slides import SlideError, SlideWarning, list_series, open_slide
from support.lif import LIFImage, write_lif

liffile = pytest.importorskip("liffile")


def numbers(*shape, dtype=np.uint16):
    return np.random.default_rng(1).integers(0, 200, shape).astype(dtype)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_channels_come_back_with_names_and_pixel_size(tmp_path, version, dtype):
    pixels = numbers(3, 700, 530, dtype=dtype)
    image = LIFImage("Region 1", pixels, "CYX", dyes=("Leica/DAPI", "Leica/ALEXA 488", ""))
    slide = open_slide(write_lif(tmp_path / "a.lif", image, version=version))
    assert slide.channel_names == ("DAPI", "ALEXA 488", "Red")
    assert slide.pixel_size_um == pytest.approx((0.5, 0.25))
    assert slide.levels[0].dtype == dtype
    assert np.array_equal(slide.levels[0].compute(), pixels)
    assert np.array_equal(slide.levels[0][1:, 510:530, 33:77].compute(), pixels[1:, 510:530, 33:77])


@pytest.mark.parametrize("axes", ["TZCYX", "CTZYX", "ZTYCX", "TZYXC", "CZTYX"])
def test_planes_are_found_in_any_order_of_axes(tmp_path, axes):
    lengths = {"T": 2, "Z": 3, "C": 2, "Y": 20, "X": 30}
    pixels = numbers(*(lengths[axis] for axis in axes))
    path = write_lif(tmp_path / "a.lif", LIFImage("stack", pixels, axes))
    assert [(info.shape, info.z_planes, info.timepoints) for info in list_series(path)] == [((2, 20, 30), 3, 2)]
    expected = np.moveaxis(pixels, [axes.index(axis) for axis in "TZCYX"], range(5))
    for t, z in np.ndindex(2, 3):
        assert np.array_equal(open_slide(path, z=z, t=t).levels[0].compute(), expected[t, z])
    with liffile.LifFile(path) as file:
        image = file.images[0]
        theirs = np.moveaxis(image.asarray(), [image.dims.index(a) if a in image.dims else image.dims.index("S")
                                               for a in "TZCYX"], range(5))  # fmt: skip
    assert np.array_equal(theirs, expected)
    with pytest.warns(SlideWarning, match=r"3 planes and z=1"):
        assert open_slide(path, t=0).z == 1
    with pytest.raises(SlideError, match="z from 0 to 2 but got 3"):
        open_slide(path, z=3, t=0)


def test_largest_image_is_opened_and_others_are_chosen_by_number(tmp_path):
    small, large = numbers(40, 50), numbers(2, 90, 80)
    path = write_lif(tmp_path / "two.lif", LIFImage("overview", small, "YX"), LIFImage("scan", large, "CYX"))
    assert [info.name for info in list_series(path)] == ["overview", "scan"]
    with pytest.warns(SlideWarning, match=r"2 images and image 1 \(80 x 90 px\)"):
        assert np.array_equal(open_slide(path).levels[0].compute(), large)
    assert np.array_equal(open_slide(path, series=0).levels[0].compute()[0], small)


def test_tiles_that_were_not_merged_are_images(tmp_path):
    pixels = numbers(4, 2, 30, 40)
    path = write_lif(tmp_path / "tiles.lif", LIFImage("scan", pixels, "MCYX"))
    assert [info.name for info in list_series(path)][3] == "scan, tile 3"
    assert np.array_equal(open_slide(path, series=3).levels[0].compute(), pixels[3])
    with pytest.warns(SlideWarning) as warned:
        open_slide(path)
    assert any("4 tiles that were not merged" in str(each.message) for each in warned)


def test_other_axes_are_told(tmp_path):
    pixels = numbers(5, 30, 40)
    path = write_lif(tmp_path / "lambda.lif", LIFImage("scan", pixels, "λYX"))
    with pytest.warns(SlideWarning, match="several images along emission wavelength"):
        assert np.array_equal(open_slide(path).levels[0].compute()[0], pixels[0])


def test_colours_are_red_green_and_blue_whatever_their_order(tmp_path):
    pixels = numbers(40, 50, 3, dtype=np.uint8) // 4 + 200
    path = write_lif(tmp_path / "colour.lif", LIFImage("HE", pixels, "YXS", tags=(3, 2, 1)))
    with pytest.warns(SlideWarning, match="brightfield"):
        slide = open_slide(path)
    assert slide.channel_names == ("Red", "Green", "Blue")
    assert np.array_equal(slide.levels[0].compute(), np.moveaxis(pixels[..., ::-1], -1, 0))


def test_names_come_from_dyes_then_cubes_then_colours(tmp_path):
    pixels = numbers(2, 9, 8)
    for options, names in (
        ({"cubes": ("DAP", "GFP")}, ("DAP", "GFP")),
        ({"cubes": ("DAP", "GFP"), "dyes": ("", "Leica/CD31")}, ("DAP", "CD31")),
        ({"cubes": ("only one",)}, ("Blue", "Green")),
        ({"luts": ("",)}, ("Channel 0", "Channel 1")),
    ):
        slide = open_slide(write_lif(tmp_path / "a.lif", LIFImage("scan", pixels, "CYX", **options)))
        assert slide.channel_names == names


def test_twelve_bits_are_read_as_sixteen_and_a_size_of_zero_is_unknown(tmp_path):
    image = LIFImage("scan", numbers(2, 9, 8), "CYX", bits=12, pixel_um=None)
    slide = open_slide(write_lif(tmp_path / "a.lif", image))
    assert (slide.levels[0].dtype, slide.pixel_size_um) == (np.uint16, None)


def test_a_file_of_many_megabytes_is_read_in_parts(tmp_path):
    pixels = np.zeros((2, 4096, 4096), np.uint16)
    pixels[:, 3000:3010, 2000:2010] = 7
    path = write_lif(tmp_path / "large.lif", LIFImage("scan", pixels, "CYX"))
    part = open_slide(path).levels[0][:, 2990:3020, 2000:2010]
    assert part.compute().sum() == 7 * 10 * 10 * 2
    assert open_slide(path).levels[0].chunksize == (1, 512, 512)


def test_cut_file_is_refused_and_its_whole_images_are_not(tmp_path):
    first, second = numbers(20, 30), numbers(40, 50)
    path = write_lif(tmp_path / "cut.lif", LIFImage("first", first, "YX"), LIFImage("second", second, "YX"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-1000])
    with pytest.raises(SlideError, match=r"cut\.lif lacks the last 1,000 bytes of its image 'second'"):
        open_slide(path, series=1)
    assert np.array_equal(open_slide(path, series=0).levels[0].compute()[0], first)
    path.write_bytes(whole[: -second.nbytes - 30])
    with pytest.raises(SlideError, match=r"cut\.lif lacks the pixels of its image 'second'"):
        open_slide(path, series=1)
    for length in (5, 40, 700):
        path.write_bytes(whole[:length])
        with pytest.raises(SlideError, match=r"cut\.lif") as caught:
            open_slide(path)
        assert "\n" not in str(caught.value)


def test_pixels_outside_their_block_are_refused(tmp_path):
    path = write_lif(tmp_path / "wrong.lif", LIFImage("scan", numbers(20, 30), "YX"))
    data = path.read_bytes()
    for old, new in (('NumberOfElements="20"', 'NumberOfElements="21"'), ('BytesInc="60"', 'BytesInc="99"')):
        path.write_bytes(data.replace(old.encode("utf-16-le"), new.encode("utf-16-le")))
        with pytest.raises(SlideError, match=r"wrong\.lif: .* cannot be read"):
            open_slide(path).levels[0].compute()


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('Version="2"', 'Version="3"', "of version 3, expected a LIF of version 1 or 2"),
        ("LMSDataContainerHeader", "LMS_Other_Object_Hdr__", "of no known kind, expected a LIF"),
        ('Resolution="8"', 'Resolution="9"', r"several types \(uint16, uint8\), expected one"),
    ],
)
def test_other_versions_and_mixed_types_are_refused(tmp_path, old, new, sentence):
    path = write_lif(tmp_path / "other.lif", LIFImage("scan", numbers(2, 9, 8, dtype=np.uint8), "CYX"))
    count = 1 if "Resolution" in old else -1
    path.write_bytes(path.read_bytes().replace(old.encode("utf-16-le"), new.encode("utf-16-le"), count))
    with pytest.raises(SlideError, match=sentence):
        open_slide(path)


def test_file_without_images_is_refused(tmp_path):
    for images in ((), (LIFImage("line", numbers(5, 30), "TX"),)):
        with pytest.raises(SlideError, match=r"none\.lif has 0 images"):
            open_slide(write_lif(tmp_path / "none.lif", *images))


def test_missing_package_is_told_how_to_install(tmp_path, monkeypatch):
    path = write_lif(tmp_path / "a.lif", LIFImage("scan", numbers(9, 8), "YX"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SlideError, match=r'pip install "napari-hrpn\[lif\]"'):
        open_slide(path)
