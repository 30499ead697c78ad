"""Boxes, tiles and their halos on a slide, in whole pixels.

A tile is a core, whose pixels are kept, and a halo around it, which is only input to the network. Origins and padded
sizes are multiples of the network's stride: otherwise tiles could not equal a prediction of the whole slide.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


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

    @classmethod
    def parse(cls, text: str) -> Box:
        """Box from text.

        Parameters
        ----------
        text : str
            ``Y0:Y1,X0:X1``, as on the command line.

        Returns
        -------
        Box
            With one pixel at least.

        Raises
        ------
        ValueError
            In one sentence, for other text.
        """
        match = re.fullmatch(r"\s*(\d{1,18}):(\d{1,18})\s*,\s*(\d{1,18}):(\d{1,18})\s*", text)
        box = cls(*map(int, match.groups())) if match else None
        if box is None or box.height < 1 or box.width < 1:
            msg = f"the region {text!r} is not Y0:Y1,X0:X1 with Y0 < Y1 and X0 < X1, such as 0:4096,2048:8192."
            raise ValueError(msg)
        return box

    @property
    def text(self) -> str:
        """Text that `parse` reads."""
        return f"{self.y0}:{self.y1},{self.x0}:{self.x1}"

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

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns, to index an array of shape (y, x)."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    def union(self, other: Box) -> Box:
        """Return the smallest box that holds both."""
        return Box(min(self.y0, other.y0), max(self.y1, other.y1), min(self.x0, other.x0), max(self.x1, other.x1))

    def grown(self, margin: int) -> Box:
        """Return the box with `margin` more pixels on every side."""
        return Box(self.y0 - margin, self.y1 + margin, self.x0 - margin, self.x1 + margin)

    def intersection(self, other: Box) -> Box:
        """Return the pixels that both boxes cover; the area is 0 if they do not meet."""
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
        Pixels that are kept.
    padded : Box
        Input of the network: the core, rounded up to the stride, and the halo. It may reach over the slide's border;
        pixels beyond it are padding.
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
        """Split the core in four, or two if it is thin, at multiples of `multiple`; a small core stays whole."""
        core = self.core
        rows = _split(core.y0, core.y1, multiple)
        columns = _split(core.x0, core.x1, multiple)
        return tuple(Tile.around(Box(*row, *column), halo, stride) for row in rows for column in columns)


@dataclass(frozen=True)
class TileGrid:
    """Grid of tiles whose cores cover every pixel of a slide exactly once.

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
        The stride, for example.

    Returns
    -------
    int
        The smallest multiple that is not below `size`.
    """
    return -(-size // multiple) * multiple


def reflected(start: int, stop: int, size: int) -> NDArray[np.intp]:
    """Indices start to stop, those outside 0 to size mirrored at the border pixels.

    The border pixel itself is not repeated, as in numpy's "reflect" padding, however far the range reaches.

    Parameters
    ----------
    start, stop : int
        Half-open range; may reach beyond 0 and `size`.
    size : int
        Pixels there are, at least one.

    Returns
    -------
    numpy.ndarray
        stop - start indices in 0 to size - 1.
    """
    period = max(1, 2 * (size - 1))
    position = np.arange(start, stop) % period
    return np.minimum(position, period - position) if size > 1 else np.zeros(stop - start, np.intp)


def covering(wanted: NDArray[np.bool_], halo: float) -> list[Box]:
    """Cover squares with rectangles that do not overlap.

    The smallest rectangle around all of them is cut in two, again and again, as long as that saves more squares than
    the halos of the two halves add.

    Parameters
    ----------
    wanted : numpy.ndarray of bool, shape (y, x)
        Squares that must be covered.
    halo : float
        Margin that is computed around a rectangle, in squares.

    Returns
    -------
    list of Box
        In squares. They contain a square that is not wanted only if leaving it out would cost more.
    """
    return list(_cut(wanted, Box(0, wanted.shape[0], 0, wanted.shape[1]), halo))


def _split(start: int, stop: int, multiple: int) -> tuple[tuple[int, int], ...]:
    middle = start + rounded_up((stop - start + 1) // 2, multiple)
    return ((start, middle), (middle, stop)) if middle < stop else ((start, stop),)


def _cut(wanted: NDArray[np.bool_], box: Box, halo: float) -> Iterator[Box]:
    whole = _tight(wanted, box)
    if not whole.area:
        return
    halves = min(_halves(wanted, whole), key=lambda pair: sum(_cost(half, halo) for half in pair), default=(whole,))
    if sum(_cost(half, halo) for half in halves) < _cost(whole, halo):
        for half in halves:
            yield from _cut(wanted, half, halo)
    else:
        yield whole


def _halves(wanted: NDArray[np.bool_], box: Box) -> Iterator[tuple[Box, Box]]:
    y0, y1, x0, x1 = box.y0, box.y1, box.x0, box.x1
    for y in range(y0 + 1, y1):
        yield _tight(wanted, Box(y0, y, x0, x1)), _tight(wanted, Box(y, y1, x0, x1))
    for x in range(x0 + 1, x1):
        yield _tight(wanted, Box(y0, y1, x0, x)), _tight(wanted, Box(y0, y1, x, x1))


def _tight(wanted: NDArray[np.bool_], box: Box) -> Box:
    """Smallest rectangle around the wanted squares of a box; empty if there are none."""
    inside = wanted[box.y0 : box.y1, box.x0 : box.x1]
    rows, columns = np.flatnonzero(inside.any(axis=1)).tolist(), np.flatnonzero(inside.any(axis=0)).tolist()
    if not rows:
        return Box(box.y0, box.y0, box.x0, box.x0)
    return Box(box.y0 + rows[0], box.y0 + rows[-1] + 1, box.x0 + columns[0], box.x0 + columns[-1] + 1)


def _cost(box: Box, halo: float) -> float:
    return (box.height + 2 * halo) * (box.width + 2 * halo) if box.area else 0.0
