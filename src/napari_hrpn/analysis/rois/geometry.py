"""Geometry of regions of interest: which pixels of any level are inside.

Points are in full-resolution pixels from the outer corner of the slide, as in an `Annotation`; a pixel is inside where
its centre is.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from napari_hrpn.slides import Annotation, RegionMask, annotation_mask

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Box = tuple[slice, slice]

_HALF_A_PIXEL = 0.5


@dataclass(frozen=True, eq=False)
class LabelledRoi:
    """The pixels of a label image that have one value.

    Attributes
    ----------
    name : str
        What it is called.
    inside : numpy.ndarray of bool, shape (y, x)
        The part of the label image around them.
    matrix : numpy.ndarray, shape (2, 2)
        From pixels of the slide to pixels of `inside`, with `offset`; both are counted from the centre of the first.
    offset : numpy.ndarray, shape (2,)
        Pixel of `inside` at the centre of the slide's first pixel.
    """

    name: str
    inside: NDArray[np.bool_]
    matrix: NDArray[np.float64]
    offset: NDArray[np.float64]


Roi: TypeAlias = Annotation | LabelledRoi


def roi_bounds(roi: Roi | RegionMask, slide_shape: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of the slide that hold a region.

    Parameters
    ----------
    roi : Annotation, LabelledRoi or RegionMask
        The region; it may reach beyond the slide.
    slide_shape : tuple of int
        Height and width of the slide in pixels.

    Returns
    -------
    tuple of slice
        In full-resolution pixels, cut at the edges of the slide; empty where the region lies beside it.
    """
    low, high = roi_extent(roi)
    rows, columns = (
        slice(min(max(0, math.floor(first)), size), min(max(0, math.ceil(last)), size))
        for first, last, size in zip(low, high, slide_shape, strict=True)
    )
    return rows, columns


def reaches_beyond(roi: Roi, slide_shape: tuple[int, int]) -> bool:
    """Whether some of a region lies beside the slide.

    Parameters
    ----------
    roi : Annotation or LabelledRoi
        The region.
    slide_shape : tuple of int
        Height and width of the slide in pixels.

    Returns
    -------
    bool
        True from half a pixel on.
    """
    low, high = roi_extent(roi)
    return bool((low < -_HALF_A_PIXEL).any() or (high > np.add(slide_shape, _HALF_A_PIXEL)).any())


def roi_mask(roi: Roi, rows: slice, columns: slice, downsample: tuple[float, float] = (1.0, 1.0)) -> NDArray[np.bool_]:
    """Which pixels of a rectangle are in a region.

    Parameters
    ----------
    roi : Annotation or LabelledRoi
        The region; of an annotation it makes no difference whether it includes or excludes.
    rows, columns : slice
        With a start and a stop, in pixels of a level.
    downsample : tuple of float
        Full-resolution pixels per pixel of that level, along y and x.

    Returns
    -------
    numpy.ndarray of bool
        Shape (rows, columns).
    """
    if isinstance(roi, LabelledRoi):
        return _label_mask(roi, rows, columns, np.asarray(downsample, float))
    if downsample != (1.0, 1.0):
        rings, excluded = (
            tuple(tuple(ring / downsample for ring in polygon) for polygon in polygons)
            for polygons in (roi.rings, roi.excluded)
        )
        roi = replace(roi, rings=rings, excluded=excluded)
    return annotation_mask(roi, rows, columns)


def roi_digest(roi: Roi) -> str:
    """A fingerprint of where a region is; its name does not count.

    Parameters
    ----------
    roi : Annotation or LabelledRoi
        The region.

    Returns
    -------
    str
        16 hexadecimal digits.
    """
    if isinstance(roi, LabelledRoi):
        parts = [repr(roi.inside.shape).encode(), np.packbits(roi.inside).tobytes()]
        parts += [roi.matrix.tobytes(), roi.offset.tobytes()]
    else:
        parts = [ring.tobytes() for polygon in roi.rings for ring in polygon]
        parts += [b"less" + ring.tobytes() for polygon in roi.excluded for ring in polygon]
    return hashlib.sha256(b"|".join(parts)).hexdigest()[:16]


def roi_extent(roi: Roi | RegionMask) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Corners of the smallest upright rectangle that holds a region, wherever it lies.

    Parameters
    ----------
    roi : Annotation, LabelledRoi or RegionMask
        The region.

    Returns
    -------
    low, high : numpy.ndarray, shape (2,)
        y and x in full-resolution pixels from the slide's outer corner.
    """
    if isinstance(roi, LabelledRoi):
        height, width = roi.inside.shape
        corners = np.array([(y, x) for y in (0, height) for x in (0, width)], float) - _HALF_A_PIXEL
        points = (corners - roi.offset) @ np.linalg.inv(roi.matrix).T + _HALF_A_PIXEL
    elif isinstance(roi, RegionMask):
        points = np.reshape(roi.bounds, (2, 2)).T.astype(float)
    else:
        points = np.concatenate([polygon[0] for polygon in roi.rings])
    return points.min(axis=0), points.max(axis=0)


def _label_mask(roi: LabelledRoi, rows: slice, columns: slice, downsample: NDArray[np.float64]) -> NDArray[np.bool_]:
    from scipy.ndimage import affine_transform

    shape = rows.stop - rows.start, columns.stop - columns.start
    # centre of the rectangle's first pixel, in full-resolution pixels counted from the first one's centre
    first = (np.array([rows.start, columns.start]) + _HALF_A_PIXEL) * downsample - _HALF_A_PIXEL
    found = affine_transform(
        np.ascontiguousarray(roi.inside).view(np.uint8),
        roi.matrix * downsample,
        roi.matrix @ first + roi.offset,
        shape,
        order=0,
        mode="grid-constant",
    )
    return np.asarray(found != 0)
