"""Whether a slide's pixels can be learnt from, by a look at a coarse level; a big slide is never read whole."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.training.errors import TrainingError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_hrpn.training.entries import TrainingSlide
    from napari_hrpn.training.settings import TrainingSettings

ENOUGH_PIXELS = 4096
BLOCK_PX = 512
MOST_BLOCKS = 64


@dataclass(frozen=True, eq=False)
class _Look:
    """What blocks of a level told: lowest and highest grey level of each channel, and whether it was all of it."""

    lowest: NDArray[np.generic]
    highest: NDArray[np.generic]
    complete: bool

    @property
    def constant(self) -> NDArray[np.bool_]:
        return np.asarray(self.lowest == self.highest)


def check_pixels(slide: TrainingSlide, settings: TrainingSettings) -> None:
    """Refuse a slide with nothing to see in a channel, or with pixels that are no numbers.

    Parameters
    ----------
    slide : TrainingSlide
        Looked at within its regions: the coarsest stored level that has enough pixels there, and, before a channel
        is called empty, the finest too; of each at most 64 blocks of 512 px, spread over the slide.
    settings : TrainingSettings
        With the names of the roles.

    Raises
    ------
    TrainingError
        When an input or the target is the same everywhere, or holds NaN or infinity.
    """
    level = _level_to_look_at(slide)
    coarse = _look_at(slide, level, settings)
    empty = coarse.constant
    # a faint stain may be rounded away on a coarse level
    if level and empty.any():
        empty &= _look_at(slide, 0, settings).constant
    # what was looked at in part may have something elsewhere: cutting will tell
    if empty.any() and coarse.complete:
        which = int(np.argmax(empty))
        msg = (
            f"{_channel_name(slide, which, settings)} of {slide.slide.source.name} is {coarse.lowest[which]:g} "
            f"everywhere{' in its regions' if slide.regions else ''}, so there is nothing to learn; choose another "
            "channel, or take the slide off the list."
        )
        raise TrainingError(msg)


def _level_to_look_at(slide: TrainingSlide) -> int:
    """Coarsest stored level with enough pixels in the regions; one that is computed would read the finest."""
    share = 1.0 if slide.regions is None else slide.regions.fraction
    levels = slide.slide.levels[: slide.slide.stored_levels]
    fits = [index for index, level in enumerate(levels) if math.prod(level.shape[1:]) * share >= ENOUGH_PIXELS]
    return max(fits, default=0)


def _look_at(slide: TrainingSlide, level: int, settings: TrainingSettings) -> _Look:
    pixels = slide.slide.levels[level]
    channels = [*slide.inputs, slide.target]
    corners = _corners(slide, level)
    lowest, highest = np.full(len(channels), np.inf), np.full(len(channels), -np.inf)
    for y0, x0 in corners[:MOST_BLOCKS]:
        block = pixels[channels, y0 : y0 + BLOCK_PX, x0 : x0 + BLOCK_PX].compute(scheduler="synchronous")
        _check_finite(slide, np.asarray(block), settings)
        inside = _inside(slide, level, y0, x0, block.shape[1:])
        if inside.any():
            lowest = np.minimum(lowest, block[:, inside].min(axis=1))
            highest = np.maximum(highest, block[:, inside].max(axis=1))
        # only floats can hold what must be looked for everywhere
        if (highest > lowest).all() and np.issubdtype(pixels.dtype, np.integer):
            break
    return _Look(lowest, highest, len(corners) <= MOST_BLOCKS)


def _corners(slide: TrainingSlide, level: int) -> list[tuple[int, int]]:
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


def _inside(slide: TrainingSlide, level: int, y0: int, x0: int, shape: tuple[int, int]) -> NDArray[np.bool_]:
    if slide.regions is None:
        return np.ones(shape, bool)
    mask, (height, width) = slide.regions.mask, slide.slide.levels[level].shape[1:]
    rows = np.arange(y0, y0 + shape[0]) * mask.shape[0] // height
    columns = np.arange(x0, x0 + shape[1]) * mask.shape[1] // width
    return np.asarray(mask[np.ix_(rows, columns)])


def _check_finite(slide: TrainingSlide, block: NDArray[np.generic], settings: TrainingSettings) -> None:
    which = next((which for which, plane in enumerate(block) if not np.isfinite(plane).all()), None)
    if which is not None:
        msg = (
            f"{_channel_name(slide, which, settings)} of {slide.slide.source.name} has pixels that are NaN or "
            "infinite, expected grey levels everywhere; replace them, by 0 for instance, and save the slide anew."
        )
        raise TrainingError(msg)


def _channel_name(slide: TrainingSlide, which: int, settings: TrainingSettings) -> str:
    channel = (*slide.inputs, slide.target)[which]
    role = (*settings.channels, settings.target)[which]
    return f"the {role} channel {channel} = {slide.slide.channel_names[channel]}"
