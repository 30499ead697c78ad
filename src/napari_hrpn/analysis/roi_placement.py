"""Rectangles at random places on the tissue of a slide, that do not overlap where that is possible."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from napari_hrpn.analysis.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_hrpn.slides import RegionMask

PlacedBox: TypeAlias = tuple[int, int, int, int]
"""y0, y1, x0, x1 in full-resolution pixels, half open."""
MOST_ROIS = 1000
TRIES_PER_ROI = 200
ROUNDS = 20


@dataclass(frozen=True)
class RandomRois:
    """What to place.

    Attributes
    ----------
    height_px, width_px : int
        Of each rectangle; by default those of the paper.
    number : int
        How many.
    seed : int
        Equal seeds give equal places.
    least_tissue : float
        Share of a rectangle that has to be tissue, 0 to 1.
    """

    height_px: int = 864
    width_px: int = 960
    number: int = 3
    seed: int = 0
    least_tissue: float = 0.5


@dataclass(frozen=True)
class PlacedRois:
    """What was placed.

    Attributes
    ----------
    boxes : tuple of (int, int, int, int)
        y0, y1, x0, x1 of each in full-resolution pixels, half open.
    overlapping : int
        How many of them overlap another one.
    """

    boxes: tuple[PlacedBox, ...]
    overlapping: int


def random_rois(
    slide_shape: tuple[int, int],
    settings: RandomRois,
    tissue: RegionMask | None = None,
    taken: Sequence[PlacedBox] = (),
) -> PlacedRois:
    """Place rectangles at random.

    Parameters
    ----------
    slide_shape : tuple of int
        Height and width of the slide in pixels.
    settings : RandomRois
        What to place.
    tissue : RegionMask, optional
        Where the tissue is; everywhere where left out.
    taken : sequence of (int, int, int, int)
        Rectangles that are there already, not to be overlapped either.

    Returns
    -------
    PlacedRois
        Fewer than asked for where too few places have enough tissue. They overlap only where so many places without
        overlap were not found.

    Raises
    ------
    AnalysisError
        If the slide is smaller than a rectangle, or no place has enough tissue.
    """
    _check(slide_shape, settings)
    random = np.random.default_rng(settings.seed)
    places = _places(slide_shape, settings, tissue, random)
    if not len(places):
        raise AnalysisError(
            f"No place of {settings.width_px} x {settings.height_px} px was found with {settings.least_tissue:.0%} of "
            "tissue: ask for less tissue or for smaller regions."
        )
    chosen = _apart(places, settings, taken, random)
    free = len(chosen)
    chosen += _overlapping(places, settings, [*taken, *chosen])[: settings.number - free]
    return PlacedRois(tuple(chosen), sum(_overlaps_any(box, [*taken, *chosen]) for box in chosen))


def _check(slide_shape: tuple[int, int], settings: RandomRois) -> None:
    height, width = slide_shape
    if not 1 <= settings.number <= MOST_ROIS or min(settings.height_px, settings.width_px) < 1:
        raise AnalysisError(
            f"{settings.number} regions of {settings.width_px} x {settings.height_px} px were asked for, expected 1 to "
            f"{MOST_ROIS} of one pixel or more."
        )
    if settings.height_px > height or settings.width_px > width:
        raise AnalysisError(
            f"The slide has {width} x {height} px, expected {settings.width_px} x {settings.height_px} px or more for "
            "a region of that size: ask for smaller regions."
        )


def _places(
    slide_shape: tuple[int, int], settings: RandomRois, tissue: RegionMask | None, random: np.random.Generator
) -> NDArray[np.int64]:
    """Upper left corners with enough tissue, shape (places, 2), in random order; those of grids among them."""
    size = np.array([settings.height_px, settings.width_px])
    room = np.array(slide_shape) - size
    corners = random.integers(0, room + 1, (settings.number * TRIES_PER_ROI, 2))
    # where little room is left, only a grid holds as many as fit
    steps = [np.arange(first, last + 1, step) for first, last, step in zip((0, 0), room, size, strict=True)]
    grid = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 2)
    corners = np.concatenate([corners, grid[: settings.number * TRIES_PER_ROI]])
    if tissue is None or settings.least_tissue <= 0:
        return corners
    shares = np.array([tissue.share(y, y + size[0], x, x + size[1]) for y, x in corners.tolist()])
    return corners[shares >= settings.least_tissue]


def _apart(
    places: NDArray[np.int64], settings: RandomRois, taken: Sequence[PlacedBox], random: np.random.Generator
) -> list[PlacedBox]:
    """As many as are wanted, none of which overlaps another, or the most that were found in some rounds."""
    best: list[PlacedBox] = []
    for turn in range(ROUNDS):
        # the places come at random, and the grid after them; at last the grid comes first
        order = places[::-1] if turn == ROUNDS - 1 else places if turn == 0 else random.permutation(places)
        found: list[PlacedBox] = []
        for box in _boxes(order, settings):
            if not _overlaps_any(box, [*taken, *found]):
                found.append(box)
                if len(found) == settings.number:
                    return found
        best = max(best, found, key=len)
    return best


def _overlapping(places: NDArray[np.int64], settings: RandomRois, there: Sequence[PlacedBox]) -> list[PlacedBox]:
    """Further places, one after the other where the least of it is covered."""
    candidates = [box for box in _boxes(places[: settings.number * TRIES_PER_ROI], settings) if box not in there]
    covered = np.array([sum(_common_area(box, other) for other in there) for box in candidates], float)
    found: list[PlacedBox] = []
    while len(found) < settings.number and len(found) < len(candidates):
        least = int(np.argmin(covered))
        found.append(candidates[least])
        covered += [_common_area(box, candidates[least]) for box in candidates]
        covered[least] = np.inf
    return found


def _boxes(corners: NDArray[np.int64], settings: RandomRois) -> list[PlacedBox]:
    return [(y, y + settings.height_px, x, x + settings.width_px) for y, x in corners.tolist()]


def _overlaps_any(box: PlacedBox, others: Sequence[PlacedBox]) -> bool:
    return any(other is not box and _common_area(box, other) > 0 for other in others)


def _common_area(box: PlacedBox, other: PlacedBox) -> int:
    height = min(box[1], other[1]) - max(box[0], other[0])
    width = min(box[3], other[3]) - max(box[2], other[2])
    return max(0, height) * max(0, width)
