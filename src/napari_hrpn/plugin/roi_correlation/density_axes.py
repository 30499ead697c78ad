"""How many pixels have which real and predicted grey level, on axes of matplotlib: for the screen and for a file."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.analysis import RoiMeasurement

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

_COLORMAP = "viridis"
_FIT_COLOUR, _IDENTITY_COLOUR = "#ff7f50", "#9a9a9a"
_REAL_LABEL, _PREDICTED_LABEL = "real, grey levels", "predicted, grey levels"
_ROOM = 1.04
_SHARE_BEYOND = 1 / 2000
_STEADY_DECADES, _STEADY_TIMES = 1.5, 2.0


class DensityAxes:
    """A density with the identity and the fitted line."""

    def __init__(self, axes: Axes, *, is_animated: bool = False) -> None:
        from matplotlib import colormaps

        self.axes = axes
        axes.set_xlabel(_REAL_LABEL, fontsize=9)
        axes.set_ylabel(_PREDICTED_LABEL, fontsize=9)
        axes.tick_params(labelsize=8)
        axes.set_aspect("equal", adjustable="box")
        nothing = np.full((1, 1), np.nan)
        self.image = axes.imshow(
            nothing, origin="lower", cmap=colormaps[_COLORMAP], interpolation="nearest", animated=is_animated
        )
        options: dict[str, Any] = {"linewidth": 1.2, "animated": is_animated}
        (self.identity,) = axes.plot([], [], "--", color=_IDENTITY_COLOUR, label="identity", **options)
        (self.fit,) = axes.plot([], [], "-", color=_FIT_COLOUR, label="fit", **options)
        self.shown: tuple[RoiMeasurement, int] | None = None

    @property
    def artists(self) -> tuple[Artist, ...]:
        """What changes with the region, from the lowest up."""
        return self.image, self.identity, self.fit

    def show(self, measurement: RoiMeasurement, which: int = 0, *, is_steady: bool = False) -> bool:
        """Show a region."""
        before = self.axes.get_xlim(), self.image.get_clim()
        self.shown = measurement, which
        numbers = measurement.numbers[which]
        low, high = measurement.density_range
        with np.errstate(divide="ignore"):
            logarithms = np.log10(numbers.density.T.astype(np.float64))
        logarithms[~np.isfinite(logarithms)] = np.nan
        self.image.set_data(logarithms)
        self.image.set_extent((low, high, low, high))
        most = math.ceil(2 * math.log10(max(numbers.density.max(), 2))) / 2
        ends = low, _seen_range(measurement)
        if is_steady:
            most, ends = self._steady(most, ends)
        self.image.set_clim(0, most)
        self.axes.set_xlim(*ends)
        self.axes.set_ylim(*ends)
        self.identity.set_data(ends, ends)
        line = numbers.line
        has_line = math.isfinite(line.slope)
        self.fit.set_data(ends if has_line else (), [line.intercept + line.slope * x for x in ends] if has_line else ())
        return before != (self.axes.get_xlim(), self.image.get_clim())

    def _steady(self, most: float, ends: tuple[float, float]) -> tuple[float, tuple[float, float]]:
        """Scale of the colours and ends of the axes as they are, where they will do."""
        old_most, (old_low, old_high) = self.image.get_clim()[1], self.axes.get_xlim()
        if old_most is not None and most <= old_most <= most + _STEADY_DECADES:
            most = old_most
        if old_low == ends[0] and ends[1] <= old_high <= old_low + _STEADY_TIMES * (ends[1] - old_low):
            ends = old_low, old_high
        return most, ends

    def clear(self) -> None:
        """Show nothing."""
        self.shown = None
        self.image.set_data(np.full((1, 1), np.nan))
        self.identity.set_data((), ())
        self.fit.set_data((), ())

    def words_at(self, real: float, predicted: float) -> str:
        """What is at a place of the axes."""
        if self.shown is None:
            return ""
        measurement, which = self.shown
        density = measurement.numbers[which].density
        low, high = measurement.density_range
        row, column = (math.floor((value - low) / (high - low) * len(density)) for value in (real, predicted))
        if not (0 <= row < len(density) and 0 <= column < len(density)):
            return ""
        return f"real {real:.4g}, predicted {predicted:.4g}\n{density[row, column]:,} of {measurement.n:,} pixels"


def _seen_range(measurement: RoiMeasurement) -> float:
    """How far the axes reach: to the brightest pixels but a few, in steps, so that they seldom change."""
    low, high = measurement.density_range
    used = [_last_used(numbers.density) for numbers in measurement.numbers]
    cells = len(measurement.numbers[0].density)
    # steps of an eighth of a power of two
    wanted = max(8, *used) * _ROOM
    step = 2.0 ** (math.floor(math.log2(wanted)) - 3)
    return low + min(cells, math.ceil(wanted / step) * step) * (high - low) / cells


def _last_used(density: NDArray[np.int64]) -> int:
    """Cells along a side that hold all but one in 2,000 pixels of either image."""
    total = int(density.sum())
    inside = [np.searchsorted(np.cumsum(density.sum(axis=axis)), (1 - _SHARE_BEYOND) * total) + 1 for axis in (0, 1)]
    return int(max(inside)) if total else 0
