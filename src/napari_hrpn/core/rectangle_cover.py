"""Few rectangles around the squares of a grid that are wanted: each costs what lies in it, and its halo."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.core.tiles import Box

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


def covering(wanted: NDArray[np.bool_], halo: float) -> list[Box]:
    """Cover squares with rectangles that do not overlap.

    The smallest rectangle around all is cut in two as long as that takes away more than its two halves' halos add.

    Parameters
    ----------
    wanted : numpy.ndarray of bool, shape (y, x)
        Squares that must be covered.
    halo : float
        What is computed around a rectangle, in squares.

    Returns
    -------
    list of Box
        In squares. What is not wanted lies in one only where that is cheaper than to leave it out.
    """
    return list(_cut(wanted, Box(0, wanted.shape[0], 0, wanted.shape[1]), halo))


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
    """The smallest rectangle around what is wanted in a box; empty where nothing is."""
    inside = wanted[box.y0 : box.y1, box.x0 : box.x1]
    rows, columns = np.flatnonzero(inside.any(axis=1)).tolist(), np.flatnonzero(inside.any(axis=0)).tolist()
    if not rows:
        return Box(box.y0, box.y0, box.x0, box.x0)
    return Box(box.y0 + rows[0], box.y0 + rows[-1] + 1, box.x0 + columns[0], box.x0 + columns[-1] + 1)


def _cost(box: Box, halo: float) -> float:
    return (box.height + 2 * halo) * (box.width + 2 * halo) if box.area else 0.0
