"""Floating point of exact numbers, also where their squares are too large or too small for it."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Exact = int | Fraction


def exact_root(square: Exact) -> float:
    """Square root, also where the square itself is too large or too small for floating point."""
    if square <= 0:
        return 0.0
    number = Fraction(square)
    half = (number.numerator.bit_length() - number.denominator.bit_length()) // 2
    return math.ldexp(math.sqrt(number / Fraction(4) ** half), half)


def as_float(number: Exact) -> float:
    """Floating point of an exact number."""
    try:
        return float(number)
    except OverflowError:
        return math.copysign(math.inf, number)
