"""Joint histogram of a real and a predicted image, from which statistics of pixel pairs are computed.

Each pixel is counted once. For integer pixels the record does not depend on how an image is cut into tiles.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.analysis.counts.intensity_histogram import ValueBins, ValueCounts, bins_between, bins_of_types
from napari_hrpn.analysis.counts.moments import AgreementSums, checked_pair, checked_pieces, update
from napari_hrpn.analysis.windows import pooled
from napari_hrpn.core.errors import AgreementError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from napari_hrpn.analysis.windows import WindowSums

    Exact = int | Fraction
    Pixels = NDArray[Any]
    Pair = tuple[Pixels, Pixels]

DENSITY_CELLS = 256


@dataclass(frozen=True)
class PairBins:
    """Bins for pixel pairs, the same for all tiles of a slide.

    Attributes
    ----------
    values : ValueBins
        Bins for the real pixel, the predicted pixel and the smaller of both.
    density_range : tuple of float or None
        Grey levels at the lower edge of the first and the upper edge of the last of the 256 cells along each axis of
        the density; None for no density.
    """

    values: ValueBins
    density_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.density_range is None:
            return
        low, high = self.density_range
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            msg = f"the range of the density is {low} to {high}; expected two finite numbers, the smaller one first"
            raise AgreementError(msg)

    def cells(self) -> NDArray[np.uint16]:
        """Row or column of the density for each grey level; levels beyond its range get the outermost cells."""
        assert self.density_range is not None
        low, high = self.density_range
        cells = np.floor((self.values.levels - low) / (high - low) * DENSITY_CELLS)
        return np.clip(cells, 0, DENSITY_CELLS - 1).astype(np.uint16)


@dataclass(frozen=True, eq=False)
class PairCounts:
    """Counts and sums of pixel pairs; two records with the same bins are pooled with ``+``.

    Attributes
    ----------
    real, predicted : ValueCounts
        Pixels of each grey level.
    smaller : ValueCounts
        Pixels by the smaller of their two grey levels: a pixel at a threshold or above is so in both images.
    sums : AgreementSums
        Sums over the pixels: exact for integers of any width and, unlike the counts, not binned for floating point.
    both_zero : int
        Pixels that are zero in both.
    real_where_predicted, predicted_where_real : int or Fraction
        Sum of one image, as in `signal`, over the pixels where the other is above zero.
    density : numpy.ndarray of int64, shape (256, 256), or None
        Pixels by real (row) and predicted (column) grey level, for a plot.
    density_range : tuple of float or None
        Grey levels that the density spans; pixels beyond are counted in its outermost rows and columns.
    signal : AgreementSums
        As `sums`, with grey levels below zero counted as zero, because a signal cannot be negative.
    negative : int
        Number of grey levels below zero, in both images together.
    windows : mapping of str to WindowSums
        Sums of values that need the neighbours of a pixel, by the name of their window.
    """

    real: ValueCounts
    predicted: ValueCounts
    smaller: ValueCounts
    sums: AgreementSums
    both_zero: int
    real_where_predicted: Exact
    predicted_where_real: Exact
    density: NDArray[np.int64] | None = field(default=None, repr=False)
    density_range: tuple[float, float] | None = None
    signal: AgreementSums = field(default_factory=AgreementSums)
    negative: int = 0
    windows: Mapping[str, WindowSums] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """Number of pixels."""
        return self.sums.n

    @property
    def bins(self) -> PairBins:
        """Bins of the record."""
        return PairBins(self.real.bins, self.density_range)

    def __add__(self, other: PairCounts) -> PairCounts:
        if self.density_range != other.density_range:
            msg = (
                f"two densities span {self.density_range} and {other.density_range}; expected one range, so count both "
                "with the same bins"
            )
            raise AgreementError(msg)
        return PairCounts(
            self.real + other.real,
            self.predicted + other.predicted,
            self.smaller + other.smaller,
            self.sums + other.sums,
            self.both_zero + other.both_zero,
            self.real_where_predicted + other.real_where_predicted,
            self.predicted_where_real + other.predicted_where_real,
            None if self.density is None or other.density is None else self.density + other.density,
            self.density_range,
            self.signal + other.signal,
            self.negative + other.negative,
            pooled(self.windows, other.windows),
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PairCounts):
            return NotImplemented
        return self._numbers() == other._numbers() and np.array_equal(_or_empty(self.density), _or_empty(other.density))

    __hash__ = None  # type: ignore[assignment]

    def _numbers(self) -> tuple[object, ...]:
        counts = self.real, self.predicted, self.smaller, self.sums, self.signal, self.negative
        where = self.real_where_predicted, self.predicted_where_real
        return *counts, self.both_zero, *where, self.density_range, self.windows


def pair_counts(
    real: Pixels,
    predicted: Pixels,
    mask: NDArray[np.bool_] | None = None,
    bins: PairBins | None = None,
) -> PairCounts:
    """Count the pixel pairs of two images or of a tile of them.

    Parameters
    ----------
    real, predicted : numpy.ndarray
        Pixels of one shape, integer or floating point.
    mask : numpy.ndarray of bool, optional
        Mask of the same shape; pixels where it is False are left out.
    bins : PairBins, optional
        Bins, the same for all tiles of a slide. By default one for every value of integers of up to 16 bits, up to
        65,536 between the smallest and the largest pixel for other types, and no density.

    Returns
    -------
    PairCounts
        Record of this tile; those of several tiles are pooled with ``+``.

    Raises
    ------
    AgreementError
        If the shapes differ, or pixels are neither integer nor floating point, not finite, or outside the bins.

    Examples
    --------
    >>> import numpy as np
    >>> pairs = pair_counts(np.array([0, 0, 3], np.uint8), np.array([0, 1, 2], np.uint8))
    >>> pairs.n, pairs.both_zero, pairs.sums.product, pairs.smaller.at_least(2)
    (3, 1, 6, 1)
    """
    y, p = np.asarray(real), np.asarray(predicted)
    every = bins_of_types(y.dtype, p.dtype)
    if bins is None and every is None:
        (y, p), mask = checked_pair(y, p, mask), None
    bins = bins or PairBins(every or _common_bins(y, p))
    pieces = checked_pieces(y, p, mask)
    if bins.values != every or every.low < 0:
        return _by_index(pieces, bins)
    return (_by_joint_counts if y.dtype.itemsize == p.dtype.itemsize == 1 else _by_three_counts)(pieces, bins)


def _common_bins(y: Pixels, p: Pixels) -> ValueBins:
    if not y.size:
        return bins_between(0, 0, whole=True)
    low, high = min(y.min().item(), p.min().item()), max(y.max().item(), p.max().item())
    return bins_between(low, high, whole="f" not in y.dtype.kind + p.dtype.kind)


def _by_joint_counts(pieces: Iterator[Pair], bins: PairBins) -> PairCounts:
    """Count 8-bit pixels: one histogram of all 65,536 possible pairs holds all other counts."""
    found = np.zeros(DENSITY_CELLS * DENSITY_CELLS, np.int64)
    for a, b in pieces:
        pair = a.astype(np.uint16)
        pair <<= 8
        pair |= b
        found += np.bincount(pair, minlength=found.size)
    # booleans have only the values 0 and 1
    number = bins.values.number
    joint = found.reshape(DENSITY_CELLS, DENSITY_CELLS)[:number, :number]
    level = np.arange(number)
    smaller = joint.sum(axis=1) + joint.sum(axis=0)
    larger = np.bincount(np.maximum.outer(level, level).ravel(), joint.ravel(), number).astype(np.int64)
    return _record(
        (joint.sum(axis=1), joint.sum(axis=0), smaller - larger),
        bins,
        product=int(level @ joint @ level),
        both_zero=int(joint[0, 0]),
        real_alone=int(level @ joint[:, 0]),
        predicted_alone=int(joint[0] @ level),
        density=_folded(joint, bins),
    )


def _folded(joint: NDArray[np.int64], bins: PairBins) -> NDArray[np.int64] | None:
    if bins.density_range is None:
        return None
    cells = bins.cells()
    density = np.zeros((DENSITY_CELLS, DENSITY_CELLS), np.int64)
    np.add.at(density, np.ix_(cells, cells), joint)
    return density


def _by_three_counts(pieces: Iterator[Pair], bins: PairBins) -> PairCounts:
    """Count 16-bit pixels: 4 billion possible pairs do not fit into memory, so three histograms and sums are kept."""
    counts = np.zeros((3, bins.values.number), np.int64)
    product = both_zero = real_alone = predicted_alone = 0
    density = _Density(bins)
    for a, b in pieces:
        index_a, index_b = a.astype(np.intp), b.astype(np.intp)
        for row, values in zip(counts, (index_a, index_b, np.minimum(index_a, index_b)), strict=True):
            found = np.bincount(values)
            row[: found.size] += found
        # a piece is small enough that float64 sums are exact
        wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
        product += int(wide_a @ wide_b)
        no_a, no_b = a == 0, b == 0
        if no_b.any():
            real_alone += int(wide_a @ no_b)
            both_zero += int(np.count_nonzero(no_a & no_b))
        if no_a.any():
            predicted_alone += int(wide_b @ no_a)
        density.add(index_a, index_b)
    return _record(
        tuple(counts),
        bins,
        product=product,
        both_zero=both_zero,
        real_alone=real_alone,
        predicted_alone=predicted_alone,
        density=density.counts,
    )


class _Density:
    """Pixels by both grey levels, in the coarse cells of a plot."""

    def __init__(self, bins: PairBins) -> None:
        if bins.density_range is None:
            self.counts: NDArray[np.int64] | None = None
            return
        self.counts = np.zeros((DENSITY_CELLS, DENSITY_CELLS), np.int64)
        self._columns = bins.cells()
        self._rows = self._columns << 8

    def add(self, a: NDArray[np.intp], b: NDArray[np.intp]) -> None:
        if self.counts is not None:
            cell = self._rows.take(a)
            cell |= self._columns.take(b)
            self.counts += np.bincount(cell, minlength=self.counts.size).reshape(self.counts.shape)


def _record(
    counts: tuple[NDArray[np.int64], ...],
    bins: PairBins,
    *,
    product: int,
    both_zero: int,
    real_alone: int,
    predicted_alone: int,
    density: NDArray[np.int64] | None,
) -> PairCounts:
    real, predicted, smaller = (ValueCounts(row, bins.values.low, bins.values.step) for row in counts)
    real_squared, predicted_squared = int(real.total_squared), int(predicted.total_squared)
    sums = AgreementSums(
        n=real.n,
        real=int(real.total),
        predicted=int(predicted.total),
        real_squared=real_squared,
        predicted_squared=predicted_squared,
        product=product,
        squared_error=real_squared - 2 * product + predicted_squared,
    )
    above = int(real.total) - real_alone, int(predicted.total) - predicted_alone
    return PairCounts(real, predicted, smaller, sums, both_zero, *above, density, bins.density_range, sums)


def _by_index(pieces: Iterator[Pair], bins: PairBins) -> PairCounts:
    """Count pixels of all other types by bins; sums are taken of the pixels themselves, which bins would round."""
    values = bins.values
    counts = np.zeros((3, values.number), np.int64)
    sums, signal, negative, both_zero = AgreementSums(), AgreementSums(), 0, 0
    real_alone, predicted_alone = Fraction(0), Fraction(0)
    density = _Density(bins)
    for a, b in pieces:
        index_a, index_b = values.index(a), values.index(b)
        for row, index in zip(counts, (index_a, index_b, np.minimum(index_a, index_b)), strict=True):
            row += np.bincount(index, minlength=values.number)
        piece_sums = update(AgreementSums(), a, b)
        below = sum(int(np.count_nonzero(pixels < 0)) for pixels in (a, b))
        y, p = (np.maximum(pixels, 0) if below else pixels for pixels in (a, b))
        sums, negative = sums + piece_sums, negative + below
        signal += update(AgreementSums(), y, p) if below else piece_sums
        real_alone += _sum_where(y, b <= 0)
        predicted_alone += _sum_where(p, a <= 0)
        both_zero += int(np.count_nonzero((a == 0) & (b == 0)))
        density.add(index_a, index_b)
    real, predicted, smaller = (ValueCounts(row, values.low, values.step, values.binned) for row in counts)
    above = signal.real - real_alone, signal.predicted - predicted_alone
    return PairCounts(
        real, predicted, smaller, sums, both_zero, *above, density.counts, bins.density_range, signal, negative
    )


def _sum_where(values: Pixels, mask: NDArray[np.bool_]) -> Exact:
    chosen = values[mask]
    return update(AgreementSums(), chosen, chosen).real if chosen.size else 0


def _or_empty(density: NDArray[np.int64] | None) -> NDArray[np.int64]:
    return np.empty(0, np.int64) if density is None else density
