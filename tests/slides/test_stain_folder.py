"""A folder of single-stain TIFFs is one slide, or a sentence that says why not."""

import numpy as np
import pytest
import tifffile

from napari_hrpn.slides import SlideError, SlideWarning, guess_roles, list_series, open_slide


@pytest.fixture
def stains():
    return np.random.default_rng(1).integers(0, 255, (3, 90, 120), np.uint8)


def write(folder, stains, **options):
    folder.mkdir()
    for name, stain in zip(("DAPI", "SpGreen", "SpOrange"), stains, strict=True):
        tifffile.imwrite(folder / f"{name}.tif", stain, **options)


def test_stains_are_named_after_their_files(tmp_path, stains):
    write(tmp_path / "T1", stains, resolution=(40_000, 40_000), resolutionunit="CENTIMETER")
    (tmp_path / "T1" / "notes.txt").write_text("mouse 7")
    slide = open_slide(tmp_path / "T1")
    assert slide.channel_names == ("DAPI", "SpGreen", "SpOrange")
    assert slide.pixel_size_um == pytest.approx((0.25, 0.25))
    assert np.array_equal(slide.levels[0].compute(), stains)
    assert np.array_equal(slide.levels[0][1:, 5:80, 7].compute(), stains[1:, 5:80, 7])
    roles = guess_roles(slide.channel_names)
    assert (roles.nuclei, roles.vessels, roles.probe) == (0, 1, 2)
    assert list_series(tmp_path / "T1")[0].shape == (3, 90, 120)


def test_colour_coded_stain_is_its_brightest_colour(tmp_path, stains):
    write(tmp_path / "T1", stains)
    coloured = np.zeros((90, 120, 3), np.uint8)
    coloured[..., 2] = stains[0]
    tifffile.imwrite(tmp_path / "T1" / "DAPI.tif", coloured, photometric="rgb")
    assert np.array_equal(open_slide(tmp_path / "T1").levels[0].compute(), stains)


def test_pyramids_are_used_as_far_as_all_have_them(tmp_path, stains):
    (tmp_path / "T1").mkdir()
    for name, stain, levels in zip("abc", stains, (3, 2, 3), strict=True):
        with tifffile.TiffWriter(tmp_path / "T1" / f"{name}.ome.tif") as tif:
            for level in range(levels):
                more = {"subfiletype": 1} if level else {"subifds": levels - 1}
                tif.write(stain[:: 2**level, :: 2**level], tile=(32, 32), **more)
    slide = open_slide(tmp_path / "T1")
    assert slide.channel_names == ("a", "b", "c")
    assert slide.stored_levels == 2
    assert np.array_equal(slide.levels[1].compute(), stains[:, ::2, ::2])


def test_types_are_widened_to_one_that_holds_all(tmp_path, stains):
    write(tmp_path / "T1", stains)
    tifffile.imwrite(tmp_path / "T1" / "QD.tif", stains[0].astype(np.uint16) * 200)
    slide = open_slide(tmp_path / "T1")
    assert slide.dtype == np.uint16
    assert np.array_equal(slide.levels[0].compute()[:2], [stains[0], stains[0].astype(np.uint16) * 200])


def test_other_pictures_are_left_out_with_a_warning(tmp_path, stains):
    write(tmp_path / "T1", stains)
    (tmp_path / "T1" / "overview.png").write_bytes(b"\x89PNG")
    with pytest.warns(SlideWarning, match=r"not overview\.png"):
        assert len(open_slide(tmp_path / "T1").channel_names) == 3


def test_sizes_that_differ_are_told(tmp_path, stains):
    write(tmp_path / "T1", stains)
    tifffile.imwrite(tmp_path / "T1" / "SpGreen.tif", stains[0, :50])
    with pytest.raises(SlideError, match=r"differ in size .*120 x 50 px.*expected one size"):
        open_slide(tmp_path / "T1")


def test_several_channels_in_one_file_are_told(tmp_path, stains):
    write(tmp_path / "T1", stains)
    tifffile.imwrite(tmp_path / "T1" / "all.tif", stains, photometric="minisblack")
    with pytest.raises(SlideError, match=r"all\.tif has 3 channels"):
        open_slide(tmp_path / "T1")


def test_file_that_breaks_later_is_named(tmp_path, stains):
    write(tmp_path / "T1", stains)
    slide = open_slide(tmp_path / "T1")
    (tmp_path / "T1" / "SpGreen.tif").write_bytes(b"II*\0")
    with pytest.raises(SlideError, match=r"SpGreen\.tif"):
        slide.levels[0].compute()


def test_pixel_size_is_one_that_can_be(tmp_path, stains):
    (tmp_path / "T1").mkdir()
    for name, stain, size in zip(("CD31.OME.TIF", "DAPI.tif", "QD.tif"), stains, (5000, 0.5, 0.5), strict=True):
        about = {"axes": "YX", "PhysicalSizeX": size, "PhysicalSizeY": size}
        tifffile.imwrite(tmp_path / "T1" / name, stain, ome=True, metadata=about)
    with pytest.warns(SlideWarning, match="different pixel sizes"):
        slide = open_slide(tmp_path / "T1")
    assert (slide.channel_names, slide.pixel_size_um) == (("CD31", "DAPI", "QD"), (0.5, 0.5))
