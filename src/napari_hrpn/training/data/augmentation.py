"""Augmentation of training patches: random gain, offset, blur, out-of-focus haze and noise of the inputs.

Each input of each patch has strengths of its own; the target is never changed. Strengths are those of an image that the
scaling would take from 0, the low percentile of the tissue, to 1, the high one: the settings mean the same with every
kind of scaling.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_hrpn.settings import TrainingSettings

_HAZE_PX, _HAZE_STEP_PX = 32, 4
"""Width of the two mean filters that make light out of focus, together about a Gaussian with a sigma of 13 px, and the
grid on which they work: a finer one takes five times as long, and the light differs by less than the noise."""


class Augmentation:
    """Random changes of the inputs of patches, by the strengths of a training."""

    def __init__(self, settings: TrainingSettings) -> None:
        self._settings = settings
        self._inputs = [index for index, role in enumerate(settings.channels) if role in settings.stains]

    def apply(self, inputs: NDArray[np.float32], ranges: NDArray[np.float32], seed: int) -> None:
        """Change inputs of shape (c, y, x) in place; `ranges` are their percentiles, and the seed decides all."""
        settings, random = self._settings, np.random.default_rng(seed)
        for index in self._inputs:
            low, high = ranges[index]
            blur, haze, noise = random.uniform(0, [settings.blur_px, settings.haze, settings.noise])
            gain, offset = settings.gain ** random.uniform(-1, 1), settings.offset * random.uniform(-1, 1)
            image = inputs[index]
            image -= low
            if blur:
                ndimage.gaussian_filter(image, blur, output=image, mode="nearest", truncate=3)
            if haze:
                image += np.float32(haze) * _out_of_focus(image)
            image *= np.float32(gain)
            image += low + np.float32(offset) * (high - low)
            if noise:
                image += np.float32(noise) * (high - low) * random.standard_normal(image.shape, np.float32)


def _out_of_focus(image: NDArray[np.float32]) -> NDArray[np.float32]:
    coarse = image[::_HAZE_STEP_PX, ::_HAZE_STEP_PX]
    for _ in range(2):
        coarse = ndimage.uniform_filter(coarse, _HAZE_PX // _HAZE_STEP_PX, mode="nearest")
    height, width = image.shape
    return coarse.repeat(_HAZE_STEP_PX, axis=0).repeat(_HAZE_STEP_PX, axis=1)[:height, :width]
