"""Checks of a slide's pixels before a training: channels that show nothing, or that seem to be exchanged.

They sample a coarse level in blocks; a big slide is never read whole.
"""

from __future__ import annotations

from itertools import islice, permutations
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.core.errors import TrainingError
from napari_hrpn.slides import known_pixels
from napari_hrpn.training.data.grey_levels import MOST_BLOCKS, block_corners, read_blocks, sampled_level

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_hrpn.settings import TrainingSettings
    from napari_hrpn.training.entries import TrainingSlide

_FEWEST_SLIDES = 3
_BLOCKS = 6
_LAGS_PX = (1, 4, 16)
_SUSPICIOUS = 0.6
"""Distance in the better order over that in the given one: 0.05 to 0.7 where two stains of real fields and phantoms
were swapped, 0.8 and more where none were."""


def check_pixels(slide: TrainingSlide, settings: TrainingSettings) -> None:
    """Refuse a slide with nothing to see in a channel, or with pixels that are no numbers."""
    level = sampled_level(slide)
    lowest, highest, is_complete = _extremes(slide, level, settings)
    is_empty = lowest == highest
    # a faint stain may be rounded away on a coarse level
    if level and is_empty.any():
        finest = _extremes(slide, 0, settings)
        is_empty &= finest[0] == finest[1]
    # what was sampled in part may have something elsewhere: cutting will show
    if is_empty.any() and is_complete:
        which = int(np.argmax(is_empty))
        msg = (
            f"{_channel_name(slide, which, settings)} of {slide.slide.source.name} is {lowest[which]:g} "
            f"everywhere{' in its regions' if slide.regions else ''}, so there is nothing to learn; choose another "
            "channel, or take the slide off the list."
        )
        raise TrainingError(msg)


def _extremes(
    slide: TrainingSlide, level: int, settings: TrainingSettings
) -> tuple[NDArray[np.float64], NDArray[np.float64], bool]:
    """Lowest and highest grey level of each channel in blocks of a level, and whether they are all of it."""
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
    return lowest, highest, len(corners) <= MOST_BLOCKS


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


def swapped_channels(slides: Sequence[TrainingSlide]) -> tuple[str, ...]:
    """Warn of slides whose channels look like those of the others once they are put in another order.

    Contrast, texture and skewness of each channel are compared with their medians over the other slides. Slides that
    are all wrong in the same way are not found.
    """
    alone = list({id(each.slide): each for each in slides}.values())
    if len(alone) < _FEWEST_SLIDES:
        return ()
    levels = _levels_alike(alone)
    textures = np.array([_texture_of(slide, level) for slide, level in zip(alone, levels, strict=True)])
    found = []
    for index, slide in enumerate(alone):
        others = np.median(np.delete(textures, index, axis=0), axis=0)
        given = tuple(range(len(others)))
        distances = {
            order: float(np.linalg.norm(textures[index][list(order)] - others)) for order in permutations(given)
        }
        best = min(distances, key=distances.__getitem__)
        if best != given and distances[best] < _SUSPICIOUS * distances[given]:
            found.append(_sentence(slide, best))
    return tuple(found)


def _levels_alike(slides: Sequence[TrainingSlide]) -> list[int]:
    """A stored level of each slide, all equally coarse: texture at one resolution says nothing about another."""
    factors = []
    for slide in slides:
        levels = range(sampled_level(slide) + 1)
        factors.append({tuple(round(factor) for factor in slide.slide.downsample(level)): level for level in levels})
    coarsest = max(set.intersection(*map(set, factors)))
    return [levels[coarsest] for levels in factors]


def _texture_of(slide: TrainingSlide, level: int) -> NDArray[np.float64]:
    """Texture of each channel, shape (inputs + 1, numbers): medians over some blocks."""
    blocks = islice(read_blocks(slide, level, block_corners(slide, level)), _BLOCKS)
    return np.median([[_texture(channel, inside) for channel in block] for block, inside in blocks], axis=0)


def _texture(channel: NDArray[np.generic], inside: NDArray[np.bool_]) -> list[float]:
    image = channel.astype(np.float64)
    pixels = image[inside]
    mean, spread = float(pixels.mean()), float(pixels.std()) + 1e-9
    scaled = np.where(inside, (image - mean) / spread, 0)
    correlations = [
        float((scaled[:, :-lag] * scaled[:, lag:]).mean()) if lag < scaled.shape[1] else 0 for lag in _LAGS_PX
    ]
    skewness = float((scaled[inside] ** 3).mean())
    return [float(np.log10(spread / (abs(mean) + 1e-9) + 1e-3)), *correlations, float(np.tanh(skewness / 4))]


def _sentence(slide: TrainingSlide, order: Sequence[int]) -> str:
    names, channels = slide.slide.channel_names, (*slide.inputs, slide.target)
    moved = [index for index, other in enumerate(order) if index != other]
    words = " and ".join(names[channels[index]] for index in moved)
    return (
        f"{slide.slide.source.name}: {words} look as if they were exchanged, beside the other slides; see to it that "
        "every channel has its role."
    )
