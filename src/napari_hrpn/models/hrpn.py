"""HRPN: the high-resolution prediction network, layer by layer as published.

Four branches at 1/4, 1/8, 1/16 and 1/32 of the resolution run in parallel and exchange their features after every
stage; a head combines all of them. Every convolution followed by batch normalisation is a `torch.nn.Sequential` that
starts with the two, so that they can be folded into one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_hrpn.settings import TrainingSettings

STEM_REDUCTION = 4
MOST_STAINS, _MOST_BRANCHES, _MOST_BLOCKS, WIDEST = 64, 8, 64, 4096
"""Limits of a network's size, so that the header of a file cannot demand one that fits no machine."""


@dataclass(frozen=True)
class HRPNSettings:
    """Architecture of an `HRPN`.

    Attributes
    ----------
    in_channels : int
        Input stains; nuclei and vessels by default.
    branches : int
        Number of parallel resolutions, 1 to 4; the paper's ablation varies it.
    upsampling : {"bilinear", "transposed"}
        How a coarse branch is brought to a finer one between the branches: a 1x1 convolution and bilinear
        interpolation as in the published code, or 3x3 transposed convolutions as in the paper's text.
    stem_channels, stage1_channels : int
        Width of the stem and of the bottlenecks of the first stage, which expand it four times.
    stage1_blocks : int
        Bottlenecks in the first stage.
    branch_channels : tuple of int
        Width of each branch, finest first.
    dropout : float
        Share of feature maps that the head drops in training.
    """

    in_channels: int = 2
    branches: int = 4
    upsampling: Literal["bilinear", "transposed"] = "bilinear"
    stem_channels: int = 64
    stage1_channels: int = 64
    stage1_blocks: int = 4
    branch_channels: tuple[int, ...] = (18, 36, 72, 144)
    dropout: float = 0.1

    def __post_init__(self) -> None:
        widths = (self.stem_channels, self.stage1_channels, *self.branch_channels)
        most = len(self.branch_channels)
        for is_right, found, expected in (
            (1 <= self.branches <= most, f"branches={self.branches}", f"1 to {most}"),
            (most <= _MOST_BRANCHES, f"{most} branches", f"{_MOST_BRANCHES} at most"),
            (
                1 <= self.in_channels <= MOST_STAINS,
                f"in_channels={self.in_channels}",
                f"1 to {MOST_STAINS} input stains",
            ),
            (
                1 <= min(widths) <= max(widths) <= WIDEST and 1 <= self.stage1_blocks <= _MOST_BLOCKS,
                f"widths {widths} and stage1_blocks={self.stage1_blocks}",
                f"1 to {WIDEST} channels and 1 to {_MOST_BLOCKS} blocks",
            ),
            (0 <= self.dropout < 1, f"dropout={self.dropout}", "0 or more and less than 1"),
            (
                self.upsampling in ("bilinear", "transposed"),
                f"upsampling={self.upsampling!r}",
                "'bilinear' or 'transposed'",
            ),
        ):
            if not is_right:
                msg = f"HRPN got {found}; expected {expected}."
                raise ValueError(msg)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of the branches that are used."""
        return self.branch_channels[: self.branches]

    @property
    def stride(self) -> int:
        """Pixels of the input per pixel of the coarsest branch."""
        return STEM_REDUCTION << (self.branches - 1)

    @classmethod
    def of_training(cls, settings: TrainingSettings) -> HRPNSettings:
        """The HRPN that a training asks for."""
        return cls(len(settings.channels), settings.branches, settings.upsampling)

    def narrowed(self) -> HRPNSettings:
        """Settings with the same layers, with one channel each."""
        widths = (1,) * len(self.branch_channels)
        return replace(self, in_channels=1, stem_channels=1, stage1_channels=1, branch_channels=widths)


def _convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, *, relu: bool = True) -> nn.Sequential:
    """Convolution without bias, batch normalisation and, unless a sum follows first, ReLU."""
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, nn.ReLU(inplace=True)) if relu else nn.Sequential(*layers)


class BasicBlock(nn.Module):
    """Residual block of two 3x3 convolutions beside an identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(_convolution(channels, channels), _convolution(channels, channels, relu=False))

    def forward(self, x: Tensor) -> Tensor:
        """Shape (n, c, y, x) in and out."""
        return functional.relu_(self.residual(x).add_(x))


class Bottleneck(nn.Module):
    """Residual block of 1x1, 3x3 and 1x1 convolutions, with four times as many channels at its end."""

    expansion = 4

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        outputs = channels * self.expansion
        self.residual = nn.Sequential(
            _convolution(inputs, channels, 1),
            _convolution(channels, channels),
            _convolution(channels, outputs, 1, relu=False),
        )
        self.shortcut = _convolution(inputs, outputs, 1, relu=False) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Shape (n, c, y, x) in and out."""
        return functional.relu_(self.residual(x).add_(self.shortcut(x)))


def _downsampling(source: int, target: int, steps: int) -> nn.Sequential:
    """Stride-2 convolutions from a finer branch; they keep the source's width until the last."""
    chain = [_convolution(source, source, stride=2) for _ in range(steps - 1)]
    return nn.Sequential(*chain, _convolution(source, target, stride=2, relu=False))


def _bilinear_upsampling(source: int, target: int, steps: int) -> nn.Sequential:
    """Bring a coarser branch to a finer one's width, then to its size."""
    # align_corners=True would make the result depend on the size of the tensor, so that a tile could never equal the
    # same part of the whole slide (docs/decisions/0002-align-corners-false.md)
    return nn.Sequential(
        *_convolution(source, target, 1, relu=False),
        nn.Upsample(scale_factor=2**steps, mode="bilinear", align_corners=False),
    )


def _transposed_upsampling(widths: Sequence[int]) -> nn.Sequential:
    """Double the size step by step with 3x3 transposed convolutions, from `widths[0]` to `widths[-1]`."""
    layers: list[nn.Module] = []
    for source, target in pairwise(widths):
        layers += [
            nn.ConvTranspose2d(source, target, 3, stride=2, padding=1, output_padding=1, bias=False),
            nn.BatchNorm2d(target),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers[:-1])


class _Exchange(nn.Module):
    """Every branch receives the sum of all branches, each brought to its scale."""

    def __init__(self, widths: Sequence[int], upsampling: str) -> None:
        super().__init__()
        self.paths = nn.ModuleList(
            nn.ModuleList(self._path(widths, source, target, upsampling) for source in range(len(widths)))
            for target in range(len(widths))
        )

    @staticmethod
    def _path(widths: Sequence[int], source: int, target: int, upsampling: str) -> nn.Module:
        if source == target:
            return nn.Identity()
        if source < target:
            return _downsampling(widths[source], widths[target], target - source)
        if upsampling == "transposed":
            return _transposed_upsampling(widths[target : source + 1][::-1])
        return _bilinear_upsampling(widths[source], widths[target], source - target)

    def forward(self, branches: list[Tensor]) -> list[Tensor]:
        """Finest branch first, in and out."""
        fused = []
        for target in range(len(branches)):
            paths = self.get_submodule(f"paths.{target}").children()
            # one after another, since all of them at once would take most of the memory of the network
            rescaled = (path(branch) for path, branch in zip(paths, branches, strict=True))
            total = next(rescaled) + next(rescaled)
            for features in rescaled:
                total.add_(features)
            fused.append(functional.relu_(total))
        return fused


class _Stage(nn.Module):
    """One basic block on each branch, then an exchange between all of them."""

    def __init__(self, widths: Sequence[int], upsampling: str) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(BasicBlock(width) for width in widths)
        self.exchange = _Exchange(widths, upsampling)

    def forward(self, branches: list[Tensor]) -> list[Tensor]:
        """Finest branch first, in and out."""
        fused: list[Tensor] = self.exchange([block(x) for block, x in zip(self.blocks, branches, strict=True)])
        return fused


class Head(nn.Module):
    """Head that combines all branches at 1/4 of the resolution into one channel."""

    # the 3x3 convolution and the interpolation each need one feature pixel around their output
    MARGIN = 2

    def __init__(self, widths: Sequence[int], dropout: float) -> None:
        super().__init__()
        total = sum(widths)
        self.mix = nn.Sequential(
            nn.Conv2d(total, total, 3, padding=1),
            nn.BatchNorm2d(total),
            nn.ReLU(inplace=True),
            nn.Dropout2d(dropout),
        )
        self.last = nn.Conv2d(total, 1, 1, bias=False)

    def forward(self, branches: list[Tensor], crop: int = 0) -> Tensor:
        """Map branches, finest first, to shape (n, 1, y, x) without `crop` pixels on each side."""
        margin = min(self.MARGIN, crop // STEM_REDUCTION)
        features = self.together(branches, crop // STEM_REDUCTION - margin)
        mixed = self.mix(features)
        # the output stays in single precision, also where the features are computed in 16 bit
        with torch.autocast(mixed.device.type, enabled=False):
            return self.at_full_size(functional.conv2d(mixed.float(), self.last.weight.float()), margin)

    @staticmethod
    def at_full_size(coarse: Tensor, margin: int) -> Tensor:
        """Upsample from 1/4 to full resolution, without `margin` pixels of `coarse` on each side."""
        full = functional.interpolate(coarse, scale_factor=STEM_REDUCTION, mode="bilinear", align_corners=False)
        return cropped(full, margin * STEM_REDUCTION)

    @staticmethod
    def together(branches: list[Tensor], crop: int) -> Tensor:
        """Concatenate all branches at the size of the finest, without `crop` pixels on each side."""
        size = branches[0].shape[-2:]
        upsampled = [branches[0]] + [
            functional.interpolate(branch, size=size, mode="bilinear", align_corners=False) for branch in branches[1:]
        ]
        return torch.cat([cropped(x, crop) for x in upsampled], dim=1)


class HRPN(nn.Module):
    """Predict the probe channel, pixel by pixel, from the other stains.

    Parameters
    ----------
    settings : HRPNSettings
        Architecture; the default is the paper's network of 2,176,824 parameters.

    Notes
    -----
    Xu et al., Adv. Intell. Syst. 2023, doi 10.1002/aisy.202300592. Upsampling uses ``align_corners=False``, unlike
    the published code, so that tiles and the whole slide give the same answer; weights and parameter count are
    not affected.
    """

    Settings = HRPNSettings

    def __init__(self, settings: HRPNSettings | None = None) -> None:
        super().__init__()
        self.settings = settings = settings or HRPNSettings()
        stem, widths = settings.stem_channels, settings.widths
        self.stem = nn.Sequential(
            _convolution(settings.in_channels, stem, stride=2), _convolution(stem, stem, stride=2)
        )
        wide = settings.stage1_channels * Bottleneck.expansion
        self.stage1 = nn.Sequential(
            *(Bottleneck(stem if i == 0 else wide, settings.stage1_channels) for i in range(settings.stage1_blocks))
        )
        self.transitions = nn.ModuleList(
            _convolution(widths[i - 1] if i > 1 else wide, width, stride=1 if i == 0 else 2)
            for i, width in enumerate(widths)
        )
        self.stages = nn.ModuleList(_Stage(widths[:n], settings.upsampling) for n in range(2, len(widths) + 1))
        self.head = Head(widths, settings.dropout)

    def forward(self, x: Tensor, crop: int = 0) -> Tensor:
        """Predict, and leave out `crop` pixels on each side.

        Parameters
        ----------
        x : Tensor
            Input stains, shape (n, in_channels, y, x); sides are multiples of `settings.stride`.
        crop : int
            Pixels to leave out on each side, a multiple of 4. The result is the middle of the uncropped output, at
            less cost, since the head is most of the arithmetic.

        Returns
        -------
        Tensor
            Shape (n, 1, y - 2 crop, x - 2 crop), in float32; no output activation.
        """
        output: Tensor = self.head(self.features(x), crop)
        return output

    def features(self, x: Tensor) -> list[Tensor]:
        """Branches after the last exchange, finest (1/4) first."""
        return self.exchanged(self.beginning(x))

    def beginning(self, x: Tensor) -> list[Tensor]:
        """Stem and first stage: inputs of the first two branches, finest first."""
        wide = self.stage1(self.stem(x))
        return [transition(wide) for transition in self.transitions[:2]]

    def exchanged(self, branches: list[Tensor]) -> list[Tensor]:
        """Later stages: from the inputs of the first two branches to all branches after the last exchange."""
        for index, stage in enumerate(self.stages):
            # each later branch starts from the coarsest before it
            branches = stage([*branches, self.transitions[index + 1](branches[-1])] if index else branches)
        return branches


def cropped(x: Tensor, margin: int) -> Tensor:
    """Leave out `margin` pixels on each side."""
    return x[..., margin : x.shape[-2] - margin, margin : x.shape[-1] - margin]
