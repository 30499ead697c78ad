"""Numbers as people read them, the same on pages and in panels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MISSING = "–"
_ROUNDING = 1e-12


def number(value: float | None, digits: int = 3) -> str:
    """Write a number for people, the same on pages and in panels.

    Parameters
    ----------
    value : float or None
        None, and what is not finite, is a dash.
    digits : int
        Digits after the point of a number below 10; others have as many digits in all, and one more.

    Returns
    -------
    str
        The number.
    """
    if value is None or not math.isfinite(value):
        return MISSING
    if isinstance(value, int):
        return f"{value:,}"
    size = abs(value)
    if size < _ROUNDING:
        return "0"
    if size >= 1000:
        return f"{value:,.0f}"
    if size and size < 10.0**-digits:
        return f"{value:.{digits - 1}g}"
    return f"{value:.{digits if size < 10 else max(0, digits - len(str(int(size))) + 1)}f}".replace("-0.000", "0.000")


def interval(low: float | None, high: float | None) -> str:
    """The ends of an interval; nothing where there is none."""
    return "" if low is None else f"{number(low)} to {number(high)}"


def with_interval(value: float | None, low: float | None, high: float | None) -> str:
    """A number with its interval in brackets, where it has one."""
    return number(value) + ("" if low is None else f" ({interval(low, high)})")


def mean_and_sd(mean: float, sd: float, write: Callable[[float], str] = number) -> str:
    """The spread with two digits, and the mean to the same place; a mean alone is written by `write`."""
    if math.isnan(sd) or sd == 0:
        return write(mean) if math.isnan(sd) else f"{write(mean)} ± 0"
    places = max(0, 1 - math.floor(math.log10(sd)))
    return f"{mean:,.{places}f} ± {sd:,.{places}f}"
