"""Regions of a slide as polygons or as a label of a label image; `region_mask` has coarse masks.

Points are in full-resolution pixels from the outer corner of the slide, so the first pixel reaches from 0 to 1. A pixel
of any level is in a region if its centre is.
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
        """Upper left and lower right corner (y, x) of the rectangle around it, which may reach beyond the slide."""

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
        """Hash of 16 hexadecimal digits of the position and shape of the region; its name does not count."""

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
        """The smallest rectangle of pixels of a slide that contains the region.

        Parameters
        ----------
        slide_shape : tuple of int
            Height and width of the slide in pixels.

        Returns
        -------
        Box
            Rectangle cut at the border of the slide; empty if the region is outside.
        """
        low, high = (np.clip(edge, 0, slide_shape) for edge in self.extent)
        (y0, x0), (y1, x1) = np.floor(low).astype(int).tolist(), np.ceil(high).astype(int).tolist()
        return Box(y0, y1, x0, x1)

    def reaches_beyond(self, slide_shape: tuple[int, int]) -> bool:
        """Whether the region reaches beyond the slide by more than half a pixel.

        Parameters
        ----------
        slide_shape : tuple of int
            Height and width of the slide in pixels.

        Returns
        -------
        bool
            True also if the whole region is outside.
        """
        low, high = self.extent
        return bool((low < -HALF_A_PIXEL).any() or (high > np.add(slide_shape, HALF_A_PIXEL)).any())


@dataclass(frozen=True, eq=False)
class Annotation(Region):
    """A region of a slide that a user drew.

    Attributes
    ----------
    name : str
        What it is called; may be empty.
    kind : {"include", "exclude"}
        Whether it is included or excluded when regions are combined; its own pixels do not depend on it.
    rings : tuple of tuple of numpy.ndarray
        Polygons; each has its outline and then its holes, arrays of shape (n, 2) of y and x in full-resolution
        pixels from the outer corner of the slide, the first point not repeated at the end.
    measurements : mapping of str to float
        Numbers that belong to it.
    excluded : tuple of Annotation
        Other annotations that are subtracted from it.
    feature : mapping
        The object of GeoJSON that it was read from, with all that other programs know of it; empty if it is new.
    collection : mapping
        Further members of the collection that it was read from, such as its name.
    """

    name: str
    kind: Literal["include", "exclude"]
    rings: Polygons
    measurements: Mapping[str, float] = field(default_factory=dict)
    excluded: tuple[Annotation, ...] = ()
    feature: Mapping[str, Any] = field(default_factory=dict)
    collection: Mapping[str, Any] = field(default_factory=dict)

    @property
    def extent(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Corners of the rectangle around its outlines."""
        points = np.concatenate([polygon[0] for polygon in self.rings])
        return points.min(axis=0), points.max(axis=0)

    def at_level(self, rows: slice, columns: slice, downsample: tuple[float, float]) -> NDArray[np.bool_]:
        """Which pixels of a rectangle of a level are inside."""
        mask = painted(self.rings, rows, columns, downsample)
        if self.excluded:
            mask &= ~painted(self.holes, rows, columns, downsample)
        return mask

    @cached_property
    def holes(self) -> Polygons:
        """Polygons of the excluded annotations that are near it."""
        if not self.excluded:
            return ()
        first, last = self.extent
        polygons = (polygon for one in self.excluded for polygon in one.rings)
        ends = ((polygon, polygon[0].min(axis=0), polygon[0].max(axis=0)) for polygon in polygons)
        return tuple(polygon for polygon, low, high in ends if (low <= last).all() and (high >= first).all())

    @cached_property
    def digest(self) -> str:
        """Hash of its outlines."""
        parts = [ring.tobytes() for polygon in self.rings for ring in polygon]
        return digest_of(parts + [b"less" + ring.tobytes() for polygon in self.holes for ring in polygon])

    def outlined(self) -> Annotation:
        """The same region, with rings that were joined into one outline split again."""
        return replace(self, rings=nested([loop for polygon in self.rings for ring in polygon for loop in loops(ring)]))


@dataclass(frozen=True, eq=False)
class LabelRegion(Region):
    """The pixels of a label image that are not 0, or that have one value.

    Attributes
    ----------
    name : str
        What it is called.
    labels : array-like of bool or int, shape (y, x)
        Part of the label image around the region, in memory or lazy; pixels that are not 0 are inside.
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
        """Hash of its pixels and their position."""
        facts = repr(self.labels.shape).encode(), np.packbits(np.asarray(self.labels, bool)).tobytes()
        return digest_of([*facts, self.matrix.tobytes(), self.offset.tobytes()])

    def outlined(self) -> Annotation:
        """Polygons halfway between pixels inside and outside; exact if label pixels are no larger than the slide's."""
        from skimage.measure import find_contours

        contours = find_contours(np.pad(np.asarray(self.labels, np.float64), 1), 0.5, fully_connected="low")
        return Annotation(self.name, "include", nested([self._on_slide(contour[:-1] - 1) for contour in contours]))

    def _on_slide(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points of `labels`, counted from the centre of its first pixel, in pixels of the slide."""
        return np.asarray((points - self.offset) @ np.linalg.inv(self.matrix).T + HALF_A_PIXEL)


def included(annotations: Sequence[Annotation]) -> tuple[Annotation, ...]:
    """Included annotations, each without the excluded ones near it; together they cover `region_mask`.

    Parameters
    ----------
    annotations : sequence of Annotation
        Annotations of one slide.

    Returns
    -------
    tuple of Annotation
        The included annotations, in their order.
    """
    # objects without area, such as points, are no regions
    excluding, annotations = (
        [item for item in annotations if item.kind == kind and item.rings] for kind in ("exclude", "include")
    )
    if not excluding:
        return tuple(annotations)
    low, high = (np.array(corners) for corners in zip(*(item.extent for item in excluding), strict=True))
    kept = []
    for item in annotations:
        first, last = item.extent
        near = (low <= last).all(axis=1) & (high >= first).all(axis=1)
        kept.append(replace(item, excluded=(*item.excluded, *(excluding[index] for index in np.flatnonzero(near)))))
    return tuple(kept)


def taken_away(annotations: Sequence[Annotation]) -> tuple[Annotation, ...]:
    """The annotations that `included` subtracted, to be written to the same file.

    Parameters
    ----------
    annotations : sequence of Annotation
        Annotations from `included`.

    Returns
    -------
    tuple of Annotation
        Each once, as it was read; empty if nothing was subtracted.
    """
    return tuple({id(one): one for annotation in annotations for one in annotation.excluded}.values())


def digest_of(parts: Iterable[bytes]) -> str:
    """Hash of 16 hexadecimal digits."""
    return hashlib.sha256(b"|".join(parts)).hexdigest()[:16]
