"""Moments of pixel pairs: exact sums that are pooled over tiles in any order, for numbers of any size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.core.errors import AgreementError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Exact = int | Fraction


def exact_root(square: Exact) -> float:
    """Square root, also where the square itself is too large or too small for floating point."""
    if square <= 0:
        return 0.0
    number = Fraction(square)
    half = (number.numerator.bit_length() - number.denominator.bit_length()) // 2
    return math.ldexp(math.sqrt(number / Fraction(4) ** half), half)


def as_float(number: Exact) -> float:
    """An exact number as floating point; infinite where it is too large."""
    try:
        return float(number)
    except OverflowError:
        return math.copysign(math.inf, number)


def _whole_numbers(*numbers: tuple[float, int]) -> tuple[list[int], int]:
    """Numbers, each times a power of two, as whole multiples of one common power of two, and its exponent.

    Their sums are as exact as those of fractions. Fractions search for common divisors at each step, which takes
    longer than counting the pixels of a small block.
    """
    ratios = [(number.as_integer_ratio(), exponent) for number, exponent in numbers]
    exponents = [exponent + 1 - denominator.bit_length() for (_, denominator), exponent in ratios]
    smallest = min(exponents)
    return [whole << (power - smallest) for ((whole, _), _), power in zip(ratios, exponents, strict=True)], smallest


def _exact_sum(*terms: tuple[int, int]) -> Fraction:
    """Sum of whole numbers, each times a power of two."""
    smallest = min(0, *(exponent for _, exponent in terms))
    return Fraction(sum(number << (exponent - smallest) for number, exponent in terms), 1 << -smallest)


# a sum of 2^18 products of two 16-bit numbers stays below 2^53, so float64 adds them up without rounding; besides,
# the arrays of a piece fit into the processor's cache
PIECE_PX = 2**18
_TILE_EDGE = 2**9
_LIMB_BITS = 16
# squares of numbers beyond 2^±400 might overflow or underflow
_LARGEST_EXPONENT = 400
# the sum of the squares of any number of smaller pixels fits into floating point
_LARGEST = 1e150
_REAL, _PREDICTED = "real image", "predicted image"


@dataclass(frozen=True)
class AgreementSums:
    """Sums over pixel pairs from which every number of `Agreement` is computed.

    Two records are pooled with ``+``. Their numbers are exact and of any size: 10^10 pixels of 16 bits do not
    overflow.

    Attributes
    ----------
    n : int
        Number of pixels.
    real, predicted : int or Fraction
        Sums of the values.
    real_squared, predicted_squared, product : int or Fraction
        Sums of the squares and of the products.
    squared_error : int or Fraction
        Sum of the squared differences.
    """

    n: int = 0
    real: Exact = 0
    predicted: Exact = 0
    real_squared: Exact = 0
    predicted_squared: Exact = 0
    product: Exact = 0
    squared_error: Exact = 0

    def __add__(self, other: AgreementSums) -> AgreementSums:
        if not self.n:
            return other
        return AgreementSums(
            self.n + other.n,
            self.real + other.real,
            self.predicted + other.predicted,
            self.real_squared + other.real_squared,
            self.predicted_squared + other.predicted_squared,
            self.product + other.product,
            self.squared_error + other.squared_error,
        )


def update(
    sums: AgreementSums, real: NDArray[Any], predicted: NDArray[Any], mask: NDArray[np.bool_] | None = None
) -> AgreementSums:
    """Add the pixels of a tile to the sums."""
    for piece in checked_pieces(real, predicted, mask):
        y, p = map(_as_signed, piece)
        sums += _integer_sums(y, p) if y.dtype.kind == p.dtype.kind == "i" else _float_sums(y, p)
    return sums


def checked_pieces(
    real: NDArray[Any], predicted: NDArray[Any], mask: NDArray[np.bool_] | None
) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Pixels of two images inside a mask, piece by piece, after checks that they can be compared."""
    _check_pair(real, predicted, mask)
    if real.ndim != 2:
        real, predicted = real.reshape(1, -1), predicted.reshape(1, -1)
        mask = None if mask is None else mask.reshape(1, -1)
    for tile in _tiles(*real.shape):
        chosen = None if mask is None or mask[tile].all() else mask[tile]
        if chosen is None or chosen.any():
            yield _chosen(real[tile], chosen, _REAL), _chosen(predicted[tile], chosen, _PREDICTED)


def _tiles(height: int, width: int) -> Iterator[tuple[slice, slice]]:
    """Pieces as square as possible: most are then entirely inside or outside of a mask with large areas."""
    columns = max(_TILE_EDGE, PIECE_PX // max(height, 1))
    rows = PIECE_PX // min(columns, max(width, 1))
    for y in range(0, height, rows):
        for x in range(0, width, columns):
            yield slice(y, y + rows), slice(x, x + columns)


def checked_pair(
    real: NDArray[Any], predicted: NDArray[Any], mask: NDArray[np.bool_] | None
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Pixels of two images inside a mask, after checks that they can be compared."""
    _check_pair(real, predicted, mask)
    return _chosen(real, mask, _REAL), _chosen(predicted, mask, _PREDICTED)


def checked_image(pixels: NDArray[Any], mask: NDArray[np.bool_] | None, name: str = "image") -> NDArray[Any]:
    """Pixels of an image inside a mask, after checks that they can be counted and summed."""
    _check_type(pixels, mask, name)
    return _chosen(pixels, mask, name)


def _check_pair(real: NDArray[Any], predicted: NDArray[Any], mask: NDArray[np.bool_] | None) -> None:
    if real.shape != predicted.shape:
        msg = f"the real image is {_size(real)} and the predicted one {_size(predicted)}; expected one size"
        raise AgreementError(msg)
    _check_type(real, mask, _REAL)
    _check_type(predicted, mask, _PREDICTED)


def _check_type(pixels: NDArray[Any], mask: NDArray[np.bool_] | None, name: str) -> None:
    if pixels.dtype.kind not in "biuf" or pixels.dtype.itemsize > 8:
        msg = f"the {name} has pixels of type {pixels.dtype}; expected integers or floating point"
        raise AgreementError(msg)
    if mask is not None and (mask.shape != pixels.shape or mask.dtype != bool):
        msg = f"the mask is {_size(mask)} of type {mask.dtype}; expected {_size(pixels)} of type bool"
        raise AgreementError(msg)


def _chosen(pixels: NDArray[Any], mask: NDArray[np.bool_] | None, name: str) -> NDArray[Any]:
    chosen = pixels.reshape(-1) if mask is None else pixels[mask]
    if chosen.dtype.kind == "f":
        missing = chosen.size - int(np.count_nonzero(np.isfinite(chosen)))
        if missing:
            msg = (
                f"the {name} has pixels that are not finite (NaN or infinite), {missing:,} of the {chosen.size:,} that "
                "are counted here; leave them out by a mask"
            )
            raise AgreementError(msg)
    return chosen


def _size(pixels: NDArray[Any]) -> str:
    return " x ".join(map(str, pixels.shape)) + " px"


def _as_signed(values: NDArray[Any]) -> NDArray[Any]:
    """Pixels as signed integers; as float64 with 53 bits if some do not fit into 63 bits."""
    if values.dtype.kind == "f":
        return values.astype(np.float64, copy=False)
    if values.dtype == np.uint64 and values.size and int(values.max()) > np.iinfo(np.int64).max:
        return values.astype(np.float64)
    return values.astype(np.int64 if values.dtype.itemsize > 2 else np.int32)


def _integer_sums(y: NDArray[Any], p: NDArray[Any]) -> AgreementSums:
    real, predicted = _limbs(y), _limbs(p)
    real_squared, predicted_squared = _dot(real, real), _dot(predicted, predicted)
    product = _dot(real, predicted)
    return AgreementSums(
        n=y.size,
        real=_sum(real),
        predicted=_sum(predicted),
        real_squared=real_squared,
        predicted_squared=predicted_squared,
        product=product,
        squared_error=real_squared - 2 * product + predicted_squared,
    )


def _limbs(values: NDArray[Any]) -> list[NDArray[np.float64]]:
    """Digits of base 2^16, lowest first; the highest one has the sign. Sums of their products are exact in float64."""
    digits = [values]
    while digits[-1].size and max(int(digits[-1].max()), -int(digits[-1].min())) >= 1 << _LIMB_BITS:
        rest = digits.pop()
        digits += [rest & ((1 << _LIMB_BITS) - 1), rest >> _LIMB_BITS]
    return [digit.astype(np.float64) for digit in digits]


def _sum(digits: list[NDArray[np.float64]]) -> int:
    return sum(int(digit.sum()) << (_LIMB_BITS * i) for i, digit in enumerate(digits))


def _dot(first: list[NDArray[np.float64]], second: list[NDArray[np.float64]]) -> int:
    return sum(int(a @ b) << (_LIMB_BITS * (i + j)) for i, a in enumerate(first) for j, b in enumerate(second))


def _float_sums(y: NDArray[Any], p: NDArray[Any]) -> AgreementSums:
    """Sums of a piece of floating-point pixels, as accurate as if they were added up exactly.

    Sums are taken about the means of the piece, where rounding errors are small, and then moved to zero in exact
    arithmetic. The prediction is split into its regression line over the real pixels and the residuals, because
    the scatter would otherwise be a small difference of large sums.
    """
    n, y, p = y.size, y.astype(np.float64, copy=False), p.astype(np.float64, copy=False)
    for values in (y, p):
        check_not_too_large(float(values.min()), float(values.max()))
    (y, mean_y, unit_y), (p, mean_p, unit_p), (error, mean_error, unit) = map(_deviations, (y, p, y - p))
    yy = _inner(y, y)
    slope = _inner(y, p) / yy if yy else 0.0
    left = p - slope * y
    totals = (float(y.sum()), unit_y), (float(p.sum()), unit_p), (float(error.sum()), unit)
    (a, b, c, sum_y, sum_p, sum_error), e = _whole_numbers((mean_y, 0), (mean_p, 0), (mean_error, 0), *totals)
    squares = (_inner(left, left), 2 * unit_p), (_inner(left, y), unit_p + unit_y), (_inner(error, error), 2 * unit)
    (yy_whole, left_left, left_y, errors), f = _whole_numbers((yy, 2 * unit_y), *squares)
    (s,), g = _whole_numbers((slope, unit_p - unit_y))
    return AgreementSums(
        n=n,
        real=_exact_sum((sum_y + n * a, e)),
        predicted=_exact_sum((sum_p + n * b, e)),
        real_squared=_exact_sum((yy_whole, f), ((2 * sum_y + n * a) * a, 2 * e)),
        predicted_squared=_exact_sum(
            (left_left, f), (2 * s * left_y, f + g), (s * s * yy_whole, f + 2 * g), ((2 * sum_p + n * b) * b, 2 * e)
        ),
        product=_exact_sum((left_y, f), (s * yy_whole, f + g), (a * sum_p + b * sum_y + n * a * b, 2 * e)),
        squared_error=_exact_sum((errors, f), ((2 * sum_error + n * c) * c, 2 * e)),
    )


def _inner(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    # einsum and not @: the last bits of a BLAS product depend on the number of threads
    return float(np.einsum("i,i->", first, second))


def _deviations(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], float, int]:
    """Deviations from the rounded mean, that mean, and the exponent of the power of two by which they were divided.

    The exponent is 0 unless squares would underflow or overflow.
    """
    low, high = float(values.min()), float(values.max())
    # limited to the range of the pixels, so that the deviations of a constant image are exactly zero
    mean = min(max(float(values.mean()), low), high)
    deviations, exponent = values - mean, math.frexp(max(high - mean, mean - low))[1]
    if abs(exponent) <= _LARGEST_EXPONENT:
        return deviations, mean, 0
    return np.ldexp(deviations, -exponent), mean, exponent


def check_not_too_large(low: float, high: float) -> None:
    """Refuse pixels whose squares would overflow."""
    if not max(high, -low) < _LARGEST:
        msg = f"there are pixels of {low:g} to {high:g}, too large for their squares to be summed; expected grey levels"
        raise AgreementError(f"{msg} below {_LARGEST:g}")
