"""Where tiles lie: integers only, no pixels.

A tile is a core, which is kept, and a halo around it, which the network only looks at. Origins and padded sizes
are multiples of the network's stride, without which tiles cannot equal the whole.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, order=True)
class Box:
    """Half-open rectangle of pixels.

    Attributes
    ----------
    y0, y1 : int
        First row, and the row after the last.
    x0, x1 : int
        First column, and the column after the last.
    """

    y0: int
    y1: int
    x0: int
    x1: int

    @property
    def height(self) -> int:
        """Rows."""
        return self.y1 - self.y0

    @property
    def width(self) -> int:
        """Columns."""
        return self.x1 - self.x0

    @property
    def area(self) -> int:
        """Pixels; 0 for an empty box."""
        return max(0, self.height) * max(0, self.width)

    def grown(self, margin: int) -> Box:
        """Return the box with `margin` more pixels on every side."""
        return Box(self.y0 - margin, self.y1 + margin, self.x0 - margin, self.x1 + margin)

    def intersection(self, other: Box) -> Box:
        """Return what both boxes cover; its area is 0 where they do not meet."""
        return Box(max(self.y0, other.y0), min(self.y1, other.y1), max(self.x0, other.x0), min(self.x1, other.x1))

    def distance_to(self, y: float, x: float) -> float:
        """Distance from the middle of the box to a point, in pixels."""
        return math.hypot((self.y0 + self.y1) / 2 - y, (self.x0 + self.x1) / 2 - x)


@dataclass(frozen=True)
class Tile:
    """One piece of a slide.

    Attributes
    ----------
    core : Box
        What is kept.
    padded : Box
        What the network sees: the core, rounded up to the stride, and the halo. It may reach over the slide's
        border; what lies there is padding.
    """

    core: Box
    padded: Box

    @classmethod
    def around(cls, core: Box, halo: int, stride: int) -> Tile:
        """Pad a core by the halo, after rounding its size up to the stride."""
        bottom = core.y0 + rounded_up(core.height, stride)
        right = core.x0 + rounded_up(core.width, stride)
        return cls(core, Box(core.y0 - halo, bottom + halo, core.x0 - halo, right + halo))

    def quarters(self, halo: int, stride: int, multiple: int) -> tuple[Tile, ...]:
        """Split the core in four (two at a thin end), on the grid of `multiple`; itself alone where it is too small."""
        core = self.core
        rows = _halves(core.y0, core.y1, multiple)
        columns = _halves(core.x0, core.x1, multiple)
        return tuple(Tile.around(Box(*row, *column), halo, stride) for row in rows for column in columns)


@dataclass(frozen=True)
class TileGrid:
    """Cut a slide into tiles whose cores cover every pixel exactly once.

    Attributes
    ----------
    height, width : int
        Size of the slide in pixels.
    core : int
        Side of a core, a multiple of `stride`; cores at the lower and right border are cut off there.
    halo : int
        Pixels around a core, a multiple of `stride`.
    stride : int
        Pixels per pixel of the network's coarsest branch.
    """

    height: int
    width: int
    core: int
    halo: int
    stride: int

    def __post_init__(self) -> None:
        if min(self.height, self.width, self.core, self.stride) < 1 or self.halo < 0:
            msg = f"tile grid got {self}; expected a slide, a core and a stride of at least one pixel."
            raise ValueError(msg)
        for name in ("core", "halo"):
            if getattr(self, name) % self.stride:
                msg = f"{name} is {getattr(self, name)} px; expected a multiple of the stride, {self.stride} px."
                raise ValueError(msg)

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of tiles."""
        return -(-self.height // self.core), -(-self.width // self.core)

    def __len__(self) -> int:
        return self.shape[0] * self.shape[1]

    def __iter__(self) -> Iterator[Tile]:
        return (self.tile(row, column) for row in range(self.shape[0]) for column in range(self.shape[1]))

    def tile(self, row: int, column: int) -> Tile:
        """Return one tile of the grid."""
        y0, x0 = row * self.core, column * self.core
        core = Box(y0, min(y0 + self.core, self.height), x0, min(x0 + self.core, self.width))
        return Tile.around(core, self.halo, self.stride)

    def within(self, region: Box) -> tuple[Tile, ...]:
        """Return the tiles whose cores meet a region."""
        return tuple(tile for tile in self if tile.core.intersection(region).area)


def rounded_up(size: int, multiple: int) -> int:
    """Round up to a multiple.

    Parameters
    ----------
    size : int
        Pixels.
    multiple : int
        Such as the stride.

    Returns
    -------
    int
        The smallest multiple that is not below `size`.
    """
    return -(-size // multiple) * multiple


def _halves(start: int, stop: int, multiple: int) -> tuple[tuple[int, int], ...]:
    middle = start + rounded_up((stop - start + 1) // 2, multiple)
    return ((start, middle), (middle, stop)) if middle < stop else ((start, stop),)
