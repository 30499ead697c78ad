"""Optimisers, learning rate and weight averaging of the recipes, and steps that are undone where memory runs out."""

from __future__ import annotations

import copy
import math
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from torch import Tensor, nn
    from torch.optim import Optimizer

    from napari_hrpn.settings import TrainingSettings

_FIRST_RATE_SHARE = 0.04


def make_optimiser(settings: TrainingSettings, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """Optimiser of a recipe."""
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.optimiser == "rmsprop":
        return torch.optim.RMSprop(parameters, rate, momentum=settings.momentum, weight_decay=decay)
    kind = torch.optim.AdamW if settings.optimiser == "adamw" else torch.optim.Adam
    return kind(parameters, rate, betas=(settings.momentum, 0.999), weight_decay=decay, fused=True)


def learning_rate(settings: TrainingSettings, progress: float) -> float:
    """Learning rate at a share of the training: constant, or a warm-up and half a cosine down to zero."""
    if settings.schedule == "constant":
        return settings.learning_rate
    progress = min(max(progress, 0.0), 1.0)
    if progress < settings.warm_up:
        return settings.learning_rate * (_FIRST_RATE_SHARE + (1 - _FIRST_RATE_SHARE) * progress / settings.warm_up)
    rest = (progress - settings.warm_up) / max(1e-9, 1 - settings.warm_up)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * rest))


def optimiser_tensors(optimiser: Optimizer) -> dict[str, Tensor]:
    """State of an optimiser as tensors named "parameter.quantity", which a file can hold without a pickle."""
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


class WeightAverage:
    """Exponential moving average of weights and batch statistics: it predicts better while the weights still jump."""

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


@contextmanager
def undone_on_failure(tensors: Iterable[Tensor], optimiser: Optimizer | None = None) -> Iterator[None]:
    """Put tensors and an optimiser back where a block fails, so that the step can be taken again in smaller pieces."""
    held = list(tensors)
    is_new = optimiser is not None and not optimiser.state
    if optimiser is not None:
        held += optimiser_tensors(optimiser).values()
    kinds = {(tensor.dtype, tensor.device) for tensor in held}
    groups = [[tensor for tensor in held if (tensor.dtype, tensor.device) == kind] for kind in kinds]
    before = [flattened(group) for group in groups]
    try:
        yield
    except BaseException:
        for group, numbers in zip(groups, before, strict=True):
            fill(group, numbers)
        if optimiser is not None and is_new:
            optimiser.state.clear()
        raise


def flattened(tensors: Sequence[Tensor]) -> Tensor:
    """Many small tensors copied into a long one: one message, or one copy, instead of hundreds."""
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


def fill(tensors: Sequence[Tensor], flat: Tensor) -> None:
    """Copy the numbers of a long tensor back into many small ones."""
    parts = flat.split([tensor.numel() for tensor in tensors])  # type: ignore[no-untyped-call]
    with torch.no_grad():
        torch._foreach_copy_(
            [tensor.detach() for tensor in tensors],
            [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)],
        )
