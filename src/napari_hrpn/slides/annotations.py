"""Annotated regions of a slide as outlines and as coarse masks: a pixel is inside where its centre is.

A point is in pixels of the full resolution from the slide's outer corner, so the first pixel is from 0 to 1.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    # Each has its outline and then its holes
    Polygons = tuple[tuple[NDArray[np.float64], ...], ...]


@dataclass(frozen=True, eq=False)
class Annotation:
    """A region of a slide that somebody drew.

    Attributes
    ----------
    name : str
        What it is called; may be empty.
    kind : {"include", "exclude"}
        Whether it adds to what is looked at, or takes from it.
    rings : tuple of tuple of numpy.ndarray
        Polygons; each has its outline and then its holes, arrays of shape (n, 2) of y and x in full-resolution
        pixels from the outer corner of the slide, the first point not repeated at the end.
    measurements : mapping of str to float
        Numbers that belong to it.
    excluded : tuple of tuple of numpy.ndarray
        Polygons of other annotations that are taken away from it.
    """

    name: str
    kind: Literal["include", "exclude"]
    rings: Polygons
    measurements: Mapping[str, float] = field(default_factory=dict)
    excluded: Polygons = ()


@dataclass(frozen=True, eq=False)
class RegionMask:
    """A part of a slide at a coarse level, that covers the whole slide.

    Attributes
    ----------
    mask : numpy.ndarray of bool, shape (y, x)
        True inside.
    downsample : tuple of float
        Full-resolution pixels per pixel of the mask, along y and x.
    """

    mask: NDArray[np.bool_]
    downsample: tuple[float, float]

    def meets(self, y0: int, y1: int, x0: int, x1: int) -> bool:
        """Whether any of it is in a rectangle of full-resolution pixels.

        Parameters
        ----------
        y0, y1, x0, x1 : int
            Half-open rows and columns; they may reach beyond the slide.

        Returns
        -------
        bool
            True also where it only touches the rectangle.
        """
        rows = slice(max(0, math.floor(y0 / self.downsample[0])), max(0, math.ceil(y1 / self.downsample[0])))
        columns = slice(max(0, math.floor(x0 / self.downsample[1])), max(0, math.ceil(x1 / self.downsample[1])))
        return bool(self.mask[rows, columns].any())

    def share(self, y0: int, y1: int, x0: int, x1: int) -> float:
        """Share of a rectangle of full-resolution pixels that is inside, by area.

        Parameters
        ----------
        y0, y1, x0, x1 : int
            Half-open rows and columns; what reaches beyond the slide does not count.

        Returns
        -------
        float
            0 to 1; 0 where the rectangle lies beside the slide.
        """
        (first_row, rows), (first_column, columns) = (
            _lengths(start, stop, factor, size)
            for start, stop, factor, size in zip((y0, x0), (y1, x1), self.downsample, self.mask.shape, strict=True)
        )
        part = self.mask[first_row : first_row + len(rows), first_column : first_column + len(columns)]
        area = float(rows.sum() * columns.sum())
        return float(rows @ part @ columns) / area if area else 0.0

    def within(self, rows: slice, columns: slice) -> NDArray[np.bool_]:
        """Whether each full-resolution pixel of a rectangle is inside.

        Parameters
        ----------
        rows, columns : slice
            With a start and a stop.

        Returns
        -------
        numpy.ndarray of bool
            Shape (rows, columns).
        """
        y, x = (
            np.minimum(np.arange(part.start, part.stop) // factor, size - 1).astype(np.intp)
            for part, factor, size in zip((rows, columns), self.downsample, self.mask.shape, strict=True)
        )
        # rows after columns: whole rows are copied fast, and there are few before they are repeated
        near: NDArray[np.bool_] = self.mask[y[0] : y[-1] + 1][:, x][y - y[0]] if len(y) else self.mask[:0][:, x]
        return near

    def intersected(self, other: RegionMask) -> RegionMask:
        """What is inside both.

        Parameters
        ----------
        other : RegionMask
            Of the same slide, at any level.

        Returns
        -------
        RegionMask
            At the finer level of the two.
        """
        height, width = np.multiply(self.mask.shape, self.downsample).tolist()
        shape = rows, columns = np.maximum(self.mask.shape, other.mask.shape).tolist()
        return RegionMask(_spread(self.mask, shape) & _spread(other.mask, shape), (height / rows, width / columns))

    @property
    def fraction(self) -> float:
        """Share of the slide that is inside."""
        return float(self.mask.mean())

    @property
    def bounds(self) -> tuple[int, int, int, int]:
        """Smallest rectangle y0, y1, x0, x1 of full-resolution pixels that holds all of it; zeros if there is none."""
        edges: list[int] = []
        for axis, factor in enumerate(self.downsample):
            there = np.flatnonzero(self.mask.any(axis=1 - axis))
            if not len(there):
                return 0, 0, 0, 0
            whole = round(self.mask.shape[axis] * factor)
            edges += [math.floor(there[0] * factor), min(whole, math.ceil((there[-1] + 1) * factor))]
        return edges[0], edges[1], edges[2], edges[3]

    @property
    def digest(self) -> str:
        """A fingerprint of 16 hexadecimal digits that changes with the mask."""
        facts = repr((self.mask.shape, tuple(float(factor) for factor in self.downsample)))
        return hashlib.sha256(facts.encode() + np.packbits(self.mask).tobytes()).hexdigest()[:16]


def _lengths(start: float, stop: float, factor: float, size: int) -> tuple[int, NDArray[np.float64]]:
    """First mask pixel that an interval meets, and the length of it in each pixel from there."""
    start, stop = (min(max(edge / factor, 0.0), float(size)) for edge in (start, stop))
    first, last = math.floor(start), max(math.floor(start), math.ceil(stop))
    edges = np.clip(np.arange(first, last + 1), start, max(start, stop))
    return first, np.diff(edges)


def _spread(mask: NDArray[np.bool_], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """A mask on a finer grid over the same slide, each pixel as it is at its centre."""
    y, x = (((np.arange(size) + 0.5) * own / size).astype(np.intp) for own, size in zip(mask.shape, shape, strict=True))
    return mask[np.ix_(y, x)]


def annotation_mask(annotation: Annotation, rows: slice, columns: slice) -> NDArray[np.bool_]:
    """Which full-resolution pixels of a rectangle are in an annotation, however large the slide.

    Parameters
    ----------
    annotation : Annotation
        Whether it includes or excludes makes no difference.
    rows, columns : slice
        With a start and a stop.

    Returns
    -------
    numpy.ndarray of bool
        Shape (rows, columns); a pixel is inside where its centre is.
    """
    shape, corner = (rows.stop - rows.start, columns.stop - columns.start), (rows.start, columns.start)
    mask = painted(annotation.rings, shape, corner=corner)
    if annotation.excluded:
        mask &= ~painted(annotation.excluded, shape, corner=corner)
    return mask


def included(annotations: Sequence[Annotation]) -> tuple[Annotation, ...]:
    """The annotations that include, each without what others exclude: the pixels of `region_mask`, one by one.

    Parameters
    ----------
    annotations : sequence of Annotation
        Of one slide.

    Returns
    -------
    tuple of Annotation
        Those to include, in their order.
    """
    taken = [polygon for one in annotations if one.kind == "exclude" for polygon in one.rings]
    if not taken:
        return tuple(one for one in annotations if one.kind == "include")
    low, high = (np.array([end(polygon[0], axis=0) for polygon in taken]) for end in (np.min, np.max))
    found = []
    for one in annotations:
        if one.kind == "include":
            points = np.concatenate([polygon[0] for polygon in one.rings])
            near = (low <= points.max(axis=0)).all(axis=1) & (high >= points.min(axis=0)).all(axis=1)
            found.append(replace(one, excluded=(*one.excluded, *(taken[index] for index in np.flatnonzero(near)))))
    return tuple(found)


def taken_away(annotations: Sequence[Annotation]) -> tuple[Annotation, ...]:
    """What `included` took away, as one annotation to be written beside the others.

    Parameters
    ----------
    annotations : sequence of Annotation
        As `included` gives them.

    Returns
    -------
    tuple of Annotation
        One that excludes, with each polygon once; empty where nothing was taken away.
    """
    polygons = {id(polygon): polygon for one in annotations for polygon in one.excluded}
    return (Annotation("", "exclude", tuple(polygons.values())),) if polygons else ()


def painted(
    polygons: Polygons,
    shape: tuple[int, int],
    *,
    corner: tuple[int, int] = (0, 0),
    downsample: tuple[float, float] = (1.0, 1.0),
) -> NDArray[np.bool_]:
    """Which pixels of a grid, whose first pixel begins at a corner of the slide, are in any of some polygons."""
    mask = np.zeros(shape, bool)
    for polygon in polygons:
        _paint(mask, [(ring - corner) / downsample - 0.5 for ring in polygon])
    return mask


def _paint(mask: NDArray[np.bool_], rings: Sequence[NDArray[np.float64]]) -> None:
    """Set the pixels whose centres, at whole numbers, are inside an odd number of rings.

    Every edge turns the pixels to its right over, row by row. `skimage.draw.polygon` asks each pixel about each
    edge instead, which for a traced outline of 10,000 points on 4096 px takes minutes.
    """
    edges = np.concatenate([np.stack([ring, np.roll(ring, -1, axis=0)], axis=1) for ring in rings])
    low, high = edges[:, :, 0].min(axis=1), edges[:, :, 0].max(axis=1)
    first, last = (np.clip(np.ceil(end), 0, mask.shape[0]).astype(np.intp) for end in (low, high))
    counts = last - first
    total = int(counts.sum())
    if not total:
        return
    rows = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(first, counts)
    (y0, x0), (y1, x1) = (np.repeat(edges[:, end], counts, axis=0).T for end in (0, 1))
    crossings = x0 + (rows - y0) * (x1 - x0) / (y1 - y0)
    columns = np.clip(np.ceil(crossings), 0, mask.shape[1]).astype(np.intp)
    top, left = int(rows.min()), int(columns.min())
    turned = np.zeros((int(rows.max()) - top + 1, int(columns.max()) - left + 1), np.uint8)
    np.bitwise_xor.at(turned, (rows - top, columns - left), 1)
    inside = np.bitwise_xor.accumulate(turned, axis=1)[:, :-1].astype(bool)
    mask[top : top + inside.shape[0], left : left + inside.shape[1]] |= inside
