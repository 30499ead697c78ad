"""Local statistics of pixel pairs: a value of each pixel from the window around it, and its mean in a region.

The rule: a window at the edge of the slide sees the pixels mirrored there (d c b a | a b c d), and a pixel whose window
holds one that is not predicted, or not finite, is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Mapping


Values: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Window:
    """A statistic of each pixel and its neighbours, such as a local correlation.

    Attributes
    ----------
    name : str
        What it is called in messages, unlike any other.
    border : int
        How many rows and columns around a pixel its value depends on: 5 for windows of 11 x 11.
    values : callable
        From real and predicted pixels, float64 of shape (y, x), and the largest grey level that a pixel may have, NaN
        where the type of the pixels does not say it, to a value for each of these pixels. Those nearer to the edge
        than `border` are ignored. A function of a module, as it travels to workers.
    """

    name: str
    border: int
    values: Callable[[Values, Values, float], Values]


@dataclass(frozen=True)
class WindowSums:
    """Values of the pixels of a region: how many there are, and their sum; parts are pooled with ``+``."""

    n: int = 0
    total: float = 0.0

    def __add__(self, other: WindowSums) -> WindowSums:
        return WindowSums(self.n + other.n, self.total + other.total)

    @property
    def mean(self) -> float:
        """NaN where no pixel has a value."""
        return self.total / self.n if self.n else math.nan


def pooled(first: Mapping[str, WindowSums], second: Mapping[str, WindowSums]) -> dict[str, WindowSums]:
    """Sums of two parts of a region, by window."""
    return {key: first.get(key, WindowSums()) + second.get(key, WindowSums()) for key in {**first, **second}}
