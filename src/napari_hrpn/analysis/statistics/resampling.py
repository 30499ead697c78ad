"""Resampling of units with replacement, from sums over each of them."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.analysis.counts.moments import AgreementSums
from napari_hrpn.core.errors import AgreementError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

_DRAWS_AT_ONCE = 2**22


def check_resampling(resamples: int, confidence: float) -> None:
    """Refuse settings of a resampling that make no sense."""
    if resamples < 100 or not 0 < confidence < 1:
        msg = (
            f"the interval has {resamples} resamples and a confidence of {confidence}; expected 100 or more and a "
            "number between 0 and 1"
        )
        raise AgreementError(msg)


def rare_reason(drawn: NDArray[np.float64]) -> str:
    """Why resamples give no interval."""
    if np.isfinite(drawn).all():
        return ""
    return "too few blocks hold any signal: some resamples are constant"


def centred_sums(blocks: Sequence[AgreementSums], total: AgreementSums) -> NDArray[np.float64]:
    """Sums of each block about the means of all, moved there in exact arithmetic: float64 loses nothing then."""
    means = [Fraction(float(Fraction(part, total.n))) for part in (total.real, total.predicted)]
    return np.array([_centred(sums, *means) for sums in blocks])


def _centred(sums: AgreementSums, mean_y: Fraction, mean_p: Fraction) -> tuple[float, ...]:
    """In whole numbers over one denominator, as fractions look for common divisors at each step."""
    numbers = mean_y, mean_p, sums.real, sums.predicted, sums.real_squared, sums.predicted_squared, sums.product
    below = math.lcm(*(number.denominator for number in numbers))
    a, b, y, p, yy, pp, yp = (number.numerator * (below // number.denominator) for number in numbers)
    n, square = sums.n, below * below
    return (
        float(n),
        (y - n * a) / below,
        (p - n * b) / below,
        (yy * below - 2 * a * y + n * a * a) / square,
        (pp * below - 2 * b * p + n * b * b) / square,
        (yp * below - a * p - b * y + n * a * b) / square,
    )


def resampled(
    units: NDArray[np.float64],
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    resamples: int,
    seed: int,
) -> NDArray[Any]:
    """Draw as many units as there are, with replacement, many times."""
    generator = np.random.default_rng(seed)
    return np.concatenate([statistic(draws @ units) for draws in _draws(generator, len(units), resamples)])


def _draws(generator: np.random.Generator, units: int, resamples: int) -> Iterator[NDArray[np.float64]]:
    """How often each unit is drawn, shape (resamples, units), some resamples at a time."""
    at_once = max(1, _DRAWS_AT_ONCE // units)
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        drawn = generator.integers(units, size=(rows, units)) + np.arange(rows)[:, None] * units
        yield np.bincount(drawn.ravel(), minlength=rows * units).reshape(rows, units).astype(np.float64)


def interval_ends(numbers: NDArray[np.float64], units: float, confidence: float) -> tuple[float, float]:
    """Ends of the expanded percentile interval, see `Interval`."""
    from scipy.stats import norm, t

    tail = float(norm.cdf(t.ppf((1 - confidence) / 2, units - 1) * math.sqrt(units / (units - 1))))
    low, high = np.quantile(numbers, [tail, 1 - tail])
    return float(low), float(high)
