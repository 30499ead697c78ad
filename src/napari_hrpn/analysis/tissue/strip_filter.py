"""Smoothing and thresholding of a channel at one level, in strips of full width.

The rule: a strip is filtered together with enough rows around it, so results equal those of the whole level at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu

from napari_hrpn.analysis.tissue.intensity import tissue_percentiles
from napari_hrpn.core import Progress
from napari_hrpn.core.errors import AnalysisError
from napari_hrpn.slides import RegionMask

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    import dask.array as da
    from numpy.typing import NDArray

    from napari_hrpn.slides import Slide

_READ_ROWS = 512
_STRIP_PX = 2**20
STRIP_ROWS = 64, 512
_BINS = 65_536
_MOST_SMOOTHING_PX = 512
_TRUNCATE = 4.0


@dataclass(frozen=True, eq=False)
class _Strip:
    """Rows y0 to y1 of a level, with additional rows above and below."""

    # rows of the strip without the additional ones
    y0: int
    y1: int
    top: int  # first row of `values`
    values: NDArray[Any]

    def core(self, image: NDArray[Any]) -> NDArray[Any]:
        """Part of an image of the strip without the additional rows."""
        return image[self.y0 - self.top : self.y1 - self.top]


@dataclass(frozen=True, eq=False)
class LevelChannel:
    """One channel of a slide at a working level."""

    slide: Slide
    # indices of the channel and of the level
    channel: int
    level: int
    smoothing_um: float  # standard deviation of the Gaussian filter; 0 for none

    @property
    def pixels(self) -> da.Array:
        """The channel, lazy, of shape (y, x)."""
        return self.slide.levels[self.level][self.channel]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the level."""
        height, width = self.pixels.shape
        return height, width

    @property
    def pixel_um(self) -> tuple[float, float]:
        """Height and width of a pixel of the level in µm."""
        return level_pixel_um(self.slide, self.slide.downsample(self.level))

    @property
    def sigma_px(self) -> tuple[float, float]:
        """Standard deviation of the Gaussian in pixels, along y and x."""
        return self.smoothing_um / self.pixel_um[0], self.smoothing_um / self.pixel_um[1]

    @property
    def strip_rows(self) -> int:
        """Rows of a strip: fewer for a wider level, so that a filter needs the same memory for any slide."""
        fewest, most = STRIP_ROWS
        return min(most, max(fewest, _STRIP_PX // max(1, self.shape[1])))

    @property
    def strip_count(self) -> int:
        """Number of strips of the level."""
        return math.ceil(self.shape[0] / self.strip_rows)

    def smoothed(self, halo: int = 0) -> Iterator[_Strip]:
        """Smoothed pixels strip by strip, each with up to `halo` valid rows above and below."""
        check_length("smoothing", self.smoothing_um, self.pixel_um, _MOST_SMOOTHING_PX)
        for strip in self.strips(halo + int(_TRUNCATE * self.sigma_px[0] + 0.5)):
            values = strip.values.astype(np.float32)
            if not np.isfinite(values).all():
                raise _not_finite(self.slide)
            if self.smoothing_um:
                values = ndimage.gaussian_filter(values, self.sigma_px, mode="nearest", truncate=_TRUNCATE)
            yield _Strip(strip.y0, strip.y1, strip.top, values)

    def strips(self, halo: int = 0) -> Iterator[_Strip]:
        """Pixels strip by strip, each with up to `halo` rows above and below; each row is read once."""
        height, width = self.shape
        top, kept = 0, np.empty((0, width), self.pixels.dtype)
        for y0 in range(0, height, self.strip_rows):
            y1 = min(y0 + self.strip_rows, height)
            while top + len(kept) < min(y1 + halo, height):
                start = top + len(kept)
                kept = np.concatenate([kept, np.asarray(self.pixels[start : start + _READ_ROWS].compute())])
            dropped = max(0, y0 - halo - top)
            top, kept = top + dropped, kept[dropped:]
            yield _Strip(y0, y1, top, kept[: min(y1 + halo, height) - top])

    def inside(self, region: RegionMask | None, y0: int, y1: int) -> NDArray[np.bool_]:
        """Which pixels of some rows of the level have their centre in a region; all if no region is given."""
        return region_on_grid(region, self.slide.downsample(self.level), slice(y0, y1), slice(0, self.shape[1]))


def level_pixel_um(slide: Slide, downsample: tuple[float, float]) -> tuple[float, float]:
    """Height and width in µm of a pixel of a coarser grid over a slide."""
    if slide.pixel_size_um is None:
        msg = f"{slide.source.name} has no pixel size; expected one in µm: give --pixel-size or enter it in Predict QD"
        raise AnalysisError(msg)
    return slide.pixel_size_um[0] * downsample[0], slide.pixel_size_um[1] * downsample[1]


def region_on_grid(
    region: RegionMask | None, downsample: tuple[float, float], rows: slice, columns: slice
) -> NDArray[np.bool_]:
    """Which pixels of a part of a grid over a slide have their centre in a region."""
    if region is None:
        return np.ones((rows.stop - rows.start, columns.stop - columns.start), bool)
    return region.at_level(rows, columns, downsample)


def grey_threshold(
    image: LevelChannel, region: RegionMask | None, stated: float | None
) -> Generator[Progress, None, float]:
    """Grey level that separates the smoothed pixels of a region into two classes: the stated one, or Otsu's.

    Integers of up to 16 bits are counted in steps of one grey level, other pixels in 65,536 steps from the
    smallest to the largest of a sample.
    """
    if stated is not None:
        return stated
    low, step = _scale(image, region)
    counts = np.zeros(_BINS, np.int64)
    for done, strip in enumerate(image.smoothed(), start=1):
        values = strip.core(strip.values)[image.inside(region, strip.y0, strip.y1)]
        index = np.rint((values.astype(np.float64) - low) / step)
        counts += np.bincount(np.clip(index, 0, _BINS - 1).astype(np.intp), minlength=_BINS)
        yield Progress(done, 2 * image.strip_count)
    return low + step * _otsu(counts)


def _scale(image: LevelChannel, region: RegionMask | None) -> tuple[float, float]:
    if image.pixels.dtype.kind == "u" and image.pixels.dtype.itemsize <= 2:
        return 0.0, 1.0
    if region is None:
        region = RegionMask.whole(image.slide.shape)
    with np.errstate(invalid="ignore"):
        low, high = tissue_percentiles(image.slide, [image.channel], region, [0, 100], max(image.pixel_um))[0]
    if not (math.isfinite(low) and math.isfinite(high)):
        raise _not_finite(image.slide)
    return float(low), float(high - low) / (_BINS - 1) or 1.0


def _not_finite(slide: Slide) -> AnalysisError:
    return AnalysisError(
        f"{slide.source.name} has pixels that are not finite (NaN or infinite); expected finite grey levels"
    )


def _otsu(counts: NDArray[np.int64]) -> float:
    occupied = np.flatnonzero(counts)
    if len(occupied) < 2:
        return float(occupied[0]) if len(occupied) else 0.0
    levels = np.arange(occupied[0], occupied[-1] + 1)
    return float(threshold_otsu(hist=(counts[levels], levels)))


def check_length(what: str, length_um: float, pixel_um: tuple[float, float], most_px: int) -> None:
    """Refuse a length of so many pixels that the pixel size of the slide must be wrong."""
    if length_um > most_px * min(pixel_um):
        msg = (
            f"{what} of {length_um:g} µm takes more than {most_px} pixels of {min(pixel_um):.3g} µm; expected larger "
            "pixels: check the pixel size of the slide"
        )
        raise AnalysisError(msg)
