"""TorchScript of a checkpoint: grey levels of the stains in, grey levels of the probe out.

The same checkpoint gives the same bytes in any process, as long as the release of torch is the same.
"""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from napari_hrpn.models.architectures import built, settings_class
from napari_hrpn.models.checkpoint_header import read_record
from napari_hrpn.models.scaling import IntensityScaling

if TYPE_CHECKING:
    from collections.abc import Mapping

_COUNTER = re.compile(rb"\.___torch_mangle_\d+")
"""What torch adds to the name of a class that was traced before in the same process."""


class GreyLevelNetwork(nn.Module):
    """Network with its intensity scaling, from grey levels to grey levels, as other programs can run it.

    Parameters
    ----------
    architecture : str
        Name of the network, such as "hrpn".
    settings, scaling : mapping
        Fields of the network's settings, and of an `IntensityScaling` that is fixed.
    """

    offsets: Tensor
    scales: Tensor

    def __init__(self, architecture: str, settings: Mapping[str, Any], scaling: Mapping[str, Any]) -> None:
        super().__init__()
        self.network = built(read_record(settings_class(architecture), settings))
        self.scaling = fixed = read_record(IntensityScaling, scaling)
        for name in ("offsets", "scales"):
            # they come from the arguments, so that the state of the module holds the network's weights alone
            values = torch.tensor(getattr(fixed, name), dtype=torch.float32)[None, :, None, None]
            self.register_buffer(name, values, persistent=False)

    def forward(self, levels: Tensor) -> Tensor:
        """Predict grey levels of the probe, shape (n, 1, y, x), from those of the stains, (n, c, y, x)."""
        output: Tensor = self.network((levels.float() - self.offsets) / self.scales)
        return output * self.scaling.target_scale + self.scaling.target_offset


def torchscript_bytes(network: GreyLevelNetwork, channels: int, stride: int) -> bytes:
    """TorchScript of a network, for any number and size of images, as the content of a file."""
    example = torch.zeros(1, channels, 2 * stride, 2 * stride)
    with torch.no_grad(), warnings.catch_warnings():
        # torch calls TorchScript deprecated, but other programs of microscopy read no other format of it
        warnings.simplefilter("ignore", DeprecationWarning)
        flat = _Flat(network.eval().requires_grad_(False))
        traced = torch.jit.trace(flat, example, check_trace=False)  # type: ignore[no-untyped-call]
        file = io.BytesIO()
        torch.jit.save(traced, file)
    return _without_traces_of_this_run(file)


class _Flat(nn.Module):
    """Network as a module without submodules, since torch numbers the classes of submodules as it meets them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        # in a tuple, it is no submodule
        self._network = (network,)
        for name, parameter in network.named_parameters():
            self.register_parameter(name.replace(".", "_"), parameter)
        for name, buffer in network.named_buffers():
            self.register_buffer(name.replace(".", "_"), buffer)

    def forward(self, levels: Tensor) -> Tensor:
        """Shapes as for the network."""
        output: Tensor = self._network[0](levels)
        return output


def _without_traces_of_this_run(file: io.BytesIO) -> bytes:
    """Content of a TorchScript file without paths of this machine, and without counters of this process."""
    cleaned = io.BytesIO()
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(cleaned, "w") as new:
        for name in old.namelist():
            # none of these is needed to load the file; the last is a hash of the parts as they were
            if name.endswith((".debug_pkl", "/.data/serialization_id")) or "/traced_inputs" in name:
                continue
            content, neutral = old.read(name), re.sub(r"/___torch_mangle_\d+", "", name)
            if name.endswith((".py", ".pkl")):
                content = _COUNTER.sub(b"", content)
            new.writestr(zipfile.ZipInfo(neutral), content)
    return cleaned.getvalue()
