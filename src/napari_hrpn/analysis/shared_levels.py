"""Levels that several images of one size have in common: all of them are looked at, none is made here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import dask.array as da


@dataclass(frozen=True, eq=False)
class SharedLevel:
    """A level that all images have.

    Attributes
    ----------
    number : int
        Which level of the first image, 0 the finest.
    downsample : tuple of float
        Full-resolution pixels per pixel, along y and x.
    arrays : tuple of dask.array.Array
        Shape (y, x), one for each image.
    """

    number: int
    downsample: tuple[float, float]
    arrays: tuple[da.Array, ...]


def shared_levels(pyramids: Sequence[Sequence[da.Array]]) -> tuple[SharedLevel, ...]:
    """Levels that all images have in one size, but for a last row or column.

    Parameters
    ----------
    pyramids : sequence of sequence of dask.array.Array
        Levels of each image, finest first, of shape (y, x); the finest are of one size.

    Returns
    -------
    tuple of SharedLevel
        Finest first; what only some images have is left out.
    """
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
