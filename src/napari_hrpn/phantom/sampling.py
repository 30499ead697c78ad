"""Random numbers, fields and points of the phantom, keyed by seed, purpose and position.

Results do not depend on the order or the size of requests: whether a point exists depends only on its own lattice cell
and on points nearer than the minimum distance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

import numpy as np
from scipy.spatial import cKDTree

# added to rows and columns, since spawn keys must not be negative
_ORIGIN = 2**31
_LATTICE_UM = 128.0
_MARKS = 8
_FULLEST = 0.9


class Purpose(IntEnum):
    """Purpose of random numbers; numbers of different purposes are independent."""

    VESSELS = 1
    VESSEL_CLUSTERING = 2
    HIDDEN_VESSELS = 3
    HIDDEN_VESSEL_CLUSTERING = 4
    NUCLEI = 5
    NUCLEUS_CLUSTERING = 6
    CHROMATIN = 7
    OUTLINE = 8
    NECROSIS = 9
    AUTOFLUORESCENCE = 10
    NOISE = 11
    WALL = 12
    FLOOR = 13
    REGIME = 14
    SECTION = 15


def keyed_generator(seed: int, purpose: Purpose, row: int = 0, column: int = 0) -> np.random.Generator:
    """Return the random generator of one lattice cell."""
    key = np.random.SeedSequence(seed, spawn_key=(int(purpose), row + _ORIGIN, column + _ORIGIN))
    return np.random.Generator(np.random.Philox(key))


class RandomField:
    """Gaussian random field of mean 0 and SD 1, a sum of random waves, defined at every point of the plane.

    The covariance is exp(-r^2 / 2 length^2) (random Fourier features of the squared exponential).
    """

    def __init__(self, seed: int, purpose: Purpose, length_um: float, waves: int = 64) -> None:
        random = keyed_generator(seed, purpose)
        self._frequencies = random.standard_normal((2, waves)) / length_um
        self._phases = random.uniform(0, 2 * np.pi, waves)
        self._amplitude = np.sqrt(2 / waves)

    def on_grid(self, y_um: np.ndarray, x_um: np.ndarray) -> np.ndarray:
        """Return the field on a grid."""
        rows = np.outer(y_um, self._frequencies[0]) + self._phases
        columns = np.outer(x_um, self._frequencies[1])
        # cos(a + b) = cos a cos b - sin a sin b turns the sum of waves into one product of matrices
        left = np.hstack([np.cos(rows), -np.sin(rows)]).astype(np.float32)
        right = np.hstack([np.cos(columns), np.sin(columns)]).astype(np.float32)
        return np.float32(self._amplitude) * (left @ right.T)

    def at(self, points_um: np.ndarray) -> np.ndarray:
        """Return the field at points."""
        waves = np.cos(points_um @ self._frequencies + self._phases)
        return np.asarray(self._amplitude * waves.sum(axis=1))


@dataclass(frozen=True, eq=False)
class Bounds:
    """Rectangle in µm, its low edges inside and its high edges outside."""

    y0: float
    x0: float
    y1: float
    x1: float

    def grown(self, margin_um: float) -> Bounds:
        """Return the rectangle with a margin on each side."""
        return Bounds(self.y0 - margin_um, self.x0 - margin_um, self.y1 + margin_um, self.x1 + margin_um)

    def holds(self, points_um: np.ndarray) -> np.ndarray:
        """Return which of the points (n, 2) lie in the rectangle."""
        y, x = points_um[:, 0], points_um[:, 1]
        return np.asarray((y >= self.y0) & (y < self.y1) & (x >= self.x0) & (x < self.x1))


@dataclass(frozen=True, eq=False)
class _Points:
    """Points (n, 2) in µm with `_MARKS` uniform random numbers each, from which their properties are drawn."""

    positions_um: np.ndarray
    marks: np.ndarray

    def where(self, keep: np.ndarray) -> _Points:
        """Return the points that a boolean array selects."""
        return _Points(self.positions_um[keep], self.marks[keep])


@dataclass(frozen=True, eq=False)
class HardCore:
    """Inhomogeneous Poisson process after Matérn II thinning, with a given local density after the thinning."""

    # Key of the random numbers
    seed: int
    purpose: Purpose
    distance_um: float  # Smallest distance between two points; 0 gives a plain Poisson process
    peak_per_mm2: float  # Highest density anywhere
    density_per_mm2: Callable[[np.ndarray], np.ndarray]  # Density after thinning, at points of shape (n, 2) in µm

    def within(self, bounds: Bounds) -> _Points:
        """Return the points of a rectangle."""
        candidates = self._candidates(bounds.grown(self.distance_um))
        if self.distance_um > 0:
            candidates = candidates.where(self._survives(candidates))
        return candidates.where(bounds.holds(candidates.positions_um))

    def _candidates(self, bounds: Bounds) -> _Points:
        rows = range(int(np.floor(bounds.y0 / _LATTICE_UM)), int(np.ceil(bounds.y1 / _LATTICE_UM)))
        columns = range(int(np.floor(bounds.x0 / _LATTICE_UM)), int(np.ceil(bounds.x1 / _LATTICE_UM)))
        numbers = np.concatenate([self._lattice_cell(row, column) for row in rows for column in columns])
        points = _Points(numbers[:, :2], numbers[:, 2:])
        points = points.where(bounds.holds(points.positions_um))
        wanted = self._before_thinning(self.density_per_mm2(points.positions_um))
        return points.where(points.marks[:, -1] * self._before_thinning(self.peak_per_mm2) < wanted)

    def _lattice_cell(self, row: int, column: int) -> np.ndarray:
        random = keyed_generator(self.seed, self.purpose, row, column)
        count = random.poisson(self._before_thinning(self.peak_per_mm2) * (_LATTICE_UM / 1000) ** 2)
        numbers = random.random((count, 2 + _MARKS + 2))
        numbers[:, :2] = (numbers[:, :2] + (row, column)) * _LATTICE_UM
        return numbers

    def _before_thinning(self, density: np.ndarray | float) -> np.ndarray:
        """Density of candidates that leaves `density` points: -ln(1 - density * pi d^2) / pi d^2."""
        reach_mm2 = np.pi * (self.distance_um / 1000) ** 2
        if reach_mm2 == 0:
            return np.asarray(density)
        return np.asarray(-np.log1p(-np.minimum(density * reach_mm2, _FULLEST)) / reach_mm2)

    def _survives(self, points: _Points) -> np.ndarray:
        priority = points.marks[:, -2]
        alive = np.ones(len(priority), bool)
        if len(priority):
            first, second = cKDTree(points.positions_um).query_pairs(self.distance_um, output_type="ndarray").T
            alive[np.where(priority[first] > priority[second], first, second)] = False
        return alive


@dataclass(frozen=True)
class SampleGrid:
    """Rows y0 to y1 and columns x0 to x1 (high ends excluded) of samples `step_um` apart."""

    # Indices of the samples; negative ones lie outside the slide, which is allowed
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
    enlarged_rows = _enlarge_rows(values.astype(np.float32), factor)
    return np.ascontiguousarray(_enlarge_rows(np.ascontiguousarray(enlarged_rows.T), factor).T)


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
