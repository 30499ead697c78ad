"""Convolutions of an HRPN that do what follows them, adding and rectifying, while their results are still at hand.

On a processor, passes over features in memory take 5 % of an HRPN. oneDNN saves them; torch reaches it in operators
that its own compiler uses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from napari_hrpn.models.hrpn import BasicBlock, Bottleneck

if TYPE_CHECKING:
    from torch import Tensor

ONE_DNN = torch.ops.mkldnn


def fuse(network: nn.Module) -> None:
    """Fuse what can be fused, in place, where torch has the operators."""
    if _has_operators_for(next(network.parameters()).dtype):
        _fuse(network)


def _has_operators_for(precision: torch.dtype) -> bool:
    has_one_dnn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not (has_one_dnn and hasattr(ONE_DNN, "_convolution_pointwise")):
        return False
    return precision == torch.float32 or (precision == torch.bfloat16 and ONE_DNN._is_mkldnn_bf16_supported())


def _fuse(network: nn.Module) -> None:
    for name, module in network.named_children():
        _fuse(module)
        if isinstance(module, BasicBlock | Bottleneck):
            setattr(network, name, _Residual(module))
        elif isinstance(module, nn.Sequential) and _is_rectified(module):
            setattr(network, name, _Rectified(module[0]))


def _is_rectified(layers: nn.Sequential) -> bool:
    convolution, *others = (layer for layer in layers if not isinstance(layer, nn.Identity))
    return isinstance(convolution, nn.Conv2d) and len(others) == 1 and isinstance(others[0], nn.ReLU)


class _Convolution(nn.Module):
    def __init__(self, convolution: nn.Module) -> None:
        super().__init__()
        assert isinstance(convolution, nn.Conv2d)
        self.weight, self.bias = convolution.weight, convolution.bias
        self.geometry = convolution.padding, convolution.stride, convolution.dilation, convolution.groups


class _Rectified(_Convolution):
    """A convolution and the rectifier after it."""

    def forward(self, x: Tensor) -> Tensor:
        rectified: Tensor = ONE_DNN._convolution_pointwise(x, self.weight, self.bias, *self.geometry, "relu", [], "")
        return rectified


class _Residual(_Convolution):
    """A residual block, whose last convolution adds itself to the shortcut; the block's input is not needed again."""

    def __init__(self, block: BasicBlock | Bottleneck) -> None:
        *first, last = block.residual.children()
        super().__init__(next(last.children()))
        self.first = nn.Sequential(*first)
        self.shortcut = block.shortcut if isinstance(block, Bottleneck) else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        features, total = self.first(x), self.shortcut(x)
        summed: Tensor = ONE_DNN._convolution_pointwise_.binary(
            total, features, self.weight, self.bias, *self.geometry, "add", 1.0, "relu", [], ""
        )
        return summed
