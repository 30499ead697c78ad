"""GANDA, the baseline: a U-Net generator of the probe channel, and a discriminator for its training.

A convolution is followed by its batch normalisation in one `torch.nn.Sequential`, so that the two can be folded into
one; pooling and output activation are modules, so that `receptive_field_radius` can replace them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_hrpn.models.hrpn import MOST_STAINS, WIDEST, cropped

if TYPE_CHECKING:
    from napari_hrpn.settings import TrainingSettings

_LEAK = 0.2
_MOST_WIDTHS, _MOST_PATCH_PX = 10, 8192


@dataclass(frozen=True)
class GANDASettings:
    """Architecture of a `GANDA` and of the `GANDADiscriminator` that trains it.

    Attributes
    ----------
    in_channels : int
        Input stains; nuclei and vessels by default.
    channels : tuple of int
        Width of the generator at each resolution, finest first, each half as fine as the one before it.
    discriminator_channels : tuple of int
        Width of the discriminator's convolutions; each halves the resolution.
    patch_px : int
        Side of the discriminator's patches, which its last layer covers as a whole. The generator takes any size.
    """

    in_channels: int = 2
    channels: tuple[int, ...] = (16, 32, 64, 128, 256)
    discriminator_channels: tuple[int, ...] = (16, 32, 64, 128, 256, 512)
    patch_px: int = 512

    def __post_init__(self) -> None:
        if not 1 <= self.in_channels <= MOST_STAINS:
            msg = f"GANDA got in_channels={self.in_channels}; expected 1 to {MOST_STAINS} input stains."
            raise ValueError(msg)
        for name in ("channels", "discriminator_channels"):
            widths = getattr(self, name)
            if not 2 <= len(widths) <= _MOST_WIDTHS or not 1 <= min(widths) <= max(widths) <= WIDEST:
                msg = f"GANDA got {name}={widths}; expected two to {_MOST_WIDTHS} positive widths, none above {WIDEST}."
                raise ValueError(msg)
        if not self.stride <= self.patch_px <= _MOST_PATCH_PX or self.patch_px % self.stride:
            msg = (
                f"GANDA got patch_px={self.patch_px}; "
                f"expected a multiple of {self.stride} px, {_MOST_PATCH_PX} at most."
            )
            raise ValueError(msg)

    @property
    def stride(self) -> int:
        """Pixels of the input per pixel of the coarsest resolution."""
        return 1 << (len(self.channels) - 1)

    @classmethod
    def of_training(cls, settings: TrainingSettings) -> GANDASettings:
        """The GANDA that a training asks for."""
        return cls(len(settings.channels), patch_px=settings.patch_px)

    def narrowed(self) -> GANDASettings:
        """Settings with the same layers of the generator, with one channel each."""
        return replace(self, in_channels=1, channels=(1,) * len(self.channels))


class GANDA(nn.Module):
    """Generate the probe channel, from -1 to 1, from the other stains.

    Parameters
    ----------
    settings : GANDASettings
        Architecture; the default has 1,553,857 parameters, batch statistics counted.

    Notes
    -----
    The generator of GANDA (Zhang, Tang and Wang, J. Control. Release 2021, arXiv 2012.12561) as Xu et al.
    (Adv. Intell. Syst. 2023, doi 10.1002/aisy.202300592) compare HRPN with.
    """

    Settings = GANDASettings

    def __init__(self, settings: GANDASettings | None = None) -> None:
        super().__init__()
        self.settings = settings = settings or GANDASettings()
        widths = settings.channels
        self.encoders = nn.ModuleList(
            nn.Sequential(*_convolution(source, width))
            for source, width in pairwise((settings.in_channels, *widths[:-1]))
        )
        self.pool = nn.MaxPool2d(2)
        self.bottom = nn.Sequential(*_convolution(widths[-2], widths[-1]), *_convolution(widths[-1], widths[-1]))
        self.upsamplers = nn.ModuleList(nn.Sequential(*_doubling(coarse, fine)) for fine, coarse in pairwise(widths))
        self.decoders = nn.ModuleList(nn.Sequential(*_convolution(2 * width, width)) for width in widths[:-1])
        self.last = nn.Conv2d(widths[0], 1, 3, padding=1)
        self.activation = nn.Tanh()

    def forward(self, x: Tensor, crop: int = 0) -> Tensor:
        """Generate, and leave out `crop` pixels on each side.

        Parameters
        ----------
        x : Tensor
            Input stains, shape (n, in_channels, y, x); sides are multiples of `settings.stride`.
        crop : int
            Pixels to leave out on each side. The result is the middle of the uncropped output, at less cost.

        Returns
        -------
        Tensor
            Shape (n, 1, y - 2 crop, x - 2 crop), in float32, -1 to 1.
        """
        # the last 3x3 convolution needs one pixel around its output
        margin = max(0, crop - 1)
        decoded = self._decoded(x, margin)
        # the output stays in single precision, also where the features are computed in 16 bit
        with torch.autocast(x.device.type, enabled=False):
            output: Tensor = self.activation(self.last(decoded.to(self.last.weight.dtype)))
        return cropped(output, crop - margin)

    def _decoded(self, x: Tensor, crop: int) -> Tensor:
        """Features at full resolution without `crop` pixels on each side, which are not computed either."""
        skips = []
        for encode in self.encoders:
            skips.append(encode(x))
            x = self.pool(skips[-1])
        margins = [crop]
        for _ in skips:
            margins.append(_coarser_margin(margins[-1]))
        x = cropped(self.bottom(x), margins[-1])
        for level in reversed(range(len(skips))):
            left_out = 2 * margins[level + 1]
            x = self.get_submodule(f"upsamplers.{level}")(x)
            # skips are released as soon as they are used, since full resolution decides the peak memory
            x = torch.cat([x, cropped(skips.pop(), left_out)], dim=1)
            x = cropped(self.get_submodule(f"decoders.{level}")(x), margins[level] - left_out)
        return x


class GANDADiscriminator(nn.Module):
    """Classify probe patches as real (1) or generated (0).

    Parameters
    ----------
    settings : GANDASettings
        Architecture and size of the patches; the default has 2,831,473 parameters, batch statistics counted.

    Notes
    -----
    From the same papers as `GANDA`: six 4x4 convolutions of stride 2, a dense layer and a sigmoid.
    """

    def __init__(self, settings: GANDASettings | None = None) -> None:
        super().__init__()
        self.settings = settings = settings or GANDASettings()
        widths, side = settings.discriminator_channels, settings.patch_px
        for _ in widths:
            side = -(-side // 2)
        self.layers = nn.Sequential(
            _Halving(1, widths[0], normalised=False),
            *(_Halving(source, width) for source, width in pairwise(widths)),
            nn.Flatten(),
        )
        self.dense = nn.Linear(widths[-1] * side**2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Classify patches.

        Parameters
        ----------
        x : Tensor
            Probe patches from -1 to 1, shape (n, 1, patch_px, patch_px).

        Returns
        -------
        Tensor
            Shape (n, 1), in float32, 0 to 1.
        """
        return torch.sigmoid(self.dense(self.layers(x)).float())


class _Halving(nn.Module):
    """4x4 convolution of stride 2 that rounds odd sizes up, batch normalisation and leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, *, normalised: bool = True) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, 4, stride=2, padding=1)
        self.normalisation = _BatchNormalisation(outputs) if normalised else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map shape (n, c, y, x) to half the size."""
        height, width = x.shape[-2:]
        even = functional.pad(x, (0, width % 2, 0, height % 2))
        return functional.leaky_relu(self.normalisation(self.convolution(even)), _LEAK)


class _BatchNormalisation(nn.BatchNorm2d):
    """Batch normalisation that uses the running statistics if a batch has a single value per channel."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise; shape (n, c, y, x) in and out."""
        if self.training and x.numel() == x.shape[1]:
            return functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)


def _convolution(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


def _doubling(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.ConvTranspose2d(inputs, outputs, 2, stride=2), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


def _coarser_margin(margin: int) -> int:
    """Margin of the next coarser resolution, less the one pixel that a 3x3 convolution needs around its output."""
    return max(0, margin - 1) // 2
