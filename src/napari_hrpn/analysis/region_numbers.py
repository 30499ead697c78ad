"""Metrics of a prediction in one region, computed from counted pixel pairs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from napari_hrpn.analysis.counts.intensity_histogram import MOST_WHOLE
from napari_hrpn.analysis.counts.joint_histogram import DENSITY_CELLS
from napari_hrpn.analysis.statistics.agreement import Agreement, compute, largest_value
from napari_hrpn.analysis.statistics.bootstrap import BlockDifferences, BlockIntervals, Interval, block_bootstrap
from napari_hrpn.analysis.statistics.colocalization import Colocalization, Manders, manders
from napari_hrpn.analysis.statistics.icc import IntraclassCorrelation, compute_icc
from napari_hrpn.analysis.statistics.regression import Regression, regression
from napari_hrpn.analysis.tissue.intensity import tissue_percentiles

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from napari_hrpn.analysis.counts.blocks import BlockSums
    from napari_hrpn.analysis.counts.joint_histogram import PairCounts
    from napari_hrpn.analysis.counts.moments import AgreementSums
    from napari_hrpn.analysis.tissue.slide_penetration import ProbeImage
    from napari_hrpn.analysis.windows import Window, WindowSums
    from napari_hrpn.core import Box
    from napari_hrpn.settings import EvaluationSettings
    from napari_hrpn.slides import RegionMask

# the grey levels of a density plot cover all but a thousandth of the pixels of an image
DENSITY_PERCENTILES = (0.05, 99.95)
_DENSITY_PIXEL_UM = 1.1


@dataclass(frozen=True, eq=False)
class RegionNumbers:
    """Numbers of a prediction against the real channel in one region.

    Attributes
    ----------
    region : str
        "tissue", "frame" or the name of a region of interest.
    sums : AgreementSums
        Sums over its pixels.
    agreement : Agreement
        MSE, R2, PSNR.
    real_max : float
        Brightest real pixel.
    regression : Regression
        The regression line through the pixels, r and R_total.
    manders : Manders
        Co-localisation without a threshold.
    density : numpy.ndarray of int64, shape (256, 256), or None
        Pixels by real (row) and predicted (column) grey level; a report holds it for the first 100 regions of interest.
    density_range : tuple of float
        Grey levels that the density spans.
    intervals : BlockIntervals or None
        Intervals of r and slope; None in a preview, and for the frame if a tissue is measured too.
    box_px : Box or None
        Rectangle around a region of interest, cut at the border of the slide.
    colocalization : Colocalization or None
        Co-localisation with Costes' thresholds, of a region of interest for which it was requested.
    blocks : BlockSums or None
        Sums from which the intervals are drawn; kept only where predictions are compared with each other.
    difference : BlockDifferences or None
        Difference of r and of slope from the first prediction, where predictions are compared with each other.
    windows : mapping of str to WindowSums
        Sums of values that need the neighbours of a pixel, by the name of their window; empty in a preview.
    """

    region: str
    sums: AgreementSums
    agreement: Agreement
    real_max: float
    regression: Regression
    manders: Manders
    density: NDArray[np.int64] | None
    density_range: tuple[float, float]
    intervals: BlockIntervals | None = None
    box_px: Box | None = None
    colocalization: Colocalization | None = None
    blocks: BlockSums | None = None
    difference: BlockDifferences | None = None
    windows: Mapping[str, WindowSums] = field(default_factory=dict)

    def window_mean(self, window: Window) -> float | None:
        """Mean of the values of a window over the pixels of the region; None where it was not measured."""
        return self.value_mean(window.name)

    def value_mean(self, name: str) -> float | None:
        """Mean of values of the pixels, by their name; None where they were not measured."""
        return self.windows[name].mean if name in self.windows else None

    @property
    def window_reasons(self) -> list[str]:
        """Sentences that give the number of pixels left out because pixels near them are not predicted."""
        n = self.sums.n
        return [
            f"{name}: {n - sums.n:,} of {n:,} pixels are left out, as pixels near them are not predicted"
            if sums.n
            else f"{name}: no pixel has a value, since floating-point pixels need a stated MAX, and all pixels need "
            "predicted ones around them"
            for name, sums in self.windows.items()
            if sums.n < n
        ]

    # computed on first use, because a preview shows neither of the two and has to be fast
    @cached_property
    def icc(self) -> IntraclassCorrelation:
        """ICC over pixels: the estimates are valid, but the intervals are not, because pixels are not independent."""
        return compute_icc(self.sums)

    @cached_property
    def psnr_real_max(self) -> float:
        """PSNR with the brightest real pixel of the region as MAX; an empty or black region has none."""
        return compute(self.sums, self.real_max if self.real_max > 0 else None).psnr_db

    @property
    def real_mean(self) -> float:
        """Mean grey level of the real pixels."""
        return float(self.sums.real / self.sums.n) if self.sums.n else math.nan

    @property
    def predicted_mean(self) -> float:
        """Mean grey level of the predicted pixels."""
        return float(self.sums.predicted / self.sums.n) if self.sums.n else math.nan


@dataclass(frozen=True)
class Metric:
    """A number that measures how well a prediction agrees with the real channel in a region.

    Attributes
    ----------
    key : str
        Its name in JSON and CSV.
    title : str
        Its name in tables and figures; empty for a metric that only files hold.
    definition : str
        Its meaning, in a sentence.
    value : callable
        Function that takes the number from a `RegionNumbers`; NaN where the number does not exist, None where it was
        not measured.
    unit : str
        Unit of the value; empty where it has none or is in grey levels.
    interval : callable or None
        Function that takes its interval from a `RegionNumbers`; None where there is no interval.
    windows : tuple of Window
        Statistics of pixels and their neighbours that the value is computed from; empty where it needs none.
    views : tuple of str
        Tables and figures that show it. The files of an evaluation hold all metrics.
    short : str
        Its name at the head of a narrow column; empty where the title is short enough.
    line : str
        Label of the line of a panel in which it is shown together with others.
    """

    key: str
    title: str
    definition: str
    value: Callable[[RegionNumbers], float | None]
    unit: str = ""
    interval: Callable[[RegionNumbers], Interval | None] | None = None
    windows: tuple[Window, ...] = ()
    views: tuple[str, ...] = ()
    short: str = ""
    line: str = ""

    @property
    def heading(self) -> str:
        """Title with the unit, for the head of a column."""
        return f"{self.title}, {self.unit}" if self.unit else self.title

    @property
    def short_title(self) -> str:
        """Title for the head of a narrow column."""
        return self.short or self.title


def region_numbers(
    region: str, counts: PairCounts, settings: EvaluationSettings, dtype: np.dtype, blocks: BlockSums | None = None
) -> RegionNumbers:
    """Compute the metrics of a region from its counts, with intervals if sums over blocks are given."""
    brightest = float(counts.real.percentile(100))
    # a floating-point type has no largest value, and an empty or black region has no peak
    peaks = {"real": brightest if brightest > 0 else None, "dtype": largest_value(dtype)}
    peak = peaks[settings.psnr_max] if isinstance(settings.psnr_max, str) else float(settings.psnr_max)
    intervals = None
    if blocks is not None:
        intervals = block_bootstrap(
            blocks, resamples=settings.resamples, confidence=settings.confidence, seed=settings.seed
        )
    return RegionNumbers(
        region=region,
        sums=counts.sums,
        agreement=compute(counts.sums, peak),
        real_max=brightest,
        regression=regression(counts.sums, counts.both_zero),
        manders=manders(counts),
        density=counts.density,
        density_range=counts.density_range or (0.0, 1.0),
        intervals=intervals,
        windows=counts.windows,
    )


def grey_level_range(settings: EvaluationSettings, dtype: np.dtype) -> float:
    """Largest possible grey level, known before pixels are counted: the stated MAX, or the limit of the pixel type."""
    stated = settings.psnr_max
    return (largest_value(dtype) or math.nan) if isinstance(stated, str) else float(stated)


def range_of_density(ends: Sequence[tuple[float, float]], *, whole: bool) -> tuple[float, float]:
    """Grey levels that a density spans: one range for both axes and for all regions."""
    lows, highs = zip(*ends, strict=True)
    low, high = min(0.0, *lows), max(highs)
    if not (math.isfinite(low) and math.isfinite(high)):
        return 0.0, 1.0
    if whole and max(high, -low) < MOST_WHOLE:
        # cells a whole number of grey levels wide, so that each holds equally many levels and the plot has no stripes
        low, width = math.floor(low), max(1, math.ceil((high - math.floor(low) + 1) / DENSITY_CELLS))
        return low - 0.5, low - 0.5 + width * DENSITY_CELLS
    return low, high if high > low else low + max(1.0, DENSITY_CELLS * math.ulp(low))


def density_range(real: ProbeImage, prediction: ProbeImage, tissue: RegionMask) -> tuple[float, float]:
    """Grey levels that a density plot of a prediction spans: those of all but a thousandth of the pixels."""
    ends = [
        tissue_percentiles(image.slide, [image.channel], tissue, DENSITY_PERCENTILES, _DENSITY_PIXEL_UM)[0]
        for image in (real, prediction)
    ]
    whole = has_whole_numbers(real, prediction)
    return range_of_density([(float(low), float(high)) for low, high in ends], whole=whole)


def has_whole_numbers(*images: ProbeImage) -> bool:
    """Whether at least one of the channels holds integers."""
    return any(image.slide.dtype.kind in "biu" for image in images)
