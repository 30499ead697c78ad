"""Statistics that need the neighbours of a pixel are those of the whole image, however it is cut into blocks."""

import math
import pickle
import sys
from dataclasses import replace
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
from scipy.ndimage import binary_dilation, gaussian_filter

from napari_hrpn.analysis import (
    ProbeImage,
    SlideComparison,
    evaluate_slide,
    measure_roi,
    metrics,
    preview_roi,
    roi_images,
    slide_pairs,
)
from napari_hrpn.analysis.counts.intensity_histogram import bins_of_types
from napari_hrpn.analysis.counts.joint_histogram import PairBins
from napari_hrpn.analysis.metrics import PAGE, Metric
from napari_hrpn.analysis.scan import block_scan
from napari_hrpn.analysis.scan.block_scan import count_block
from napari_hrpn.analysis.scan.pair_counters import Windows
from napari_hrpn.analysis.scan.slide_pairs import PairCounter
from napari_hrpn.analysis.windows import Window
from napari_hrpn.core import drive
from napari_hrpn.slides import Annotation, FinishedTiles, RegionMask, Slide

SIZE = (190, 260)


def local_products(y: np.ndarray, p: np.ndarray, data_range: float) -> np.ndarray:
    # a window of 11 x 11
    return gaussian_filter(y * p / data_range**2, 1.5, truncate=3.5)


def local_difference(y: np.ndarray, p: np.ndarray, _: float) -> np.ndarray:
    return np.abs(gaussian_filter(y, 1, radius=2) - gaussian_filter(p, 1, radius=2))


PRODUCTS, DIFFERENCE = Window("products", 5, local_products), Window("difference", 2, local_difference)
METRIC = Metric(
    "local_product", "local product", "Mean of products.", lambda r: r.window_mean(PRODUCTS), windows=(PRODUCTS,)
)


def images(dtype: str = "uint16", shape: tuple[int, int] = SIZE) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    y = generator.gamma(1, 40, shape)
    return y.astype(dtype), np.minimum(0.8 * y + generator.integers(0, 20, shape), 250).astype(dtype)


def slide(pixels: np.ndarray, chunks: tuple[int, int] = (512, 512), **changes: object) -> Slide:
    return Slide((da.from_array(pixels[None], chunks=(1, *chunks)),), ("QD",), None, Path("made-up"), **changes)


def unfinished(pixels: np.ndarray, cells: np.ndarray) -> Slide:
    return slide(pixels, read_finished=lambda: FinishedTiles(cells))


def box(top: float, bottom: float, left: float, right: float) -> Annotation:
    return Annotation("a", "include", ((np.array([[top, left], [top, right], [bottom, right], [bottom, left]]),),))


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_scan, "BLOCK_EDGE", 50)
    monkeypatch.setattr(block_scan, "BLOCK_PX", 50**2)
    monkeypatch.setattr(block_scan, "LARGEST_COMMON_CHUNK", 100)


@pytest.fixture
def with_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "METRICS", (*metrics.METRICS, METRIC))


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("chunks", [(512, 512), (7, 300), (48, 31)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_blocks_make_no_difference(chunks: tuple[int, int], dtype: str) -> None:
    y, p = images(dtype)
    coarse = np.indices((19, 26)).sum(axis=0) % 7 > 1
    tissue, rois = RegionMask(coarse, (10.0, 10.0)), [box(20.3, 171, 30, 215), box(-9, 4, 250, 300)]
    windows = Windows((PRODUCTS, DIFFERENCE), 250.0)
    steps = slide_pairs(slide(y, chunks), 0, slide(p, (64, 64)), tissue=tissue, rois=rois, windows=windows)
    found = drive(steps)
    everywhere = np.ones(SIZE, bool)
    inside = [np.kron(coarse, np.ones((10, 10), bool)), everywhere]
    inside += [roi.within(slice(0, SIZE[0]), slice(0, SIZE[1])) for roi in rois]
    for window in windows.asked:
        whole = window.values(y.astype(float), p.astype(float), 250.0)
        for counts, mask in zip((found.tissue, found.frame, *found.rois), inside, strict=True):
            sums = counts.windows[window.name]
            assert sums.n == counts.n == mask.sum()
            assert sums.mean == pytest.approx(whole[mask].mean(), rel=1e-12)


def test_an_image_narrower_than_a_window_is_mirrored_more_than_once() -> None:
    y, p = images(shape=(3, 4))
    found = drive(slide_pairs(slide(y), 0, slide(p), windows=Windows((PRODUCTS,), 1.0))).frame
    expected = local_products(y.astype(float), p.astype(float), 1.0).mean()
    assert found.windows["products"].mean == pytest.approx(expected, rel=1e-12)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_pixels_whose_windows_touch_what_is_not_predicted_are_left_out(dtype: str) -> None:
    shape = (700, 1200)
    y, p = images(dtype, shape)
    cells = np.array([[True, False, True], [True, True, True]])
    made = np.kron(cells, np.ones((512, 512), bool))[: shape[0], : shape[1]]
    found = drive(slide_pairs(slide(y), 0, unfinished(p, cells), windows=Windows((PRODUCTS,), 250.0))).frame
    whole = local_products(y.astype(float), np.where(made, p, 1e9).astype(float), 250.0)
    known = ~binary_dilation(~made, np.ones((11, 11)))
    assert found.n == made.sum()
    assert found.windows["products"].n == known.sum()
    assert found.windows["products"].mean == pytest.approx(whole[known].mean(), rel=1e-12)


@pytest.mark.usefixtures("with_metric")
def test_pixels_beside_a_region_that_are_not_finite_leave_out_those_near_them() -> None:
    y, _ = images("uint8")
    _, p = images("float32")
    p[60, 99] = np.nan
    region = box(50, 90, 100, 150)
    compared = roi_images(ProbeImage("real", slide(y), 0), (ProbeImage("p", slide(p), 0),))
    (numbers,) = drive(measure_roi(compared, region, resamples=100)).numbers
    assert (numbers.sums.n, numbers.windows["products"].n) == (2000, 2000 - 11 * 5)
    assert math.isfinite(METRIC.value(numbers))
    # the largest grey level of floating point is not known
    compared = roi_images(ProbeImage("real", slide(p), 0), (ProbeImage("p", slide(y), 0),))
    (numbers,) = drive(measure_roi(compared, region, resamples=100)).numbers
    assert math.isnan(METRIC.value(numbers))


@pytest.mark.usefixtures("with_metric", "small_blocks")
@pytest.mark.parametrize("region", [box(-5, 90.5, 20, 150), box(0, 190, 0, 260)])
@pytest.mark.parametrize("look_px", [2**20, 2**10])
def test_regions_that_are_drawn_and_evaluated_have_the_value_of_the_whole_image(
    region: Annotation, look_px: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_hrpn.analysis.rois.measurement.LOOK_PX", look_px)
    y, p = images("uint8")
    real, predicted = (
        replace(slide(each, (60, 60)), levels=(da.from_array(each[None]), da.from_array(each[None, ::2, ::2])))
        for each in (y, p)
    )
    pair = ProbeImage("real", real, 0), ProbeImage("p", predicted, 0)
    inside = region.within(*(slice(0, size) for size in SIZE))
    expected = local_products(y.astype(float), p.astype(float), 255.0)[inside].mean()
    drawn = drive(measure_roi(roi_images(pair[0], pair[1:]), region, resamples=100)).numbers[0]
    assert METRIC.value(drawn) == pytest.approx(expected, rel=1e-12)
    # it would take too long while a region is dragged, and be another number on a coarse level
    assert METRIC.value(preview_roi(roi_images(pair[0], pair[1:]), region).numbers[0]) is None
    monkeypatch.setattr(sys.modules[PairCounter.__module__], "_MOST_KEPT", 0)
    (part,) = drive(evaluate_slide(SlideComparison(*pair[:1], pair[1:], rois=(region,)), skip=("quality", "patches")))
    assert METRIC.value(part.findings.rois[0]) == pytest.approx(expected, rel=1e-12)


@pytest.mark.usefixtures("with_metric")
def test_how_many_pixels_are_left_out_is_said() -> None:
    y, p = images("uint8", (600, 600))
    comparison = SlideComparison(
        ProbeImage("real", slide(y), 0), (ProbeImage("p", unfinished(p, np.array([[True, True], [False, True]])), 0),)
    )
    (part,) = drive(evaluate_slide(comparison, skip=("quality", "patches")))
    numbers = part.findings.frame
    left_out = numbers.sums.n - numbers.windows["products"].n
    assert left_out == 5 * (512 + 5) + 5 * 88
    assert [words for words in numbers.window_reasons if words.startswith(PRODUCTS.name)] == [
        f"products: {left_out:,} of 314,944 pixels are left out, as pixels near them are not predicted"
    ]


def test_a_region_without_a_pixel_has_no_number() -> None:
    y, p = images("uint8")
    steps = slide_pairs(slide(y), 0, slide(p), rois=[box(300, 310, 0, 9)], windows=Windows((PRODUCTS,), 255.0))
    assert math.isnan(drive(steps).rois[0].windows["products"].mean)


def test_windows_travel_to_workers() -> None:
    y, p = images("uint8")
    channels = tuple(slide(pixels).levels[0][0] for pixels in (y, p))
    bins = PairBins(bins_of_types(y.dtype, p.dtype))
    here = PairCounter(channels, bins, None, (), (), windows=Windows((PRODUCTS,), 255.0))
    there = pickle.loads(pickle.dumps(here))
    boxes = [(slice(0, 100), slice(0, 260)), (slice(100, 190), slice(0, 260))]
    for one in boxes:
        here.add(pickle.loads(pickle.dumps(count_block(one, [there])[0])))
    expected = local_products(y.astype(float), p.astype(float), 255.0).mean()
    assert here.pairs.frame.windows["products"].mean == pytest.approx(expected, rel=1e-12)


def test_a_page_shows_no_metric_twice() -> None:
    keys = [metric.key for metric in metrics.metrics_in(PAGE)]
    assert len(set(keys)) == len(keys)
