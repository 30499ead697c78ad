"""Counter of how often the intervals of a prediction hold, by grey level, and of errors by standard deviation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.analysis.scan.block_scan import BlockCounter
from napari_hrpn.analysis.windows.gaussian import LEVELS, absolute_error, half_width

if TYPE_CHECKING:
    import dask.array as da
    from numpy.typing import NDArray

    from napari_hrpn.analysis.counts.intensity_histogram import ValueBins
    from napari_hrpn.analysis.scan.block_scan import Inside, PixelBlock
    from napari_hrpn.slides import FinishedTiles

_PER_OCTAVE, _OCTAVES = 2, 40
"""Bins of standard deviations, from 2^-40 to 2^40 grey levels; the first bin has those of zero, too."""
RATIOS = 2.0 ** (np.arange(-8 * 16, 12 * 16 + 1) / 16)
"""Upper ends of the bins of errors in units of the standard deviation; there is one more bin, beyond the last end."""


@dataclass(frozen=True, eq=False)
class UncertaintyCounts:
    """Counts of the pixels of a region, pooled with ``+``."""

    # shape (2, 1 + intervals, bins of the grey level), by the real level and by the predicted one: pixels, and those
    # that each interval covers
    by_level: NDArray[np.int64]
    # shape (3, bins of the standard deviation): pixels, squared errors, squared standard deviations
    by_sd: NDArray[np.float64]
    by_ratio: NDArray[np.int64]  # pixels by their error in units of the standard deviation

    def __add__(self, other: UncertaintyCounts) -> UncertaintyCounts:
        ratios = self.by_ratio + other.by_ratio
        return UncertaintyCounts(self.by_level + other.by_level, self.by_sd + other.by_sd, ratios)


class UncertaintyCounter(BlockCounter["UncertaintyCounts | None"]):
    """Counter of the pixels of a region, or of the whole frame."""

    def __init__(
        self,
        channels: tuple[da.Array, da.Array],
        sd: da.Array,
        bins: ValueBins,
        region: Inside | None,
        finished: FinishedTiles | None,
    ) -> None:
        self._channels, self._sd, self.bins = channels, sd, bins
        self._region, self._finished = region, finished
        self.counts = UncertaintyCounts(
            np.zeros((2, 1 + len(LEVELS), bins.number), np.int64),
            np.zeros((3, 2 * _OCTAVES * _PER_OCTAVE)),
            np.zeros(len(RATIOS) + 1, np.int64),
        )

    def count(self, block: PixelBlock) -> UncertaintyCounts | None:
        """Counts of a block; None if no pixel of it is inside."""
        inside = block.inside(self._region) & block.inside(self._finished)
        if not inside.any():
            return None
        real, predicted, sd = (block.pixels(channel)[inside] for channel in (*self._channels, self._sd))
        error, sd = absolute_error(real, predicted), sd.astype(np.float64)
        masks = [error <= half_width(nominal) * sd for nominal in LEVELS]
        levels = [self.bins.index(image) for image in (real, predicted)]
        by_level = [[level, *(level[mask] for mask in masks)] for level in levels]
        group = _bin_of(sd)
        return UncertaintyCounts(
            np.array([[np.bincount(level, minlength=self.bins.number) for level in parts] for parts in by_level]),
            np.array(
                [
                    np.bincount(group, weights, minlength=self.counts.by_sd.shape[1])
                    for weights in (None, error**2, sd**2)
                ],
                np.float64,
            ),
            np.bincount(np.searchsorted(RATIOS, _ratio(error, sd)), minlength=len(RATIOS) + 1),
        )

    def add(self, result: UncertaintyCounts | None) -> None:
        """Pool the counts."""
        if result is not None:
            self.counts += result


def _ratio(error: NDArray[np.float64], sd: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(error, sd, out=np.where(error > 0, np.inf, 0.0), where=sd > 0)


def _bin_of(sd: NDArray[np.float64]) -> NDArray[np.intp]:
    """Bin of each standard deviation; a bin is half an octave wide."""
    octaves = np.log2(np.maximum(sd, 2.0**-_OCTAVES)) + _OCTAVES
    bins: NDArray[np.intp] = np.minimum(_PER_OCTAVE * octaves, 2 * _OCTAVES * _PER_OCTAVE - 1).astype(np.intp)
    return bins
