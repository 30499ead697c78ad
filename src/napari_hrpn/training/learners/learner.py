"""One step of learning by the mean squared error, and the whole state of a network that learns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from napari_hrpn.models.architectures import built, settings_class
from napari_hrpn.training.devices import SINGLE
from napari_hrpn.training.learners.optimisers import (
    WeightAverage,
    load_optimiser,
    make_optimiser,
    optimiser_tensors,
    undone_on_failure,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor
    from torch.optim import Optimizer

    from napari_hrpn.models.architectures import NetworkSettings
    from napari_hrpn.settings import TrainingSettings
    from napari_hrpn.training.devices import ProcessGroup


@dataclass(frozen=True, eq=False)
class DeviceBatch:
    """Patches on the device that learns from them, in the network's numbers."""

    inputs: Tensor  # Shape (n, c, y, x)
    target: Tensor  # Shape (n, 1, y, x)
    valid: Tensor  # Shape (n, 1, y, x); False on what is not to be learnt from


class Learner:
    """A network, its optimiser, and averaged weights where the recipe wants them; a subclass for each network."""

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
        self._optimiser = make_optimiser(settings, self.network.parameters())
        self._average = WeightAverage(self.network, settings.averaging) if settings.averaging else None
        self._steps = 0

    def step(self, pieces: Sequence[DeviceBatch], learning_rate: float) -> float:
        """Learn from one batch; returns its mean squared error in the network's numbers, over the valid pixels.

        The batch comes in pieces that fit the device's memory; gradients are added up over them, and over the
        devices that learn together, so that the step is that of the whole batch. A device may have no piece of it.
        A step that fails leaves everything as it was, to be taken again.
        """
        for part in self._parts().values():
            if isinstance(part, nn.Module):
                part.train()
            else:
                part.zero_grad(set_to_none=True)
                for group in part.param_groups:
                    group["lr"] = learning_rate
        with undone_on_failure(*self._changed_before_the_step()):
            error, n = self._learn(pieces)
        self._optimiser.step()
        if self._average is not None:
            self._average.update(self.network, self._steps)
        self._steps += 1
        # the host waits for the device here alone
        error_read, n_read = torch.stack([error, n]).tolist()
        return float(error_read / max(1, n_read))

    def evaluated(self) -> nn.Module:
        """Network to predict with, in evaluation mode: averaged weights where the recipe averages."""
        return (self.network if self._average is None else self._average.network).eval()

    def tensors(self) -> dict[str, Tensor]:
        """Everything that decides the steps to come, by name."""
        named = {"steps": torch.tensor(self._steps)}
        for part, holder in self._kept_parts().items():
            held = holder.state_dict() if isinstance(holder, nn.Module) else optimiser_tensors(holder)
            named |= {f"{part}.{name}": tensor for name, tensor in held.items()}
        return named

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from such tensors, bit for bit."""
        for part, holder in self._kept_parts().items():
            start = f"{part}."
            held = {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
            if isinstance(holder, nn.Module):
                holder.load_state_dict(held)
            else:
                load_optimiser(holder, held)
        self._steps = int(tensors["steps"])

    def _parts(self) -> dict[str, nn.Module | Optimizer]:
        """What learns, by the name that it has in the state of a run."""
        return {"network": self.network, "optimiser": self._optimiser}

    def _kept_parts(self) -> dict[str, nn.Module | Optimizer]:
        average = {} if self._average is None else {"average": self._average.network}
        return {**self._parts(), **average}

    def _changed_before_the_step(self) -> tuple[list[Tensor], Optimizer | None]:
        """What `_learn` changes of itself: tensors, and an optimiser that takes its step already there."""
        return list(self.network.buffers()), None

    def _learn(self, pieces: Sequence[DeviceBatch]) -> tuple[Tensor, Tensor]:
        """Gradients of the whole batch; returns the sum of its squared errors, and of how many pixels."""
        n = self._team.sum(self._count(pieces))
        error = torch.zeros_like(n)
        for piece in pieces:
            squared = (self._computed(self.network, piece.inputs) - piece.target) ** 2 * piece.valid
            loss = squared.sum() / n.clamp(min=1).float()
            loss.backward()  # type: ignore[no-untyped-call]
            error += squared.detach().sum(dtype=error.dtype)
        self._team.unite(self.network)
        return self._team.sum(error), n

    def _count(self, pieces: Sequence[DeviceBatch]) -> Tensor:
        """Valid pixels, counted on the device."""
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
