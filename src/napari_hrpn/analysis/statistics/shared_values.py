"""Common values of several images or lists of numbers, over which their distributions are compared.

Only values that occur are kept, so that it costs the same for a region and for a whole slide.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.analysis.counts.intensity_histogram import ValueCounts
from napari_hrpn.core.errors import AgreementError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, eq=False)
class SharedValues:
    """How often each value occurs in each sample."""

    values: NDArray[np.float64]  # Ascending; each occurs in one sample or more
    counts: NDArray[np.int64]

    @property
    def n(self) -> NDArray[np.int64]:
        """Size of each sample."""
        return np.asarray(self.counts.sum(axis=1))

    @property
    def cumulative_shares(self) -> NDArray[np.float64]:
        """Empirical distribution functions at the values, shape (samples, values); none of a sample may be empty."""
        return np.cumsum(self.counts, axis=1) / self.n[:, None]


def shared_values(samples: Sequence[ValueCounts | ArrayLike]) -> SharedValues:
    """Count samples over the values of all."""
    each = [distinct(sample) for sample in samples]
    values = np.unique(np.concatenate([own for own, _ in each]))
    counts = np.zeros((len(each), len(values)), np.int64)
    for row, (own, times) in zip(counts, each, strict=True):
        row[np.searchsorted(values, own)] = times
    return SharedValues(values, counts)


def distinct(sample: ValueCounts | ArrayLike) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Values that occur in a sample, and how often."""
    if isinstance(sample, ValueCounts):
        there = np.flatnonzero(sample.counts)
        return sample.values[there], sample.counts[there]
    numbers = np.asarray(sample, np.float64)
    if numbers.ndim != 1 or not np.isfinite(numbers).all():
        msg = f"a sample has the shape {numbers.shape} or is not finite throughout; expected finite numbers in a row"
        raise AgreementError(msg)
    return np.unique(numbers, return_counts=True)
