"""Random placement of rectangular regions on the tissue of a slide, without overlap where possible."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.core import Box
from napari_hrpn.core.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_hrpn.slides import RegionMask

_MOST_ROIS = 1000
_TRIES_PER_ROI = 200
_ROUNDS = 20


@dataclass(frozen=True)
class RandomRois:
    """Settings of a random placement of rectangles.

    Attributes
    ----------
    height_px, width_px : int
        Size of each rectangle; by default that of the paper.
    number : int
        Number of rectangles.
    seed : int
        Seed of the random numbers: equal seeds give equal places.
    least_tissue : float
        Smallest share of a rectangle that has to be tissue, 0 to 1.
    """

    height_px: int = 864
    width_px: int = 960
    number: int = 3
    seed: int = 0
    least_tissue: float = 0.5


@dataclass(frozen=True)
class PlacedRois:
    """Rectangles that were placed.

    Attributes
    ----------
    boxes : tuple of Box
        The rectangles, in full-resolution pixels.
    overlapping : int
        Number of them that overlap another one.
    """

    boxes: tuple[Box, ...]
    overlapping: int


def random_rois(
    slide_shape: tuple[int, int],
    settings: RandomRois,
    tissue: RegionMask | None = None,
    taken: Sequence[Box] = (),
) -> PlacedRois:
    """Place rectangles at random.

    Parameters
    ----------
    slide_shape : tuple of int
        Height and width of the slide in pixels.
    settings : RandomRois
        Size, number and seed.
    tissue : RegionMask, optional
        Mask of the tissue; without it all of the slide counts as tissue.
    taken : sequence of Box
        Rectangles placed earlier, which must not be overlapped either.

    Returns
    -------
    PlacedRois
        Fewer than requested if too few places have enough tissue. They overlap only if not enough places without
        overlap were found.

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
            "tissue: choose a smaller share of tissue or smaller regions."
        )
    chosen = _without_overlap(places, settings, taken, random)
    chosen += _least_covered(places, settings, [*taken, *chosen], settings.number - len(chosen))
    return PlacedRois(tuple(chosen), sum(_overlaps_any(box, [*taken, *chosen]) for box in chosen))


def _check(slide_shape: tuple[int, int], settings: RandomRois) -> None:
    height, width = slide_shape
    if not 1 <= settings.number <= _MOST_ROIS or min(settings.height_px, settings.width_px) < 1:
        raise AnalysisError(
            f"{settings.number} regions of {settings.width_px} x {settings.height_px} px were requested, expected 1 to "
            f"{_MOST_ROIS} regions of one pixel or more: change the number or the size."
        )
    if settings.height_px > height or settings.width_px > width:
        raise AnalysisError(
            f"The slide has {width} x {height} px, expected {settings.width_px} x {settings.height_px} px or more for "
            "a region of that size: choose smaller regions."
        )


def _places(
    slide_shape: tuple[int, int], settings: RandomRois, tissue: RegionMask | None, random: np.random.Generator
) -> NDArray[np.int64]:
    """Upper left corners with enough tissue, shape (places, 2): random ones, then those of a grid."""
    size = np.array([settings.height_px, settings.width_px])
    room = np.array(slide_shape) - size
    corners = random.integers(0, room + 1, (settings.number * _TRIES_PER_ROI, 2))
    # if the rectangles nearly fill the slide, only a grid holds as many as fit
    steps = [np.arange(first, last + 1, step) for first, last, step in zip((0, 0), room, size, strict=True)]
    grid = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 2)
    corners = np.concatenate([corners, grid[: settings.number * _TRIES_PER_ROI]])
    if tissue is None or settings.least_tissue <= 0:
        return corners
    shares = np.array([tissue.share(_box(corner, settings)) for corner in corners])
    return corners[shares >= settings.least_tissue]


def _without_overlap(
    places: NDArray[np.int64], settings: RandomRois, taken: Sequence[Box], random: np.random.Generator
) -> list[Box]:
    """The requested number of places without overlap, or the most that were found in several rounds."""
    for box in taken:
        places = places[_common_areas(places, settings, box) == 0]
    best: list[Box] = []
    for attempt in range(_ROUNDS):
        # random places first, the grid after them; the last round begins with the grid
        remaining = places[::-1] if attempt == _ROUNDS - 1 else places if attempt == 0 else random.permutation(places)
        found: list[Box] = []
        while len(remaining) and len(found) < settings.number:
            found.append(_box(remaining[0], settings))
            remaining = remaining[_common_areas(remaining, settings, found[-1]) == 0]
        best = max(best, found, key=len)
        if len(best) == settings.number:
            break
    return best


def _least_covered(places: NDArray[np.int64], settings: RandomRois, there: Sequence[Box], number: int) -> list[Box]:
    """Further places, each where other rectangles cover the least of it."""
    places = places[: settings.number * _TRIES_PER_ROI]
    covered = np.zeros(len(places))
    found: list[Box] = []
    for box in there:
        covered += _common_areas(places, settings, box)
        covered[(places == (box.y0, box.x0)).all(axis=1)] = np.inf
    while len(found) < number and np.isfinite(covered).any():
        least = int(np.argmin(covered))
        found.append(_box(places[least], settings))
        covered += _common_areas(places, settings, found[-1])
        covered[least] = np.inf
    return found


def _box(corner: NDArray[np.int64], settings: RandomRois) -> Box:
    y, x = corner.tolist()
    return Box(y, y + settings.height_px, x, x + settings.width_px)


def _common_areas(corners: NDArray[np.int64], settings: RandomRois, box: Box) -> NDArray[np.int64]:
    """Area in pixels that a rectangle at each corner shares with a box."""
    y, x = corners.T
    height = np.minimum(y + settings.height_px, box.y1) - np.maximum(y, box.y0)
    width = np.minimum(x + settings.width_px, box.x1) - np.maximum(x, box.x0)
    return np.asarray(np.maximum(height, 0) * np.maximum(width, 0))


def _overlaps_any(box: Box, others: Sequence[Box]) -> bool:
    return any(other is not box and box.intersection(other).area > 0 for other in others)
