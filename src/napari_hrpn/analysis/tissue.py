"""Where the tissue is: a mask at a coarse level, from the nuclei.

It errs on the side of tissue: what it leaves out is neither predicted nor measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage
from skimage.filters import gaussian
from skimage.morphology import remove_small_objects

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_hrpn.slides import Slide


@dataclass(frozen=True)
class TissueSettings:
    """How tissue is told from background.

    Attributes
    ----------
    pixel_um : float
        Largest pixel of the level that is looked at.
    smoothing_um : float
        Standard deviation of the Gaussian that joins nuclei into tissue.
    threshold : float
        Share of the way from the background to the brightest smoothed tissue (95th percentile), 0 to 1.
    smallest_um2 : float
        Smaller islands are dust.
    margin_um : float
        The mask is grown by this much.
    """

    pixel_um: float = 8.0
    smoothing_um: float = 16.0
    threshold: float = 0.1
    smallest_um2: float = 20_000.0
    margin_um: float = 25.0


@dataclass(frozen=True, eq=False)
class TissueMask:
    """Tissue at a coarse level of a slide.

    Attributes
    ----------
    mask : numpy.ndarray of bool, shape (y, x)
        True on tissue.
    downsample : tuple of float
        Full-resolution pixels per pixel of the mask, along y and x.
    level : int
        The level that it was made from.
    """

    mask: NDArray[np.bool_]
    downsample: tuple[float, float]
    level: int

    def meets(self, y0: int, y1: int, x0: int, x1: int) -> bool:
        """Whether there is any tissue in a rectangle of full-resolution pixels.

        Parameters
        ----------
        y0, y1, x0, x1 : int
            Half-open rows and columns; they may reach beyond the slide.

        Returns
        -------
        bool
            True also where tissue only touches it.
        """
        rows = slice(max(0, math.floor(y0 / self.downsample[0])), max(0, math.ceil(y1 / self.downsample[0])))
        columns = slice(max(0, math.floor(x0 / self.downsample[1])), max(0, math.ceil(x1 / self.downsample[1])))
        return bool(self.mask[rows, columns].any())

    def within(self, rows: slice, columns: slice) -> NDArray[np.bool_]:
        """Tissue of each full-resolution pixel of a rectangle.

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
        return self.mask[np.ix_(y, x)]

    @property
    def fraction(self) -> float:
        """Share of the slide that is tissue."""
        return float(self.mask.mean())


def tissue_mask(slide: Slide, nuclei: int, settings: TissueSettings | None = None) -> TissueMask:
    """Find the tissue of a slide by its nuclei.

    Nuclei are smoothed until they touch, cut at a share of the way from the background (1st percentile) to
    bright tissue (95th), holes are filled, dust removed, and the rest grown a little.

    Parameters
    ----------
    slide : Slide
        Read at a coarse level only.
    nuclei : int
        Its channel of nuclei.
    settings : TissueSettings, optional
        Lengths and threshold.

    Returns
    -------
    TissueMask
        Over the whole slide. A slide without contrast, or with nothing but dust, is all tissue.
    """
    settings = settings or TissueSettings()
    level = slide.level_for(settings.pixel_um)
    image = np.asarray(slide.levels[level][nuclei].compute(), np.float64)
    pixel_um = _pixel_um(slide, level)
    smooth = gaussian(image, sigma=settings.smoothing_um / pixel_um, mode="nearest", preserve_range=True)
    background, bright = np.percentile(smooth, [1, 95])
    if bright <= background:
        return TissueMask(np.ones(image.shape, bool), slide.downsample(level), level)
    mask = smooth > background + settings.threshold * (bright - background)
    return TissueMask(_tidied(mask, pixel_um, settings), slide.downsample(level), level)


def _pixel_um(slide: Slide, level: int) -> float:
    finest = slide.pixel_size_um or (0.3, 0.3)
    return float(np.mean(np.multiply(finest, slide.downsample(level))))


def _tidied(mask: NDArray[np.bool_], pixel_um: float, settings: TissueSettings) -> NDArray[np.bool_]:
    smallest = min(settings.smallest_um2 / pixel_um**2, 0.01 * mask.size)
    islands = remove_small_objects(mask, max_size=max(1, int(smallest)))
    filled = ndimage.binary_fill_holes(islands)
    if not filled.any():
        return np.ones_like(mask)
    distance = ndimage.distance_transform_edt(~filled)
    return np.asarray(distance * pixel_um <= settings.margin_um)
