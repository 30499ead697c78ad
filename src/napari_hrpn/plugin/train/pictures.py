"""The preview of a training as 8-bit pictures: inputs in colours, real and predicted in the same grey limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_hrpn.training import Preview

_COLOURS = {"nuclei": (0.25, 0.45, 1.0), "vessels": (0.1, 1.0, 0.2)}
_OTHER_COLOURS = ((1.0, 0.25, 0.25), (1.0, 0.85, 0.1), (1.0, 0.3, 1.0))
_LOW_PERCENT, _HIGH_PERCENT = 0.5, 99.7


@dataclass(frozen=True, eq=False)
class PreviewPictures:
    """What is shown of a preview."""

    inputs: NDArray[np.uint8]  # Shape (y, x, 3)
    # Shape (y, x)
    real: NDArray[np.uint8]
    predicted: NDArray[np.uint8]
    limits: tuple[float, float]  # Grey levels of the target that are black and white in both


def preview_pictures(preview: Preview, channels: tuple[str, ...]) -> PreviewPictures:
    """Make the pictures of a preview."""
    others = iter(_OTHER_COLOURS * len(channels))
    composite = np.zeros((*preview.real.shape, 3))
    for role, image in zip(channels, preview.inputs, strict=True):
        colour = _COLOURS.get(role) or next(others)
        composite += _between(image, *_limits(image))[..., None] * colour
    limits = _limits(preview.real)
    return PreviewPictures(
        _eight_bit(composite),
        _eight_bit(_between(preview.real, *limits)),
        _eight_bit(_between(preview.predicted, *limits)),
        limits,
    )


def _limits(image: NDArray[np.float32]) -> tuple[float, float]:
    low, high = (float(limit) for limit in np.percentile(image, (_LOW_PERCENT, _HIGH_PERCENT)))
    return low, max(high, low + 1e-6)


def _between(image: NDArray[np.float32], low: float, high: float) -> NDArray[np.float64]:
    return np.clip((image.astype(np.float64) - low) / (high - low), 0, 1)


def _eight_bit(image: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(np.round(np.clip(np.nan_to_num(image), 0, 1) * 255).astype(np.uint8))
