"""Vessel mask of a slide at about 1 µm per pixel, made strip by strip.

The rule: the mask is the only thing as large as the slide that is held in memory, one byte per pixel of its level.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_hrpn.analysis.tissue.run_length_labels import MaskRuns, mask_runs
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

    A slide of 40,000 px at 0.2744 µm has a mask of 10,000 px, 100 MB.

    Attributes
    ----------
    mask : numpy.ndarray of bool, shape (y, x)
        True inside a vessel. It must not be changed: make another one.
    downsample : tuple of float
        Full-resolution pixels per pixel of the mask, along y and x.
    pixel_um : tuple of float
        Height and width of a pixel of the mask in µm.
    threshold : float
        Grey level that it was made with; NaN for a mask that was drawn or edited.
    """

    pixel_um: tuple[float, float]
    threshold: float = math.nan

    @cached_property
    def objects(self) -> MaskRuns:
        """The separate vessels: parts that are connected, corners included; the first is labelled 1 in tables."""
        return mask_runs(self.mask)

    @property
    def area_um2(self) -> float:
        """Area of a pixel of the mask."""
        return self.pixel_um[0] * self.pixel_um[1]


def vessel_mask(
    slide: Slide, channel: int, tissue: RegionMask | None = None, settings: VesselSettings | None = None
) -> Generator[Progress, None, VesselMask]:
    """Find the vessels of a slide.

    The stain is smoothed, cut at a grey level, small gaps are closed, lumens filled and dust removed. Otsu's grey
    level splits the pixels of the tissue in two; where few of them are vessels or the stain is faint, it may lie too
    high or in the background: look at the mask, and state a grey level or edit the mask where it is wrong.

    Parameters
    ----------
    slide : Slide
        Read at one level, strip by strip: twice, or once where the settings state a grey level.
    channel : int
        Its channel of vessels.
    tissue : RegionMask, optional
        Where vessels are looked for; everywhere where left out.
    settings : VesselSettings, optional
        Lengths, areas and the grey level.

    Yields
    ------
    Progress
        After each strip.

    Returns
    -------
    VesselMask
        Over the whole slide.

    Raises
    ------
    AnalysisError
        If the slide does not say how large its pixels are, or has pixels that are not finite.
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
    """Take a drawn or edited mask for the vessels of a slide.

    Parameters
    ----------
    labels : numpy.ndarray
        Shape (y, x), of any size up to the slide's, spread over the whole slide: all that is not zero is vessel.
        Vessels that touch are one.
    slide : Slide
        The slide.

    Returns
    -------
    VesselMask
        As it was drawn: nothing is closed, filled or removed.

    Raises
    ------
    AnalysisError
        If the mask has another shape or more pixels than the slide, or the slide does not say how large its pixels are.
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
    """Pixels whose centres are within a radius rounded to pixels, an ellipse where pixels are not square."""
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
