"""Predictions compared on the same regions: paired, by blocks within a region and by mean and SD over regions."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.analysis.agreement_sums import AgreementError, AgreementSums
from napari_hrpn.analysis.bootstrap import (
    Interval,
    _block_reason,
    _centred,
    _check,
    _correlation_and_slope,
    _ends,
    _rare_reason,
    _resampled,
)
from napari_hrpn.analysis.regression import regression

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from napari_hrpn.analysis.blocks import BlockSums

SUMS = 6


@dataclass(frozen=True)
class BlockDifferences:
    """How much one prediction differs from another on the same pixels, by a paired block bootstrap.

    In each resample both are measured on the same blocks, so what makes a block hard for both cancels.

    Attributes
    ----------
    pearson_r, slope : Interval
        The second less the first.
    """

    pearson_r: Interval
    slope: Interval


@dataclass(frozen=True)
class MeanAndSd:
    """Mean and standard deviation of a number over regions.

    Attributes
    ----------
    mean : float
        NaN where no region has the number.
    sd : float
        With n - 1; NaN for fewer than two.
    n : int
        Regions that have the number.
    """

    mean: float
    sd: float
    n: int


def compare_blocks(
    first: BlockSums, second: BlockSums, *, resamples: int = 2000, confidence: float = 0.95, seed: int = 0
) -> BlockDifferences:
    """Intervals of the differences of r and slope, by drawing the same blocks of both with replacement.

    Parameters
    ----------
    first, second : BlockSums
        Of two predictions over the same pixels, of one side.
    resamples : int
        How often as many blocks as there are are drawn.
    confidence : float
        Between 0 and 1.
    seed : int
        Of the random numbers: equal seeds give equal intervals.

    Returns
    -------
    BlockDifferences
        NaN, with a reason, where `block_bootstrap` gives none.

    Raises
    ------
    AgreementError
        If the blocks are not of the same pixels, or the settings make no sense.
    """
    _check(resamples, confidence)
    if first.side_px != second.side_px or {place: sums.n for place, sums in first.blocks.items()} != {
        place: sums.n for place, sums in second.blocks.items()
    }:
        msg = "two predictions were cut into different blocks; expected blocks of one side over the same pixels"
        raise AgreementError(msg)
    totals = [sum(blocks.ordered, AgreementSums()) for blocks in (first, second)]
    lines = [regression(total) for total in totals]
    estimates = [(line.pearson_r, line.slope) for line in lines]
    reasons = map(_block_reason, (first, second), totals, estimates)
    reason = next(filter(None, reasons), "")
    ends = [(math.nan, math.nan)] * 2
    if not reason:
        drawn = _resampled(_joined(first, second, totals), _differences, resamples, seed)
        ends = [_ends(numbers, first.effective, confidence) for numbers in drawn.T]
        reason = _rare_reason(drawn)
    pearson_r, slope = (
        Interval(second_one - first_one, low, high, first.effective, confidence, reason)
        for first_one, second_one, (low, high) in zip(*estimates, ends, strict=True)
    )
    return BlockDifferences(pearson_r, slope)


def mean_and_sd(values: Iterable[float]) -> MeanAndSd:
    """Mean and standard deviation over regions.

    Parameters
    ----------
    values : iterable of float
        One for each region; those that are not finite are left out.

    Returns
    -------
    MeanAndSd
        With the number of regions that count.

    Examples
    --------
    >>> mean_and_sd([0.25, 0.75, 0.5, float("nan")])
    MeanAndSd(mean=0.5, sd=0.25, n=3)
    """
    finite = [value for value in values if math.isfinite(value)]
    return MeanAndSd(
        statistics.fmean(finite) if finite else math.nan,
        statistics.stdev(finite) if len(finite) > 1 else math.nan,
        len(finite),
    )


def _joined(first: BlockSums, second: BlockSums, totals: list[AgreementSums]) -> NDArray[np.float64]:
    both = (first, second)
    return np.hstack([_centred(blocks.ordered, total) for blocks, total in zip(both, totals, strict=True)])


def _differences(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    return _correlation_and_slope(sums[:, SUMS:]) - _correlation_and_slope(sums[:, :SUMS])
