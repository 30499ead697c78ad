"""Anderson-Darling k-sample test of whether samples have one distribution, from counts of values.

Its p-value is for independent numbers. Pixels are not: of images, give sizes of the difference first, and permute
patches or regions.
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

# a permutation test is valid for any statistic; on coarser values it is as sharp and takes seconds, not hours
_PERMUTED_VALUES = 1024
_NUMBERS_AT_ONCE = 2**22
# of fewer pairs, no p is below 0.05
_LEAST_EXCHANGED = 6
# Scholz & Stephens 1987, table 2: percentiles of the statistic are b0 + b1 / sqrt(m) + b2 / m with m = k - 1
_LEVELS = np.array([0.25, 0.1, 0.05, 0.025, 0.01, 0.005, 0.001])
_B0 = np.array([0.675, 1.281, 1.645, 1.96, 2.326, 2.573, 3.085])
_B1 = np.array([-0.245, 0.25, 0.678, 1.149, 1.822, 2.364, 3.615])
_B2 = np.array([-0.105, -0.305, -0.362, -0.391, -0.396, -0.345, -0.154])


@dataclass(frozen=True)
class AndersonDarling:
    """Whether k samples have one distribution [1]_: the midrank statistic, which allows for ties.

    It shows no size of a difference: at 10^5 pixels a bias of 5 % is "significant", and the interpolated p-value
    of pixels means nothing, because neighbours are not independent. See the Wasserstein distance and the slope
    of the Q-Q line for the size, and `p_permutation` for a p-value of independent units.

    .. [1] F. W. Scholz, M. A. Stephens, J. Am. Stat. Assoc. 82, 918 (1987), equation 7 and section 5.
    """

    # (A² - (k - 1)) / its standard deviation, as `scipy.stats.anderson_ksamp`; about 0 for one distribution
    statistic: float
    # interpolated in the table of the paper, which spans 0.001 to 0.25, as if all numbers were independent
    p_value: float
    capped: str  # "p >= 0.25" or "p <= 0.001" where the table ends there; empty within it
    n: tuple[int, ...]  # numbers in each sample
    # share of random exchanges of units between the samples that set them as far apart as they are; NaN where no
    # units were given
    p_permutation: float = math.nan
    # independent units, or blocks of units, of each sample that were exchanged; empty where none were given
    units: tuple[int, ...] = ()
    permutations: int = 0
    # why a number is NaN, `p_permutation` of dependent units included; empty where none is, or no units were given
    reason: str = ""


def anderson_darling(samples: Sequence[ValueCounts | ArrayLike]) -> AndersonDarling:
    """Anderson-Darling test of two or more samples.

    Parameters
    ----------
    samples : sequence of ValueCounts or array_like
        Counts of images, or finite numbers in a row, such as the mean of each patch.

    Returns
    -------
    AndersonDarling
        NaN, with a reason, where a sample is empty, there are fewer than four numbers or all are the same.

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
    """Anderson-Darling test whose p-value comes from exchanging independent units, such as patches or ROIs.

    The statistic is of all pixels of a sample together; for the p-value, units are dealt out anew to the samples,
    each with all of its pixels: (1 + exchanges that set them as far apart) / (1 + exchanges). For that, more than
    1,024 different values are joined into 1,024 groups of about equal size.

    Parameters
    ----------
    units : sequence of sequence of ValueCounts or array_like
        For each sample its units: counts of their pixels, or numbers in a row (``[[mean], [mean], ...]`` for one
        number each). Units, or blocks of them, have to be far enough apart to be independent.
    paired : bool
        Whether unit j is the same place in all samples, as a patch of a real and a predicted image: it is then
        exchanged only with itself. False for units of different tumours.
    permutations : int
        Random exchanges. With 3 pairs there are only 8 in all, so p cannot be below 0.25.
    seed : int
        Of the random numbers: equal seeds give equal p-values.
    blocks : PatchBlocks, optional
        Blocks of paired units, such as neighbouring patches: all units of a block are exchanged together. Of smoothed
        noise of equal distribution, 1 to 9 % of trials have p <= 0.05 then, 60 to 90 % where each patch is exchanged
        alone. It does not show that the images are independent samples of a tumour, nor anything about other tumours.

    Returns
    -------
    AndersonDarling
        With `p_permutation`; NaN, with a reason, where the statistic does not exist, or where units are dependent and
        make fewer than 6 blocks.

    Raises
    ------
    AgreementError
        If there are fewer than two samples, a unit is empty, paired samples differ in units, or numbers are not
        finite.
    """
    sizes = tuple(map(len, units))
    _check_units(sizes, paired=paired, permutations=permutations)
    owners = np.repeat(np.arange(len(sizes)), sizes)
    table, counts = _grouped(units)
    together = None if blocks is None or blocks.side == 1 else blocks.labels
    exchanged = sizes if together is None else (int(together.max()) + 1,) * len(sizes)
    result = replace(_tested(table), units=exchanged, permutations=permutations)
    if not result.reason and blocks is not None and together is not None and blocks.effective < _LEAST_EXCHANGED:
        result = replace(result, reason=too_few_blocks(blocks, _LEAST_EXCHANGED), permutations=0)
    if result.reason:
        return result
    observed = float(_statistic(_dealt(owners[None], counts, len(sizes)))[0])
    generator = np.random.default_rng(seed)
    as_far = 0
    at_once = max(1, _NUMBERS_AT_ONCE // (len(sizes) * counts.shape[1]))
    for labels in _exchanges(owners, generator, permutations, at_once, paired=paired, together=together):
        # equal sums may differ in their last digits
        as_far += int(np.sum(_statistic(_dealt(labels, counts, len(sizes))) >= observed * (1 - 1e-9)))
    return replace(result, p_permutation=(1 + as_far) / (1 + permutations))


def _check_units(sizes: tuple[int, ...], *, paired: bool, permutations: int) -> None:
    if len(sizes) < 2 or 0 in sizes:
        msg = f"the samples have {sizes} units; expected two or more samples with a unit each"
        raise AgreementError(msg)
    if paired and len(set(sizes)) > 1:
        msg = f"the samples have {sizes} units; expected as many in each, because they are paired"
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
        reason = "all numbers are the same"
    if reason:
        return AndersonDarling(math.nan, math.nan, "", n, reason=reason)
    excess = float(_statistic(table.counts[None])[0]) - (len(n) - 1)
    statistic = excess / math.sqrt(_variance(n))
    return AndersonDarling(statistic, *_interpolated(statistic, len(n) - 1), n)


def _statistic(counts: NDArray[Any]) -> NDArray[np.float64]:
    """A² of the paper's equation 7 from counts of shape (..., samples, values).

    In shares instead of numbers of pixels, whose squares would be as large as 10^40.
    """
    n = counts.sum(axis=-1, keepdims=True)
    pooled = counts.sum(axis=-2, keepdims=True)
    total = pooled.sum(axis=-1, keepdims=True)
    below = np.cumsum(pooled, axis=-1) - pooled / 2
    pooled_share = pooled / total
    spread = below / total * ((total - below) / total) - pooled_share / 4
    apart = (np.cumsum(counts, axis=-1) - counts / 2) / n - below / total
    terms = (n * pooled_share * apart**2 / spread).sum(axis=(-2, -1))
    return np.asarray(terms * (1 - 1 / total[..., 0, 0]))


def _variance(n: tuple[int, ...]) -> float:
    """Of A² where all have one distribution; the double sum g of the paper's equation 4 in closed form."""
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
    """Counts of each sample over all values, and of each unit over groups of values, shape (units, groups)."""
    each = [[distinct(unit) for unit in own] for own in units]
    if any(not len(own) for sample in each for own, _ in sample):
        msg = "a unit holds no number; expected one or more, leave empty patches out"
        raise AgreementError(msg)
    values = np.unique(np.concatenate([own for sample in each for own, _ in sample]))
    counts = np.zeros((len(each), len(values)), np.int64)
    for row, sample in zip(counts, each, strict=True):
        for own, times in sample:
            row[np.searchsorted(values, own)] += times
    group = _groups(counts.sum(axis=0))
    flat = [(np.searchsorted(values, own), times) for sample in each for own, times in sample]
    grouped = [np.bincount(group[index], times, minlength=group[-1] + 1) for index, times in flat]
    return SharedValues(values, counts), np.stack(grouped)


def _groups(pooled: NDArray[np.int64]) -> NDArray[np.intp]:
    """Group of each value: groups hold about as many numbers each, and a value is never split."""
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
    """Samples that the units are dealt to, shape (permutations, units), some permutations at a time."""
    samples = int(owners[-1]) + 1
    for start in range(0, permutations, at_once):
        rows = min(at_once, permutations - start)
        if not paired:
            yield generator.permuted(np.tile(owners, (rows, 1)), axis=1)
            continue
        places = len(owners) // samples if together is None else int(together.max()) + 1
        dealt = np.broadcast_to(np.arange(samples)[:, None], (rows, samples, places))
        dealt = generator.permuted(dealt, axis=1)
        yield (dealt if together is None else dealt[:, :, together]).reshape(rows, -1)


def _dealt(labels: NDArray[np.intp], counts: NDArray[np.float64], samples: int) -> NDArray[np.float64]:
    """Counts of the samples, shape (permutations, samples, groups); whole numbers, so their order is no matter."""
    return np.stack([(labels == sample).astype(np.float64) @ counts for sample in range(samples)], axis=1)
