"""Places and outlines of regions: which pixels are inside stays the same, whatever the form."""

import numpy as np
import pytest

from napari_hrpn.analysis import AnalysisError, RandomRois, random_rois
from napari_hrpn.core import Box
from napari_hrpn.slides import Annotation, LabelRegion, RegionMask, label_regions
from napari_hrpn.slides.polygons import one_stroke

WINDOW = slice(0, 80), slice(0, 100)


def ring(*points):
    return np.array(points, float)


def box(y0, y1, x0, x1):
    return ring((y0, x0), (y0, x1), (y1, x1), (y1, x0))


HOLED = Annotation(
    "holed",
    "include",
    ((box(5, 50, 5, 60), box(10, 30, 10, 30), box(35, 45, 35, 55)), (box(60, 75, 70, 95),), (box(12, 20, 12, 20),)),
)


def test_many_outlines_in_one_stroke_and_back():
    stroke = one_stroke(HOLED.rings)
    drawn = Annotation("holed", "include", ((stroke,),))
    mask = HOLED.within(*WINDOW)
    np.testing.assert_array_equal(drawn.within(*WINDOW), mask)
    back = drawn.outlined()
    np.testing.assert_array_equal(back.within(*WINDOW), mask)
    assert sorted(len(polygon) for polygon in back.rings) == [1, 1, 3]
    assert mask[11, 11] == False  # noqa: E712 (the hole)
    assert mask[15, 15]
    single = Annotation("plain", "include", ((box(1, 2, 3, 4),),))
    assert one_stroke(single.rings) is single.rings[0][0]
    np.testing.assert_array_equal(single.outlined().rings[0][0], single.rings[0][0])


def test_the_outline_of_a_label_has_its_pixels():
    random = np.random.default_rng(0)
    inside = random.random((30, 40)) < 0.6
    inside[10:20, 10:20] = True
    inside[14, 14] = False
    roi = LabelRegion("speckled", inside, np.eye(2), np.array([-7.0, -9.0]))
    mask = roi.within(*WINDOW)
    expected = np.zeros((80, 100), bool)
    expected[7:37, 9:49] = inside
    np.testing.assert_array_equal(mask, expected)
    np.testing.assert_array_equal(roi.outlined().within(*WINDOW), expected)
    assert roi.bounds((80, 100)) == Box(7, 37, 9, 49)
    assert not roi.reaches_beyond((80, 100))
    assert roi.reaches_beyond((36, 100))


def test_the_outline_of_a_mask_has_its_pixels():
    random = np.random.default_rng(1)
    mask = RegionMask(random.random((80, 100)) < 0.4, (1.0, 1.0))
    np.testing.assert_array_equal(mask.outlined().within(*WINDOW), mask.within(*WINDOW))


@pytest.mark.parametrize(("dtype", "values"), [(np.uint8, (3, 7)), (np.int64, (-5, 2**40)), (np.uint32, (1, 70_000))])
def test_each_label_is_found_however_the_strips_cut_it(dtype, values, monkeypatch):
    monkeypatch.setattr("napari_hrpn.slides.region_files.STRIP_PX", 7 * 40)
    labels = np.zeros((30, 40), dtype)
    labels[2:20, 3:9] = labels[25:28, 30:33] = values[0]
    labels[10:12, 20:40] = values[1]
    found = label_regions(LabelRegion("labels", labels, np.eye(2), np.array([-4.0, -5.0])))
    assert list(found) == sorted(values)
    for value, roi in found.items():
        expected = np.zeros((80, 100), bool)
        expected[4:34, 5:45] = labels == value
        np.testing.assert_array_equal(roi.within(*WINDOW), expected)
    assert found[values[1]].labels.shape == (2, 20)
    assert label_regions(LabelRegion("none", np.zeros((3, 4), dtype), np.eye(2), np.zeros(2))) == {}


def test_a_coarse_pixel_is_inside_where_its_centre_is():
    annotation = Annotation("a", "include", ((box(8, 40, 16, 64),),))
    coarse = annotation.at_level(slice(0, 20), slice(0, 25), (4.0, 4.0))
    expected = np.zeros((20, 25), bool)
    expected[2:10, 4:16] = True
    np.testing.assert_array_equal(coarse, expected)
    label = LabelRegion("l", np.ones((8, 12), bool), np.eye(2) / 4, np.array([-2.375, -4.375]))
    np.testing.assert_array_equal(label.at_level(slice(0, 20), slice(0, 25), (4.0, 4.0)), expected)


def test_bounds_are_cut_at_the_slide():
    beyond = Annotation("b", "include", ((box(-20.5, 30.2, 90, 130),),))
    assert beyond.bounds((80, 100)) == Box(0, 31, 90, 100)
    assert beyond.reaches_beyond((80, 100))
    beside = Annotation("b", "include", ((box(90, 95, -9, -3),),)).bounds((80, 100))
    assert (beside.height, beside.width) == (0, 0)


def test_a_fingerprint_is_of_the_place_alone():
    one, other = (Annotation(name, "include", ((box(1, 9, 1, 9),),)) for name in "ab")
    assert one.digest == other.digest
    assert one.digest != Annotation("a", "include", ((box(1, 9, 1, 9.5),),)).digest
    label = LabelRegion("l", np.ones((2, 2), bool), np.eye(2), np.zeros(2))
    assert label.digest != LabelRegion("l", np.ones((2, 2), bool), np.eye(2), np.ones(2)).digest


@pytest.mark.parametrize("seed", range(4))
def test_random_regions_lie_on_tissue_and_apart(seed):
    mask = np.zeros((60, 80), bool)
    mask[10:50, 30:] = True
    tissue = RegionMask(mask, (10.0, 10.0))
    taken = [Box(100, 200, 300, 420)]
    placed = random_rois((600, 800), RandomRois(100, 120, 5, seed, 0.8), tissue, taken)
    assert len(placed.boxes) == 5
    assert placed.overlapping == 0
    for k, box in enumerate(placed.boxes):
        assert (box.height, box.width) == (100, 120)
        assert box.intersection(Box(0, 600, 0, 800)) == box
        assert tissue.share(box) >= 0.8
        assert not any(box.intersection(other).area for other in [*taken, *placed.boxes[:k]])
    assert placed == random_rois((600, 800), RandomRois(100, 120, 5, seed, 0.8), tissue, taken)
    assert placed != random_rois((600, 800), RandomRois(100, 120, 5, seed + 10, 0.8), tissue, taken)


def test_as_many_as_fit_are_placed_before_any_overlaps():
    tight = random_rois((200, 300), RandomRois(100, 100, 6, 1, 0.0))
    assert (len(tight.boxes), tight.overlapping) == (6, 0)
    more = random_rois((200, 300), RandomRois(100, 100, 8, 1, 0.0))
    assert len(set(more.boxes)) == 8
    assert more.overlapping >= 2


def test_what_cannot_be_placed_is_told():
    empty = RegionMask(np.zeros((10, 10), bool), (10.0, 10.0))
    with pytest.raises(AnalysisError, match="No place of 20 x 10 px was found with 50% of tissue"):
        random_rois((100, 100), RandomRois(10, 20), empty)
    with pytest.raises(AnalysisError, match="The slide has 100 x 90 px, expected 960 x 864"):
        random_rois((90, 100), RandomRois())
    with pytest.raises(AnalysisError, match="0 regions"):
        random_rois((90, 100), RandomRois(number=0))
