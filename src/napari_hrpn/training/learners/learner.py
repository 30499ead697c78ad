"""Learner: a training step by the mean squared error, the optimisers of the recipes, and the state of the network."""

from __future__ import annotations

import copy
import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from napari_hrpn.models.architectures import built, settings_class

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from torch import Tensor
    from torch.optim import Optimizer

    from napari_hrpn.models.architectures import NetworkSettings
    from napari_hrpn.settings import TrainingSettings
    from napari_hrpn.training.data.patch_loader import Batch

_FIRST_RATE_SHARE = 0.04


class ProcessGroup:
    """Group of processes with one device each; this base class is a single one.

    All processes must call the same methods in the same order. After each step they hold the same network.
    """

    rank, size = 0, 1  # the process with rank 0 writes and reports

    def sum(self, numbers: Tensor) -> Tensor:
        """Sum numbers over the devices."""
        return numbers

    def unite(self, *networks: nn.Module) -> None:
        """Sum the gradients of the weights that learn now, and average the batch statistics."""

    def from_first(self, *numbers: float) -> tuple[float, ...]:
        """Return the numbers of the first device: clocks and events differ between processes."""
        return numbers


SINGLE = ProcessGroup()


class Learner:
    """A network, its optimiser, and averaged weights if the recipe has them; networks may have a subclass."""

    def __init__(
        self,
        settings: TrainingSettings,
        device: str = "cpu",
        precision: str = "fp32",
        architecture: NetworkSettings | None = None,
        team: ProcessGroup = SINGLE,
    ) -> None:
        torch.manual_seed(settings.seed)
        self.settings: Any = architecture or settings_class(settings.model).of_training(settings)
        self._device, self._half, self._team = torch.device(device), precision == "bf16", team
        self.network = self._placed(built(self.settings))
        self._frozen: list[nn.Module] = []
        self._steps = 0
        self._prepare(settings)

    def start_from(self, weights: Mapping[str, Tensor], frozen: Iterable[str], settings: TrainingSettings) -> None:
        """Begin with weights of another training; the modules that are named `frozen` keep theirs."""
        self.network.load_state_dict(dict(weights))
        self._frozen = [self.network.get_submodule(name).requires_grad_(requires_grad=False) for name in frozen]
        self._prepare(settings)

    def step(self, pieces: Sequence[Batch[Tensor]], learning_rate: float) -> float:
        """Learn from one batch; returns its mean squared error in the network's numbers, over the valid pixels.

        The batch comes in pieces that fit into the device's memory; gradients are summed over the pieces and over the
        devices, so that the step is that of the whole batch. A device may have no piece of it. A step that fails
        leaves everything as it was, so that it can be repeated.
        """
        for part in self._parts().values():
            if isinstance(part, nn.Module):
                part.train()
            else:
                part.zero_grad(set_to_none=True)
                for group in part.param_groups:
                    group["lr"] = learning_rate
        for module in self._frozen:
            # batch statistics stay as they are too
            module.eval()
        with _undone_on_failure(*self._changed_before_the_step()):
            error, n = self._learn(pieces)
        self._optimiser.step()
        if self._average is not None:
            self._average.update(self.network, self._steps)
        self._steps += 1
        # only here the program waits for the device: both numbers are read at once
        error_read, n_read = torch.stack([error, n]).tolist()
        return float(error_read / max(1, n_read))

    def evaluated(self) -> nn.Module:
        """Return the network to predict with, in evaluation mode: with averaged weights if the recipe has them."""
        return (self.network if self._average is None else self._average.network).eval()

    def tensors(self) -> dict[str, Tensor]:
        """Return weights and states of the optimisers by name: all that decides the next steps."""
        named = {"steps": torch.tensor(self._steps)}
        for part, holder in self._kept_parts().items():
            held = holder.state_dict() if isinstance(holder, nn.Module) else _optimiser_tensors(holder)
            named |= {f"{part}.{name}": tensor for name, tensor in held.items()}
        return named

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Resume from the result of `tensors`, bit for bit."""
        for part, holder in self._kept_parts().items():
            prefix = f"{part}."
            held = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
            if isinstance(holder, nn.Module):
                holder.load_state_dict(held)
            else:
                _load_optimiser(holder, held)
        self._steps = int(tensors["steps"])

    def _prepare(self, settings: TrainingSettings) -> None:
        """Make the optimiser of the weights that are not frozen, and the average, which begins with the weights."""
        learnt = [weight for weight in self.network.parameters() if weight.requires_grad]
        self._optimiser = make_optimiser(settings, learnt)
        self._average = _WeightAverage(self.network, settings.averaging) if settings.averaging else None

    def _parts(self) -> dict[str, nn.Module | Optimizer]:
        """Networks and optimisers that a step changes, by their names in the state of a run."""
        return {"network": self.network, "optimiser": self._optimiser}

    def _kept_parts(self) -> dict[str, nn.Module | Optimizer]:
        average = {} if self._average is None else {"average": self._average.network}
        return {**self._parts(), **average}

    def _changed_before_the_step(self) -> tuple[list[Tensor], Optimizer | None]:
        """Tensors that `_learn` changes, and an optimiser that makes its step there; a failed step restores them."""
        return list(self.network.buffers()), None

    def _learn(self, pieces: Sequence[Batch[Tensor]]) -> tuple[Tensor, Tensor]:
        """Compute the gradients of the whole batch; returns the sum of its squared errors, and its valid pixels."""
        n = self._team.sum(self._count(pieces))
        error = torch.zeros_like(n)
        for piece in pieces:
            squared = (self._computed(self.network, piece.inputs) - piece.target) ** 2 * piece.valid
            loss = squared.sum() / n.clamp(min=1).float()
            loss.backward()  # type: ignore[no-untyped-call]
            error += squared.detach().sum(dtype=error.dtype)
        self._team.unite(self.network)
        return self._team.sum(error), n

    def _count(self, pieces: Sequence[Batch[Tensor]]) -> Tensor:
        """Count the valid pixels on the device."""
        # Apple GPUs have no float64
        dtype = torch.float32 if self._device.type == "mps" else torch.float64
        total = torch.zeros((), dtype=dtype, device=self._device)
        for piece in pieces:
            total += piece.valid.sum()
        return total

    def _computed(self, network: nn.Module, images: Tensor) -> Tensor:
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._half):
            output: Tensor = network(images.contiguous(memory_format=torch.channels_last))
        return output

    def _placed(self, network: nn.Module) -> nn.Module:
        placed = network.to(self._device)
        return placed.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def make_optimiser(settings: TrainingSettings, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """Make the optimiser of a recipe."""
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


def _optimiser_tensors(optimiser: Optimizer) -> dict[str, Tensor]:
    """State of an optimiser as tensors named "parameter.quantity", which a file can hold without a pickle."""
    return {
        f"{parameter}.{quantity}": torch.as_tensor(value)
        for parameter, quantities in optimiser.state_dict()["state"].items()
        for quantity, value in quantities.items()
        if value is not None
    }


def _load_optimiser(optimiser: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Restore a state that `_optimiser_tensors` returned."""
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, quantity = name.split(".", 1)
        state.setdefault(int(index), {})[quantity] = _laid_out_like(parameters[int(index)], tensor)
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})


def _laid_out_like(parameter: Tensor, tensor: Tensor) -> Tensor:
    # a fused step needs parameter and state in the same memory layout, which a file does not keep
    if tensor.shape != parameter.shape:
        return tensor
    return torch.empty_like(parameter, dtype=tensor.dtype, requires_grad=False).copy_(tensor)


class _WeightAverage:
    """Exponential moving average of weights and batch statistics; it predicts better while the weights fluctuate."""

    def __init__(self, network: nn.Module, kept: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(requires_grad=False).eval()
        self._kept = kept

    def update(self, network: nn.Module, step: int) -> None:
        """Add the weights after a step to the average."""
        averaged, latest = self.network.state_dict(), network.state_dict()
        smooth = [name for name, tensor in averaged.items() if tensor.is_floating_point()]
        # at first the average follows the weights closely: most trainings begin with random ones
        kept = min(self._kept, (1 + step) / (10 + step))
        with torch.no_grad():
            pull = get_ema_multi_avg_fn(kept)  # type: ignore[no-untyped-call]
            pull([averaged[name] for name in smooth], [latest[name] for name in smooth], step)
            for name in averaged.keys() - set(smooth):
                averaged[name].copy_(latest[name])


@contextmanager
def _undone_on_failure(tensors: Iterable[Tensor], optimiser: Optimizer | None = None) -> Iterator[None]:
    """Restore tensors and an optimiser if a block fails, so that the step can be repeated in smaller pieces."""
    held = list(tensors)
    is_new = optimiser is not None and not optimiser.state
    if optimiser is not None:
        held += _optimiser_tensors(optimiser).values()
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
    """Copy many small tensors into one long tensor: one message, or one copy, instead of hundreds."""
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


def fill(tensors: Sequence[Tensor], flat: Tensor) -> None:
    """Copy the numbers of a long tensor back into many small ones."""
    parts = flat.split([tensor.numel() for tensor in tensors])  # type: ignore[no-untyped-call]
    with torch.no_grad():
        torch._foreach_copy_(
            [tensor.detach() for tensor in tensors],
            [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)],
        )
