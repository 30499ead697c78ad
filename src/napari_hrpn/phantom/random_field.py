"""Chance that has an address: numbers keyed by (seed, purpose, place), and smooth fields over the whole plane.

The rule: nothing here depends on the order or the size of what is asked for.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

_ORIGIN = 2**31


class Purpose(IntEnum):
    """What random numbers are for; numbers of different purposes are independent."""

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


def keyed_generator(seed: int, purpose: Purpose, row: int = 0, column: int = 0) -> np.random.Generator:
    """Return the random generator of one place."""
    key = np.random.SeedSequence(seed, spawn_key=(int(purpose), row + _ORIGIN, column + _ORIGIN))
    return np.random.Generator(np.random.Philox(key))


class RandomField:
    """Gaussian random field of mean 0 and SD 1, a sum of random waves, known at every point of the plane.

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
