"""Which image of a file is taken when nobody says: the largest, and the user is told where there was a choice."""

import numpy as np
import pytest
import tifffile

from napari_hrpn.slides import SlideError, SlideWarning, list_series, open_slide


@pytest.fixture
def pixels():
    return np.random.default_rng(1).integers(0, 4000, (3, 300, 430), np.uint16)


def write(path, *images, **kinds):
    with tifffile.TiffWriter(path, **kinds) as tif:
        for image, options in images:
            tif.write(image, photometric="minisblack", **options)


@pytest.mark.parametrize("kind", [{}, {"metadata": None}], ids=["shaped", "plain"])
@pytest.mark.parametrize("mark", [1, 4], ids=["thumbnail", "mask"])
def test_smaller_copies_and_masks_are_no_images_of_their_own(tmp_path, pixels, kind, mark):
    path = tmp_path / "two.tif"
    write(path, (pixels[:, :40, :50], {"subfiletype": 1, **kind}), (pixels, kind))
    with tifffile.TiffFile(path, mode="r+") as tif:
        for page in tif.pages[:3]:
            page.tags[254].overwrite(mark)
    slide = open_slide(path)
    assert slide.series == 0
    assert np.array_equal(slide.levels[0].compute(), pixels)
    assert len(list_series(path)) == 1


def test_only_image_opens_whatever_it_is_marked_as(tmp_path, pixels):
    write(tmp_path / "one.tif", (pixels, {"subfiletype": 1}))
    assert np.array_equal(open_slide(tmp_path / "one.tif").levels[0].compute(), pixels)
    write(tmp_path / "two.tif", (pixels, {"subfiletype": 1}), (pixels[:, :40, :50], {}))
    with pytest.warns(SlideWarning, match="2 images and image 0"):
        assert open_slide(tmp_path / "two.tif").shape == (300, 430)


def test_largest_of_several_images_is_taken_and_told(tmp_path, pixels):
    path = tmp_path / "two.tif"
    write(path, (pixels[:, :40, :50], {}), (pixels, {}))
    with pytest.warns(SlideWarning, match=r"2 images and image 1 \(430 x 300 px\) is opened: give series from 0 to 1"):
        slide = open_slide(path)
    assert (slide.series, slide.shape) == (1, (300, 430))
    assert open_slide(path, series=0).shape == (40, 50)
    with pytest.raises(SlideError, match="series from 0 to 1 but got -1"):
        open_slide(path, series=-1)


def test_picture_beside_the_slide_is_not_taken_for_it(tmp_path, pixels):
    path = tmp_path / "exported.ome.tif"
    write(
        path,
        (pixels.repeat(2, 1), {"metadata": {"axes": "CYX", "Name": "macro image"}}),
        (pixels, {"metadata": {"axes": "CYX", "Name": "scan", "Channel": {"Name": ["DAPI", "CD31", "QD"]}}}),
        ome=True,
    )
    with pytest.warns(SlideWarning, match="2 images and image 1"):
        slide = open_slide(path)
    assert slide.channel_names == ("DAPI", "CD31", "QD")
    assert np.array_equal(slide.levels[0].compute(), pixels)


def test_pyramid_of_plain_pages_is_one_image_with_levels(tmp_path, pixels):
    path = tmp_path / "vips.tif"
    steps = (1, 2, 4)
    write(
        path,
        *((pixels[0, :296:step, :424:step], {"metadata": None, "subfiletype": int(step > 1)}) for step in steps),
    )
    slide = open_slide(path)
    assert [level.shape for level in slide.levels] == [(1, 296, 424), (1, 148, 212), (1, 74, 106)]
    assert np.array_equal(slide.levels[2].compute()[0], pixels[0, :296:4, :424:4])
