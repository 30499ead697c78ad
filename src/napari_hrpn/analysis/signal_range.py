"""The distances within which parts of a signal lie, for one floor and for all that the floor may be.

The rule: nothing is clipped; a step darker than the floor takes signal off, so noise stays centred on zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

HALF, NINE_TENTHS = 0.5, 0.9
_FLOORS = 5
# a shell of fewer pixels says nothing about the floor
_LEAST_SHARE = 0.01
# where far steps take off more than this beyond 1, the floor is too bright for a part of the rest to say anything
_MOST_INSIDE = 1.25


@dataclass(frozen=True, eq=False)
class Steps:
    """Pixels and signal outside vessels in steps of distance, the last of which is open."""

    pixels: NDArray[np.int64]
    signal: NDArray[Any]  # Sums of their grey levels, nothing taken off
    step_um: float  # Thickness of a step
    pixel_um: float = 0.0  # Side of the pixels that the distances belong to; 0 where they are points

    def above(self, floor: float) -> NDArray[np.float64]:
        """Signal of each step above a floor; below 0 where the step is darker."""
        return np.asarray(self.signal - floor * self.pixels, np.float64)

    def total(self, floor: float) -> float:
        """All signal above a floor; NaN where it is not above 0."""
        total = float(self.signal.sum() - floor * self.pixels.sum())
        return total if total > 0 else math.nan

    def share_beyond(self, distance_um: float, floor: float) -> float:
        """Share of the signal further than a distance; NaN without signal."""
        inside = np.append(0.0, np.cumsum(self.above(floor)[:-1]))
        return float(1 - np.interp(distance_um, np.arange(len(inside)) * self.step_um, inside) / self.total(floor))

    def within_um(self, part: float, floor: float) -> float:
        """Distance within which a part of the signal is; infinite in the open step, NaN where too little is left."""
        total = self.total(floor)
        inside = self._spread(np.append(0.0, np.cumsum(self.above(floor)[:-1])))
        if not inside.max() <= _MOST_INSIDE * total:
            return math.nan
        wanted = part * total
        reached = inside >= wanted
        if not reached.any():
            return math.inf
        after = int(np.argmax(reached))
        return float(np.interp(wanted, inside[after - 1 : after + 1], np.arange(after - 1, after + 1) * self.step_um))

    def darkest(self, steps: int) -> float:
        """Mean of the darkest shell of so many steps, of those that hold a hundredth of the pixels or the most."""
        first = np.arange(0, len(self.pixels), steps)
        pixels, signal = (np.add.reduceat(column, first) for column in (self.pixels, self.signal))
        enough = pixels >= max(1, min(_LEAST_SHARE * pixels.sum(), pixels.max()))
        return float(np.min(signal[enough] / pixels[enough])) if enough.any() else math.nan

    def _spread(self, inside: NDArray[np.float64]) -> NDArray[np.float64]:
        """Signal within each distance, that of a pixel spread over its width and not all at its centre."""
        if not self.pixel_um:
            return inside
        ends, half = np.arange(len(inside)) * self.step_um, self.pixel_um / 2
        area = np.append(0.0, np.cumsum((inside[1:] + inside[:-1]) / 2)) * self.step_um
        further = np.maximum(0, ends + half - ends[-1]) * inside[-1]
        spread = (np.interp(ends + half, ends, area) + further - np.interp(ends - half, ends, area)) / self.pixel_um
        # a pixel may reach into the vessel, but none of its signal does
        spread[0] = 0.0
        return np.asarray(spread)


def range_within_um(steps: Steps, part: float, floors: tuple[float, float]) -> tuple[float, float]:
    """Least and greatest distance within which a part of the signal is, over floors between two."""
    found = [steps.within_um(part, float(floor)) for floor in np.linspace(*floors, _FLOORS)]
    there = [distance for distance in found if not math.isnan(distance)]
    return (min(there), max(there)) if there else (math.nan, math.nan)
