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


def whole_numbers(*numbers: tuple[float, int]) -> tuple[list[int], int]:
    """Numbers, each times a power of two, as multiples of one power of two, and its exponent.

    Sums of these are exact like those of fractions, which look for common divisors each time and so take longer than
    the pixels of a small block.
    """
    ratios = [(number.as_integer_ratio(), exponent) for number, exponent in numbers]
    exponents = [exponent + 1 - below.bit_length() for (_, below), exponent in ratios]
    least = min(exponents)
    return [above << (own - least) for ((above, _), _), own in zip(ratios, exponents, strict=True)], least


def exact_sum(*terms: tuple[int, int]) -> Fraction:
    """Sum of whole numbers, each times two to the power of another."""
    least = min(0, *(exponent for _, exponent in terms))
    return Fraction(sum(number << (exponent - least) for number, exponent in terms), 1 << -least)
