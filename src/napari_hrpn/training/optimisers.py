"""Optimisers as recipes name them, and their state as named tensors, which a file can hold without a pickle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor, nn
    from torch.optim import Optimizer

    from napari_hrpn.training.settings import TrainingSettings


def make_optimiser(settings: TrainingSettings, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """Optimiser of a recipe."""
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.optimiser == "rmsprop":
        return torch.optim.RMSprop(parameters, rate, momentum=settings.momentum, weight_decay=decay)
    betas = (settings.momentum, 0.999)
    kind = torch.optim.AdamW if settings.optimiser == "adamw" else torch.optim.Adam
    return kind(parameters, rate, betas=betas, weight_decay=decay, fused=True)


def set_learning_rate(optimiser: Optimizer, learning_rate: float) -> None:
    """Change the learning rate of all parameters."""
    for group in optimiser.param_groups:
        group["lr"] = learning_rate


def optimiser_tensors(optimiser: Optimizer) -> dict[str, Tensor]:
    """State of an optimiser as tensors named "parameter.quantity"."""
    return {
        f"{parameter}.{quantity}": torch.as_tensor(value)
        for parameter, quantities in optimiser.state_dict()["state"].items()
        for quantity, value in quantities.items()
        if value is not None
    }


def load_optimiser(optimiser: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put a state back that `optimiser_tensors` gave."""
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, quantity = name.split(".", 1)
        state.setdefault(int(index), {})[quantity] = _laid_out_like(parameters[int(index)], tensor)
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})


def _laid_out_like(parameter: Tensor, tensor: Tensor) -> Tensor:
    # a fused step goes through parameter and state as they lie in memory, and a file does not keep how they lay
    if tensor.shape != parameter.shape:
        return tensor
    return torch.empty_like(parameter, dtype=tensor.dtype, requires_grad=False).copy_(tensor)
