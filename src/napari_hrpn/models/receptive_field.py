"""Receptive field of a network, measured on the network itself."""

from __future__ import annotations

import copy
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from napari_hrpn.models.architectures import built

if TYPE_CHECKING:
    from napari_hrpn.models.architectures import NetworkSettings

_FURTHEST_PX = 4096


def receptive_field_radius(network: nn.Module, in_channels: int, stride: int) -> int:
    """Largest distance from which an input pixel can change an output pixel.

    It is measured on a copy with positive weights, so that nothing cancels and no ReLU is zero, with averaging, which
    covers the same pixels, in place of max-pooling, and without a tanh, which would saturate. The gradient of one
    period of output pixels is then non-zero exactly within the field. The field is square, so a thin strip shows it.

    Parameters
    ----------
    network : nn.Module
        Maps (n, in_channels, y, x) to (n, 1, y, x); its pooling and output activation are modules, not functions.
    in_channels : int
        Channels of the input.
    stride : int
        Pixels after which the network's grid repeats.

    Returns
    -------
    int
        Radius in pixels.

    Raises
    ------
    ValueError
        If it has no end within 4,096 px.
    """
    probe = _all_positive(network)
    reach = 16 * stride
    while reach <= max(_FURTHEST_PX, 64 * stride):
        radius = _gradient_reach(probe, in_channels, stride, reach)
        # a field that reaches the end of the strip may be larger
        if radius < reach - stride:
            return radius
        reach *= 2
    msg = (
        f"{type(network).__name__} looks further than {_FURTHEST_PX} px; expected a network without layers that see "
        "the whole image, such as group or instance normalisation, so that tiles can equal the whole slide."
    )
    raise ValueError(msg)


def halo_for(network: nn.Module, in_channels: int, stride: int) -> int:
    """Halo with which tiles equal the whole prediction: the receptive field's radius, rounded up to the stride.

    Parameters
    ----------
    network : nn.Module
        As for `receptive_field_radius`.
    in_channels : int
        Channels of the input.
    stride : int
        Pixels after which the network's grid repeats.

    Returns
    -------
    int
        Pixels.
    """
    return -(-receptive_field_radius(network, in_channels, stride) // stride) * stride


@lru_cache
def halo_of(settings: NetworkSettings) -> int:
    """Halo of an architecture, measured as by `halo_for` but in a hundredth of a second.

    The receptive field depends only on kernels and strides, so it is measured on the same layers with one channel each.

    Parameters
    ----------
    settings : NetworkSettings
        Architecture.

    Returns
    -------
    int
        Pixels.
    """
    return halo_for(built(settings.narrowed()), 1, settings.stride)


def _all_positive(network: nn.Module) -> nn.Module:
    # in double precision, so that the smallest gradients do not vanish
    probe = copy.deepcopy(network).double().eval()
    with torch.no_grad():
        for parameter in probe.parameters():
            # averages keep features of order 1 through any number of layers
            parameter.fill_(1 / max(1, parameter[0].numel()))
        for module in probe.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_running_stats()
                module.weight.fill_(1)
            for name, child in module.named_children():
                setattr(module, name, _without_dead_gradients(child))
    return probe


def _without_dead_gradients(module: nn.Module) -> nn.Module:
    if isinstance(module, nn.MaxPool2d):
        return nn.AvgPool2d(module.kernel_size, module.stride, module.padding)
    return nn.Identity() if isinstance(module, nn.Tanh) else module


def _gradient_reach(network: nn.Module, in_channels: int, stride: int, reach: int) -> int:
    strip = torch.ones(1, in_channels, stride, 2 * reach + stride, dtype=torch.float64, requires_grad=True)
    network(strip)[..., reach : reach + stride].sum().backward()
    gradient = strip.grad
    assert isinstance(gradient, Tensor)
    seen = gradient.abs().sum(dim=(0, 1, 2)).nonzero().flatten()
    if not len(seen):
        msg = (
            f"the output of {type(network).__name__} does not follow its input; expected a network that ends with "
            "torch.nn.Tanh or without a bounded function."
        )
        raise ValueError(msg)
    return max(reach - int(seen.min()), int(seen.max()) - (reach + stride - 1))
