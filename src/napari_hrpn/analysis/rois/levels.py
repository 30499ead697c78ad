"""Levels that several images of one size have in common, and the pixels of a region at one of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.analysis.tissue.slide_penetration import ProbeImage
from napari_hrpn.core.errors import AgreementError
from napari_hrpn.slides import in_all

if TYPE_CHECKING:
    from collections.abc import Sequence

    import dask.array as da

    from napari_hrpn.slides import FinishedTiles


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

    def level_for(self, area_px: float, most_px: float) -> SharedLevel:
        """Finest level at which an area has no more than so many pixels.

        Parameters
        ----------
        area_px : float
            In full-resolution pixels.
        most_px : float
            What can be afforded.

        Returns
        -------
        SharedLevel
            The coarsest where none is coarse enough.
        """
        fits = (level for level in self.levels if area_px / math.prod(level.downsample) <= most_px)
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
