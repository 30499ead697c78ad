"""From light to grey levels: blur, shading, offset, Poisson and read noise, saturation.

The rule: everything up to the noise is deterministic and is returned, because it is the best possible prediction.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter, shift

from napari_hrpn.phantom.sample_grid import SampleGrid
from napari_hrpn.phantom.settings import PhantomSettings


def blur(image: np.ndarray, sigma_px: float) -> np.ndarray:
    """Return an image seen through a Gaussian point-spread function."""
    return np.asarray(gaussian_filter(image, sigma_px, mode="nearest"))


def displace(image: np.ndarray, shift_px: tuple[float, float]) -> np.ndarray:
    """Return an image moved by a fraction of pixels, or the image itself where there is nothing to do."""
    if shift_px == (0.0, 0.0):
        return image
    return np.asarray(shift(image, shift_px, order=3, mode="nearest"))


def shading(window: SampleGrid, settings: PhantomSettings) -> np.ndarray:
    """Return the share of light that reaches each pixel, 1 in the middle of a camera field."""
    if settings.shading == 0:
        return np.ones(window.shape, np.float32)
    period = settings.shading_field_px
    rows = 0.5 * (1 + np.cos(2 * np.pi * (np.arange(window.y0, window.y1) + 0.5) / period))
    columns = 0.5 * (1 + np.cos(2 * np.pi * (np.arange(window.x0, window.x1) + 0.5) / period))
    loss = (rows[:, None] + columns[None, :]) / 2
    return np.asarray(1 - settings.shading * loss, np.float32)


def expected_value(light_grey: np.ndarray, settings: PhantomSettings) -> np.ndarray:
    """Return the detector value that light gives on average."""
    value = (light_grey + np.float32(settings.offset_grey)) * np.float32(settings.grey_unit)
    return np.asarray(np.minimum(value, 2**settings.bits - 1), np.float32)


def expose(
    light_grey: np.ndarray,
    settings: PhantomSettings,
    electrons_per_grey: float,
    random: np.random.Generator,
) -> np.ndarray:
    """Return what the detector reads."""
    electrons = random.poisson(light_grey * np.float32(electrons_per_grey)).astype(np.float32)
    noise = random.standard_normal(light_grey.shape, np.float32) * np.float32(settings.read_noise_electrons)
    electrons += noise
    grey = electrons / np.float32(electrons_per_grey) + np.float32(settings.offset_grey)
    value = np.rint(grey * np.float32(settings.grey_unit))
    return np.asarray(np.clip(value, 0, 2**settings.bits - 1), np.uint8 if settings.bits == 8 else np.uint16)
