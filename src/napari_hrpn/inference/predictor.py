"""Devices that can run a network, and the predictor that runs a checkpoint on one of them."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import psutil
import torch
from torch import Tensor, nn
from torch.backends import cudnn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from napari_hrpn.core.errors import PredictionError
from napari_hrpn.inference.cpu.heap import keep_freed_memory
from napari_hrpn.inference.cpu.strips import StripwiseHRPN, fuse
from napari_hrpn.models import HRPN, halo_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_hrpn.inference.cpu.strips import Scale, Watch
    from napari_hrpn.models import Checkpoint

    Ready = NDArray[np.generic] | Tensor

_PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_BYTES_PER_PIXEL = 450
"""Peak memory per pixel that HRPN runs on as a whole, in fp32: 216 to 414 measured at 896 to 2,432 px, with room."""
_STRIPWISE_BYTES_PER_PIXEL, _STRIP_BYTES_PER_COLUMN = 60, 70_000
"""Peak memory in strips: 0.34 and 1.41 GB measured at 2,432 and 4,480 px, on the second tile."""


@dataclass(frozen=True)
class Device:
    """A processor that can run the network.

    Attributes
    ----------
    name : str
        Name in torch and on the command line, such as "cuda:0".
    title : str
        Name for people.
    free_bytes, total_bytes : int
        Free and total memory.
    """

    name: str
    title: str
    free_bytes: int
    total_bytes: int


def list_devices() -> tuple[Device, ...]:
    """List the devices of this machine, fastest first.

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
    """Find the device that a user named.

    Parameters
    ----------
    name : str
        "auto" for the fastest, or a name such as "cpu", "cuda", "cuda:1", "mps".

    Returns
    -------
    Device
        The device.

    Raises
    ------
    PredictionError
        If there is no device of that name.
    """
    devices = list_devices()
    full_name = {"auto": devices[0].name, "cuda": "cuda:0"}.get(name, name)
    for device in devices:
        if device.name == full_name:
            return device
    listed = ", ".join(device.name for device in devices)
    msg = f"device {name!r} is not on this machine; expected auto or one of {listed}."
    raise PredictionError(msg)


def computes_in(device: str, precision: str) -> bool:
    """Whether a device computes a precision in hardware, as far as torch reports it."""
    if device == "cpu":
        one_dnn = torch.ops.mkldnn
        checks = {"bf16": one_dnn._is_mkldnn_bf16_supported, "fp16": one_dnn._is_mkldnn_fp16_supported}
        return precision not in checks or bool(checks[precision]())
    return precision != "bf16" or device == "mps" or torch.cuda.is_bf16_supported(including_emulation=False)


def _cuda_device(index: int) -> Device:
    free, total = torch.cuda.mem_get_info(index)
    return Device(f"cuda:{index}", torch.cuda.get_device_name(index), free, total)


def as_they_are(pixels: NDArray[np.generic]) -> NDArray[np.float32]:
    """Scale nothing: the pixels are the network's numbers already."""
    return pixels.astype(np.float32, copy=False)


class Predictor:
    """Run a network on one padded tile after another."""

    def __init__(self, checkpoint: Checkpoint, device: str = "cpu", precision: str = "fp32") -> None:
        network = checkpoint.network()
        self.stride = checkpoint.settings.stride
        self.in_channels = checkpoint.settings.in_channels
        self.halo = halo_of(checkpoint.settings)
        self.training = checkpoint.features
        self.device = device
        self._precision = _PRECISIONS[precision]
        self._copying = torch.cuda.Stream(device) if device.startswith("cuda") else None  # type: ignore[no-untyped-call]
        if device == "cpu":
            keep_freed_memory()
        fold_batch_normalisation(network)
        network = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._network = network
        if device == "cpu" and isinstance(network, HRPN):
            last = copy.deepcopy(network.head.last)
            # in 16 bit, rounding the last layer alone would err as much as all other layers together
            network.to(self._precision).head.last = last
            fuse(network)
            self._network = StripwiseHRPN(network)

    def bytes_for(self, height: float, width: float) -> float:
        """Approximate peak memory of one padded tile; sides in pixels."""
        if isinstance(self._network, StripwiseHRPN):
            return _STRIPWISE_BYTES_PER_PIXEL * height * width + _STRIP_BYTES_PER_COLUMN * width
        return _BYTES_PER_PIXEL * height * width

    def ready(self, pixels: NDArray[np.generic], scale: Scale = as_they_are) -> Ready:
        """Scale and copy a tile in the thread that read it, while the network may be busy with another tile."""
        if isinstance(self._network, StripwiseHRPN):
            # strips are scaled one by one, so that the scaled tile never exists as a whole
            return pixels
        scaled = torch.from_numpy(scale(pixels))[None]
        if self._copying is None:
            return scaled
        # on a stream of its own, so that the device computes another tile meanwhile
        with torch.cuda.stream(self._copying):
            copy = scaled.pin_memory().to(self.device, non_blocking=True)
        self._copying.synchronize()
        return copy

    def run(
        self, pixels: Ready, crop: int, scale: Scale = as_they_are, watch: Watch | None = None
    ) -> NDArray[np.float32]:
        """Predict one tile; `watch` is called with the features that enter the head of an HRPN."""
        with torch.inference_mode():
            ready = pixels if isinstance(pixels, Tensor) else self.ready(pixels, scale)
            if isinstance(ready, Tensor):
                output = self._run_whole(ready.to(self.device), crop, watch)
            else:
                output = self._network(ready, crop, scale, watch)
        answer: NDArray[np.float32] = output[0, 0].float().cpu().numpy()
        return answer

    def _run_whole(self, batch: Tensor, crop: int, watch: Watch | None) -> Tensor:
        half = self._precision != torch.float32
        with (
            # by default, GPUs round inputs to 10 bits (TF32), and tiles would then differ from the whole slide
            cudnn.flags(cudnn.enabled, cudnn.benchmark, deterministic=cudnn.deterministic, allow_tf32=False),
            torch.autocast(self.device.split(":")[0], dtype=self._precision, enabled=half),
        ):
            batch = batch.contiguous(memory_format=torch.channels_last)
            if watch is not None and isinstance(self._network, HRPN):
                branches = self._network.features(batch)
                watch(branches)
                output: Tensor = self._network.head(branches, crop)
            else:
                output = self._network(batch, crop)
        return output

    def answer_to(self, levels: NDArray[np.float32]) -> float:
        """Return the output in the middle of a large image in which every pixel of stain i is `levels[i]`."""
        size = 2 * max(self.halo, self.stride) + self.stride
        constant = np.broadcast_to(levels[:, None, None], (len(levels), size, size)).astype(np.float32)
        middle = self.run(constant, self.halo)
        return float(middle[middle.shape[0] // 2, middle.shape[1] // 2])


def fold_batch_normalisation(network: nn.Module) -> None:
    """Fold each batch normalisation into the convolution before it, in place; the outputs stay the same."""
    for module in network.modules():
        if isinstance(module, nn.Sequential):
            _fold_pairs(module)


def _fold_pairs(layers: nn.Sequential) -> None:
    for index in range(len(layers) - 1):
        convolution, normalisation = layers[index], layers[index + 1]
        if isinstance(normalisation, nn.BatchNorm2d) and isinstance(convolution, nn.Conv2d | nn.ConvTranspose2d):
            transposed = isinstance(convolution, nn.ConvTranspose2d)
            layers[index] = fuse_conv_bn_eval(copy.deepcopy(convolution), normalisation, transpose=transposed)
            layers[index + 1] = nn.Identity()
