"""Masks of a whole slide at a coarse level: combined annotations, and the predicted part of a region."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.slides.errors import SlideError
from napari_hrpn.slides.polygons import painted
from napari_hrpn.slides.region import HALF_A_PIXEL, LabelRegion, Region, digest_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_hrpn.core import Box
    from napari_hrpn.slides.predictions import FinishedTiles
    from napari_hrpn.slides.region import Annotation

_LARGEST_PX = 4096


@dataclass(frozen=True, eq=False)
class RegionMask(Region):
    """A part of a slide as a mask of the whole slide at a coarse level.

    Attributes
    ----------
    mask : numpy.ndarray of bool, shape (y, x)
        True inside. Do not change the array: make a new mask.
    downsample : tuple of float
        Full-resolution pixels per pixel of the mask, along y and x.
    name : str
        What it is called.
    """

    mask: NDArray[np.bool_]
    downsample: tuple[float, float]
    name: str = field(default="", kw_only=True)

    @classmethod
    def whole(cls, slide_shape: tuple[int, int]) -> RegionMask:
        """Mask of a whole slide.

        Parameters
        ----------
        slide_shape : tuple of int
            Height and width of the slide in pixels.

        Returns
        -------
        RegionMask
            Mask of one pixel.
        """
        height, width = slide_shape
        return RegionMask(np.ones((1, 1), bool), (float(height), float(width)))

    @property
    def extent(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Corners of the rectangle around its pixels; zeros if the mask is empty."""
        if not self.mask.any():
            return np.zeros(2), np.zeros(2)
        occupied = [np.flatnonzero(self.mask.any(axis=1 - axis)) for axis in (0, 1)]
        low, high = (np.array(ends) for ends in zip(*((at[0], at[-1] + 1) for at in occupied), strict=True))
        return low * self.downsample, high * self.downsample

    def at_level(self, rows: slice, columns: slice, downsample: tuple[float, float]) -> NDArray[np.bool_]:
        """Which pixels of a rectangle of a level are inside."""
        y, x = (
            np.minimum((np.arange(part.start, part.stop) + HALF_A_PIXEL) * step / factor, size - 1).astype(np.intp)
            for part, step, factor, size in zip(
                (rows, columns), downsample, self.downsample, self.mask.shape, strict=True
            )
        )
        return self.mask[np.ix_(y, x)]

    def within(self, rows: slice, columns: slice) -> NDArray[np.bool_]:
        """Which full-resolution pixels of a rectangle have their upper left corner inside.

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
        # columns are repeated before rows, because copying whole rows is fast
        near: NDArray[np.bool_] = self.mask[y[0] : y[-1] + 1][:, x][y - y[0]] if len(y) else self.mask[:0][:, x]
        return near

    @cached_property
    def digest(self) -> str:
        """Hash that changes with the mask."""
        facts = repr((self.mask.shape, tuple(float(factor) for factor in self.downsample)))
        return digest_of([facts.encode() + np.packbits(self.mask).tobytes()])

    def outlined(self) -> Annotation:
        """Polygons halfway between pixels inside and outside."""
        per_pixel = 1 / np.array(self.downsample)
        offset = HALF_A_PIXEL * per_pixel - HALF_A_PIXEL
        return LabelRegion(self.name, self.mask, np.diag(per_pixel), offset).outlined()

    @property
    def fraction(self) -> float:
        """Share of the slide that is inside."""
        return float(self.mask.mean())

    def meets(self, box: Box) -> bool:
        """Whether any pixel of the mask is in a rectangle, or touches it.

        Parameters
        ----------
        box : Box
            Rectangle of full-resolution pixels; it may reach beyond the slide.

        Returns
        -------
        bool
            True also where it only touches the rectangle.
        """
        rows = slice(max(0, math.floor(box.y0 / self.downsample[0])), max(0, math.ceil(box.y1 / self.downsample[0])))
        columns = slice(max(0, math.floor(box.x0 / self.downsample[1])), max(0, math.ceil(box.x1 / self.downsample[1])))
        return bool(self.mask[rows, columns].any())

    def share(self, box: Box) -> float:
        """Share of a rectangle that is inside, by area.

        Parameters
        ----------
        box : Box
            Rectangle of full-resolution pixels; its part beyond the slide does not count.

        Returns
        -------
        float
            0 to 1; 0 if the rectangle is outside the slide.
        """
        (first_row, rows), (first_column, columns) = (
            _lengths(start, stop, factor, size)
            for start, stop, factor, size in zip(
                (box.y0, box.x0), (box.y1, box.x1), self.downsample, self.mask.shape, strict=True
            )
        )
        part = self.mask[first_row : first_row + len(rows), first_column : first_column + len(columns)]
        area = float(rows.sum() * columns.sum())
        return float(rows @ part @ columns) / area if area else 0.0

    def intersected(self, other: RegionMask) -> RegionMask:
        """Intersection with another mask.

        Parameters
        ----------
        other : RegionMask
            Mask of the same slide, at any level.

        Returns
        -------
        RegionMask
            Intersection at the finer level of the two.
        """
        height, width = np.multiply(self.mask.shape, self.downsample).tolist()
        shape = rows, columns = np.maximum(self.mask.shape, other.mask.shape).tolist()
        return RegionMask(_spread(self.mask, shape) & _spread(other.mask, shape), (height / rows, width / columns))


def coarse_grid(slide_shape: tuple[int, int]) -> tuple[slice, slice, tuple[float, float]]:
    """Rows, columns and downsample of a grid over a slide, at most 4096 px a side and no finer than the slide."""
    factor = max(1.0, max(slide_shape) / _LARGEST_PX)
    height, width = (min(_LARGEST_PX, size, max(1, math.ceil(size / factor))) for size in slide_shape)
    return slice(0, height), slice(0, width), (slide_shape[0] / height, slide_shape[1] / width)


def region_mask(
    annotations: Sequence[Annotation], slide_shape: tuple[int, int], *, source: str = "the annotations"
) -> RegionMask:
    """Mask of annotations: all that include, without those that exclude.

    Parameters
    ----------
    annotations : sequence of Annotation
        Annotations. If none includes, the whole slide without the excluded ones is the region.
    slide_shape : tuple of int
        Height and width of the slide in pixels.
    source : str
        Name of the annotations in messages, such as that of their file.

    Returns
    -------
    RegionMask
        Mask of at most 4096 px a side and no finer than the slide; a pixel is inside if its centre is.

    Raises
    ------
    SlideError
        If an annotation lies outside the slide, or the regions hold no pixel.
    """
    for index, annotation in enumerate(annotations):
        # objects without area, such as points, are no regions
        if annotation.rings:
            _check_place(annotation, index, slide_shape, source)
    grid = coarse_grid(slide_shape)
    include, exclude = (
        tuple(polygon for one in annotations if one.kind == kind for polygon in one.rings)
        for kind in ("include", "exclude")
    )
    mask = painted(include, *grid) | bool(exclude and not include)
    return filled(RegionMask(mask & ~painted(exclude, *grid), grid[2]), source)


def predicted_part(region: RegionMask, finished: FinishedTiles | None, slide_shape: tuple[int, int]) -> RegionMask:
    """Predicted part of a region at a coarse level; `FinishedTiles.within` is exact at full resolution.

    Parameters
    ----------
    region : RegionMask
        Region of the slide.
    finished : FinishedTiles or None
        Finished tiles; None if the prediction is complete.
    slide_shape : tuple of int
        Height and width of the slide in pixels.

    Returns
    -------
    RegionMask
        Part of the region, or the region itself if the prediction is complete.
    """
    if finished is None:
        return region
    rows, columns, _ = coarse_grid(slide_shape)
    height, width = np.maximum(region.mask.shape, (rows.stop, columns.stop)).tolist()
    downsample = slide_shape[0] / height, slide_shape[1] / width
    mask = finished.within(slice(0, height), slice(0, width), downsample)
    return region.intersected(RegionMask(mask, downsample))


def filled(regions: RegionMask, source: str) -> RegionMask:
    """Return the mask, but refuse one without pixels."""
    if not regions.mask.any():
        msg = (
            f"The regions of {source} cover no pixel of the slide, expected at least one: draw larger regions, "
            "or remove the annotations that exclude them."
        )
        raise SlideError(msg)
    return regions


def _check_place(annotation: Annotation, index: int, slide_shape: tuple[int, int], source: str) -> None:
    (top, left), (bottom, right) = annotation.extent
    height, width = slide_shape
    if bottom <= 0 or right <= 0 or top >= height or left >= width:
        named = f" ({annotation.name})" if annotation.name else ""
        msg = (
            f"Annotation {index + 1}{named} of {source} lies outside the slide of {width} x {height} px, at x "
            f"{left:.0f} to {right:.0f} and y {top:.0f} to {bottom:.0f}: check that it belongs to this slide and "
            "is in pixels of its full resolution."
        )
        raise SlideError(msg)


def _lengths(start: float, stop: float, factor: float, size: int) -> tuple[int, NDArray[np.float64]]:
    """First mask pixel that an interval meets, and the length of the interval in each pixel from there."""
    start, stop = (min(max(edge / factor, 0.0), float(size)) for edge in (start, stop))
    first, last = math.floor(start), max(math.floor(start), math.ceil(stop))
    edges = np.clip(np.arange(first, last + 1), start, max(start, stop))
    return first, np.diff(edges)


def _spread(mask: NDArray[np.bool_], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """A mask on a finer grid over the same slide, sampled at pixel centres."""
    y, x = (((np.arange(size) + 0.5) * n / size).astype(np.intp) for n, size in zip(mask.shape, shape, strict=True))
    return mask[np.ix_(y, x)]
