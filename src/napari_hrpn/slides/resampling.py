"""Resampling of a slide to another pixel size: the stored level that fits, weights of interpolation, a lazy level.

Every resampled pixel depends only on its position on the slide, so parts of a slide that are resampled one by one fit
together exactly.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from napari_hrpn.slides.errors import SlideError
from napari_hrpn.slides.lazy_pixels import SMALLEST_CHUNK, PixelSource
from napari_hrpn.slides.pyramid import coarser_levels

if TYPE_CHECKING:
    import dask.array as da
    from numpy.typing import NDArray

    from napari_hrpn.slides.slide import Slide

PIXEL_SIZE_TOLERANCE = 0.05
"""Relative difference of pixel sizes that counts as none: interpolating would blur more than it mends."""
_FURTHEST_FACTOR = 16
"""Largest ratio of two pixel sizes: a tile's border is as many times longer in the slide's own pixels."""


def has_pixel_size(size_um: tuple[float, float], pixel_um: float) -> bool:
    """Whether both sides of a pixel are as long as wanted, within 5 %."""
    return max(abs(side / pixel_um - 1) for side in size_um) <= PIXEL_SIZE_TOLERANCE


def pixel_size_words(size_um: tuple[float, float]) -> str:
    """Size of a pixel for a sentence: one number, or height x width if it is not square."""
    height, width = size_um
    return f"{height:.4g} µm" if math.isclose(height, width, rel_tol=1e-3) else f"{height:.4g} x {width:.4g} µm"


def fitting_level(slide: Slide, pixel_um: float, remedy: str = "") -> tuple[int, tuple[float, float]]:
    """Find the level from which a slide is read at another pixel size.

    Parameters
    ----------
    slide : Slide
        The slide, with a pixel size.
    pixel_um : float
        Wanted pixel size in µm.
    remedy : str
        What else may be done if the slide's pixel size is refused, for the message, such as "predict without
        resampling".

    Returns
    -------
    int
        The coarsest stored level whose pixels are not larger than wanted, by more than 5 %; 0 if all are.
    tuple of float
        Resampled pixels per pixel of this level, along y and x; 1 where they differ by at most 5 %.

    Raises
    ------
    SlideError
        If the slide has no pixel size, or one more than 16 times as large or small.
    """
    if slide.pixel_size_um is None:
        raise SlideError(
            f"{slide.source.name} has no pixel size, expected one, as it is to be resampled to {pixel_um:g} µm: state "
            "its pixel size (on the command line with --pixel-size)."
        )
    height, width = slide.pixel_size_um
    if not pixel_um / _FURTHEST_FACTOR <= min(height, width) <= max(height, width) <= pixel_um * _FURTHEST_FACTOR:
        raise SlideError(
            f"{slide.source.name} has pixels of {height:.4g} x {width:.4g} µm, more than {_FURTHEST_FACTOR} times as "
            f"small or large as the {pixel_um:g} µm it is to be resampled to: check its pixel size"
            f"{remedy and f', or {remedy}'}."
        )
    levels = range(slide.stored_levels)
    sizes = [(height * down, width * across) for down, across in map(slide.downsample, levels)]
    fitting = [i for i in levels if max(sizes[i]) <= pixel_um * (1 + PIXEL_SIZE_TOLERANCE)]
    level = max(fitting, default=0)
    ratios = (sizes[level][0] / pixel_um, sizes[level][1] / pixel_um)
    is_close = max(abs(ratio - 1) for ratio in ratios) <= PIXEL_SIZE_TOLERANCE
    return level, (1.0, 1.0) if is_close else ratios


def at_pixel_size(slide: Slide, pixel_um: float) -> Slide:
    """The same slide at another pixel size.

    Parameters
    ----------
    slide : Slide
        The slide, with a pixel size.
    pixel_um : float
        Wanted pixel size in µm.

    Returns
    -------
    Slide
        Slide whose finest level is resampled when it is read, with the stored levels that are coarser. Its pixel size
        is that of the level it is read from if that is within 5 % of the wanted one.

    Raises
    ------
    SlideError
        As for `fitting_level`.
    """
    level, factors = fitting_level(slide, pixel_um)
    finest = slide.levels[level]
    if factors != (1.0, 1.0):
        finest = _resampled_source(finest, factors).lazy()
    shape = finest.shape[1:]
    size = (slide.shape[0] / shape[0], slide.shape[1] / shape[1])
    coarser = slide.levels[level + 1 : slide.stored_levels]
    coarser = tuple(stored for stored in coarser if all(np.less(stored.shape[1:], shape)))
    last = coarser[-1] if coarser else finest
    pixel_size = slide.pixel_size_um or (pixel_um, pixel_um)
    return replace(
        slide,
        levels=(finest, *coarser, *coarser_levels(last)),
        stored_levels=1 + len(coarser),
        pixel_size_um=(pixel_size[0] * size[0], pixel_size[1] * size[1]),
        read_finished=None,
    )


def _resampled_source(level: da.Array, factors: tuple[float, float]) -> PixelSource:
    count, *size = level.shape
    height, width = (max(1, round(length * factor)) for length, factor in zip(size, factors, strict=True))

    def read(channels: slice, rows: slice, columns: slice) -> np.ndarray:
        """Pixels of shape (c, y, x); at the border of the slide the weights of the pixels there are add up to one."""
        down, weights_y = resampling(rows.start, rows.stop, factors[0], (0, size[0]))
        right, weights_x = resampling(columns.start, columns.stop, factors[1], (0, size[1]))
        pixels = level[channels, slice(*down), slice(*right)].compute(scheduler="synchronous")
        levels = resampled(pixels, weights_y, weights_x)
        return levels.astype(level.dtype) if level.dtype.kind == "f" else np.rint(levels).astype(level.dtype)

    chunk = (1, 2 * SMALLEST_CHUNK, 2 * SMALLEST_CHUNK)
    return PixelSource((count, height, width), level.dtype, chunk, read)


def resampling(
    start: int, stop: int, factor: float, source: tuple[int, int] | None = None
) -> tuple[tuple[int, int], sparse.csr_array]:
    """Source range and weights of linear interpolation between two grids of an axis, with smoothing to coarser ones.

    Target pixel i lies at (i + 1/2) / factor - 1/2 of the source; a triangle as wide as the coarser of the two
    pixels weighs the source pixels around it.
    """
    support = max(1.0, 1 / factor)
    reach = math.ceil(support)
    if source is None:
        first, last = (start + 0.5) / factor - 0.5, (stop - 0.5) / factor - 0.5
        source = math.floor(first) - reach - 1, math.ceil(last) + reach + 2
    centres = (np.arange(start, stop) + 0.5) / factor - 0.5
    offsets = np.arange(-reach, reach + 1)
    sources = np.floor(centres).astype(int)[:, None] + offsets
    weights = np.maximum(0, 1 - np.abs(sources - centres[:, None]) / support)
    weights[(sources < source[0]) | (sources >= source[1])] = 0
    weights /= weights.sum(axis=1, keepdims=True)
    kept = weights > 0
    rows = np.broadcast_to(np.arange(stop - start)[:, None], weights.shape)
    shape = (stop - start, source[1] - source[0])
    return source, sparse.csr_array((weights[kept], (rows[kept], sources[kept] - source[0])), shape=shape)


def resampled(pixels: NDArray[np.generic], rows: sparse.csr_array, columns: sparse.csr_array) -> NDArray[np.float32]:
    """Apply the weights of both axes to pixels of shape (c, y, x)."""
    return np.stack([(columns @ (rows @ plane).T).T for plane in pixels]).astype(np.float32)
