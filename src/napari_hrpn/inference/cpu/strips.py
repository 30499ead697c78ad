"""HRPN on a processor in strips and fused convolutions: equal results with less memory and arithmetic.

Two parts of the network have far more channels than the others, its beginning and its head, and both have a small
receptive field. They are computed in strips, so that their features never exist as a whole. The head's 3x3 convolution
is linear in every branch, and so is upsampling: the coarse branches are multiplied by its weights on their own grid,
which has 16 or 64 times fewer pixels, and upsampled afterwards.

Adding and rectifying after a convolution are fused into it, since separate passes over features in memory take 5 % of
the time of an HRPN. oneDNN does this; torch offers it in operators that its own compiler uses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from napari_hrpn.core import rounded_up
from napari_hrpn.models.hrpn import STEM_REDUCTION, BasicBlock, Bottleneck, Head

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_hrpn.models import HRPN

    Scale = Callable[[NDArray[np.generic]], NDArray[np.float32]]
    """Scales grey levels, of a whole tile or a strip of it, to the network's numbers."""
    Watch = Callable[[list[Tensor]], None]
    """Is called with the features of all branches, finest first, before they enter the head."""

_BEGINNING_STRIPS = 5
"""With this number, a strip takes as much memory as the rest of the network takes for the whole tile."""
SMALLEST_STRIP = 256
_HEAD_ROWS = 32
_BLOCK = 4
"""Coarse pixels that are upsampled by one product of matrices."""
ONE_DNN = torch.ops.mkldnn


class StripwiseHRPN:
    """HRPN of one image, with its beginning and head computed in strips."""

    def __init__(self, network: HRPN) -> None:
        self._network, self._type = network, next(network.parameters()).dtype
        self._head = _StripwiseHead(network.head, network.settings.widths)
        # one feature pixel for the stem, one for each block, and one for the transitions, which need an even start
        self._margin = rounded_up(STEM_REDUCTION * (len(network.stage1) + 2), 2 * STEM_REDUCTION)

    def __call__(self, pixels: NDArray[np.generic], crop: int, scale: Scale, watch: Watch | None = None) -> Tensor:
        """Predict as `HRPN.forward`, for one image of shape (c, y, x) that is scaled strip by strip."""
        branches = self._network.exchanged(self._beginning(pixels, scale))
        if watch is not None:
            watch(branches)
        return self._head(branches, crop) if self._head.suits(crop) else self._network.head(branches, crop)

    def _beginning(self, pixels: NDArray[np.generic], scale: Scale) -> list[Tensor]:
        height = pixels.shape[1]
        rows = max(SMALLEST_STRIP, rounded_up(-(-height // _BEGINNING_STRIPS), self._network.settings.stride))
        strips = []
        for top in range(0, height, rows):
            bottom = min(top + rows, height)
            above, below = min(self._margin, top), min(self._margin, height - bottom)
            seen = torch.from_numpy(scale(pixels[:, top - above : bottom + below]))[None].to(self._type)
            strips.append(self._beginning_of(seen, above, below))
        return [torch.cat(parts, dim=2) for parts in zip(*strips, strict=True)]

    def _beginning_of(self, seen: Tensor, above: int, below: int) -> list[Tensor]:
        """Beginning of the network for a strip, whose rows `above` and `below` are only input."""
        network = self._network
        features = network.stem(seen.contiguous(memory_format=torch.channels_last))
        margins = above // STEM_REDUCTION, below // STEM_REDUCTION
        for passed, block in enumerate(network.stage1, 1):
            features, margins = _without_rows(block(features), margins, len(network.stage1) - passed + 2)
        starts = (transition(features) for transition in network.transitions[:2])
        return [
            branch[..., margins[0] >> index : branch.shape[-2] - (margins[1] >> index), :]
            for index, branch in enumerate(starts)
        ]


def _without_rows(features: Tensor, margins: tuple[int, int], needed: int) -> tuple[Tensor, tuple[int, int]]:
    """Leave out rows above and below that no later layer needs."""
    above, below = (min(margin, needed) for margin in margins)
    start, stop = margins[0] - above, features.shape[-2] - (margins[1] - below)
    return features[..., start:stop, :], (above, below)


class _StripwiseHead:
    """Head of an HRPN, computed in strips of rows within a crop."""

    def __init__(self, head: Head, widths: tuple[int, ...]) -> None:
        convolution = head.mix[0]
        assert isinstance(convolution, nn.Conv2d)
        self._bias = convolution.bias
        self._last = head.last.weight.detach().float().flatten()
        weights = torch.split(convolution.weight.detach(), list(widths), dim=1)
        self._fine = torch.cat(weights[:2], dim=1).contiguous(memory_format=torch.channels_last)
        # for each coarse branch: its pixel size at 1/4 of the resolution, and its weights for all nine taps
        self._coarse = [
            (1 << index, weight.permute(3, 2, 0, 1).flatten(0, 2)[:, :, None, None].contiguous())
            for index, weight in enumerate(weights[2:], start=2)
        ]

    def suits(self, crop: int) -> bool:
        """Whether the crop is wide enough that the head never reaches the border of its input."""
        margin = crop // STEM_REDUCTION - Head.MARGIN
        return margin >= 1 and all(2 * (margin - 1) >= scale for scale, _ in self._coarse)

    def __call__(self, branches: list[Tensor], crop: int) -> Tensor:
        """Predict as `Head.forward`, for one image."""
        margin = crop // STEM_REDUCTION - Head.MARGIN
        height, width = (size - 2 * margin for size in branches[0].shape[-2:])
        rows = [
            self._rows(branches, margin, top, min(top + _HEAD_ROWS, height)) for top in range(0, height, _HEAD_ROWS)
        ]
        return Head.at_full_size(torch.cat(rows).view(1, 1, height, width), Head.MARGIN)

    def _rows(self, branches: list[Tensor], margin: int, top: int, bottom: int) -> Tensor:
        """Output of the last layer in some rows, shape (y, x)."""
        fine, coarse = _fine_rows(branches[:2], margin + top - 1, margin + bottom + 1), branches[2:]
        fine = fine[..., margin - 1 : fine.shape[-1] - margin + 1]
        mixed = functional.conv2d(fine, self._fine, self._bias)[0].permute(1, 2, 0).float()
        height, width, channels = mixed.shape
        flat = mixed.reshape(height, width * channels)
        for branch, (scale, weight) in zip(coarse, self._coarse, strict=True):
            start, taps = upsampling_taps(margin + top, height, scale)
            seen = branch[..., start : start + taps.shape[-1], :]
            along_x = self._upsampled_along_x(functional.conv2d(seen, weight), scale, margin, width)
            flat.addmm_(torch.from_numpy(taps.transpose(0, 2, 1).reshape(height, -1)), along_x)
        return flat.relu_().view(height, width, channels) @ self._last

    def _upsampled_along_x(self, products: Tensor, scale: int, margin: int, width: int) -> Tensor:
        """Sum the three taps along a row; shape (coarse rows and their three taps, x and channels)."""
        block = _BLOCK * scale
        start, taps = upsampling_taps(margin, block, scale)
        blocks, seen = -(-width // block), taps.shape[-1]
        pixels = products[0].permute(1, 2, 0).float()
        missing = start + (blocks - 1) * _BLOCK + seen - pixels.shape[1]
        pixels = functional.pad(pixels, (0, 0, 0, max(0, missing)))
        windows = pixels[:, start:].unfold(1, seen, _BLOCK)[:, :blocks]
        rows, channels = len(windows), len(self._last)
        # (y, block, tap along x, tap along y, channel, x) -> (y, tap along y, block, tap along x and x, channel)
        windows = windows.reshape(rows, blocks, 3, 3, channels, seen).permute(0, 3, 1, 2, 5, 4)
        windows = windows.reshape(rows * 3, blocks, 3 * seen, channels)
        upsampled = torch.matmul(torch.from_numpy(taps.reshape(block, -1)), windows)
        return upsampled.view(rows * 3, -1)[:, : width * channels]


def _fine_rows(branches: list[Tensor], start: int, stop: int) -> Tensor:
    """Features of the first two branches, concatenated, in some inner rows of the finest branch."""
    above = (start - 1) // 2
    upsampled = [
        functional.interpolate(
            branch[..., above : stop // 2 + 1, :], scale_factor=2, mode="bilinear", align_corners=False
        )
        for branch in branches[1:]
    ]
    rows = slice(start - 2 * above, stop - 2 * above)
    return torch.cat([branches[0][..., start:stop, :], *(branch[..., rows, :] for branch in upsampled)], dim=1)


def upsampling_taps(first: int, count: int, scale: int) -> tuple[int, np.ndarray]:
    """Weights of bilinear upsampling along an axis for each of a convolution's three taps, and the first index."""
    fine = first + np.arange(count)[:, None] + np.arange(-1, 2)
    position = (fine + 0.5) / scale - 0.5
    before = np.floor(position).astype(int)
    start = int(before[0, 0])
    columns = np.arange(start, before[-1, -1] + 2)
    return start, np.clip(1 - np.abs(position[..., None] - columns), 0, 1).astype(np.float32)


def fuse(network: nn.Module) -> None:
    """Fuse convolutions with what follows them, in place, if torch has the operators."""
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
    """Convolution fused with the ReLU after it."""

    def forward(self, x: Tensor) -> Tensor:
        rectified: Tensor = ONE_DNN._convolution_pointwise(x, self.weight, self.bias, *self.geometry, "relu", [], "")
        return rectified


class _Residual(_Convolution):
    """Residual block whose last convolution adds to the shortcut in place, since the block's input is not reused."""

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
