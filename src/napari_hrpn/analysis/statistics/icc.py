"""Intraclass correlation (ICC) of images, over patches, regions or vessels.

It is computed from pooled sums, so pixels need not be in memory. Its subjects have to be independent of each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.analysis.counts.blocks import too_few_blocks
from napari_hrpn.analysis.counts.moments import AgreementSums, as_float, update
from napari_hrpn.analysis.statistics.bootstrap import (
    LEAST_BLOCKS,
    centred_sums,
    check_resampling,
    interval_ends,
    rare_reason,
    resampled,
)
from napari_hrpn.core.errors import AgreementError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_hrpn.analysis.counts.blocks import PatchBlocks

_NAN = math.nan


@dataclass(frozen=True)
class RaterSums:
    """Sums over a table of subjects and raters, from which intraclass correlations are computed.

    Two records are pooled with ``+``.
    """

    # sums of each pair of raters, in the order of `itertools.combinations`: one for two raters, three for three
    pairs: tuple[AgreementSums, ...]

    def __add__(self, other: RaterSums) -> RaterSums:
        return RaterSums(tuple(a + b for a, b in zip(self.pairs, other.pairs, strict=True)))

    @property
    def raters(self) -> int:
        """Number of raters."""
        return (1 + math.isqrt(1 + 8 * len(self.pairs))) // 2

    @property
    def n(self) -> int:
        """Number of subjects."""
        return self.pairs[0].n


@dataclass(frozen=True)
class IntraclassCorrelation:
    """Agreement of k raters, such as a real and a predicted image, over n subjects, such as patches.

    Two-way model, single ratings [1]_: with the mean squares of subjects (R), of raters (C) and of the rest (E),
    ICC(A,1) = (R - E) / (R + (k - 1) E + k (C - E) / n) and ICC(C,1) = (R - E) / (R + (k - 1) E). The interval
    is valid for normally distributed, independent subjects. Neighbouring pixels are not independent: over pixels the
    estimate is valid, but the interval is far too narrow. For patches that may be correlated with their neighbours,
    see `icc_over_blocks`.

    .. [1] K. O. McGraw, S. P. Wong, Psychol. Methods 1, 30 (1996), tables 4 and 7; P. E. Shrout, J. L. Fleiss,
       Psychol. Bull. 86, 420 (1979): ICC(2,1) and ICC(3,1).
    """

    # absolute agreement, which a bias between the raters lowers, and consistency, which does not depend on it. At most
    # 1; negative if raters agree less than by chance
    icc_a1: float
    icc_c1: float
    # ends of the intervals. With two raters whose means differ, the interval of ICC(A,1) is wide, because the spread of
    # the raters is estimated from two means. It is approximate: it contained the truth in 92.5 % of simulated trials
    icc_a1_low: float
    icc_a1_high: float
    icc_c1_low: float
    icc_c1_high: float
    # the mean squares R, C and E
    mean_square_subjects: float
    mean_square_raters: float
    mean_square_error: float
    # numbers of subjects and of raters, k
    n: int
    raters: int
    confidence: float  # of the intervals, 0 to 1
    reason: str = ""  # why a number is NaN; empty where none is


def rater_sums(table: NDArray[Any]) -> RaterSums:
    """Sums over the subjects of a table; sums of further subjects are added with ``+``."""
    columns = np.asarray(table)
    if columns.ndim != 2 or columns.shape[1] < 2:
        msg = f"the table has the shape {columns.shape}; expected (subjects, raters) with two or more raters"
        raise AgreementError(msg)
    if columns.dtype.kind == "f" and not np.isfinite(columns).all():
        msg = "the table has numbers that are not finite (NaN or infinite); leave those subjects out"
        raise AgreementError(msg)
    return RaterSums(tuple(update(AgreementSums(), a, b) for a, b in combinations(columns.T, 2)))


def icc(table: NDArray[Any] | Sequence[Sequence[float]], confidence: float = 0.95) -> IntraclassCorrelation:
    """Intraclass correlations of a table.

    Parameters
    ----------
    table : numpy.ndarray or nested sequence
        Shape (subjects, raters): a row for each patch, region or vessel, a column for each image.
    confidence : float
        Of the intervals, between 0 and 1.

    Returns
    -------
    IntraclassCorrelation
        See there for the formulas.

    Raises
    ------
    AgreementError
        If the table or the confidence is not valid.

    Examples
    --------
    >>> result = icc([[value, value + 5] for value in range(10)])
    >>> round(result.icc_a1, 6), round(result.icc_c1, 6)
    (0.423077, 1.0)
    """
    return compute_icc(rater_sums(np.asarray(table)), confidence)


def compute_icc(sums: RaterSums | AgreementSums, confidence: float = 0.95) -> IntraclassCorrelation:
    """Intraclass correlations from pooled sums."""
    if not 0 < confidence < 1:
        msg = f"the confidence is {confidence}; expected a number between 0 and 1, such as 0.95"
        raise AgreementError(msg)
    table = RaterSums((sums,)) if isinstance(sums, AgreementSums) else sums
    n, k = table.n, table.raters
    nothing = IntraclassCorrelation(_NAN, _NAN, _NAN, _NAN, _NAN, _NAN, _NAN, _NAN, _NAN, n, k, confidence)
    if n < 2:
        return replace(nothing, reason=f"there are {n} subjects, expected two or more for an intraclass correlation")
    r, c, e = _mean_squares(table)
    result = replace(
        nothing, mean_square_subjects=as_float(r), mean_square_raters=as_float(c), mean_square_error=as_float(e)
    )
    if not r and not e:
        return replace(result, reason="all subjects have the same numbers, so there is nothing to agree on")
    return _with_intervals(replace(result, icc_a1=_absolute(r, c, e, n, k), icc_c1=_consistent(r, e, k)), (r, c, e))


def _mean_squares(table: RaterSums) -> tuple[Fraction, Fraction, Fraction]:
    """Mean squares of subjects, of raters and of the rest.

    The rest is computed from the differences between each two raters. As the remainder of the total sum of squares it
    would be a small difference of large numbers if raters nearly agree.
    """
    n, k = table.n, table.raters
    sums = [Fraction(table.pairs[0].real), *(Fraction(pair.predicted) for pair in table.pairs[: k - 1])]
    between = [(a - b) ** 2 / n for a, b in combinations(sums, 2)]
    residual = sum(pair.squared_error - shift for pair, shift in zip(table.pairs, between, strict=True))
    products = sum(pair.product - a * b / n for pair, (a, b) in zip(table.pairs, combinations(sums, 2), strict=True))
    squares = [table.pairs[0].real_squared, *(pair.predicted_squared for pair in table.pairs[: k - 1])]
    within = sum(square - total * total / n for square, total in zip(squares, sums, strict=True))
    return (
        max(Fraction(within + 2 * products), Fraction(0)) / (k * (n - 1)),
        Fraction(sum(between), k * (k - 1)),
        max(Fraction(residual), Fraction(0)) / (k * (n - 1) * (k - 1)),
    )


def _consistent(r: Fraction, e: Fraction, k: int) -> float:
    return float((r - e) / (r + (k - 1) * e))


def _absolute(r: Fraction, c: Fraction, e: Fraction, n: int, k: int) -> float:
    total = r + (k - 1) * e + k * (c - e) / n
    return as_float((r - e) / total) if total else _NAN


def _with_intervals(
    result: IntraclassCorrelation, squares: tuple[Fraction, Fraction, Fraction]
) -> IntraclassCorrelation:
    """Result with intervals: estimates for mean squares of subjects at the quantiles of their F distribution."""
    from scipy.stats import f as f_distribution

    n, k = result.n, result.raters
    r, c, e = squares
    if not c and not e:
        return replace(result, icc_a1_low=1.0, icc_a1_high=1.0, icc_c1_low=1.0, icc_c1_high=1.0)
    tails = np.array([(1 - result.confidence) / 2, (1 + result.confidence) / 2])
    ends = [Fraction(float(end)) * r for end in f_distribution.ppf(tails, (n - 1) * (k - 1), n - 1)]
    low, high = (_consistent(end, e, k) for end in ends)
    result = replace(result, icc_c1_low=low, icc_c1_high=high)
    freedom = _degrees_of_freedom(result, float(c / (r + c + e)), float(e / (r + c + e)))
    if not freedom > 0:
        return replace(result, reason="ICC(A,1) or its interval does not exist, because the subjects do not differ")
    ends = [Fraction(float(end)) * r for end in f_distribution.ppf(tails, freedom, n - 1)]
    low, high = (_absolute(end, c, e, n, k) for end in ends)
    return replace(result, icc_a1_low=low, icc_a1_high=high)


def _degrees_of_freedom(result: IntraclassCorrelation, c: float, e: float) -> float:
    """Satterthwaite's degrees of freedom of the raters' and the residual variance together: v of McGraw & Wong."""
    n, k, rho = result.n, result.raters, result.icc_a1
    # a and b of the paper multiplied by 1 - rho, which does not change v and allows rho = 1
    raters = k * rho / n * c
    rest = (1 - rho + k * rho * (n - 1) / n) * e
    below = raters**2 / (k - 1) + rest**2 / ((n - 1) * (k - 1))
    return (raters + rest) ** 2 / below if below else _NAN


def icc_over_blocks(
    table: NDArray[Any], blocks: PatchBlocks, *, resamples: int = 2000, confidence: float = 0.95, seed: int = 0
) -> IntraclassCorrelation:
    """Intraclass correlations of patches that may be correlated with their neighbours.

    For independent patches, the intervals are those of `icc`. For others, whole blocks are drawn with replacement.
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
