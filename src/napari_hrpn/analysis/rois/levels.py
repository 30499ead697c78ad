"""Levels of images on which regions are looked at: those in common, and that which shows the correlation length."""

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

# a correlation length is found as well on a coarser level
_LOOKED_AT_PX = 2**20


@dataclass(frozen=True, eq=False)
class SharedLevel:
    """A level that all images have."""

    number: int  # which level of the first image, 0 the finest
    downsample: tuple[float, float]  # full-resolution pixels per pixel, along y and x
    arrays: tuple[da.Array, ...]  # shape (y, x), one for each image


def shared_levels(pyramids: Sequence[Sequence[da.Array]]) -> tuple[SharedLevel, ...]:
    """Levels that all images have in one size, but for a last row or column."""
    first, *others = pyramids
    levels = []
    for number, own in enumerate(first):
        found = [_like(own, each) for each in others]
        alike = [own, *(each for each in found if each is not None)]
        if len(alike) == len(pyramids):
            height, width = np.min([each.shape for each in alike], axis=0).tolist()
            arrays = tuple(each[:height, :width] for each in alike)
            levels.append(SharedLevel(number, _downsample(first[0].shape, own.shape), arrays))
    return tuple(levels)


def _like(level: da.Array, pyramid: Sequence[da.Array]) -> da.Array | None:
    """The level of a pyramid that is as coarse as a level of another one."""
    # of an odd size, some programs keep the last pixel in coarser levels and others leave it out
    alike = (each for each in pyramid if np.abs(np.subtract(each.shape, level.shape)).max() <= 1)
    return next(alike, None)


def _downsample(full: tuple[int, int], size: tuple[int, int]) -> tuple[float, float]:
    down, across = (_step(*lengths) for lengths in zip(full, size, strict=True))
    return down, across


def _step(full: int, size: int) -> float:
    """An odd edge makes the ratio of the sizes a little too large or too small."""
    whole = round(full / size)
    return float(whole) if size in (-(-full // whole), full // whole) else full / size


@dataclass(frozen=True, eq=False)
class RoiImages:
    """A real channel, its predictions, and the levels that all of them have.

    Attributes
    ----------
    real : ProbeImage
        What was imaged.
    predictions : tuple of ProbeImage
        What was predicted, one at least.
    levels : tuple of SharedLevel
        Finest first.
    """

    real: ProbeImage
    predictions: tuple[ProbeImage, ...]
    levels: tuple[SharedLevel, ...]

    @property
    def finished(self) -> FinishedTiles | None:
        """What is predicted in all of them at this moment; None where all pixels are there."""
        return in_all(image.slide.finished for image in (self.real, *self.predictions))

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in full-resolution pixels."""
        return self.real.slide.shape

    def level_for(self, region: Region, most_px: float) -> SharedLevel:
        """Finest level at which the rectangle around a region has no more than so many pixels.

        Parameters
        ----------
        region : Region
            Of the real slide.
        most_px : float
            What can be afforded.

        Returns
        -------
        SharedLevel
            The coarsest where none is coarse enough.
        """
        area = region.bounds(self.shape).area
        fits = (level for level in self.levels if area / math.prod(level.downsample) <= most_px)
        return next(fits, self.levels[-1])


def roi_images(real: ProbeImage, predictions: tuple[ProbeImage, ...]) -> RoiImages:
    """Put a real channel and its predictions together.

    Parameters
    ----------
    real : ProbeImage
        What was imaged.
    predictions : tuple of ProbeImage
        What was predicted, of the same height and width.

    Returns
    -------
    RoiImages
        Lazy.

    Raises
    ------
    AgreementError
        If there is no prediction, or sizes differ.
    """
    if not predictions:
        raise AgreementError("There is no prediction to compare, expected one at least: choose one.")
    for each in predictions:
        if each.slide.shape != real.slide.shape:
            (height, width), (own_height, own_width) = real.slide.shape, each.slide.shape
            raise AgreementError(
                f"{each.name} has {own_width} x {own_height} px and {real.name} {width} x {height}, expected one size: "
                "choose a prediction of this slide."
            )
    levels = shared_levels([_pyramid(each) for each in (real, *predictions)])
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
    """Side of the blocks of a bootstrap of any region, as `block_side_px` of pixels in memory."""
    box = region.bounds(real.slide.shape)
    if not box.area:
        return 1
    looks = [_look(image, region, box, finished, cache) for image in (real, prediction)]
    length = max(correlation_length_px(pixels, mask) * factor for pixels, mask, factor in looks)
    _, mask, factor = looks[0]
    area = float(mask.sum()) * factor**2
    return max(1, math.ceil(max(BLOCK_LENGTHS * length, math.sqrt(area / MOST_BLOCKS))))


def _look(
    image: ProbeImage, region: Region, box: Box, finished: FinishedTiles | None, cache: ChunkCache | None
) -> tuple[NDArray[Any], NDArray[np.bool_], float]:
    """A region on the finest level on which it is small, which of its pixels are inside, and how coarse that is."""
    slide = image.slide
    fits = [i for i in range(len(slide.levels)) if box.area / math.prod(slide.downsample(i)) <= _LOOKED_AT_PX]
    level = min(fits, default=len(slide.levels) - 1)
    downsample = slide.downsample(level)
    rows, columns = (
        slice(int(part.start / factor), max(int(part.start / factor) + 1, math.ceil(part.stop / factor)))
        for part, factor in zip(box.slices, downsample, strict=True)
    )
    if cache is None:
        pixels = np.asarray(slide.levels[level][image.channel, rows, columns].compute(scheduler="synchronous"))
    else:
        height, width = slide.levels[level].shape[1:]
        part = slice(rows.start, min(rows.stop, height)), slice(columns.start, min(columns.stop, width))
        pixels = cache.read(slide.levels[level], slice(image.channel, image.channel + 1), *part)[0]
    mask = region.at_level(rows, columns, downsample)[: pixels.shape[0], : pixels.shape[1]]
    if finished is not None:
        mask = mask & finished.within(rows, columns, downsample)[: pixels.shape[0], : pixels.shape[1]]
    checked_image(pixels, mask, f"image {slide.source.name}")
    return pixels, mask, math.sqrt(math.prod(downsample))
