"""Sampling grid of the phantom in µm, common to the whole slide.

The rule: sample i of step n pixels lies at the centre of pixels i*n to i*n + n - 1, wherever the window starts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from napari_hrpn.phantom.points import Bounds


@dataclass(frozen=True)
class SampleGrid:
    """Rows y0 to y1 and columns x0 to x1 (high ends excluded) of samples `step_um` apart."""

    # Indices of the samples; negative ones lie outside the slide and are as good as others
    y0: int
    y1: int
    x0: int
    x1: int
    step_um: float

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.y1 - self.y0, self.x1 - self.x0

    @cached_property
    def y_um(self) -> np.ndarray:
        """Coordinates of the rows."""
        return (np.arange(self.y0, self.y1) + 0.5) * self.step_um

    @cached_property
    def x_um(self) -> np.ndarray:
        """Coordinates of the columns."""
        return (np.arange(self.x0, self.x1) + 0.5) * self.step_um

    @property
    def bounds(self) -> Bounds:
        """The rectangle that the samples cover."""
        y0, y1, x0, x1 = (edge * self.step_um for edge in (self.y0, self.y1, self.x0, self.x1))
        return Bounds(y0, x0, y1, x1)

    def grown(self, margin: int) -> SampleGrid:
        """Return the window with a margin of samples on each side."""
        return SampleGrid(self.y0 - margin, self.y1 + margin, self.x0 - margin, self.x1 + margin, self.step_um)

    def around(self, y_um: float, x_um: float, reach_um: float) -> tuple[slice, slice]:
        """Return the rows and columns of the window within a square around a point."""
        return (
            _slice(y_um - reach_um, y_um + reach_um, self.step_um, self.y0, self.y1),
            _slice(x_um - reach_um, x_um + reach_um, self.step_um, self.x0, self.x1),
        )


def _slice(low_um: float, high_um: float, step_um: float, first: int, end: int) -> slice:
    start = min(max(int(np.floor(low_um / step_um)), first), end)
    stop = min(max(int(np.ceil(high_um / step_um)), start), end)
    return slice(start - first, stop - first)


def enlarge(values: np.ndarray, factor: int) -> np.ndarray:
    """Return a smooth enlargement (Catmull-Rom), without the outer two samples of each side."""
    once = _enlarge_rows(values.astype(np.float32), factor)
    return np.ascontiguousarray(_enlarge_rows(np.ascontiguousarray(once.T), factor).T)


def _enlarge_rows(values: np.ndarray, factor: int) -> np.ndarray:
    kept = len(values) - 4
    out = np.empty((kept, factor, values.shape[1]), np.float32)
    for phase in range(factor):
        offset = (phase + 0.5) / factor - 0.5
        start, t = (1, offset + 1) if offset < 0 else (2, offset)
        weights = np.array(
            [
                (-t + 2 * t**2 - t**3) / 2,
                (2 - 5 * t**2 + 3 * t**3) / 2,
                (t + 4 * t**2 - 3 * t**3) / 2,
                (-(t**2) + t**3) / 2,
            ],
            np.float32,
        )
        taps = [values[start - 1 + tap : start - 1 + tap + kept] for tap in range(4)]
        out[:, phase] = sum(weight * tap for weight, tap in zip(weights, taps, strict=True))
    return out.reshape(kept * factor, -1)
