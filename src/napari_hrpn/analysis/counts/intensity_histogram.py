"""Intensity histogram of an image, from which statistics of its grey levels are computed.

Integer pixels of up to 16 bits are counted exactly; wider integers and floating point are rounded to bins.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.analysis.counts.moments import PIECE_PX, check_not_too_large, checked_image
from napari_hrpn.core.errors import AgreementError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

_MOST_BINS = 2**16
# floating point does not represent every whole number above this
MOST_WHOLE = 2.0**53


@dataclass(frozen=True)
class ValueBins:
    """Bins of a histogram: equally spaced grey levels."""

    number: int
    low: float = 0
    step: float = 1  # from one grey level to the next
    # whether pixels are rounded to the nearest grey level; False if each pixel has one of them exactly
    binned: bool = False

    @property
    def levels(self) -> NDArray[np.float64]:
        """The grey levels."""
        levels: NDArray[np.float64] = self.low + np.arange(self.number) * np.float64(self.step)
        return levels

    def index(self, pixels: NDArray[Any]) -> NDArray[np.intp]:
        """Bin of each pixel."""
        if pixels.dtype.kind == "f" or self.step != 1:
            index = pixels.astype(np.float64)
            index -= self.low
            index /= self.step
            index = np.rint(index, out=index)
        elif pixels.dtype == np.uint64:
            # these may not fit into a signed number; a pixel below the bins wraps around and lands beyond the last bin
            index = np.minimum(pixels - np.uint64(max(self.low, 0)), np.uint64(self.number)).astype(np.intp)
        else:
            index = pixels.astype(np.intp)
            index -= int(self.low)
        if self.binned and pixels.size and (index.min() < 0 or index.max() >= self.number):
            high = self.low + (self.number - 1) * self.step
            msg = (
                f"a pixel has the value {_furthest(pixels, self.low, high):g}; expected {self.low:g} to {high:g}: "
                "count with the range of all pixels"
            )
            raise AgreementError(msg)
        return index.astype(np.intp, copy=False)


@dataclass(frozen=True, eq=False)
class ValueCounts:
    """Intensity histogram: the number of pixels of each grey level.

    Two histograms with the same bins are pooled with ``+``.

    Attributes
    ----------
    counts : numpy.ndarray of int64, shape (bins,)
        Pixels in each bin.
    low : float
        Grey level of the first bin.
    step : float
        Grey levels from one bin to the next: bin k holds ``low + k * step``.
    binned : bool
        Whether pixels were rounded to the nearest bin; False where the counts are exact.
    """

    counts: NDArray[np.int64]
    low: float = 0
    step: float = 1
    binned: bool = False

    def __add__(self, other: ValueCounts) -> ValueCounts:
        if self.bins != other.bins:
            msg = f"two counts have different bins, {self.bins} and {other.bins}; count both with the same ones"
            raise AgreementError(msg)
        return ValueCounts(self.counts + other.counts, self.low, self.step, self.binned)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ValueCounts):
            return NotImplemented
        return self.bins == other.bins and np.array_equal(self.counts, other.counts)

    __hash__ = None  # type: ignore[assignment]

    @property
    def bins(self) -> ValueBins:
        """Bins of the histogram."""
        return ValueBins(len(self.counts), self.low, self.step, self.binned)

    @property
    def n(self) -> int:
        """Number of pixels."""
        return int(self.counts.sum())

    @property
    def values(self) -> NDArray[np.float64]:
        """Grey level of each bin."""
        return self.bins.levels

    @property
    def cumulative(self) -> NDArray[np.int64]:
        """Pixels in each bin and those below."""
        return np.cumsum(self.counts)

    @property
    def total(self) -> float:
        """Sum of the grey levels, exact for integers below 2^53."""
        index = np.arange(len(self.counts))
        return self.n * self.low + int(self.counts @ index) * self.step

    @property
    def mean(self) -> float:
        """Mean grey level; NaN without pixels."""
        return self.total / self.n if self.n else math.nan

    @property
    def total_squared(self) -> float:
        """Sum of the squared grey levels; exact for up to 10^13 integer pixels of 16 bits."""
        index = np.arange(len(self.counts))
        squares = index * index
        # summed in two halves of 16 bits, because the whole sum might not fit into 64 bits
        high, low = (int(self.counts @ half) for half in (squares >> 16, squares & 0xFFFF))
        cross = 2 * self.low * self.step * int(self.counts @ index)
        return self.n * self.low**2 + cross + self.step**2 * ((high << 16) + low)

    def percentile(self, q: ArrayLike, *, interpolated: bool = False) -> NDArray[np.float64]:
        """Percentiles, equal to those of `numpy.percentile` for the same pixels.

        Parameters
        ----------
        q : float or array_like
            0 to 100.
        interpolated : bool
            Whether a percentile between two pixels is interpolated (numpy's ``method="linear"``). Otherwise it is the
            brighter of the two (``method="inverted_cdf"``), so always the value of a pixel.

        Returns
        -------
        numpy.ndarray of float64
            Percentiles in the shape of `q`; NaN without pixels.

        Raises
        ------
        AgreementError
            If a percentage is not 0 to 100.
        """
        share = np.asarray(q, np.float64) / 100
        if not np.all((share >= 0) & (share <= 1)):
            msg = f"the percentiles are {q!r}; expected numbers from 0 to 100"
            raise AgreementError(msg)
        if not self.n:
            return share * math.nan
        if not interpolated:
            return self._of_rank(np.maximum(np.ceil(self.n * share - 1), 0))
        rank = (self.n - 1) * share
        below, above = self._of_rank(np.floor(rank)), self._of_rank(np.ceil(rank))
        part = rank - np.floor(rank)
        # interpolated from the nearer end, as numpy does, so that both agree to the last bit
        return np.where(part < 0.5, below + (above - below) * part, above - (above - below) * (1 - part))

    def _of_rank(self, rank: NDArray[np.float64]) -> NDArray[np.float64]:
        """Grey levels of the pixels of given ranks; the darkest pixel has rank 0."""
        return self.values[np.searchsorted(self.cumulative, rank, side="right")]

    def at_least(self, value: float) -> int:
        """Number of pixels of a grey level or brighter.

        Parameters
        ----------
        value : float
            The grey level; it need not be that of a bin.

        Returns
        -------
        int
            Pixels in the bins at or above it.
        """
        return int(self.counts[np.searchsorted(self.values, value) :].sum())


def bins_of_types(*dtypes: np.dtype) -> ValueBins | None:
    """Bins for every value of integer pixel types of up to 16 bits; None for other types."""
    if any(dtype.kind not in "biu" or dtype.itemsize > 2 for dtype in dtypes):
        return None
    ends = [(0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max) for dtype in dtypes]
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    return ValueBins(int(high - low) + 1, int(low))


def bins_between(low: float, high: float, *, whole: bool) -> ValueBins:
    """Bins between a smallest and a largest pixel: at most 65,536, so that memory stays constant."""
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        msg = f"the range of the pixels is {low} to {high}; expected two finite numbers, the smaller one first"
        raise AgreementError(msg)
    check_not_too_large(low, high)
    if whole and high - low < _MOST_BINS:
        return ValueBins(int(high - low) + 1, int(low), 1, binned=True)
    if low == high:
        return ValueBins(1, float(low), 1.0, binned=True)
    # the step is a power of two and bins are multiples of it, so that whole grey levels, such as thresholds, are bins;
    # 2^-1074 is the smallest number that floating point represents
    step = 2.0 ** max(math.ceil(math.log2(float(high) - float(low)) - math.log2(_MOST_BINS - 2)), -1074)
    first = math.floor(low / step) * step
    return ValueBins(math.ceil((high - first) / step) + 1, first, step, binned=True)


def value_counts(
    pixels: NDArray[Any], mask: NDArray[np.bool_] | None = None, bins: ValueBins | None = None
) -> ValueCounts:
    """Count the grey levels of an image or a tile.

    Parameters
    ----------
    pixels : numpy.ndarray
        Integer or floating point.
    mask : numpy.ndarray of bool, optional
        Mask of the same shape; pixels where it is False are left out.
    bins : ValueBins, optional
        Bins, the same for all tiles of a slide. By default one for every value of an integer type of up to 16 bits,
        and up to 65,536 between the smallest and the largest pixel for other types.

    Returns
    -------
    ValueCounts
        Histogram; pooled over tiles it does not depend on how an image is cut.

    Raises
    ------
    AgreementError
        If pixels are neither integer nor floating point, not finite, or outside the bins.

    Examples
    --------
    >>> import numpy as np
    >>> counts = value_counts(np.array([0, 3, 3, 200], np.uint8))
    >>> counts.n, counts.mean, float(counts.percentile(50))
    (4, 51.5, 3.0)
    """
    chosen = checked_image(np.asarray(pixels), mask)
    bins = bins or bins_of_types(chosen.dtype) or _bins_of_pixels(chosen)
    counts = np.zeros(bins.number, np.int64)
    for start in range(0, chosen.size, PIECE_PX):
        counts += np.bincount(bins.index(chosen[start : start + PIECE_PX]), minlength=bins.number)
    return ValueCounts(counts, bins.low, bins.step, bins.binned)


def _bins_of_pixels(pixels: NDArray[Any]) -> ValueBins:
    if not pixels.size:
        return bins_between(0, 0, whole=True)
    return bins_between(pixels.min().item(), pixels.max().item(), whole=pixels.dtype.kind != "f")


def _furthest(pixels: NDArray[Any], low: float, high: float) -> float:
    smallest, largest = float(pixels.min()), float(pixels.max())
    return smallest if low - smallest > largest - high else largest


@dataclass(frozen=True, eq=False)
class SharedValues:
    """Number of times that each value occurs in each of several samples."""

    values: NDArray[np.float64]  # ascending; each occurs in one sample or more
    counts: NDArray[np.int64]

    @property
    def n(self) -> NDArray[np.int64]:
        """Size of each sample."""
        return np.asarray(self.counts.sum(axis=1))

    @property
    def cumulative_shares(self) -> NDArray[np.float64]:
        """Empirical distribution functions at the values, shape (samples, values); no sample may be empty."""
        return np.cumsum(self.counts, axis=1) / self.n[:, None]


def shared_values(samples: Sequence[ValueCounts | ArrayLike]) -> SharedValues:
    """Count several samples over all values that occur in any of them."""
    counted = [distinct(sample) for sample in samples]
    values = np.unique(np.concatenate([distinct_values for distinct_values, _ in counted]))
    counts = np.zeros((len(counted), len(values)), np.int64)
    for row, (distinct_values, times) in zip(counts, counted, strict=True):
        row[np.searchsorted(values, distinct_values)] = times
    return SharedValues(values, counts)


def distinct(sample: ValueCounts | ArrayLike) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Values that occur in a sample, and their numbers."""
    if isinstance(sample, ValueCounts):
        occupied = np.flatnonzero(sample.counts)
        return sample.values[occupied], sample.counts[occupied]
    numbers = np.asarray(sample, np.float64)
    if numbers.ndim != 1 or not np.isfinite(numbers).all():
        msg = f"a sample has the shape {numbers.shape} or is not finite throughout; expected finite numbers in a row"
        raise AgreementError(msg)
    return np.unique(numbers, return_counts=True)
