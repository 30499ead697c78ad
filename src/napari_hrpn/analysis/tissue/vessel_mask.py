"""Vessel mask of a slide at about 1 µm per pixel, computed strip by strip.

The rule: of all arrays of the slide's size only the mask is in memory, with one byte per pixel of its level.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from napari_hrpn.analysis.tissue.strip_filter import (
    LevelChannel,
    check_length,
    grey_threshold,
    level_pixel_um,
)
from napari_hrpn.core import Progress
from napari_hrpn.core.errors import AnalysisError
from napari_hrpn.settings import VesselSettings
from napari_hrpn.slides import RegionMask

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray

    from napari_hrpn.slides import Slide

_MOST_CLOSING_PX = 64


@dataclass(frozen=True, eq=False)
class VesselMask(RegionMask):
    """Vessels of a slide, lumens filled, at a working level.

    A slide of 40,000 x 40,000 px at 0.2744 µm has a mask of 10,000 x 10,000 px, which takes 100 MB.

    Attributes
    ----------
    mask : numpy.ndarray of bool, shape (y, x)
        True inside a vessel. Do not change the array: make a new mask.
    downsample : tuple of float
        Full-resolution pixels per pixel of the mask, along y and x.
    pixel_um : tuple of float
        Height and width of a pixel of the mask in µm.
    threshold : float
        Grey level with which the mask was made; NaN for a mask that was drawn or edited.
    name : str
        Its name.
    """

    pixel_um: tuple[float, float]
    threshold: float = math.nan

    @cached_property
    def objects(self) -> _MaskRuns:
        """The separate vessels: parts that are connected by sides or corners; the first one has label 1 in tables."""
        return mask_runs(self.mask)

    @property
    def area_um2(self) -> float:
        """Area of a pixel of the mask."""
        return self.pixel_um[0] * self.pixel_um[1]


def vessel_mask(
    slide: Slide, channel: int, tissue: RegionMask | None = None, settings: VesselSettings | None = None
) -> Generator[Progress, None, VesselMask]:
    """Find the vessels of a slide.

    The stain is smoothed and cut at a grey level; then small gaps are closed, lumens are filled and dust is removed.
    Otsu's grey level separates the pixels of the tissue into two classes. If few of them are vessels or the stain is
    faint, it may be too high or lie in the background: check the mask, and state a grey level or edit the mask if it
    is wrong.

    Parameters
    ----------
    slide : Slide
        The slide; one level is read strip by strip, twice, or once if the settings state a grey level.
    channel : int
        Index of its channel of vessels.
    tissue : RegionMask, optional
        Region in which vessels are searched; by default the whole slide.
    settings : VesselSettings, optional
        Lengths, areas and the grey level.

    Yields
    ------
    Progress
        After each strip.

    Returns
    -------
    VesselMask
        Mask of the whole slide.

    Raises
    ------
    AnalysisError
        If the slide has no pixel size, or has pixels that are not finite.
    SlideError
        If it cannot be read.
    """
    settings = settings or VesselSettings()
    image = LevelChannel(slide, channel, slide.level_for(settings.pixel_um), settings.smoothing_um)
    threshold = yield from grey_threshold(image, tissue, settings.threshold)
    first = image.strip_count if settings.threshold is None else 0
    mask = np.zeros(image.shape, bool)
    footprint = _disc(settings.closing_um, image.pixel_um)
    for done, strip in enumerate(image.smoothed(2 * (footprint.shape[0] // 2)), start=first + 1):
        above = strip.core(_closed(strip.values > threshold, footprint))
        mask[strip.y0 : strip.y1] = above & image.inside(tissue, strip.y0, strip.y1)
        yield Progress(done, first + image.strip_count)
    _tidy(mask, image.pixel_um, settings)
    return VesselMask(mask, slide.downsample(image.level), image.pixel_um, threshold)


def edited_vessel_mask(labels: NDArray[np.generic], slide: Slide) -> VesselMask:
    """Make a vessel mask from labels that a user drew or edited.

    Parameters
    ----------
    labels : numpy.ndarray
        Shape (y, x), of any size up to that of the slide, spread over the whole slide. Every pixel that is not zero is
        vessel, and vessels that touch count as one.
    slide : Slide
        The slide.

    Returns
    -------
    VesselMask
        The mask as drawn: nothing is closed, filled or removed.

    Raises
    ------
    AnalysisError
        If the mask has other proportions or more pixels than the slide, or the slide has no pixel size.
    """
    if labels.ndim != 2 or min(labels.shape) < 1 or any(np.greater(labels.shape, slide.shape)):
        found, most = (" x ".join(map(str, shape)) for shape in (labels.shape, slide.shape))
        msg = f"the vessel mask is {found} px; expected two sides of at most {most} px, the size of the slide"
        raise AnalysisError(msg)
    downsample = (slide.shape[0] / labels.shape[0], slide.shape[1] / labels.shape[1])
    if np.abs(np.divide(slide.shape, max(downsample)) - labels.shape).max() > 1:
        msg = (
            f"the vessel mask of {labels.shape[0]} x {labels.shape[1]} px has other proportions than the slide of "
            f"{slide.shape[0]} x {slide.shape[1]} px; expected a mask that covers the whole slide"
        )
        raise AnalysisError(msg)
    return VesselMask(np.asarray(labels != 0), downsample, level_pixel_um(slide, downsample))


def _disc(radius_um: float, pixel_um: tuple[float, float]) -> NDArray[np.bool_]:
    """Footprint of the pixels within a radius rounded to pixels; an ellipse if pixels are not square."""
    check_length("closing gaps in vessels", radius_um, pixel_um, _MOST_CLOSING_PX)
    y, x = (int(radius_um / size + 0.5) for size in pixel_um)
    rows, columns = np.ogrid[-y : y + 1, -x : x + 1]
    return np.asarray((rows / max(y, 1)) ** 2 + (columns / max(x, 1)) ** 2 <= 1)


def _closed(mask: NDArray[np.bool_], footprint: NDArray[np.bool_]) -> NDArray[np.bool_]:
    if footprint.size == 1:
        return mask
    return np.asarray(ndimage.binary_erosion(ndimage.binary_dilation(mask, footprint), footprint, border_value=1))


def _tidy(mask: NDArray[np.bool_], pixel_um: tuple[float, float], settings: VesselSettings) -> None:
    """Fill lumens, then remove dust, in place."""
    pixel_um2 = pixel_um[0] * pixel_um[1]
    holes = mask_runs(mask, diagonal=False, inverted=True)
    holes.set_parts(mask, (holes.areas_px * pixel_um2 <= settings.largest_lumen_um2) & ~holes.at_border, True)
    del holes
    objects = mask_runs(mask)
    objects.set_parts(mask, objects.areas_px * pixel_um2 < settings.smallest_um2, False)


_ROWS = 256


@dataclass(frozen=True, eq=False)
class _MaskRuns:
    """Horizontal runs of True pixels in a mask, and the connected part to which each belongs."""

    shape: tuple[int, int]  # rows and columns of the mask
    # one entry per run, by row and then column; a run ends before `stop`
    row: NDArray[np.int64]
    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    part: NDArray[np.int32]  # index of the connected part
    count: int

    @cached_property
    def areas_px(self) -> NDArray[np.int64]:
        """Number of pixels of each part."""
        return np.bincount(self.part, self.stop - self.start, self.count).astype(np.int64)

    @cached_property
    def centroids_px(self) -> NDArray[np.float64]:
        """Mean row and column of the pixels of each part, shape (parts, 2); pixel centres are at whole numbers."""
        length = self.stop - self.start
        rows = np.bincount(self.part, self.row * length, self.count)
        columns = np.bincount(self.part, (self.start + self.stop - 1) * length / 2, self.count)
        return np.stack([rows, columns], axis=1) / np.maximum(self.areas_px, 1)[:, None]

    @cached_property
    def at_border(self) -> NDArray[np.bool_]:
        """Whether each part touches the border of the mask."""
        height, width = self.shape
        outer = (self.row == 0) | (self.row == height - 1) | (self.start == 0) | (self.stop == width)
        return np.bincount(self.part, outer, self.count) > 0

    def painted(self, rows: slice, columns: slice) -> NDArray[np.int32]:
        """Label image of a rectangle: 0 outside of all parts and 1 for the first part."""
        labels = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.int32)
        first, last = np.searchsorted(self.row, [rows.start, rows.stop])
        start = np.clip(self.start[first:last], columns.start, columns.stop) - columns.start
        stop = np.clip(self.stop[first:last], columns.start, columns.stop) - columns.start
        begins = (self.row[first:last] - rows.start) * labels.shape[1] + start
        labels.reshape(-1)[_ranges(begins, stop - start)] = np.repeat(self.part[first:last] + 1, stop - start)
        return labels

    def set_parts(self, mask: NDArray[np.bool_], chosen: NDArray[np.bool_], value: bool) -> None:
        """Set the pixels of the chosen parts in a mask of the same shape to a value, in place."""
        run = chosen[self.part]
        begins = self.row[run] * self.shape[1] + self.start[run]
        mask.reshape(-1)[_ranges(begins, self.stop[run] - self.start[run])] = value


def mask_runs(mask: NDArray[np.bool_], *, diagonal: bool = True, inverted: bool = False) -> _MaskRuns:
    """Find the connected parts of a mask."""
    found = [_runs(mask[top : top + _ROWS] ^ inverted, top) for top in range(0, len(mask), _ROWS)]
    row, start, stop = (np.concatenate(part) for part in zip(*found, strict=True))
    above, below = _touching(row, start, stop, mask.shape[1], diagonal=diagonal)
    links = coo_array((np.ones(len(above), bool), (above, below)), shape=(len(row), len(row)))
    count, part = connected_components(links, directed=False) if len(row) else (0, np.zeros(0, np.int32))
    return _MaskRuns((mask.shape[0], mask.shape[1]), row, start, stop, part, int(count))


def _runs(mask: NDArray[np.bool_], top: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    edges = np.zeros((mask.shape[0], mask.shape[1] + 1), bool)
    edges[:, 0], edges[:, -1] = mask[:, 0], mask[:, -1]
    edges[:, 1:-1] = mask[:, 1:] != mask[:, :-1]
    row, column = np.nonzero(edges)
    return row[::2] + top, column[::2], column[1::2]


def _touching(
    row: NDArray[np.int64], start: NDArray[np.int64], stop: NDArray[np.int64], width: int, *, diagonal: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of runs in neighbouring rows that touch."""
    stride = width + 2
    below = (row + 1) * stride
    first = np.searchsorted(row * stride + stop, below + start, "left" if diagonal else "right")
    last = np.searchsorted(row * stride + start, below + stop, "right" if diagonal else "left")
    counts = np.maximum(last - first, 0)
    return np.repeat(np.arange(len(row)), counts), _ranges(first, counts)


def _ranges(begins: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Concatenated ranges of whole numbers, each from its beginning and with its length."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(begins - ends + lengths, lengths)
