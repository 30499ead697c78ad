"""An HRPN on a processor, strip by strip: the same answers in a fraction of the memory and of the arithmetic.

Two parts of the network are much wider than all others, its beginning and its head, and both look only a little
around themselves. They are computed in strips, so that their features never exist as a whole. The head's 3x3
convolution is linear in every branch, and so is upsampling: the coarse branches are multiplied by its weights on
their own grid, of which there are 16 or 64 times fewer pixels, and upsampled afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from napari_hrpn.models.hrpn import STEM_REDUCTION, Head
from napari_hrpn.tiling import rounded_up

if TYPE_CHECKING:
    from torch import Tensor

    from napari_hrpn.models import HRPN

BEGINNING_ROWS = 512
HEAD_ROWS = 32
BLOCK = 4
"""Coarse pixels that are upsampled by one product of matrices."""


class StripwiseHRPN:
    """Computes what an HRPN computes.

    Parameters
    ----------
    network : HRPN
        In evaluation mode, batch normalisation folded into its convolutions.
    """

    def __init__(self, network: HRPN) -> None:
        self._network = network
        self._head = StripwiseHead(network.head, network.settings.widths)
        settings = network.settings
        # one pixel of each of the stem's convolutions, at full and half resolution; then 3x3 convolutions at 1/4
        radius = 3 + STEM_REDUCTION * (settings.stage1_blocks + 1)
        self._margin = rounded_up(radius, 2 * STEM_REDUCTION)

    def __call__(self, x: Tensor, crop: int = 0) -> Tensor:
        """As `HRPN.forward`, of one image."""
        branches = self._network.exchanged(self._beginning(x))
        return self._head(branches, crop) if self._head.suits(crop) else self._network.head(branches, crop)

    def _beginning(self, x: Tensor) -> list[Tensor]:
        height = x.shape[-2]
        strips = [
            self._beginning_of(x, top, min(top + BEGINNING_ROWS, height)) for top in range(0, height, BEGINNING_ROWS)
        ]
        return [torch.cat(parts, dim=2) for parts in zip(*strips, strict=True)]

    def _beginning_of(self, x: Tensor, top: int, bottom: int) -> list[Tensor]:
        """Rows `top` to `bottom` of the beginning, which sees some more of the image."""
        first, last = max(0, top - self._margin), min(x.shape[-2], bottom + self._margin)
        strip = x[..., first:last, :].contiguous(memory_format=torch.channels_last)
        branches = self._network.beginning(strip)
        pixels = [(last - first) // branch.shape[-2] for branch in branches]
        return [
            branch[..., (top - first) // pixel : (bottom - first) // pixel, :].clone()
            for branch, pixel in zip(branches, pixels, strict=True)
        ]


class StripwiseHead:
    """Computes what the head of an HRPN computes, inside of a crop.

    Parameters
    ----------
    head : Head
        In evaluation mode, batch normalisation folded into its convolution.
    widths : tuple of int
        Channels of the branches, finest first.
    """

    def __init__(self, head: Head, widths: tuple[int, ...]) -> None:
        convolution = head.mix[0]
        assert isinstance(convolution, torch.nn.Conv2d)
        self._bias = convolution.bias
        self._last = head.last.weight.detach().float().flatten()
        weights = torch.split(convolution.weight.detach(), list(widths), dim=1)
        self._fine = torch.cat(weights[:2], dim=1).contiguous(memory_format=torch.channels_last)
        # of each coarse branch: pixels of 1/4 along one of its own, and its weights of all nine taps side by side
        self._coarse = [
            (1 << index, weight.permute(3, 2, 0, 1).flatten(0, 2)[:, :, None, None].contiguous())
            for index, weight in enumerate(weights[2:], start=2)
        ]

    def suits(self, crop: int) -> bool:
        """Whether all that is looked at lies inside of what was computed, so that nothing ends at a border."""
        margin = crop // STEM_REDUCTION - Head.MARGIN
        return margin >= 1 and all(2 * (margin - 1) >= scale for scale, _ in self._coarse)

    def __call__(self, branches: list[Tensor], crop: int) -> Tensor:
        """As `Head.forward`, of one image."""
        margin = crop // STEM_REDUCTION - Head.MARGIN
        fine = Head.together(branches[:2], margin - 1)
        height, width = (size - 2 for size in fine.shape[-2:])
        rows = [
            self._rows(fine[..., top : top + HEAD_ROWS + 2, :], branches[2:], margin, top)
            for top in range(0, height, HEAD_ROWS)
        ]
        return Head.at_full_size(torch.cat(rows).view(1, 1, height, width), Head.MARGIN)

    def _rows(self, fine: Tensor, coarse: list[Tensor], margin: int, top: int) -> Tensor:
        """The last layer's answer in some rows, shape (y, x)."""
        mixed = functional.conv2d(fine, self._fine, self._bias)[0].permute(1, 2, 0).float()
        height, width, channels = mixed.shape
        flat = mixed.reshape(height, width * channels)
        for branch, (scale, weight) in zip(coarse, self._coarse, strict=True):
            start, taps = upsampling_taps(margin + top, height, scale)
            seen = branch[..., start : start + taps.shape[-1], :]
            along_x = self._upsampled_along_x(functional.conv2d(seen, weight), scale, margin, width)
            flat.addmm_(torch.from_numpy(taps.transpose(0, 2, 1).reshape(height, -1)), along_x)
        # sums and the last layer stay in single precision whatever precision the features were computed in
        with torch.autocast(mixed.device.type, enabled=False):
            return flat.relu_().view(height, width, channels) @ self._last

    def _upsampled_along_x(self, products: Tensor, scale: int, margin: int, width: int) -> Tensor:
        """Sum the three taps along a row; shape (coarse rows and their three taps, x and channels)."""
        block = BLOCK * scale
        start, taps = upsampling_taps(margin, block, scale)
        blocks, seen = -(-width // block), taps.shape[-1]
        pixels = products[0].permute(1, 2, 0).float()
        missing = start + (blocks - 1) * BLOCK + seen - pixels.shape[1]
        pixels = functional.pad(pixels, (0, 0, 0, max(0, missing)))
        windows = pixels[:, start:].unfold(1, seen, BLOCK)[:, :blocks]
        rows, channels = len(windows), len(self._last)
        # (y, block, tap along x, tap along y, channel, x) -> (y, tap along y, block, tap along x and x, channel)
        windows = windows.reshape(rows, blocks, 3, 3, channels, seen).permute(0, 3, 1, 2, 5, 4)
        windows = windows.reshape(rows * 3, blocks, 3 * seen, channels)
        with torch.autocast(windows.device.type, enabled=False):
            upsampled = torch.matmul(torch.from_numpy(taps.reshape(block, -1)), windows)
        return upsampled.view(rows * 3, -1)[:, : width * channels]


def upsampling_taps(first: int, count: int, scale: int) -> tuple[int, np.ndarray]:
    """Bilinear upsampling along an axis, seen through the three taps of a convolution.

    Parameters
    ----------
    first : int
        First fine pixel, one or more inside of the image.
    count : int
        How many of them.
    scale : int
        Fine pixels along a coarse one.

    Returns
    -------
    start : int
        First coarse pixel that is needed.
    taps : numpy.ndarray of float32
        Shape (count, 3, coarse pixels): share of each coarse pixel, from `start` on, in what each tap sees.
    """
    fine = first + np.arange(count)[:, None] + np.arange(-1, 2)
    place = (fine + 0.5) / scale - 0.5
    before = np.floor(place).astype(int)
    start = int(before[0, 0])
    columns = np.arange(start, before[-1, -1] + 2)
    return start, np.clip(1 - np.abs(place[..., None] - columns), 0, 1).astype(np.float32)
