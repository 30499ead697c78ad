"""Numbers of regions, against SciPy on pixels cut by hand."""

from pathlib import Path

import dask.array as da
import numpy as np
import pytest
from scipy import ndimage, stats

from napari_hrpn.analysis import (
    AgreementError,
    SlideComparison,
    block_bootstrap,
    colocalization,
    colocalize_roi,
    evaluate_slide,
    mean_and_sd,
    measure_roi,
    preview_roi,
    roi_images,
)
from napari_hrpn.analysis.statistics.bootstrap import compare_blocks
from napari_hrpn.analysis.tissue.slide_penetration import ProbeImage
from napari_hrpn.core import drive
from napari_hrpn.slides import Annotation, ChannelRoles, LabelRegion, Slide, coarser_levels

SHAPE = (700, 1001)


def channels(dtype=np.uint16, scale=900, shape=SHAPE):
    """A smooth real image and two noisy predictions of it."""
    random = np.random.default_rng(4)
    real, noise, more = (ndimage.gaussian_filter(random.standard_normal(shape), 2) for _ in range(3))
    real = np.maximum(real * 8 + 0.4, 0) * scale
    first = np.maximum(0.7 * real + noise * 3 * scale + 0.1 * scale, 0)
    second = np.maximum(0.5 * real + more * 6 * scale, 0)
    return [np.asarray(np.minimum(each, 65_000)).astype(dtype) for each in (real, first, second)]


def slide(pixels, name):
    finest = da.from_array(pixels[None], chunks=(1, 256, 256), name=False)
    return Slide((finest, *coarser_levels(finest)), (name,), None, Path(f"{name}.tif"))


def images(*pixels):
    real, *predicted = [ProbeImage(f"image {k}", slide(each, f"image {k}")) for k, each in enumerate(pixels)]
    return roi_images(real, tuple(predicted))


def rectangle(y0, y1, x0, x1):
    ring = np.array([[y0, x0], [y0, x1], [y1, x1], [y1, x0]], float)
    return Annotation("box", "include", ((ring,),))


def assert_is_scipys(numbers, y, p):
    y, p = y.astype(float), p.astype(float)
    line = stats.linregress(y, p)
    seen = (y != 0) | (p != 0)
    assert numbers.regression.pearson_r == pytest.approx(line.rvalue, abs=1e-12)
    assert numbers.regression.slope == pytest.approx(line.slope, rel=1e-10)
    assert numbers.regression.intercept == pytest.approx(line.intercept, rel=1e-9)
    assert numbers.regression.r_total == pytest.approx(stats.pearsonr(y[seen], p[seen])[0], abs=1e-12)
    assert numbers.agreement.rmse == pytest.approx(np.sqrt(np.mean((y - p) ** 2)), rel=1e-12)
    assert numbers.agreement.r2 == pytest.approx(1 - ((y - p) ** 2).sum() / ((y - y.mean()) ** 2).sum(), rel=1e-10)
    assert numbers.regression.n == numbers.agreement.n == y.size == numbers.density.sum()


@pytest.mark.parametrize(("dtype", "scale"), [(np.uint8, 40), (np.uint16, 900), (np.float32, 1.5)])
def test_every_pixel_inside_counts_once(dtype, scale):
    real, first, second = channels(dtype, scale)
    found = drive(measure_roi(images(real, first, second), rectangle(100, 500, 30, 900)))
    assert found.is_exact
    assert not found.is_clipped
    for numbers, predicted in zip(found.numbers, (first, second), strict=True):
        assert_is_scipys(numbers, real[100:500, 30:900].ravel(), predicted[100:500, 30:900].ravel())


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_many_tiles_say_the_same_as_one(dtype, monkeypatch):
    real, first, _ = channels(dtype)
    roi, compared = rectangle(11, 690, 7, 930), images(real, first)
    whole = drive(measure_roi(compared, roi, resamples=100))
    monkeypatch.setattr("napari_hrpn.analysis.scan.block_scan.BLOCK_EDGE", 256)
    monkeypatch.setattr("napari_hrpn.analysis.scan.block_scan.BLOCK_PX", 256**2)
    monkeypatch.setattr("napari_hrpn.analysis.rois.measurement.LOOK_PX", 2**16)
    reports = measure_roi(compared, roi, resamples=100)
    assert next(reports).total == (12 if dtype is np.uint16 else 24)
    cut = drive(reports)
    for one, other in zip(whole.numbers, cut.numbers, strict=True):
        assert one.regression.n == other.regression.n
        assert one.regression.slope == pytest.approx(other.regression.slope, rel=1e-12)
        assert one.agreement.rmse == pytest.approx(other.agreement.rmse, rel=1e-12)
        assert other.intervals.pearson_r.low < one.regression.pearson_r < other.intervals.pearson_r.high


def test_what_lies_beside_the_slide_does_not_count():
    real, first, _ = channels()
    found = drive(measure_roi(images(real, first), rectangle(-200, 120, 900, 1500)))
    assert found.is_clipped
    assert_is_scipys(found.numbers[0], real[:120, 900:].ravel(), first[:120, 900:].ravel())


def test_a_region_beside_the_slide_has_no_numbers():
    found = drive(measure_roi(images(*channels()), rectangle(800, 900, 10, 90)))
    assert found.n == 0
    assert np.isnan(found.numbers[0].regression.pearson_r)
    assert found.numbers[0].regression.reason == "there is no pixel"
    assert preview_roi(images(*channels()), rectangle(800, 900, 10, 90)).n == 0


def test_pixels_of_a_label_under_rotation():
    real, first, _ = channels()
    angle = np.deg2rad(25)
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / 3.0
    offset = np.array([20.0, -30.0])
    inside = np.zeros((150, 160), bool)
    inside[30:100, 40:120] = True
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    row, column = np.rint(np.tensordot(matrix, np.stack([y, x]), 1) + offset[:, None, None]).astype(int)
    mask = (row >= 30) & (row < 100) & (column >= 40) & (column < 120)
    found = drive(measure_roi(images(real, first), LabelRegion("cell", inside, matrix, offset)))
    assert mask.sum() > 10_000
    assert_is_scipys(found.numbers[0], real[mask], first[mask])


def test_a_preview_reads_the_finest_level_that_is_small_enough():
    real, first, _ = channels()
    compared, roi = images(real, first), rectangle(100, 500, 100, 900)
    assert preview_roi(compared, roi, most_px=320_000).level == 0
    found = preview_roi(compared, roi, most_px=319_999)
    assert (found.level, found.downsample, found.n) == (1, (2.0, 2.0), 80_000)
    assert not found.is_exact
    assert found.numbers[0].intervals is None
    halved = [
        each.reshape(350, 2, -1, 2)[50:250, :, 50:450].mean(axis=(1, 3)) for each in (real[:, :1000], first[:, :1000])
    ]
    assert found.numbers[0].regression.pearson_r == pytest.approx(stats.pearsonr(*map(np.ravel, halved))[0], abs=1e-4)


def test_a_preview_keeps_its_range_unless_too_much_lies_beyond():
    compared, roi = images(*channels()), rectangle(100, 500, 100, 900)
    own = preview_roi(compared, roi).density_range
    wide = (-0.5, own[1] * 2 + 0.5)
    assert preview_roi(compared, roi, density_range=wide).density_range == wide
    assert preview_roi(compared, roi, density_range=(-0.5, own[1] / 8)).density_range == own


def test_levels_are_those_that_all_images_have():
    real, first, _ = channels()
    bare = Slide((da.from_array(first[None], name=False),), ("p",), None, Path("p.tif"))
    compared = roi_images(ProbeImage("real", slide(real, "real")), (ProbeImage("bare", bare),))
    assert [level.number for level in compared.levels] == [0]
    other = Slide((da.from_array(first[None, :-1], name=False),), ("p",), None, Path("p.tif"))
    with pytest.raises(AgreementError, match=r"1001 x 699 px and real 1001 x 700, expected one size"):
        roi_images(ProbeImage("real", slide(real, "real")), (ProbeImage("other", other),))
    with pytest.raises(AgreementError, match="no prediction"):
        roi_images(ProbeImage("real", slide(real, "real")), ())


def test_levels_meet_whichever_way_a_program_rounds_odd_sizes():
    real, first, _ = channels()
    cut = Slide(
        (da.from_array(real[None], name=False), da.from_array(real[None, ::2, :1000:2], name=False)),
        ("r",),
        None,
        Path("r.tif"),
    )
    compared = roi_images(ProbeImage("real", cut), (ProbeImage("first", slide(first, "first")),))
    assert [(level.number, level.downsample) for level in compared.levels] == [(0, (1.0, 1.0)), (1, (2.0, 2.0))]
    assert {array.shape for array in compared.levels[1].arrays} == {(350, 500)}
    assert preview_roi(compared, rectangle(0, 700, 0, 1001), most_px=200_000).n == 175_000


def test_a_prediction_less_itself_is_nothing_and_paired_intervals_are_narrower():
    real, first, second = channels()
    alike = (first * 0.98).astype(np.uint16)
    same, near, far = drive(measure_roi(images(real, first, alike, second), rectangle(0, 700, 0, 1000))).numbers
    assert same.difference is None
    nothing = compare_blocks(same.blocks, same.blocks)
    assert (nothing.pearson_r.low, nothing.pearson_r.estimate, nothing.pearson_r.high) == (0, 0, 0)
    assert near.difference.slope.estimate == pytest.approx(near.regression.slope - same.regression.slope)
    assert near.difference.slope.low < near.difference.slope.estimate < near.difference.slope.high
    # what both have in common cancels
    own = same.intervals.slope
    assert near.difference.slope.high - near.difference.slope.low < 0.3 * (own.high - own.low)
    assert far.difference.pearson_r.high < 0
    assert same.intervals == block_bootstrap(same.blocks)
    with pytest.raises(AgreementError, match="different blocks"):
        compare_blocks(same.blocks, drive(measure_roi(images(real, first), rectangle(0, 60, 0, 60))).numbers[0].blocks)


def test_a_smoother_prediction_leaves_the_intervals_of_the_others_alone():
    real, first, second = channels()
    smooth = ndimage.gaussian_filter(second, 12)
    roi = rectangle(0, 700, 0, 1000)
    alone = drive(measure_roi(images(real, first), roi)).numbers[0]
    kept, wider = drive(measure_roi(images(real, first, smooth), roi)).numbers
    assert kept.intervals == alone.intervals
    assert wider.blocks.side_px > kept.blocks.side_px
    assert sum(sums.n for sums in wider.blocks.blocks.values()) == 700_000


def test_blocks_density_and_intervals_are_those_of_a_report():
    real, first, second = channels(shape=(240, 300))
    compared, roi = images(real, first, second), rectangle(37, 220, 51, 290)
    found = drive(measure_roi(compared, roi))
    roles = ChannelRoles()
    for own, prediction in zip(found.numbers, compared.predictions, strict=True):
        comparison = SlideComparison(compared.real, (prediction,), roles, rois=(roi,))
        parts = drive(evaluate_slide(comparison, skip=("quality", "patches", "penetration")))
        (region,) = parts[0].findings.rois
        assert region.intervals == own.intervals
        assert region.intervals.side_px == own.blocks.side_px


def test_too_few_blocks_give_a_reason():
    found = drive(measure_roi(images(*channels()), rectangle(0, 20, 0, 20)))
    assert np.isnan(found.numbers[0].intervals.slope.low)
    assert "blocks" in found.numbers[1].difference.slope.reason


def test_colocalization_is_that_of_the_pixels(monkeypatch):
    real, first, _ = channels()
    found = colocalize_roi(images(real, first), rectangle(50, 150, 60, 200))
    assert found == (colocalization(real[50:150, 60:200], first[50:150, 60:200]),)
    monkeypatch.setattr("napari_hrpn.analysis.rois.measurement.MOST_COLOCALIZED_PX", 1000)
    with pytest.raises(AgreementError, match="choose a smaller one"):
        colocalize_roi(images(real, first), rectangle(50, 150, 60, 200))


def test_negative_predictions_are_no_signal():
    real, first, _ = channels(np.float32)
    first -= 100
    (found,) = colocalize_roi(images(real, first), rectangle(50, 150, 60, 200))
    y, p = real[50:150, 60:200], first[50:150, 60:200]
    assert found.manders_m1 == pytest.approx(y[p > 0].sum() / y.sum(), rel=1e-6)
    assert found.manders_m2 == pytest.approx(p[(y > 0) & (p > 0)].sum() / p[p > 0].sum(), rel=1e-6)
    assert f"{(p < 0).sum():,} negative pixels count as 0" in found.reason


def test_pixels_that_are_no_numbers_are_told_of():
    real, first, _ = channels(np.float32)
    first[200, 200] = np.nan
    compared, roi = images(real, first), rectangle(150, 250, 150, 250)
    for run in (lambda: preview_roi(compared, roi), lambda: drive(measure_roi(compared, roi))):
        with pytest.raises(AgreementError, match="not finite"):
            run()


def test_whole_grey_levels_are_in_a_cell_also_with_a_prediction_of_floating_point():
    real, first, _ = channels(np.uint8, 20)
    low, high = preview_roi(images(real, first.astype(np.float32) + 0.3), rectangle(0, 100, 0, 100)).density_range
    assert (low, high) == (-0.5, 255.5)


def test_mean_and_sd_over_regions():
    values = [0.4, np.nan, 0.8, 0.9]
    found = mean_and_sd(values)
    assert (found.mean, found.sd, found.n) == (
        pytest.approx(np.nanmean(values)),
        pytest.approx(np.nanstd(values, ddof=1)),
        3,
    )
    assert np.isnan(mean_and_sd([0.4]).sd)
    assert np.isnan(mean_and_sd([]).mean)
