"""A prediction against the real channel, pixel by pixel, in the tissue, the frame and each region: one pass."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.analysis.agreement import Agreement, compute
from napari_hrpn.analysis.bootstrap import BlockIntervals, block_bootstrap
from napari_hrpn.analysis.colocalization import Colocalization, Manders, colocalization, manders
from napari_hrpn.analysis.distributions import (
    DistributionComparison,
    QuantilePairs,
    SharedHistogram,
    compare_distributions,
    histogram,
    quantile_pairs,
)
from napari_hrpn.analysis.evaluation.places import (
    block_side,
    density_range,
    has_whole_numbers,
    roi_box,
    whole_histogram,
)
from napari_hrpn.analysis.icc import IntraclassCorrelation, compute_icc
from napari_hrpn.analysis.iou import IouPoint, iou_curve
from napari_hrpn.analysis.regression import Regression, regression
from napari_hrpn.analysis.slide_pairs import slide_pairs
from napari_hrpn.slides import annotation_mask

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray

    from napari_hrpn.analysis.evaluation.settings import EvaluationSettings, SlideComparison
    from napari_hrpn.analysis.pixel_pairs import PairCounts
    from napari_hrpn.analysis.slide_pairs import SlidePairs
    from napari_hrpn.analysis.slide_penetration import ProbeImage
    from napari_hrpn.slides import Annotation, RegionMask

# Costes' walk needs the region in memory
LARGEST_COLOCALIZED_PX = 16 * 2**20


@dataclass(frozen=True, eq=False)
class RegionNumbers:
    """How a prediction compares with the real channel in one region.

    Attributes
    ----------
    region : str
        "tissue", "frame" or the name of a region of interest.
    box_px : tuple of int or None
        Rows y0 to y1 and columns x0 to x1 around a region of interest, within the slide.
    agreement : Agreement
        MSE, R2, PSNR.
    psnr_real_max, real_max : float
        PSNR with the brightest real pixel of the region as MAX, and that pixel.
    regression : Regression
        The line through the pixels, r and R_total.
    intervals : BlockIntervals or None
        Of r and slope; None for the frame beside a tissue.
    manders : Manders
        Co-localisation without a threshold.
    colocalization : Colocalization or None
        With Costes' thresholds; of regions of interest that fit into memory.
    icc : IntraclassCorrelation
        Over pixels: the estimates are right, its intervals are not.
    real_mean, predicted_mean : float
        Mean grey levels; the bias is their difference.
    density : numpy.ndarray of int64, shape (256, 256)
        Pixels by real (row) and predicted (column) grey level.
    density_range : tuple of float
        Grey levels that it spans.
    """

    region: str
    box_px: tuple[int, int, int, int] | None
    agreement: Agreement
    psnr_real_max: float
    real_max: float
    regression: Regression
    intervals: BlockIntervals | None
    manders: Manders
    colocalization: Colocalization | None
    icc: IntraclassCorrelation
    real_mean: float
    predicted_mean: float
    density: NDArray[np.int64]
    density_range: tuple[float, float]


@dataclass(frozen=True, eq=False)
class ComparedPixels:
    """A prediction against the real channel, pixel by pixel.

    Attributes
    ----------
    name : str
        Of the prediction.
    tissue : RegionNumbers or None
        None where no tissue is known.
    frame : RegionNumbers
        Of all pixels.
    rois : tuple of RegionNumbers
        Of the regions of interest, in their order.
    region : str
        "tissue", or "frame" where there is none: where all that follows was taken.
    iou : tuple of IouPoint
        At percentiles 0 to 100 of the real channel.
    quantiles : QuantilePairs
        Q-Q points and line.
    distributions : DistributionComparison
        How far the distributions are apart.
    histogram : SharedHistogram
        Of the real and the predicted channel, on the same bins.
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


def compared_pixels(
    comparison: SlideComparison, prediction: ProbeImage, settings: EvaluationSettings
) -> Generator[float, None, ComparedPixels]:
    """Compare a prediction with the real channel.

    Parameters
    ----------
    comparison : SlideComparison
        Real channel, tissue and regions.
    prediction : ProbeImage
        One of its predictions.
    settings : EvaluationSettings
        Intervals and PSNR.

    Yields
    ------
    float
        Share that is done, 0 to 1.

    Returns
    -------
    ComparedPixels
        All numbers of pixel pairs.
    """
    places: list[RegionMask | Annotation] = [comparison.everywhere, *comparison.rois]
    sides = [settings.block_px or block_side(comparison.real, prediction, place) for place in places]
    counted = slide_pairs(
        comparison.real.slide,
        comparison.real.channel,
        prediction.slide,
        prediction.channel,
        tissue=comparison.tissue,
        rois=comparison.rois,
        density_range=density_range(comparison.real, prediction, comparison.everywhere),
        block_sides_px=sides,
    )
    # what follows the pass takes about a tenth of the time, and more with many regions of interest
    pairs = yield from shares(counted, 0.0, 0.8)
    intervals = [
        block_bootstrap(blocks, resamples=settings.resamples, confidence=settings.confidence, seed=settings.seed)
        for blocks in pairs.blocks
    ]
    yield 0.9
    numbers = _Numbers(comparison, prediction, settings)
    return numbers.of(pairs, intervals)


def shares(work: Generator[Any, None, Any], start: float, stop: float) -> Generator[float, None, Any]:
    """Run a piece of work whose reports have `done` and `total`, as a part of another.

    Parameters
    ----------
    work : generator
        Closed when this ends, however it ends.
    start, stop : float
        Shares of the whole before and after it.

    Yields
    ------
    float
        Share of the whole.

    Returns
    -------
    object
        What the work returned.
    """
    try:
        while True:
            try:
                report = next(work)
            except StopIteration as end:
                return end.value
            yield start + (stop - start) * report.done / max(1, report.total)
    finally:
        work.close()


@dataclass(frozen=True)
class _Numbers:
    """Turns counts of a prediction into numbers."""

    comparison: SlideComparison
    prediction: ProbeImage
    settings: EvaluationSettings

    def of(self, pairs: SlidePairs, intervals: list[BlockIntervals]) -> ComparedPixels:
        main = pairs.frame if pairs.tissue is None else pairs.tissue
        first, *others = intervals
        tissue = None if pairs.tissue is None else self._region("tissue", pairs.tissue, first)
        rois = [
            self._region(name, counts, interval, roi)
            for name, counts, interval, roi in zip(
                self.comparison.region_names, pairs.rois, others, self.comparison.rois, strict=True
            )
        ]
        return ComparedPixels(
            name=self.prediction.name,
            tissue=tissue,
            frame=self._region("frame", pairs.frame, first if tissue is None else None),
            rois=tuple(rois),
            region="frame" if tissue is None else "tissue",
            iou=iou_curve(main),
            quantiles=quantile_pairs(main.real, main.predicted),
            distributions=compare_distributions(main.real, main.predicted),
            histogram=self._histogram(main),
        )

    def _histogram(self, counts: PairCounts) -> SharedHistogram:
        images = [counts.real, counts.predicted]
        if not counts.n:
            return SharedHistogram(np.array([0.0, 1.0]), np.zeros((2, 1), np.int64))
        whole = has_whole_numbers(self.comparison.real, self.prediction)
        return whole_histogram(images) if whole else histogram(images)

    def _region(
        self, name: str, counts: PairCounts, intervals: BlockIntervals | None, roi: Annotation | None = None
    ) -> RegionNumbers:
        brightest = float(counts.real.percentile(100))
        real_agreement = compute(counts.sums, brightest if brightest > 0 else None)
        box = None if roi is None else roi_box(roi, self.comparison.real.slide.shape)
        assert counts.density is not None
        assert counts.density_range is not None
        return RegionNumbers(
            region=name,
            box_px=box,
            agreement=compute(counts.sums, self.comparison.psnr_peak(self.settings, brightest)),
            psnr_real_max=real_agreement.psnr_db,
            real_max=brightest,
            regression=regression(counts.sums, counts.both_zero),
            intervals=intervals,
            manders=manders(counts),
            colocalization=None if roi is None or box is None else self._colocalized(roi, box, counts.n),
            icc=compute_icc(counts.sums),
            real_mean=float(counts.sums.real / counts.n) if counts.n else math.nan,
            predicted_mean=float(counts.sums.predicted / counts.n) if counts.n else math.nan,
            density=counts.density,
            density_range=counts.density_range,
        )

    def _colocalized(self, roi: Annotation, box: tuple[int, int, int, int], n: int) -> Colocalization | None:
        rows, columns = slice(*box[:2]), slice(*box[2:])
        if not n or (box[1] - box[0]) * (box[3] - box[2]) > LARGEST_COLOCALIZED_PX:
            return None
        y, p = (
            np.asarray(image.slide.levels[0][image.channel, rows, columns].compute(scheduler="synchronous"))
            for image in (self.comparison.real, self.prediction)
        )
        return colocalization(y, p, annotation_mask(roi, rows, columns))
