"""Intraclass correlations of patches that may depend on their neighbours: intervals by drawing blocks of them."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.analysis.blocks import too_few_blocks
from napari_hrpn.analysis.bootstrap import LEAST_BLOCKS
from napari_hrpn.analysis.icc import IntraclassCorrelation, icc, rater_sums
from napari_hrpn.analysis.moments import AgreementSums
from napari_hrpn.analysis.resampling import centred_sums, check_resampling, interval_ends, rare_reason, resampled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_hrpn.analysis.blocks import PatchBlocks


def icc_over_blocks(
    table: NDArray[Any], blocks: PatchBlocks, *, resamples: int = 2000, confidence: float = 0.95, seed: int = 0
) -> IntraclassCorrelation:
    """Intraclass correlations of patches that may depend on their neighbours.

    Of independent patches, the intervals are those of `icc`. Of others, whole blocks are drawn with replacement.

    Parameters
    ----------
    table : numpy.ndarray, shape (patches, 2)
        Numbers of the patches in the real and the predicted image.
    blocks : PatchBlocks
        Of the same patches.
    resamples : int
        How often as many blocks as there are are drawn.
    confidence : float
        Between 0 and 1.
    seed : int
        Of the random numbers: equal seeds give equal intervals.

    Returns
    -------
    IntraclassCorrelation
        Without intervals, with a reason, where patches depend on each other and make fewer than 30 blocks.

    Raises
    ------
    AgreementError
        As `icc`, or if the number of resamples makes no sense.
    """
    check_resampling(resamples, confidence)
    found = icc(table, confidence)
    if blocks.side == 1 or math.isnan(found.icc_c1):
        return found
    nan = math.nan
    nothing = replace(found, icc_a1_low=nan, icc_a1_high=nan, icc_c1_low=nan, icc_c1_high=nan)
    if blocks.effective < LEAST_BLOCKS:
        return replace(nothing, reason=too_few_blocks(blocks, LEAST_BLOCKS))
    order = np.argsort(blocks.labels, kind="stable")
    cuts = np.flatnonzero(np.diff(blocks.labels[order])) + 1
    sums = [rater_sums(part).pairs[0] for part in np.split(np.asarray(table)[order], cuts)]
    total = sum(sums, AgreementSums())
    bias = float(Fraction(total.real - total.predicted) / total.n)
    drawn = resampled(centred_sums(sums, total), partial(_two_iccs, bias), resamples, seed)
    if not np.isfinite(drawn).all():
        return replace(nothing, reason=rare_reason(drawn))
    (a_low, a_high), (c_low, c_high) = (interval_ends(numbers, blocks.effective, confidence) for numbers in drawn.T)
    return replace(found, icc_a1_low=a_low, icc_a1_high=a_high, icc_c1_low=c_low, icc_c1_high=c_high)


def _two_iccs(bias: float, sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """ICC(A,1) and ICC(C,1) of resamples, from sums about the means of all patches."""
    n, y, p, yy, pp, yp = sums.T
    with np.errstate(divide="ignore", invalid="ignore"):
        subjects = (yy + pp + 2 * yp - (y + p) ** 2 / n) / (2 * (n - 1))
        rest = np.maximum(yy + pp - 2 * yp - (y - p) ** 2 / n, 0) / (2 * (n - 1))
        raters = (y - p + n * bias) ** 2 / (2 * n)
        absolute = (subjects - rest) / (subjects + rest + 2 * (raters - rest) / n)
        return np.stack([absolute, (subjects - rest) / (subjects + rest)], axis=1)
