"""Which devices a training runs on, refused in one sentence where they are not there."""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING

import torch

from napari_hrpn.inference import choose_device
from napari_hrpn.training.errors import TrainingError

if TYPE_CHECKING:
    from napari_hrpn.training.settings import TrainingSettings

_PACKAGE = "lightning_fabric"


def training_devices(settings: TrainingSettings) -> tuple[str, ...]:
    """Find the devices that settings ask for."""
    first, wanted = choose_device(settings.device).name, settings.devices
    if wanted == 1:
        return (first,)
    kind, _, index = first.partition(":")
    names = [first if kind == "cpu" else f"{kind}:{int(index or 0) + number}" for number in range(wanted)]
    if wanted > (there := _count_from(first)):
        what = {"cpu": "processors", "cuda": f"of them from {first} on"}.get(kind, f"{first} device")
        msg = f"the training asks for {wanted} devices, but there are {there} {what}; take fewer, or another device."
        raise TrainingError(msg)
    if importlib.util.find_spec(_PACKAGE) is None:
        msg = (
            f"the training asks for {wanted} devices, which needs lightning-fabric, and that is not installed; run "
            'pip install "napari-hrpn[multi-gpu]", or train on one device.'
        )
        raise TrainingError(msg)
    return tuple(names)


def most_devices(first: str) -> int:
    """How many devices can train together."""
    return 1 if importlib.util.find_spec(_PACKAGE) is None else max(1, _count_from(first))


def _count_from(first: str) -> int:
    kind, _, index = first.partition(":")
    if kind == "cpu":
        return os.cpu_count() or 1
    return torch.cuda.device_count() - int(index or 0) if kind == "cuda" else 1
