"""Many small tensors as one long one and back: one message, or one copy, instead of hundreds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


def flattened(tensors: Sequence[Tensor]) -> Tensor:
    """Copy tensors into one."""
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


def fill(tensors: Sequence[Tensor], flat: Tensor) -> None:
    """Copy numbers into tensors."""
    parts = flat.split([tensor.numel() for tensor in tensors])  # type: ignore[no-untyped-call]
    with torch.no_grad():
        torch._foreach_copy_(
            [tensor.detach() for tensor in tensors],
            [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)],
        )
