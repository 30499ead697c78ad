"""Sums over the pixels of a batch, kept on the device: the host waits for it once per step, to read their ratio."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


def count(masks: Sequence[Tensor], device: torch.device) -> Tensor:
    """Count True."""
    total = torch.zeros((), dtype=torch.float32 if device.type == "mps" else torch.float64, device=device)
    for mask in masks:
        total += mask.sum()
    return total


def mean(total: Tensor, n: Tensor) -> float:
    """Read a mean."""
    total_read, n_read = torch.stack([total, n]).tolist()
    return float(total_read / max(1, n_read))
