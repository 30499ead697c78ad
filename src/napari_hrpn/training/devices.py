"""Devices that a training runs on, and what those that train one network together exchange."""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING

import torch

from napari_hrpn.core.errors import TrainingError
from napari_hrpn.inference import choose_device

if TYPE_CHECKING:
    from torch import Tensor, nn

    from napari_hrpn.settings import TrainingSettings

_PACKAGE = "lightning_fabric"


class ProcessGroup:
    """A single device, and the base of several: each of them must call the same methods in the same order.

    After each step all devices hold the same network.
    """

    rank, size = 0, 1  # The first, 0, writes and reports

    def sum(self, numbers: Tensor) -> Tensor:
        """Sum numbers over the devices."""
        return numbers

    def unite(self, *networks: nn.Module) -> None:
        """Sum the gradients of what is learnt now, and average the batch statistics."""

    def from_first(self, *numbers: float) -> tuple[float, ...]:
        """Numbers of the first device: clocks and events differ."""
        return numbers


SINGLE = ProcessGroup()


def training_devices(settings: TrainingSettings) -> tuple[str, ...]:
    """Find the devices that settings ask for; a sentence where they are not there."""
    first, wanted = choose_device(settings.device).name, settings.devices
    if wanted == 1:
        return (first,)
    kind, _, index = first.partition(":")
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
    return tuple(first if kind == "cpu" else f"{kind}:{int(index or 0) + number}" for number in range(wanted))


def most_devices(first: str) -> int:
    """How many devices can train together."""
    return 1 if importlib.util.find_spec(_PACKAGE) is None else max(1, _count_from(first))


def _count_from(first: str) -> int:
    kind, _, index = first.partition(":")
    if kind == "cpu":
        return os.cpu_count() or 1
    return torch.cuda.device_count() - int(index or 0) if kind == "cuda" else 1
