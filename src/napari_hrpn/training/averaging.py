"""A running average of a network's weights, which predicts better than the latest ones while those still jump."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn


class WeightAverage:
    """Exponential moving average of weights and batch statistics."""

    def __init__(self, network: nn.Module, kept: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(requires_grad=False).eval()
        self._kept = kept

    def update(self, network: nn.Module, step: int) -> None:
        """Take in the weights after a step."""
        averaged, latest = self.network.state_dict(), network.state_dict()
        smooth = [name for name, tensor in averaged.items() if tensor.is_floating_point()]
        kept = min(self._kept, (1 + step) / (10 + step))
        with torch.no_grad():
            pull = get_ema_multi_avg_fn(kept)  # type: ignore[no-untyped-call]
            pull([averaged[name] for name in smooth], [latest[name] for name in smooth], step)
            for name in averaged.keys() - set(smooth):
                averaged[name].copy_(latest[name])

    def tensors(self) -> dict[str, Tensor]:
        """Averaged weights and batch statistics by name."""
        return self.network.state_dict()

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from such tensors."""
        self.network.load_state_dict(dict(tensors))
