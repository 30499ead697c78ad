"""Uncertainty of a prediction against its errors: coverage by decile of the grey levels, and error by deviation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.analysis.counts.intensity_histogram import ValueCounts
from napari_hrpn.analysis.scan.uncertainty_counter import RATIOS
from napari_hrpn.analysis.windows.gaussian import LEVELS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_hrpn.analysis.counts.intensity_histogram import ValueBins
    from napari_hrpn.analysis.scan.uncertainty_counter import UncertaintyCounts

_DECILES, _PERCENTILES = 10, 100


@dataclass(frozen=True)
class DecileCoverage:
    """Coverage of the intervals among pixels of similar real grey level, or of similar predicted one."""

    decile: int  # 1 has the darkest pixels; pixels of one grey level are never divided
    darkest: float
    brightest: float
    n: int
    coverage: tuple[float, ...]  # by nominal coverage: 50, 80, 90 and 95 %


@dataclass(frozen=True)
class SpreadError:
    """Error of the pixels of similar standard deviation; the two are equal where the deviation is right."""

    n: int
    sd: float  # root mean square of the standard deviations
    error: float  # root mean square of the errors


@dataclass(frozen=True)
class Uncertainty:
    """What the standard deviation says about the errors in the tissue, or in the frame without tissue."""

    deciles: tuple[DecileCoverage, ...]  # of the real grey levels
    predicted_deciles: tuple[DecileCoverage, ...]
    spread: tuple[SpreadError, ...]  # in order of the standard deviation, each up to 1.41 times the one before
    # percentiles 1 to 100 of the error in units of the standard deviation, rounded up by at most 4.5 %
    ratios: tuple[float, ...]


def uncertainty_numbers(counts: UncertaintyCounts, bins: ValueBins) -> Uncertainty:
    """Numbers of a region from its counts."""
    real, predicted = (_deciles(by_level, bins) for by_level in counts.by_level)
    spread = tuple(
        SpreadError(int(n), math.sqrt(variance / n), math.sqrt(squares / n))
        for n, squares, variance in counts.by_sd.T
        if n
    )
    return Uncertainty(real, predicted, spread, _ratios(counts.by_ratio))


def _ratios(counts: NDArray[np.int64]) -> tuple[float, ...]:
    cumulative = np.cumsum(counts)
    if not cumulative[-1]:
        return ()
    ranks = np.ceil(np.arange(1, _PERCENTILES + 1) * cumulative[-1] / _PERCENTILES)
    return tuple(np.append(RATIOS, math.inf)[np.searchsorted(cumulative, ranks)].tolist())


def _deciles(by_level: NDArray[np.int64], bins: ValueBins) -> tuple[DecileCoverage, ...]:
    image = ValueCounts(by_level[0], bins.low, bins.step, bins.binned)
    edges = image.percentile(np.arange(1, _DECILES) * 100 / _DECILES) if image.n else np.zeros(_DECILES - 1)
    decile = np.searchsorted(edges, bins.levels, side="left")
    deciles = (_decile(number, by_level, bins, decile == number) for number in range(_DECILES))
    return tuple(found for found in deciles if found.n)


def _decile(number: int, by_level: NDArray[np.int64], bins: ValueBins, where: np.ndarray) -> DecileCoverage:
    n, *inside = by_level[:, where].sum(axis=1).tolist()
    levels = bins.levels[where & (by_level[0] > 0)]
    ends = (float(levels[0]), float(levels[-1])) if n else (math.nan, math.nan)
    return DecileCoverage(number + 1, *ends, n, tuple(count / n if n else math.nan for count in inside))


def coverage_columns(coverage: tuple[float, ...]) -> dict[str, float]:
    """Coverage under the names of the metrics."""
    return {f"coverage_{level}": share for level, share in zip(LEVELS, coverage, strict=True)}
