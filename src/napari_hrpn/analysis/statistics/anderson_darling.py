"""Anderson-Darling k-sample test: whether samples have the same distribution.

The p-value is valid for independent numbers, which pixels are not. For images, report the size of the difference first,
and take the p-value from permuted patches or regions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.analysis.counts.blocks import PatchBlocks, too_few_blocks
from napari_hrpn.analysis.counts.intensity_histogram import SharedValues, distinct, shared_values
from napari_hrpn.core.errors import AgreementError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

    from napari_hrpn.analysis.counts.intensity_histogram import ValueCounts

# values are grouped for the permutations: the test stays valid and as powerful, and takes seconds instead of hours
_PERMUTED_VALUES = 1024
_NUMBERS_AT_ONCE = 2**22
# fewer pairs than this cannot give a p-value below 0.05
_LEAST_EXCHANGED = 6
# Scholz & Stephens 1987, table 2: percentiles of the statistic are b0 + b1 / sqrt(m) + b2 / m with m = k - 1
_LEVELS = np.array([0.25, 0.1, 0.05, 0.025, 0.01, 0.005, 0.001])
_B0 = np.array([0.675, 1.281, 1.645, 1.96, 2.326, 2.573, 3.085])
_B1 = np.array([-0.245, 0.25, 0.678, 1.149, 1.822, 2.364, 3.615])
_B2 = np.array([-0.105, -0.305, -0.362, -0.391, -0.396, -0.345, -0.154])


@dataclass(frozen=True)
class AndersonDarling:
    """Result of the test whether k samples have the same distribution [1]_, with the midrank statistic for ties.

    It does not measure the size of a difference: with 10^5 pixels a bias of 5 % is "significant". The interpolated
    p-value of pixels is not valid, because neighbours are not independent. The Wasserstein distance and the slope of
    the Q-Q line measure the size; `p_permutation` is a p-value for independent units.

    .. [1] F. W. Scholz, M. A. Stephens, J. Am. Stat. Assoc. 82, 918 (1987), equation 7 and section 5.
    """

    # (A² - (k - 1)) / its standard deviation, as `scipy.stats.anderson_ksamp`; about 0 for equal distributions
    statistic: float
    # interpolated in the table of the paper, which spans 0.001 to 0.25; valid if all numbers are independent
    p_value: float
    capped: str  # "p >= 0.25" or "p <= 0.001" where the table ends there; empty within it
    n: tuple[int, ...]  # numbers in each sample
    # share of random exchanges of units between the samples with a statistic at least as large; NaN if no units were
    # given
    p_permutation: float = math.nan
    # number of exchanged units, or blocks of units, of each sample; empty if none were given
    units: tuple[int, ...] = ()
    permutations: int = 0
    # why a number is NaN, including `p_permutation` of dependent units; empty if none is, or no units were given
    reason: str = ""


def anderson_darling(samples: Sequence[ValueCounts | ArrayLike]) -> AndersonDarling:
    """Anderson-Darling test of two or more samples.

    Parameters
    ----------
    samples : sequence of ValueCounts or array_like
        Counts of images, or one-dimensional finite numbers, such as the mean of each patch.

    Returns
    -------
    AndersonDarling
        NaN, with a reason, if a sample is empty, there are fewer than four numbers or all are equal.

    Raises
    ------
    AgreementError
        If there are fewer than two samples, or numbers are not finite.

    Examples
    --------
    >>> anderson_darling([[1, 2, 3, 4], [1, 2, 3, 4]]).capped
    'p >= 0.25'
    """
    if len(samples) < 2:
        msg = f"there are {len(samples)} samples to compare; expected two or more"
        raise AgreementError(msg)
    return _tested(shared_values(samples))


def anderson_darling_permutation(
    units: Sequence[Sequence[ValueCounts | ArrayLike]],
    *,
    paired: bool,
    permutations: int = 999,
    seed: int = 0,
    blocks: PatchBlocks | None = None,
) -> AndersonDarling:
    """Anderson-Darling test with a p-value from exchanging independent units, such as patches or ROIs.

    The statistic compares all pixels of the samples. For the p-value, units with all of their pixels are randomly
    reassigned to the samples: p = (1 + number of exchanges with a statistic as large) / (1 + number of exchanges). If
    there are more than 1,024 different values, the exchanges use 1,024 groups of values of about equal size.

    Parameters
    ----------
    units : sequence of sequence of ValueCounts or array_like
        Units of each sample: counts of their pixels, or one-dimensional numbers (``[[mean], [mean], ...]`` for one
        number each). Units, or blocks of them, have to be far enough from each other to be independent.
    paired : bool
        Whether unit j is the same place in all samples, such as a patch of a real and a predicted image. It is then
        exchanged only between the samples. False for units of different tumours.
    permutations : int
        Number of random exchanges. With 3 pairs only 8 exchanges exist, so p cannot be below 0.25.
    seed : int
        Seed of the random numbers: equal seeds give equal p-values.
    blocks : PatchBlocks, optional
        Blocks of paired units, such as neighbouring patches: all units of a block are exchanged together. With blocks,
        1 to 9 % of trials with smoothed noise of equal distribution have p <= 0.05; if each patch is exchanged alone,
        60 to 90 % have. The p-value does not apply to other tumours.

    Returns
    -------
    AndersonDarling
        Result with `p_permutation`; NaN, with a reason, if the statistic does not exist, or if units are dependent and
        form fewer than 6 blocks.

    Raises
    ------
    AgreementError
        If there are fewer than two samples, a unit is empty, paired samples have different numbers of units, or numbers
        are not finite.
    """
    sizes = tuple(map(len, units))
    _check_units(sizes, paired=paired, permutations=permutations)
    samples_of_units = np.repeat(np.arange(len(sizes)), sizes)
    table, counts = _grouped(units)
    block_of_unit = None if blocks is None or blocks.side == 1 else blocks.labels
    exchanged = sizes if block_of_unit is None else (int(block_of_unit.max()) + 1,) * len(sizes)
    result = replace(_tested(table), units=exchanged, permutations=permutations)
    if not result.reason and blocks is not None and block_of_unit is not None and blocks.effective < _LEAST_EXCHANGED:
        result = replace(result, reason=too_few_blocks(blocks, _LEAST_EXCHANGED), permutations=0)
    if result.reason:
        return result
    observed = float(_statistic(_dealt(samples_of_units[None], counts, len(sizes)))[0])
    generator = np.random.default_rng(seed)
    as_large = 0
    at_once = max(1, _NUMBERS_AT_ONCE // (len(sizes) * counts.shape[1]))
    for labels in _exchanges(samples_of_units, generator, permutations, at_once, paired=paired, together=block_of_unit):
        # with a tolerance, because rounding may make equal statistics differ in their last digits
        as_large += int(np.sum(_statistic(_dealt(labels, counts, len(sizes))) >= observed * (1 - 1e-9)))
    return replace(result, p_permutation=(1 + as_large) / (1 + permutations))


def _check_units(sizes: tuple[int, ...], *, paired: bool, permutations: int) -> None:
    if len(sizes) < 2 or 0 in sizes:
        msg = f"the samples have {sizes} units; expected two or more samples with a unit each"
        raise AgreementError(msg)
    if paired and len(set(sizes)) > 1:
        msg = f"the samples have {sizes} units; expected the same number in each, because they are paired"
        raise AgreementError(msg)
    if permutations < 1:
        msg = f"there are {permutations} permutations; expected one or more"
        raise AgreementError(msg)


def _tested(table: SharedValues) -> AndersonDarling:
    n = tuple(map(int, table.n))
    reason = ""
    if 0 in n:
        reason = "a sample is empty"
    elif sum(n) < 4:
        reason = f"there are {sum(n)} numbers in all; expected four or more"
    elif len(table.values) < 2:
        reason = "all numbers are equal"
    if reason:
        return AndersonDarling(math.nan, math.nan, "", n, reason=reason)
    excess = float(_statistic(table.counts[None])[0]) - (len(n) - 1)
    statistic = excess / math.sqrt(_variance(n))
    return AndersonDarling(statistic, *_interpolated(statistic, len(n) - 1), n)


def _statistic(counts: NDArray[Any]) -> NDArray[np.float64]:
    """A² of the paper's equation 7 from counts of shape (..., samples, values).

    It is computed from shares and not from numbers of pixels, because their products would reach 10^40.
    """
    n = counts.sum(axis=-1, keepdims=True)
    pooled = counts.sum(axis=-2, keepdims=True)
    total = pooled.sum(axis=-1, keepdims=True)
    below = np.cumsum(pooled, axis=-1) - pooled / 2
    pooled_share = pooled / total
    spread = below / total * ((total - below) / total) - pooled_share / 4
    difference = (np.cumsum(counts, axis=-1) - counts / 2) / n - below / total
    terms = (n * pooled_share * difference**2 / spread).sum(axis=(-2, -1))
    return np.asarray(terms * (1 - 1 / total[..., 0, 0]))


def _variance(n: tuple[int, ...]) -> float:
    """Variance of A² for equal distributions; the double sum g of the paper's equation 4 in closed form."""
    from scipy.special import digamma, polygamma

    k, total = len(n), float(sum(n))
    inverse = sum(1 / size for size in n)
    harmonic = float(digamma(total)) + np.euler_gamma
    squares = math.pi**2 / 6 - float(polygamma(1, total + 1))
    h, g = harmonic, squares - (2 * harmonic + 1 / total) / total
    a = (4 * g - 6) * (k - 1) + (10 - 6 * g) * inverse
    b = (2 * g - 4) * k**2 + 8 * h * k + (2 * g - 14 * h - 4) * inverse - 8 * h + 4 * g - 6
    c = (6 * h + 2 * g - 2) * k**2 + (4 * h - 4 * g + 6) * k + (2 * h - 6) * inverse + 4 * h
    d = (2 * h + 6) * k**2 - 4 * h * k
    return float((a * total**3 + b * total**2 + c * total + d) / ((total - 1) * (total - 2) * (total - 3)))


def _interpolated(statistic: float, m: int) -> tuple[float, str]:
    critical = _B0 + _B1 / math.sqrt(m) + _B2 / m
    if statistic < critical.min():
        return 0.25, "p >= 0.25"
    if statistic > critical.max():
        return 0.001, "p <= 0.001"
    return math.exp(np.polyval(np.polyfit(critical, np.log(_LEVELS), 2), statistic)), ""


def _grouped(
    units: Sequence[Sequence[ValueCounts | ArrayLike]],
) -> tuple[SharedValues, NDArray[np.float64]]:
    """Counts of each sample over all values, and counts of each unit over groups of values, shape (units, groups)."""
    distinct_units = [[distinct(unit) for unit in unit_values] for unit_values in units]
    if any(not len(unit_values) for sample in distinct_units for unit_values, _ in sample):
        msg = "a unit holds no number; expected one or more: leave out empty patches"
        raise AgreementError(msg)
    values = np.unique(np.concatenate([unit_values for sample in distinct_units for unit_values, _ in sample]))
    counts = np.zeros((len(distinct_units), len(values)), np.int64)
    for row, sample in zip(counts, distinct_units, strict=True):
        for unit_values, times in sample:
            row[np.searchsorted(values, unit_values)] += times
    group = _groups(counts.sum(axis=0))
    flat = [(np.searchsorted(values, unit_values), times) for sample in distinct_units for unit_values, times in sample]
    grouped = [np.bincount(group[index], times, minlength=group[-1] + 1) for index, times in flat]
    return SharedValues(values, counts), np.stack(grouped)


def _groups(pooled: NDArray[np.int64]) -> NDArray[np.intp]:
    """Group of each value; groups hold about equally many numbers, and equal values are in one group."""
    if len(pooled) <= _PERMUTED_VALUES:
        return np.arange(len(pooled))
    middle = (np.cumsum(pooled) - pooled / 2) / pooled.sum()
    return np.unique((middle * _PERMUTED_VALUES).astype(np.intp), return_inverse=True)[1]


def _exchanges(
    owners: NDArray[np.intp],
    generator: np.random.Generator,
    permutations: int,
    at_once: int,
    *,
    paired: bool,
    together: NDArray[np.intp] | None,
) -> Iterator[NDArray[np.intp]]:
    """Sample that each unit is assigned to, shape (permutations, units), some permutations at a time."""
    samples = int(owners[-1]) + 1
    for start in range(0, permutations, at_once):
        rows = min(at_once, permutations - start)
        if not paired:
            yield generator.permuted(np.tile(owners, (rows, 1)), axis=1)
            continue
        units = len(owners) // samples if together is None else int(together.max()) + 1
        assigned = np.broadcast_to(np.arange(samples)[:, None], (rows, samples, units))
        assigned = generator.permuted(assigned, axis=1)
        yield (assigned if together is None else assigned[:, :, together]).reshape(rows, -1)


def _dealt(assigned: NDArray[np.intp], counts: NDArray[np.float64], samples: int) -> NDArray[np.float64]:
    """Counts of the samples, shape (permutations, samples, groups); exact, because they are whole numbers."""
    return np.stack([(assigned == sample).astype(np.float64) @ counts for sample in range(samples)], axis=1)
