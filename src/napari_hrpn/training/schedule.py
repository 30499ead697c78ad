"""The learning rate over a training: constant, or a warm-up and half a cosine down to zero."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_hrpn.training.settings import TrainingSettings

_START = 0.04


def learning_rate(settings: TrainingSettings, progress: float) -> float:
    """Learning rate of a step."""
    if settings.schedule == "constant":
        return settings.learning_rate
    progress = min(max(progress, 0.0), 1.0)
    if progress < settings.warm_up:
        return settings.learning_rate * (_START + (1 - _START) * progress / settings.warm_up)
    rest = (progress - settings.warm_up) / max(1e-9, 1 - settings.warm_up)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * rest))
