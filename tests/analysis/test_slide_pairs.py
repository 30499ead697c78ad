import pickle
import sys
import threading
import tracemalloc
from collections.abc import Generator
from pathlib import Path
from typing import TypeVar

import dask.array as da
import numpy as np
import pytest

from napari_hrpn.analysis import (
    AgreementError,
    BlockSums,
    PairBins,
    PairCounts,
    agreement,
    pair_counts,
    slide_agreement,
    slide_pairs,
)
from napari_hrpn.analysis.counts.intensity_histogram import bins_between, bins_of_types
from napari_hrpn.analysis.scan import block_scan
from napari_hrpn.analysis.scan.block_scan import PixelBlock
from napari_hrpn.analysis.scan.slide_pairs import PairCounter, SlidePairs
from napari_hrpn.core import Progress, drive
from napari_hrpn.slides import Annotation, ChunkCache, RegionMask, Slide, SlideError, region_mask

Result = TypeVar("Result")
SIZE = (2200, 2600)


def images(dtype: type = np.uint16, shape: tuple[int, int] = SIZE) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    y = np.maximum(generator.gamma(1, 40, shape) - 10, 0)
    return y.astype(dtype), np.minimum(0.8 * y + generator.integers(0, 20, shape), 250).astype(dtype)


def slide(pixels: np.ndarray, chunks: tuple[int, int] = (512, 512)) -> Slide:
    return Slide((da.from_array(pixels[None], chunks=(1, *chunks)),), ("QD",), None, Path("made-up"))


def followed(steps: Generator[Progress, None, Result]) -> tuple[Result, list[Progress]]:
    reports = []
    return drive(steps, reports.append), reports


def compared(*slides: Slide, **options: object) -> SlidePairs:
    real, predicted = slides
    return followed(slide_pairs(real, 0, predicted, 0, **options))[0]


def reading_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("slide-blocks")]


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_scan, "BLOCK_EDGE", 100)
    monkeypatch.setattr(block_scan, "BLOCK_PX", 100**2)
    monkeypatch.setattr(block_scan, "LARGEST_COMMON_CHUNK", 400)


def test_tissue_frame_and_regions_are_those_of_arrays_cut_by_hand() -> None:
    y, p = images()
    coarse = np.zeros((44, 52), bool)
    coarse[5:20, 10:] = True
    tissue = RegionMask(coarse, (50.0, 50.0))
    field = np.array([[100.0, 1900], [100, 2800], [964, 2800], [964, 1900]])
    triangle = np.array([[2100.3, 10.2], [1500.7, 900.1], [1990, 1400]])
    drawn = [Annotation("field", "include", ((field,),)), Annotation("triangle", "exclude", ((triangle,),))]
    part = RegionMask(coarse[:, ::-1], (50.0, 50.0))
    result = compared(slide(y), slide(p), tissue=tissue, rois=[*drawn, part], density_range=(0, 300))
    bins = result.frame.bins
    full = np.kron(coarse, np.ones((50, 50), bool))
    include = Annotation("", "include", ((triangle,),))
    expected = [
        pair_counts(y[100:964, 1900:], p[100:964, 1900:], bins=bins),
        pair_counts(y, p, region_mask([include], SIZE).mask, bins),
        pair_counts(y, p, np.kron(coarse[:, ::-1], np.ones((50, 50), bool)), bins),
    ]
    assert result.frame == pair_counts(y, p, bins=bins)
    assert result.tissue == pair_counts(y, p, full, bins)
    assert list(result.rois) == expected
    assert bins.density_range == (0, 300)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(
    ("chunks", "blocks"), [(((64, 64), (64, 64)), 10), (((64, 96), (70, 300)), 4), (((1, 300), (211, 16)), 1)]
)
@pytest.mark.parametrize(("dtype", "passes"), [(np.uint8, 1), (np.float32, 2), (np.int32, 2)])
def test_chunks_make_no_difference(
    chunks: tuple[tuple[int, int], tuple[int, int]], blocks: int, dtype: type, passes: int
) -> None:
    y, p = images(dtype, (211, 300))
    whole = pair_counts(y, p)
    real, predicted = (slide(pixels, own) for pixels, own in zip((y, p), chunks, strict=True))
    result, reports = followed(slide_pairs(real, 0, predicted, 0))
    assert result.tissue is None
    assert (result.frame.real, result.frame.predicted) == (whole.real, whole.predicted)
    assert result.frame.smaller == whole.smaller
    assert float(result.frame.sums.product) == pytest.approx(float(whole.sums.product), rel=1e-12)
    assert [report.done for report in reports] == list(range(1, passes * blocks + 1))
    assert {report.total for report in reports} == {passes * blocks}


def test_tissue_of_the_same_pixels_and_frame_agree_with_the_agreement() -> None:
    y, p = images(np.uint8, (300, 400))
    tissue = RegionMask(np.arange(12).reshape(3, 4) % 3 > 0, (100.0, 100.0))
    inside = np.kron(tissue.mask, np.ones((100, 100), bool))
    result, _ = followed(slide_agreement(slide(y), 0, slide(p), tissue=tissue))
    assert (result.tissue, result.frame) == (agreement(y, p, inside), agreement(y, p))


def test_region_beside_the_slide_holds_no_pixel() -> None:
    y, p = images(np.uint8, (50, 60))
    beside = Annotation("", "include", ((np.array([[70.0, 70], [70, 90], [90, 70]]),),))
    result = compared(slide(y), slide(p), rois=[beside])
    assert result.rois[0].n == 0
    assert result.rois[0].bins == PairBins(result.frame.bins.values)


@pytest.mark.usefixtures("small_blocks")
def test_closing_early_ends_the_threads() -> None:
    y, p = images(np.uint8, (400, 400))
    steps = slide_pairs(slide(y, (64, 64)), 0, slide(p, (64, 64)))
    next(steps)
    assert reading_threads()
    steps.close()
    assert not reading_threads()


class Unreadable:
    """A level whose file breaks after a while."""

    shape, dtype, ndim = (1, 400, 400), np.dtype(np.uint8), 3

    def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray:
        if key[1].start > 200:
            msg = "broken.tif cannot be read"
            raise SlideError(msg)
        return np.zeros([part.stop - part.start for part in key], np.uint8)


@pytest.mark.usefixtures("small_blocks")
def test_broken_file_is_one_sentence_and_no_thread_stays() -> None:
    y, _ = images(np.uint8, (400, 400))
    broken = Slide((da.from_array(Unreadable(), chunks=(1, 64, 64), asarray=False),), ("QD",), None, Path("broken.tif"))
    with pytest.raises(SlideError, match="cannot be read"):
        compared(slide(y), broken)
    assert not reading_threads()


def test_what_cannot_be_compared_is_refused() -> None:
    y, p = images(np.uint8, (50, 60))
    with pytest.raises(AgreementError, match="one size"):
        compared(slide(y), slide(p[1:]))
    with pytest.raises(AgreementError, match="a mask covers"):
        compared(slide(y), slide(p), tissue=RegionMask(np.ones((5, 5), bool), (20.0, 20.0)))
    holed = p.astype(np.float32)
    holed[3, 4] = np.nan
    with pytest.raises(AgreementError, match="predicted image has pixels that are not finite"):
        compared(slide(y), slide(holed))


def square(low: float, high: float) -> Annotation:
    return Annotation("", "include", ((np.array([[low, low], [low, high], [high, high], [high, low]]),),))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_regions_that_blocks_cut_are_counted_as_if_whole_in_memory_that_does_not_grow_with_them(
    dtype: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[PairCounter.__module__], "_MOST_KEPT", 3)
    y, p = images(dtype, (400, 400))
    lows = [100.0 * (index % 3 + 1) - 1 - index % 23 for index in range(60)]
    rois = [square(20, 380), *(square(low, low + 24) for low in lows), square(110, 130), square(500, 600)]
    channels = tuple(slide(pixels, (64, 96)).levels[0][0] for pixels in (y, p))
    bins = PairBins(bins_of_types(*(pixels.dtype for pixels in (y, p))) or bins_between(0, 1000, whole=False), (0, 250))

    def settle(index: int, counts: PairCounts, blocks: BlockSums) -> bool:
        inside = rois[index].within(*(slice(0, size) for size in y.shape))
        whole = pair_counts(y, p, inside, PairBins(bins.values, counts.density_range))
        levels = [(one.real, one.predicted, one.smaller, one.both_zero, one.n) for one in (counts, whole)]
        assert float(counts.sums.product) == pytest.approx(float(whole.sums.product), rel=1e-12)
        assert dtype == np.float32 or counts == whole
        assert sum(sums.n for sums in blocks.blocks.values()) == whole.n
        return levels[0] == levels[1]

    options = channels, bins, None, rois, [20] * (1 + len(rois)), None, settle, 2
    counter, on_worker = PairCounter(*options), PairCounter(*options)
    tracemalloc.start()
    for top, left in np.ndindex(4, 4):
        block = PixelBlock(slice(100 * top, 100 * top + 100), slice(100 * left, 100 * left + 100))
        counter.add(pickle.loads(pickle.dumps(on_worker.count(block))))
    cache = ChunkCache(2**20)
    settled = [counter.settled(index, cache) for index in range(len(rois))]
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert settled == [True] * len(rois)
    # the counts of a region take 1.5 MB with 65,536 grey levels
    assert most < 45e6
    assert counter.pairs.frame.n == y.size
