"""Finds a slide whose channels seem to be in another order than those of the other slides."""

from __future__ import annotations

from itertools import islice, permutations
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.training.sampled_blocks import block_corners, level_to_look_at, read_blocks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_hrpn.training.entries import TrainingSlide

_FEWEST_SLIDES = 3
_BLOCKS = 6
_LAGS_PX = (1, 4, 16)
_SUSPICIOUS = 0.6
"""Distance in the better order over that in the given one: 0.05 to 0.7 where two stains of real fields and phantoms
were swapped, 0.8 and more where none were."""


def swapped_channels(slides: Sequence[TrainingSlide]) -> tuple[str, ...]:
    """Warn of slides whose channels look like those of the others once they are put in another order.

    Contrast, texture and skewness of each channel are compared with their medians over the other slides. Slides that
    are all wrong in the same way are not found.
    """
    alone = list({id(each.slide): each for each in slides}.values())
    if len(alone) < _FEWEST_SLIDES:
        return ()
    levels = _levels_alike(alone)
    looks = np.array([_look(slide, level) for slide, level in zip(alone, levels, strict=True)])
    found = []
    for index, slide in enumerate(alone):
        others = np.median(np.delete(looks, index, axis=0), axis=0)
        given = tuple(range(len(others)))
        distances = {order: float(np.linalg.norm(looks[index][list(order)] - others)) for order in permutations(given)}
        best = min(distances, key=distances.__getitem__)
        if best != given and distances[best] < _SUSPICIOUS * distances[given]:
            found.append(_sentence(slide, best))
    return tuple(found)


def _levels_alike(slides: Sequence[TrainingSlide]) -> list[int]:
    """A stored level of each slide, all equally coarse: texture at one resolution says nothing about another."""
    factors = []
    for slide in slides:
        levels = range(level_to_look_at(slide) + 1)
        factors.append({tuple(round(factor) for factor in slide.slide.downsample(level)): level for level in levels})
    coarsest = max(set.intersection(*map(set, factors)))
    return [levels[coarsest] for levels in factors]


def _look(slide: TrainingSlide, level: int) -> NDArray[np.float64]:
    """What a channel looks like, shape (inputs + 1, numbers): medians over some blocks."""
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
