"""Whether a slide's pixels can be learnt from, by a look at a coarse level; a big slide is never read whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.slides import known_pixels
from napari_hrpn.training.errors import TrainingError
from napari_hrpn.training.sampled_blocks import MOST_BLOCKS, block_corners, level_to_look_at, read_blocks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_hrpn.training.entries import TrainingSlide
    from napari_hrpn.training.settings import TrainingSettings


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
    """Refuse a slide with nothing to see in a channel, or with pixels that are no numbers."""
    level = level_to_look_at(slide)
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


def _look_at(slide: TrainingSlide, level: int, settings: TrainingSettings) -> _Look:
    corners, channels = block_corners(slide, level), len(slide.inputs) + 1
    lowest, highest = np.full(channels, np.inf), np.full(channels, -np.inf)
    for block, inside in read_blocks(slide, level, corners[:MOST_BLOCKS]):
        _check_finite(slide, block, settings)
        if inside.any():
            lowest = np.minimum(lowest, block[:, inside].min(axis=1))
            highest = np.maximum(highest, block[:, inside].max(axis=1))
        # only floats can hold what must be looked for everywhere
        if (highest > lowest).all() and np.issubdtype(block.dtype, np.integer):
            break
    return _Look(lowest, highest, len(corners) <= MOST_BLOCKS)


def _check_finite(slide: TrainingSlide, block: NDArray[np.generic], settings: TrainingSettings) -> None:
    which = next((which for which, plane in enumerate(block) if known_pixels(plane) is not None), None)
    if which is not None:
        msg = (
            f"{_channel_name(slide, which, settings)} of {slide.slide.source.name} has pixels that are NaN, "
            "infinite or beyond 1e12, expected grey levels everywhere; replace them, by 0 for instance, and save the "
            "slide anew."
        )
        raise TrainingError(msg)


def _channel_name(slide: TrainingSlide, which: int, settings: TrainingSettings) -> str:
    channel = (*slide.inputs, slide.target)[which]
    role = (*settings.channels, settings.target)[which]
    return f"the {role} channel {channel} = {slide.slide.channel_names[channel]}"
