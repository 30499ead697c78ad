"""Blocks of a slide's channels inside its regions, few enough that a big slide is never read whole."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from napari_hrpn.training.entries import TrainingSlide

    Corner = tuple[int, int]

BLOCK_PX = 512
MOST_BLOCKS = 64
_ENOUGH_PIXELS = 4096


def level_to_look_at(slide: TrainingSlide) -> int:
    """Coarsest stored level with enough pixels in the regions; one that is computed would read the finest."""
    share = 1.0 if slide.regions is None else slide.regions.fraction
    levels = slide.slide.levels[: slide.slide.stored_levels]
    fits = [index for index, level in enumerate(levels) if math.prod(level.shape[1:]) * share >= _ENOUGH_PIXELS]
    return max(fits, default=0)


def block_corners(slide: TrainingSlide, level: int) -> list[Corner]:
    """Upper left corners of the blocks that meet the regions, in an order in which the first few are spread."""
    height, width = slide.slide.levels[level].shape[1:]
    down, across = slide.slide.downsample(level)
    found = [
        (y0, x0)
        for y0, x0 in itertools.product(range(0, height, BLOCK_PX), range(0, width, BLOCK_PX))
        if slide.regions is None
        or slide.regions.meets(
            math.floor(y0 * down),
            math.ceil(min(y0 + BLOCK_PX, height) * down),
            math.floor(x0 * across),
            math.ceil(min(x0 + BLOCK_PX, width) * across),
        )
    ]
    return [found[index] for index in np.random.default_rng(0).permutation(len(found))]


def read_blocks(
    slide: TrainingSlide, level: int, corners: Iterable[Corner]
) -> Iterator[tuple[NDArray[np.generic], NDArray[np.bool_]]]:
    """Read blocks one after the other."""
    pixels, channels = slide.slide.levels[level], [*slide.inputs, slide.target]
    for y0, x0 in corners:
        block = pixels[channels, y0 : y0 + BLOCK_PX, x0 : x0 + BLOCK_PX].compute(scheduler="synchronous")
        yield np.asarray(block), _inside(slide, level, y0, x0, block.shape[1:])


def _inside(slide: TrainingSlide, level: int, y0: int, x0: int, shape: tuple[int, int]) -> NDArray[np.bool_]:
    if slide.regions is None:
        return np.ones(shape, bool)
    mask, (height, width) = slide.regions.mask, slide.slide.levels[level].shape[1:]
    rows = np.arange(y0, y0 + shape[0]) * mask.shape[0] // height
    columns = np.arange(x0, x0 + shape[1]) * mask.shape[1] // width
    return np.asarray(mask[np.ix_(rows, columns)])
