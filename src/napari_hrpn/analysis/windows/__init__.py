"""Local statistics of pixel pairs, such as SSIM: a value per pixel from the window around it, and its regional mean.

The rule: beyond the border of the slide, a window takes the mirrored pixels (d c b a | a b c d). A pixel whose window
holds a pixel that is not predicted or not finite has no value.
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
        Its name in messages, different from that of all other windows.
    border : int
        Number of rows and columns around a pixel that its value depends on: 5 for windows of 11 x 11.
    values : callable
        Function of the real pixels, the predicted pixels (both float64 of shape (y, x)) and the largest possible grey
        level, which is NaN if the pixel type does not define it. It returns a value for each pixel; values nearer to
        the edge of the array than `border` are ignored. It must be defined in a module, so that it can be sent to
        workers.
    """

    name: str
    border: int
    values: Callable[[Values, Values, float], Values]


@dataclass(frozen=True)
class WindowSums:
    """Number and sum of the window values in a region; parts are pooled with ``+``."""

    n: int = 0
    total: float = 0.0

    def __add__(self, other: WindowSums) -> WindowSums:
        return WindowSums(self.n + other.n, self.total + other.total)

    @property
    def mean(self) -> float:
        """Mean of the values; NaN if no pixel has one."""
        return self.total / self.n if self.n else math.nan


def pooled(first: Mapping[str, WindowSums], second: Mapping[str, WindowSums]) -> dict[str, WindowSums]:
    """Sums of two parts of a region, by window."""
    return {key: first.get(key, WindowSums()) + second.get(key, WindowSums()) for key in {**first, **second}}
