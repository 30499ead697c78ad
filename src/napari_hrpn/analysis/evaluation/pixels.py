"""Pixel statistics of an evaluation: agreement of a prediction in tissue, frame and each region of interest."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.analysis.counts.joint_histogram import PairBins
from napari_hrpn.analysis.metrics import windows_of
from napari_hrpn.analysis.region_numbers import (
    RegionNumbers,
    density_range,
    grey_level_range,
    has_whole_numbers,
    region_numbers,
)
from napari_hrpn.analysis.rois.levels import block_side
from napari_hrpn.analysis.scan.block_scan import check_sizes
from napari_hrpn.analysis.scan.pair_counters import PairRange
from napari_hrpn.analysis.scan.slide_pairs import PairCounter
from napari_hrpn.analysis.scan.uncertainty_counter import UncertaintyCounter
from napari_hrpn.analysis.statistics.colocalization import (
    MOST_COLOCALIZED_PX,
    Colocalization,
    colocalization,
    too_large_words,
)
from napari_hrpn.analysis.statistics.distributions import (
    DistributionComparison,
    QuantilePairs,
    SharedHistogram,
    compare_distributions,
    histogram,
    quantile_pairs,
)
from napari_hrpn.analysis.statistics.iou import IouPoint, iou_curve
from napari_hrpn.analysis.statistics.uncertainty import Uncertainty, uncertainty_numbers
from napari_hrpn.slides import ChunkCache
from napari_hrpn.slides.channel_roles import sd_channel

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    import dask.array as da

    from napari_hrpn.analysis.counts.blocks import BlockSums
    from napari_hrpn.analysis.counts.joint_histogram import PairCounts
    from napari_hrpn.analysis.evaluation.slide_comparison import SlideComparison
    from napari_hrpn.analysis.scan.slide_pairs import SlidePairs
    from napari_hrpn.analysis.tissue.slide_penetration import ProbeImage
    from napari_hrpn.core import Box
    from napari_hrpn.settings import EvaluationSettings
    from napari_hrpn.slides import Annotation

# a density takes half a megabyte, and no figure shows more than a few
MOST_DENSITIES = 100
_CACHE_BYTES = 2**26


@dataclass(frozen=True, eq=False)
class ComparedPixels:
    """Agreement of a prediction with the real channel, pixel by pixel.

    Attributes
    ----------
    name : str
        Name of the prediction.
    tissue : RegionNumbers or None
        Metrics in the tissue; None if no tissue is known.
    frame : RegionNumbers
        Metrics over all pixels.
    rois : tuple of RegionNumbers
        Metrics of the regions of interest, in their order.
    region : str
        Region of all that follows: "tissue", or "frame" if no tissue is known.
    iou : tuple of IouPoint
        Overlap at percentiles 0 to 100 of the real channel.
    quantiles : QuantilePairs
        Q-Q points and line.
    distributions : DistributionComparison
        Distances between the distributions of grey levels.
    histogram : SharedHistogram
        Histograms of the real and the predicted channel, on the same bins.
    uncertainty : Uncertainty or None
        Intervals by grey level and errors by deviation; None for the prediction of a single network.
    """

    name: str
    tissue: RegionNumbers | None
    frame: RegionNumbers
    rois: tuple[RegionNumbers, ...]
    region: str
    iou: tuple[IouPoint, ...]
    quantiles: QuantilePairs
    distributions: DistributionComparison
    histogram: SharedHistogram
    uncertainty: Uncertainty | None = None


class PixelsPart:
    """Part of an evaluation that compares one prediction with the real channel, pixel by pixel."""

    def __init__(self, comparison: SlideComparison, prediction: ProbeImage, settings: EvaluationSettings) -> None:
        self.name = _pixels_part(prediction.name)
        self._comparison, self._prediction, self._settings = comparison, prediction, settings
        real = comparison.real
        masks = [] if comparison.tissue is None else [comparison.tissue]
        check_sizes(real.slide, prediction.slide, masks)
        self.channels = (
            real.slide.levels[0][real.channel],
            prediction.slide.levels[0][prediction.channel],
        )
        uncertain = sd_channel(prediction.slide)
        self._sd = None if uncertain is None else prediction.slide.levels[0][uncertain]
        self._uncertainty: UncertaintyCounter | None = None
        self._range = PairRange(self.channels, comparison.finished)
        self._density_range = 0.0, 1.0
        self._sides: list[int] = []
        self._order: list[int] = []
        self._counter: PairCounter | None = None

    def begin(self) -> Generator[float, None, None]:
        """Choose the grey levels of the densities and the sides of the blocks."""
        images = self._comparison.real, self._prediction
        rois, everywhere, finished = self._comparison.rois, self._comparison.everywhere, self._comparison.finished
        self._density_range = density_range(*images, everywhere)
        given, cache = self._settings.block_px, ChunkCache(_CACHE_BYTES)
        self._sides = [given or block_side(*images, everywhere, finished), *([given or 1] * len(rois))]
        self._order = self._reading_order()
        for done, index in enumerate(self._order, start=1):
            self._sides[1 + index] = given or block_side(*images, rois[index], finished, cache)
            yield done / len(rois)

    def ranges(self) -> Sequence[PairRange]:
        """Return a counter of the range of grey levels; integers of up to 16 bits need none."""
        return [] if self._range.is_known else [self._range]

    def counters(self) -> Sequence[PairCounter | UncertaintyCounter]:
        """Return the counter of pixel pairs in the tissue, the frame and each region, and that of an ensemble."""
        bins = PairBins(self._range.bins, self._density_range)
        tissue, rois, finished = self._comparison.tissue, self._comparison.rois, self._comparison.finished
        dtype = self._comparison.real.slide.dtype
        settle = _RegionMetrics(self._settings, dtype, self._comparison.region_names)
        windows = replace(windows_of(grey_level_range(self._settings, dtype)), sd=self._sd)
        self._counter = PairCounter(
            self.channels, bins, tissue, rois, self._sides, finished, settle, MOST_DENSITIES, windows
        )
        if self._sd is None:
            return [self._counter]
        self._uncertainty = UncertaintyCounter(self.channels, self._sd, bins.values, tissue, finished)
        return [self._counter, self._uncertainty]

    def finish(self) -> Generator[float, None, ComparedPixels]:
        """Compute metrics, intervals, IoU curve and distributions from the counts."""
        assert self._counter is not None
        pairs = self._counter.pairs
        rois: dict[int, RegionNumbers] = {}
        cache = ChunkCache(_CACHE_BYTES)
        numbers = _Numbers(self._comparison, self._prediction, self._settings, self.channels, cache)
        for index in self._order:
            rois[index] = numbers.completed(self._comparison.rois[index], self._counter.settled(index, cache))
            yield 0.9 * len(rois) / len(self._comparison.rois)
        found = numbers.of(pairs, tuple(rois[index] for index in range(len(rois))))
        if self._uncertainty is None:
            return found
        return replace(found, uncertainty=uncertainty_numbers(self._uncertainty.counts, self._uncertainty.bins))

    def _reading_order(self) -> list[int]:
        """Indices of the regions, those in the same chunk together, so that the chunk is decoded once for all."""
        shape, (height, width) = self._comparison.real.slide.shape, self.channels[0].chunksize
        boxes = [roi.bounds(shape) for roi in self._comparison.rois]
        return sorted(range(len(boxes)), key=lambda index: (boxes[index].y0 // height, boxes[index].x0 // width))


def _pixels_part(prediction: str) -> str:
    """Name of the part of an evaluation that compares a prediction pixel by pixel."""
    return f"pixels {prediction}"


@dataclass(frozen=True)
class _RegionMetrics:
    """Function that computes the metrics of a region from its counts: a worker sends metrics, which are smaller."""

    settings: EvaluationSettings
    dtype: np.dtype
    names: tuple[str, ...]

    def __call__(self, index: int, counts: PairCounts, blocks: BlockSums | None) -> RegionNumbers:
        return region_numbers(self.names[index], counts, self.settings, self.dtype, blocks)


@dataclass(frozen=True)
class _Numbers:
    """Metrics of a prediction, computed from its counts."""

    comparison: SlideComparison
    prediction: ProbeImage
    settings: EvaluationSettings
    channels: tuple[da.Array, da.Array]
    cache: ChunkCache

    def of(self, pairs: SlidePairs, rois: tuple[RegionNumbers, ...]) -> ComparedPixels:
        main = pairs.frame if pairs.tissue is None else pairs.tissue
        settings_and_dtype, (blocks, *_) = (self.settings, self.comparison.real.slide.dtype), pairs.blocks
        tissue = None if pairs.tissue is None else region_numbers("tissue", pairs.tissue, *settings_and_dtype, blocks)
        return ComparedPixels(
            name=self.prediction.name,
            tissue=tissue,
            frame=region_numbers("frame", pairs.frame, *settings_and_dtype, blocks if tissue is None else None),
            rois=rois,
            region="frame" if tissue is None else "tissue",
            iou=iou_curve(main),
            quantiles=quantile_pairs(main.real, main.predicted),
            distributions=compare_distributions(main.real, main.predicted),
            histogram=self._histogram(main),
        )

    def completed(self, roi: Annotation, metrics: RegionNumbers) -> RegionNumbers:
        """Metrics of a region of interest with its box, and with Costes' thresholds if it fits into memory."""
        box = roi.bounds(self.comparison.real.slide.shape)
        colocalized = self._colocalized(roi, box, metrics.agreement.n)
        return replace(metrics, box_px=box, colocalization=colocalized)

    def _histogram(self, counts: PairCounts) -> SharedHistogram:
        images = [counts.real, counts.predicted]
        if not counts.n:
            return SharedHistogram(np.array([0.0, 1.0]), np.zeros((2, 1), np.int64))
        return histogram(images, whole=has_whole_numbers(self.comparison.real, self.prediction))

    def _colocalized(self, roi: Annotation, box: Box, n: int) -> Colocalization | None:
        if not n:
            return None
        if box.area > MOST_COLOCALIZED_PX:
            nan = math.nan
            reason = too_large_words(box.area).rstrip(".")
            return Colocalization(nan, nan, nan, nan, nan, nan, nan, nan, nan, nan, n, reason)
        real, predicted = (self.cache.read(channel, *box.slices) for channel in self.channels)
        finished, inside = self.comparison.finished, roi.within(*box.slices)
        return colocalization(real, predicted, inside if finished is None else inside & finished.within(*box.slices))
