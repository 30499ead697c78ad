"""Pyramid levels for measuring a region: those that all images share, and the one that shows the correlation length."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.analysis.counts.blocks import BLOCK_LENGTHS, MOST_BLOCKS, correlation_length_px
from napari_hrpn.analysis.counts.moments import checked_image
from napari_hrpn.analysis.tissue.slide_penetration import ProbeImage
from napari_hrpn.core.errors import AgreementError
from napari_hrpn.slides import in_all

if TYPE_CHECKING:
    from collections.abc import Sequence

    import dask.array as da
    from numpy.typing import NDArray

    from napari_hrpn.core import Box
    from napari_hrpn.slides import ChunkCache, FinishedTiles, Region

# a coarser level gives the same correlation length and is read faster
_CORRELATION_PX = 2**20


@dataclass(frozen=True, eq=False)
class SharedLevel:
    """A pyramid level that all images have."""

    number: int  # which level of the first image, 0 the finest
    downsample: tuple[float, float]  # full-resolution pixels per pixel, along y and x
    arrays: tuple[da.Array, ...]  # shape (y, x), one for each image


def shared_levels(pyramids: Sequence[Sequence[da.Array]]) -> tuple[SharedLevel, ...]:
    """Levels that exist in all images at the same size, give or take a last row or column."""
    first, *others = pyramids
    levels = []
    for number, level in enumerate(first):
        counterparts = [_like(level, image) for image in others]
        alike = [level, *(image for image in counterparts if image is not None)]
        if len(alike) == len(pyramids):
            height, width = np.min([image.shape for image in alike], axis=0).tolist()
            arrays = tuple(image[:height, :width] for image in alike)
            levels.append(SharedLevel(number, _downsample(first[0].shape, level.shape), arrays))
    return tuple(levels)


def _like(level: da.Array, pyramid: Sequence[da.Array]) -> da.Array | None:
    """The level of a pyramid that has the size of a level of another pyramid; None if there is none."""
    # from an odd number of rows or columns, some programs keep the last pixel in coarser levels and others drop it
    alike = (candidate for candidate in pyramid if np.abs(np.subtract(candidate.shape, level.shape)).max() <= 1)
    return next(alike, None)


def _downsample(full: tuple[int, int], size: tuple[int, int]) -> tuple[float, float]:
    down, across = (_step(*lengths) for lengths in zip(full, size, strict=True))
    return down, across


def _step(full: int, size: int) -> float:
    """Pixels per coarser pixel; rounded, because an odd size makes the ratio a little too large or too small."""
    whole = round(full / size)
    return float(whole) if size in (-(-full // whole), full // whole) else full / size


@dataclass(frozen=True, eq=False)
class RoiImages:
    """A real channel, its predictions, and the levels that all of them have.

    Attributes
    ----------
    real : ProbeImage
        The imaged channel.
    predictions : tuple of ProbeImage
        The predicted channels, at least one.
    levels : tuple of SharedLevel
        Finest first.
    """

    real: ProbeImage
    predictions: tuple[ProbeImage, ...]
    levels: tuple[SharedLevel, ...]

    @property
    def finished(self) -> FinishedTiles | None:
        """Tiles that are predicted in all images at this moment; None if all pixels are predicted."""
        return in_all(image.slide.finished for image in (self.real, *self.predictions))

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in full-resolution pixels."""
        return self.real.slide.shape

    def level_for(self, region: Region, most_px: float) -> SharedLevel:
        """Finest level at which the rectangle around a region has at most a given number of pixels.

        Parameters
        ----------
        region : Region
            A region of the real slide.
        most_px : float
            Largest number of pixels.

        Returns
        -------
        SharedLevel
            The coarsest level if none is coarse enough.
        """
        area = region.bounds(self.shape).area
        fits = (level for level in self.levels if area / math.prod(level.downsample) <= most_px)
        return next(fits, self.levels[-1])


def roi_images(real: ProbeImage, predictions: tuple[ProbeImage, ...]) -> RoiImages:
    """Find the levels that a real channel and its predictions share.

    Parameters
    ----------
    real : ProbeImage
        The imaged channel.
    predictions : tuple of ProbeImage
        The predicted channels, of the same height and width.

    Returns
    -------
    RoiImages
        The images with lazy levels.

    Raises
    ------
    AgreementError
        If there is no prediction, or sizes differ.
    """
    if not predictions:
        raise AgreementError("There is no prediction to compare, expected one at least: choose one.")
    for prediction in predictions:
        if prediction.slide.shape != real.slide.shape:
            (height, width), (found_height, found_width) = real.slide.shape, prediction.slide.shape
            raise AgreementError(
                f"{prediction.name} has {found_width} x {found_height} px and {real.name} {width} x {height}, expected "
                "one size: choose a prediction of this slide."
            )
    levels = shared_levels([_pyramid(image) for image in (real, *predictions)])
    return RoiImages(real, predictions, levels)


def _pyramid(image: ProbeImage) -> list[da.Array]:
    return [level[image.channel] for level in image.slide.levels]


def block_side(
    real: ProbeImage,
    prediction: ProbeImage,
    region: Region,
    finished: FinishedTiles | None = None,
    cache: ChunkCache | None = None,
) -> int:
    """Side of the bootstrap blocks of a region in pixels, like `block_side_px`, which takes pixels in memory."""
    box = region.bounds(real.slide.shape)
    if not box.area:
        return 1
    samples = [_sample(image, region, box, finished, cache) for image in (real, prediction)]
    length = max(correlation_length_px(pixels, mask) * factor for pixels, mask, factor in samples)
    _, mask, factor = samples[0]
    area = float(mask.sum()) * factor**2
    return max(1, math.ceil(max(BLOCK_LENGTHS * length, math.sqrt(area / MOST_BLOCKS))))


def _sample(
    image: ProbeImage, region: Region, box: Box, finished: FinishedTiles | None, cache: ChunkCache | None
) -> tuple[NDArray[Any], NDArray[np.bool_], float]:
    """Pixels of a region at the finest level at which they are few, which of them are inside, and the downsample."""
    slide = image.slide
    fits = [i for i in range(len(slide.levels)) if box.area / math.prod(slide.downsample(i)) <= _CORRELATION_PX]
    level = min(fits, default=len(slide.levels) - 1)
    downsample = slide.downsample(level)
    rows, columns = (
        slice(int(extent.start / factor), max(int(extent.start / factor) + 1, math.ceil(extent.stop / factor)))
        for extent, factor in zip(box.slices, downsample, strict=True)
    )
    if cache is None:
        pixels = np.asarray(slide.levels[level][image.channel, rows, columns].compute(scheduler="synchronous"))
    else:
        height, width = slide.levels[level].shape[1:]
        extent = slice(rows.start, min(rows.stop, height)), slice(columns.start, min(columns.stop, width))
        pixels = cache.read(slide.levels[level], slice(image.channel, image.channel + 1), *extent)[0]
    mask = region.at_level(rows, columns, downsample)[: pixels.shape[0], : pixels.shape[1]]
    if finished is not None:
        mask = mask & finished.within(rows, columns, downsample)[: pixels.shape[0], : pixels.shape[1]]
    checked_image(pixels, mask, f"image {slide.source.name}")
    return pixels, mask, math.sqrt(math.prod(downsample))
