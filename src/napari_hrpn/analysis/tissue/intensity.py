"""Intensity percentiles of the tissue and background level of the glass, from a sample of bounded size."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.slides import known_pixels

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_hrpn.slides import RegionMask, Slide

SAMPLES = 4_000_000
_BLOCK_PX = 1024
_DARK_PERCENT = 1


def tissue_percentiles(
    slide: Slide, channels: Sequence[int], tissue: RegionMask, percentiles: Sequence[float], pixel_um: float
) -> NDArray[np.float64]:
    """Percentiles of the grey levels of the tissue, at about a given pixel size.

    Parameters
    ----------
    slide : Slide
        The slide; one level is read block by block.
    channels : sequence of int
        Indices of the channels.
    tissue : RegionMask
        Mask; pixels outside are left out.
    percentiles : sequence of float
        0 to 100.
    pixel_um : float
        The coarsest level whose pixels are not larger is read, so that slides are blurred alike whatever levels
        they have.

    Returns
    -------
    numpy.ndarray
        Shape (channels, percentiles), from at most 4 million evenly spread pixels. Pixels that are no grey levels (see
        `known_pixels`) are left out, and a channel without any grey level gets NaN.
    """
    pixels: NDArray[Any] = tissue_pixels(slide, channels, tissue, pixel_um)
    if not pixels.size:
        return np.zeros((len(channels), len(percentiles)))
    known = known_pixels(pixels)
    if known is None:
        found: NDArray[np.float64] = np.percentile(pixels, percentiles, axis=1).T
        return found
    return np.stack([_percentiles(*each, percentiles) for each in zip(pixels, known, strict=True)])


def tissue_pixels(slide: Slide, channels: Sequence[int], tissue: RegionMask, pixel_um: float) -> NDArray[np.generic]:
    """Sample at most 4 million evenly spread pixels of the tissue, at about a given pixel size; shape (channels, n)."""
    level = slide.level_for(pixel_um)
    step = max(1, math.ceil(math.sqrt(math.prod(slide.levels[level].shape[1:]) / SAMPLES)))
    samples = [block[:, mask] for block, mask in _blocks(slide, level, channels, tissue, step) if mask.any()]
    return np.concatenate(samples, axis=1) if samples else np.zeros((len(channels), 0), slide.dtype)


def _percentiles(
    pixels: NDArray[np.generic], known: NDArray[np.bool_], percentiles: Sequence[float]
) -> NDArray[np.float64]:
    values = pixels[known].astype(np.float64)
    return np.percentile(values, percentiles) if len(values) else np.full(len(percentiles), np.nan)


def background_levels(slide: Slide, channels: Sequence[int], tissue: RegionMask) -> NDArray[np.float32] | None:
    """Grey levels of blank glass.

    Parameters
    ----------
    slide : Slide
        The slide; the level from which the mask was made is read.
    channels : sequence of int
        Indices of the channels.
    tissue : RegionMask
        Mask at a level of the slide; pixels inside are left out.

    Returns
    -------
    numpy.ndarray or None
        Median grey level of each channel outside the tissue, or the first percentile of all pixels if no pixel
        outside is a grey level; None if the tissue fills the slide.
    """
    outside = ~tissue.mask
    if not outside.any():
        return None
    level = next(level for level in slide.levels if level.shape[1:] == tissue.mask.shape)
    return np.array([_background(np.asarray(level[channel].compute()), outside) for channel in channels], np.float32)


def _background(pixels: NDArray[Any], outside: NDArray[np.bool_]) -> float:
    known = known_pixels(pixels)
    if known is None:
        return float(np.median(pixels[outside]))
    for chosen, percentile in ((known & outside, 50), (known, _DARK_PERCENT)):
        if chosen.any():
            return float(np.percentile(pixels[chosen].astype(np.float64), percentile))
    return 0.0


def _blocks(
    slide: Slide, level: int, channels: Sequence[int], tissue: RegionMask, step: int
) -> Iterator[tuple[NDArray[np.generic], NDArray[np.bool_]]]:
    pixels = slide.levels[level]
    height, width = pixels.shape[1:]
    for y0 in range(0, height, _BLOCK_PX):
        for x0 in range(0, width, _BLOCK_PX):
            rows = np.arange(y0, min(y0 + _BLOCK_PX, height), step) * tissue.mask.shape[0] // height
            columns = np.arange(x0, min(x0 + _BLOCK_PX, width), step) * tissue.mask.shape[1] // width
            mask = tissue.mask[np.ix_(rows, columns)]
            if mask.any():
                block = pixels[list(channels), y0 : y0 + _BLOCK_PX, x0 : x0 + _BLOCK_PX].compute()
                yield np.asarray(block)[:, ::step, ::step], mask
