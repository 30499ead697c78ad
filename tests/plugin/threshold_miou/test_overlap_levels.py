"""Labels and counts of levels, against NumPy on the same pixels; no viewer."""

from dataclasses import replace

import numpy as np
import pytest

from napari_hrpn.analysis import iou_at, pair_counts
from napari_hrpn.core import Box, drive
from napari_hrpn.plugin.parts.compared_region import found_region
from napari_hrpn.plugin.parts.selection import ComparedChannel, Pair
from napari_hrpn.plugin.threshold_miou.overlap import (
    BOTH,
    PREDICTED_ONLY,
    REAL_ONLY,
    ComparedLevels,
    Window,
    full_overlap,
    look_over,
)
from napari_hrpn.plugin.threshold_miou.overlay import OverlapLabels
from napari_hrpn.plugin.viewer.drawn_regions import DrawnShapes
from napari_hrpn.slides import Annotation, RegionMask
from support.compared import compared_slides

AFFORDABLE = "napari_hrpn.plugin.threshold_miou.overlap.AFFORDABLE_PX"
ROI = Box(60, 433, 101, 712)


def make_pair(**changes):
    real, predicted = compared_slides(**changes)
    return Pair(ComparedChannel(real, 2, "QD", None), (ComparedChannel(predicted, 0, "HRPN", None),))


@pytest.fixture
def pair():
    return make_pair()


def pixels(pair, level=0):
    real, predicted = pair.real, pair.predictions[0]
    return real.slide.levels[level][real.channel].compute(), predicted.slide.levels[level][0].compute()


def rectangle(box, kind="include"):
    return Annotation("", kind, ((np.array([(y, x) for y, x in corners(box)], float),),))


def corners(box):
    return [(box.y0, box.x0), (box.y0, box.x1), (box.y1, box.x1), (box.y1, box.x0)]


def expected_labels(real, predicted, threshold):
    labels = np.zeros(real.shape, int)
    labels[(real >= threshold) & (predicted >= threshold)] = BOTH
    labels[(real >= threshold) & (predicted < threshold)] = REAL_ONLY
    labels[(real < threshold) & (predicted >= threshold)] = PREDICTED_ONLY
    return labels


def compared(pair):
    return ComparedLevels(pair, RegionMask.whole(pair.real.slide.shape))


def run(generator):
    reports = []
    return drive(generator, reports.append), reports


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("threshold", [-3.0, 0.0, 0.51, 99.5, 100.0, 255.0, 300.0, np.inf])
def test_labels_are_those_of_a_comparison(dtype, threshold):
    pair = make_pair(dtype=dtype)
    labels = compared(pair).labels(Window(0, ROI), 0, threshold)
    real, predicted = (image[ROI.y0 : ROI.y1, ROI.x0 : ROI.x1] for image in pixels(pair))
    np.testing.assert_array_equal(labels, expected_labels(real, predicted, threshold))


def test_levels_end_where_all_are_small_enough(pair):
    assert [compared(pair).shape(level) for level in range(3)] == [(700, 900), (350, 450), (175, 225)]
    # a real slide without a pyramid, next to one with: coarse levels are computed
    flat = replace(pair.real.slide, levels=pair.real.slide.levels[:1])
    short = compared(replace(pair, real=replace(pair.real, slide=flat)))
    assert len(short) == 1
    large = make_pair(shape=(1100, 300))
    flat = replace(large.real.slide, levels=large.real.slide.levels[:1])
    computed = compared(replace(large, real=replace(large.real, slide=flat)))
    assert computed.shape(len(computed) - 1) == (550, 150)
    labels = computed.labels(computed.whole(1), 0, 100.0)
    np.testing.assert_array_equal(labels, expected_labels(*pixels(large, 1), 100.0))


def test_pyramids_that_round_odd_sizes_up_and_down_have_levels_in_common():
    pair = make_pair(shape=(601, 841))
    down = [pair.real.slide.levels[0]]
    while down[-1].shape[-1] > 256:
        height, width = (size // 2 * 2 for size in down[-1].shape[1:])
        down.append(down[-1][:, :height:2, :width:2])
    pair = replace(pair, real=replace(pair.real, slide=replace(pair.real.slide, levels=tuple(down))))
    predicted = pair.predictions[0].slide.levels
    assert [level.shape[1:] for level in down] == [(601, 841), (300, 420), (150, 210)]
    assert [level.shape[1:] for level in predicted] == [(601, 841), (301, 421), (151, 211)]
    levels = compared(pair)
    assert [levels.shape(level) for level in range(len(levels))] == [(601, 841), (300, 420), (150, 210)]
    labels = levels.labels(Window(1, Box(290, 300, 400, 420)), 0, 100.0)
    both = np.asarray(down[1])[2, 290:300, 400:420], np.asarray(predicted[1])[0, 290:300, 400:420]
    np.testing.assert_array_equal(labels, expected_labels(*both, 100.0))


def test_labels_of_every_level_are_those_of_its_pixels_and_another_threshold_reads_nothing(pair, monkeypatch):
    labels = OverlapLabels(look_over(pair, "Frame", None))
    fine, middle, coarsest = labels.levels
    labels.use(0, 100.0)
    part = slice(100, 160), slice(400, 500)
    assert fine[part].any()
    monkeypatch.setattr("napari_hrpn.slides.ChunkCache._decode", None)
    for threshold in (100.0, 80.0):
        labels.use(0, threshold)
        np.testing.assert_array_equal(fine[part], expected_labels(*pixels(pair), threshold)[part])
        np.testing.assert_array_equal(middle[10:50, ::2], expected_labels(*pixels(pair, 1), threshold)[10:50, ::2])
        np.testing.assert_array_equal(coarsest, expected_labels(*pixels(pair, 2), threshold))
        # an array is asked for by who saves the layer
        np.testing.assert_array_equal(np.asarray(fine), expected_labels(*pixels(pair), threshold))


def test_the_coarsest_level_is_one_array_that_follows_the_threshold(pair):
    levels = OverlapLabels(look_over(pair, "Frame", None))
    coarsest = levels.levels[-1]
    for threshold in (120.0, 80.0):
        levels.use(0, threshold)
        assert levels.levels[-1] is coarsest
        np.testing.assert_array_equal(coarsest, expected_labels(*pixels(pair, 2), threshold))


def numpy_iou(real, predicted, threshold, mask):
    a, b = real[mask] >= threshold, predicted[mask] >= threshold
    return (a & b).sum() / (a | b).sum()


MASK = RegionMask(np.add.outer(np.arange(70), np.arange(90)) > 60, (10.0, 10.0))
REGIONS = {
    "frame": (None, lambda: np.ones((700, 900), bool)),
    "mask": (MASK, lambda: MASK.within(slice(0, 700), slice(0, 900))),
    "shapes": (
        DrawnShapes("tumour", (700, 900), (rectangle(ROI), rectangle(Box(500, 650, 20, 90)))),
        lambda: filled((ROI, Box(500, 650, 20, 90))),
    ),
    "hole": (
        DrawnShapes("tumour", (700, 900), (rectangle(ROI), rectangle(Box(100, 200, 200, 300), "exclude"))),
        lambda: filled((ROI,)) & ~filled((Box(100, 200, 200, 300),)),
    ),
}


def filled(boxes):
    mask = np.zeros((700, 900), bool)
    for box in boxes:
        mask[box.y0 : box.y1, box.x0 : box.x1] = True
    return mask


@pytest.mark.parametrize("name", REGIONS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_numbers_of_a_region_are_those_of_numpy_at_once_and_by_the_slides(name, dtype):
    wanted, mask = REGIONS[name]
    pair = make_pair(dtype=dtype)
    overview = look_over(pair, name, wanted)
    (at_once,) = overview.overlaps
    in_full, reports = run(full_overlap(pair.real, pair.predictions[0], overview.region))
    real, predicted = pixels(pair)
    assert at_once.is_full
    assert reports
    for overlap in (at_once, in_full):
        assert overlap.counts == pair_counts(real, predicted, mask())
        assert iou_at(overlap.counts, 100.0).iou == pytest.approx(numpy_iou(real, predicted, 100.0, mask()), abs=1e-12)
        middle = overlap.points[50]
        assert middle.threshold == np.percentile(real[mask()], 50)
        assert middle.iou == pytest.approx(numpy_iou(real, predicted, middle.threshold, mask()), abs=1e-12)


@pytest.mark.parametrize("name", REGIONS)
def test_a_large_region_is_estimated_at_a_level_that_is_affordable(pair, monkeypatch, name):
    monkeypatch.setattr(AFFORDABLE, 50_000)
    wanted, mask = REGIONS[name]
    (overlap,) = look_over(pair, name, wanted).overlaps
    assert overlap.downsample == pytest.approx(4, abs=0.01)
    assert not overlap.is_full
    assert overlap.counts.n == pytest.approx(mask().sum() / 16, rel=0.05)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_region_is_the_same_part_at_every_level(level):
    whole = MASK.within(slice(0, 704), slice(0, 896))
    step = 2**level
    box = Box(16 // step, 320 // step, 64 // step, 512 // step)
    inside = MASK.at_level(*box.slices, (step, step))
    share = whole[16:320, 64:512].reshape(box.height, step, box.width, step).mean(axis=(1, 3))
    assert inside.shape == (box.height, box.width)
    clear = (share == 0) | (share == 1)
    np.testing.assert_array_equal(inside[clear], share[clear] == 1)


def test_no_shapes_are_everywhere_and_keys_tell_regions_apart():
    everywhere = found_region("", DrawnShapes("tumour", (700, 900), ()), (700, 900))
    assert everywhere.within(slice(0, 700), slice(0, 900)).all()
    found = [found_region("", wanted, (700, 900)) for wanted, _ in REGIONS.values()]
    assert len({region.digest for region in found}) == len(found)
    assert found[2].digest == found_region("again", REGIONS["shapes"][0], (700, 900)).digest


@pytest.mark.parametrize("level", range(0, 200, 7))
def test_whole_numbers_are_exact_also_next_to_a_prediction_in_floating_point(level):
    real, predicted = (np.tile(np.arange(200, dtype=kind), 3) for kind in (np.uint8, np.float32))
    predicted = predicted * np.float32(1.37) + np.float32(0.011)
    point = iou_at(pair_counts(real, predicted), float(level))
    a, b = real >= level, predicted >= level
    assert point.real_fraction == a.mean()
    assert point.predicted_fraction == pytest.approx(b.mean(), abs=1 / 200)
    assert point.threshold == level
