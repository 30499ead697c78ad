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

PACKAGE = "lightning_fabric"


def training_devices(settings: TrainingSettings) -> tuple[str, ...]:
    """Find the devices that settings ask for.

    Parameters
    ----------
    settings : TrainingSettings
        With the first device and their number.

    Returns
    -------
    tuple of str
        Such as "cuda:0", "cuda:1"; "cpu" once for each process.

    Raises
    ------
    TrainingError
        When there are not so many, or lightning-fabric, which brings several together, is not installed.
    PredictionError
        When the first is not there.
    """
    first, wanted = choose_device(settings.device).name, settings.devices
    if wanted == 1:
        return (first,)
    kind, _, index = first.partition(":")
    if kind == "cpu":
        there, what = os.cpu_count() or 1, "processors"
        names = [first] * wanted
    else:
        there = torch.cuda.device_count() - int(index) if kind == "cuda" else 1
        what = f"of them from {first} on" if kind == "cuda" else f"{first} device"
        names = [f"{kind}:{int(index or 0) + number}" for number in range(wanted)]
    if wanted > there:
        msg = f"the training asks for {wanted} devices, but there are {there} {what}; take fewer, or another device."
        raise TrainingError(msg)
    if importlib.util.find_spec(PACKAGE) is None:
        msg = (
            f"the training asks for {wanted} devices, which needs lightning-fabric, and that is not installed; run "
            'pip install "napari-hrpn[multi-gpu]", or train on one device.'
        )
        raise TrainingError(msg)
    return tuple(names)
