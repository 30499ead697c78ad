"""HRPN learns: mean squared error, one optimiser, averaged weights where the recipe wants them."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch

from napari_hrpn.models import HRPN, HRPNSettings
from napari_hrpn.training.attempt import undone_on_failure
from napari_hrpn.training.averaging import WeightAverage
from napari_hrpn.training.optimisers import load_optimiser, make_optimiser, optimiser_tensors, set_learning_rate
from napari_hrpn.training.pixel_sums import count, mean
from napari_hrpn.training.process_group import SINGLE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from napari_hrpn.training.learner import DeviceBatch
    from napari_hrpn.training.process_group import ProcessGroup
    from napari_hrpn.training.settings import TrainingSettings


class HRPNLearner:
    """An HRPN and what it learns with."""

    def __init__(
        self, settings: TrainingSettings, device: str = "cpu", precision: str = "fp32", team: ProcessGroup = SINGLE
    ) -> None:
        torch.manual_seed(settings.seed)
        self.settings = hrpn_settings(settings)
        network = HRPN(self.settings).to(device)
        self.network: HRPN = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._device, self._half, self._team = torch.device(device), precision == "bf16", team
        self._optimiser = make_optimiser(settings, self.network.parameters())
        self._average = WeightAverage(self.network, settings.averaging) if settings.averaging else None
        self._steps = 0

    def step(self, pieces: Sequence[DeviceBatch], learning_rate: float) -> float:
        """Learn from one batch; see `Learner`."""
        self.network.train()
        self._optimiser.zero_grad(set_to_none=True)
        set_learning_rate(self._optimiser, learning_rate)
        with undone_on_failure(self.network.buffers()):
            error, n = self._learn(pieces)
        self._optimiser.step()
        if self._average is not None:
            self._average.update(self.network, self._steps)
        self._steps += 1
        return mean(error, n)

    def evaluated(self) -> HRPN:
        """Network to predict with; see `Learner`."""
        network = self.network if self._average is None else self._average.network
        return cast("HRPN", network.eval())

    def tensors(self) -> dict[str, Tensor]:
        """Everything that decides the steps to come; see `Learner`."""
        named = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        named |= {f"optimiser.{name}": tensor for name, tensor in optimiser_tensors(self._optimiser).items()}
        if self._average is not None:
            named |= {f"average.{name}": tensor for name, tensor in self._average.tensors().items()}
        return {**named, "steps": torch.tensor(self._steps)}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from such tensors; see `Learner`."""
        self.network.load_state_dict(below(tensors, "network"))
        load_optimiser(self._optimiser, below(tensors, "optimiser"))
        if self._average is not None:
            self._average.load(below(tensors, "average"))
        self._steps = int(tensors["steps"])

    def _learn(self, pieces: Sequence[DeviceBatch]) -> tuple[Tensor, Tensor]:
        """Gradients of the whole batch; returns the sum of its squared errors, and of how many pixels."""
        n = self._team.sum(count([piece.valid for piece in pieces], self._device))
        error = torch.zeros_like(n)
        for piece in pieces:
            squared = (self._predicted(piece.inputs) - piece.target) ** 2 * piece.valid
            loss = squared.sum() / n.clamp(min=1).float()
            loss.backward()  # type: ignore[no-untyped-call]
            error += squared.detach().sum(dtype=error.dtype)
        self._team.unite(self.network)
        return self._team.sum(error), n

    def _predicted(self, inputs: Tensor) -> Tensor:
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._half):
            predicted: Tensor = self.network(inputs.contiguous(memory_format=torch.channels_last))
        return predicted


def hrpn_settings(settings: TrainingSettings) -> HRPNSettings:
    """Architecture that training settings ask for."""
    return HRPNSettings(len(settings.channels), settings.branches, settings.upsampling)


def below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Tensors whose names start with a prefix and a dot, without it."""
    return {name.removeprefix(f"{prefix}."): t for name, t in tensors.items() if name.startswith(f"{prefix}.")}
