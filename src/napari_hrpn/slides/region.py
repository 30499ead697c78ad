"""Regions of a slide as polygons or as a label of a label image; `region_mask` has those that are coarse masks.

Points are in pixels of the full resolution from the slide's outer corner, so the first pixel is from 0 to 1. A pixel
of any level is in a region where its centre is.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_hrpn.core import Box
from napari_hrpn.slides.polygons import loops, nested, painted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_hrpn.slides.polygons import Polygons

HALF_A_PIXEL = 0.5


@dataclass(frozen=True, eq=False)
class Region(ABC):
    """A part of a slide.

    Attributes
    ----------
    name : str
        What it is called; may be empty.
    """

    name: str

    @property
    @abstractmethod
    def extent(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Upper left and lower right corner, y and x, of the rectangle around it, which may reach beyond the slide."""

    @abstractmethod
    def at_level(self, rows: slice, columns: slice, downsample: tuple[float, float]) -> NDArray[np.bool_]:
        """Which pixels of a rectangle of a level are inside.

        Parameters
        ----------
        rows, columns : slice
            With a start and a stop, in pixels of the level.
        downsample : tuple of float
            Full-resolution pixels per pixel of that level, along y and x.

        Returns
        -------
        numpy.ndarray of bool
            Shape (rows, columns).
        """

    @cached_property
    @abstractmethod
    def digest(self) -> str:
        """A fingerprint of 16 hexadecimal digits of where it is; its name does not count."""

    @abstractmethod
    def outlined(self) -> Annotation:
        """The region as polygons with holes."""

    def within(self, rows: slice, columns: slice) -> NDArray[np.bool_]:
        """Which full-resolution pixels of a rectangle are inside.

        Parameters
        ----------
        rows, columns : slice
            With a start and a stop.

        Returns
        -------
        numpy.ndarray of bool
            Shape (rows, columns).
        """
        return self.at_level(rows, columns, (1.0, 1.0))

    def bounds(self, slide_shape: tuple[int, int]) -> Box:
        """The smallest rectangle of a slide's pixels that holds it.

        Parameters
        ----------
        slide_shape : tuple of int
            Height and width of the slide in pixels.

        Returns
        -------
        Box
            Cut at the edges of the slide; empty where the region lies beside it.
        """
        low, high = (np.clip(edge, 0, slide_shape) for edge in self.extent)
        (y0, x0), (y1, x1) = np.floor(low).astype(int).tolist(), np.ceil(high).astype(int).tolist()
        return Box(y0, y1, x0, x1)

    def reaches_beyond(self, slide_shape: tuple[int, int]) -> bool:
        """Whether half a pixel of it or more lies beside the slide.

        Parameters
        ----------
        slide_shape : tuple of int
            Height and width of the slide in pixels.

        Returns
        -------
        bool
            Also where all of it does.
        """
        low, high = self.extent
        return bool((low < -HALF_A_PIXEL).any() or (high > np.add(slide_shape, HALF_A_PIXEL)).any())


@dataclass(frozen=True, eq=False)
class Annotation(Region):
    """A region of a slide that somebody drew.

    Attributes
    ----------
    name : str
        What it is called; may be empty.
    kind : {"include", "exclude"}
        Whether it adds to what is looked at, or takes from it; its pixels are the same.
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

    @property
    def extent(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Corners of the rectangle around its outlines."""
        points = np.concatenate([polygon[0] for polygon in self.rings])
        return points.min(axis=0), points.max(axis=0)

    def at_level(self, rows: slice, columns: slice, downsample: tuple[float, float]) -> NDArray[np.bool_]:
        """Which pixels of a rectangle of a level are inside."""
        mask = painted(self.rings, rows, columns, downsample)
        if self.excluded:
            mask &= ~painted(self.excluded, rows, columns, downsample)
        return mask

    @cached_property
    def digest(self) -> str:
        """A fingerprint of its outlines."""
        parts = [ring.tobytes() for polygon in self.rings for ring in polygon]
        return digest_of(parts + [b"less" + ring.tobytes() for polygon in self.excluded for ring in polygon])

    def outlined(self) -> Annotation:
        """The same pixels, with outlines that were drawn in one stroke taken apart."""
        return replace(self, rings=nested([loop for polygon in self.rings for ring in polygon for loop in loops(ring)]))


@dataclass(frozen=True, eq=False)
class LabelRegion(Region):
    """The pixels of a label image that are not 0, or that have one value.

    Attributes
    ----------
    name : str
        What it is called.
    labels : array-like of bool or int, shape (y, x)
        The part of the label image around them, in memory or lazy; what is not 0 is inside.
    matrix : numpy.ndarray, shape (2, 2)
        From pixels of the slide to pixels of `labels`, with `offset`; both are counted from the centre of the first.
    offset : numpy.ndarray, shape (2,)
        Pixel of `labels` at the centre of the slide's first pixel.
    """

    name: str
    labels: Any
    matrix: NDArray[np.float64]
    offset: NDArray[np.float64]

    @property
    def extent(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Corners of the upright rectangle around `labels`."""
        height, width = self.labels.shape
        corners = np.array([(y, x) for y in (0, height) for x in (0, width)], float) - HALF_A_PIXEL
        points = self._on_slide(corners)
        return points.min(axis=0), points.max(axis=0)

    def at_level(self, rows: slice, columns: slice, downsample: tuple[float, float]) -> NDArray[np.bool_]:
        """Which pixels of a rectangle of a level are inside."""
        from scipy.ndimage import affine_transform

        shape = rows.stop - rows.start, columns.stop - columns.start
        # centre of the rectangle's first pixel, in full-resolution pixels counted from the first one's centre
        first = (np.array([rows.start, columns.start]) + HALF_A_PIXEL) * downsample - HALF_A_PIXEL
        found = affine_transform(
            np.ascontiguousarray(self.labels, bool).view(np.uint8),
            self.matrix * downsample,
            self.matrix @ first + self.offset,
            shape,
            order=0,
            mode="grid-constant",
        )
        return np.asarray(found != 0)

    @cached_property
    def digest(self) -> str:
        """A fingerprint of its pixels and of where they lie."""
        facts = repr(self.labels.shape).encode(), np.packbits(np.asarray(self.labels, bool)).tobytes()
        return digest_of([*facts, self.matrix.tobytes(), self.offset.tobytes()])

    def outlined(self) -> Annotation:
        """Polygons half way between pixels inside and outside: exact where these are no larger than a slide's."""
        from skimage.measure import find_contours

        contours = find_contours(np.pad(np.asarray(self.labels, np.float64), 1), 0.5, fully_connected="low")
        return Annotation(self.name, "include", nested([self._on_slide(contour[:-1] - 1) for contour in contours]))

    def _on_slide(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points of `labels`, counted from the centre of its first pixel, in pixels of the slide."""
        return np.asarray((points - self.offset) @ np.linalg.inv(self.matrix).T + HALF_A_PIXEL)


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
            first, last = one.extent
            near = (low <= last).all(axis=1) & (high >= first).all(axis=1)
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


def digest_of(parts: Iterable[bytes]) -> str:
    """A fingerprint of 16 hexadecimal digits."""
    return hashlib.sha256(b"|".join(parts)).hexdigest()[:16]
