"""Which processors there are, and how much memory they have free."""

from __future__ import annotations

from dataclasses import dataclass

import psutil
import torch

from napari_hrpn.inference.errors import PredictionError


@dataclass(frozen=True)
class Device:
    """A processor that can run the network.

    Attributes
    ----------
    name : str
        As torch and the command line know it, such as "cuda:0".
    title : str
        As people know it.
    free_bytes, total_bytes : int
        Its memory.
    """

    name: str
    title: str
    free_bytes: int
    total_bytes: int


def list_devices() -> tuple[Device, ...]:
    """Find the processors there are, fastest first.

    Returns
    -------
    tuple of Device
        GPUs, if any, then the CPU.
    """
    memory = psutil.virtual_memory()
    devices = [_cuda_device(index) for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        devices.append(Device("mps", "Apple GPU", memory.available, memory.total))
    cpu = Device("cpu", f"CPU, {torch.get_num_threads()} threads", memory.available, memory.total)
    return (*devices, cpu)


def choose_device(name: str) -> Device:
    """Find the device a user asked for.

    Parameters
    ----------
    name : str
        "auto" for the fastest, or a name such as "cpu", "cuda", "cuda:1", "mps".

    Returns
    -------
    Device
        The one to use.

    Raises
    ------
    PredictionError
        When there is none of that name.
    """
    devices = list_devices()
    wanted = {"auto": devices[0].name, "cuda": "cuda:0"}.get(name, name)
    for device in devices:
        if device.name == wanted:
            return device
    there = ", ".join(device.name for device in devices)
    msg = f"device {name!r} is not on this machine; expected auto or one of {there}."
    raise PredictionError(msg)


def precision_warnings(device: Device, precision: str) -> tuple[str, ...]:
    """Say in at most one sentence that a device only emulates an arithmetic: right, but slower than fp32."""
    if computes_in(device.name, precision):
        return ()
    return (f"{device.title} only emulates {precision}, which takes longer than fp32: leave the precision at fp32.",)


def computes_in(device: str, precision: str) -> bool:
    """Whether a device has an arithmetic in hardware, as far as that can be told."""
    if device == "cpu":
        one_dnn = torch.ops.mkldnn
        found = {"bf16": one_dnn._is_mkldnn_bf16_supported, "fp16": one_dnn._is_mkldnn_fp16_supported}
        return precision not in found or bool(found[precision]())
    return precision != "bf16" or device == "mps" or torch.cuda.is_bf16_supported(including_emulation=False)


def _cuda_device(index: int) -> Device:
    free, total = torch.cuda.mem_get_info(index)
    return Device(f"cuda:{index}", torch.cuda.get_device_name(index), free, total)
