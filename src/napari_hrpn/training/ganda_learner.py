"""GANDA learns: generator and discriminator in turn, by least squares.

The generator is also held to the target by its mean squared error, which is what `step` tells.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import nn

from napari_hrpn.models import GANDA, GANDADiscriminator, GANDASettings
from napari_hrpn.training.attempt import undone_on_failure
from napari_hrpn.training.averaging import WeightAverage
from napari_hrpn.training.hrpn_learner import below
from napari_hrpn.training.optimisers import load_optimiser, make_optimiser, optimiser_tensors, set_learning_rate
from napari_hrpn.training.pixel_sums import count, mean
from napari_hrpn.training.process_group import SINGLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import Tensor

    from napari_hrpn.training.learner import DeviceBatch
    from napari_hrpn.training.process_group import ProcessGroup
    from napari_hrpn.training.settings import TrainingSettings

_ADVERSARIAL_WEIGHT = 1.0
_PIXEL_WEIGHT = 10.0
_DISCRIMINATOR_WEIGHT = 0.5


class GANDALearner:
    """A GANDA and what it learns with."""

    def __init__(
        self,
        settings: TrainingSettings,
        device: str = "cpu",
        precision: str = "fp32",
        architecture: GANDASettings | None = None,
        team: ProcessGroup = SINGLE,
    ) -> None:
        torch.manual_seed(settings.seed)
        self.settings = architecture or ganda_settings(settings)
        self.network = _placed(GANDA(self.settings), device)
        self._discriminator = _placed(GANDADiscriminator(self.settings), device)
        self._device, self._half, self._team = torch.device(device), precision == "bf16", team
        self._optimiser = make_optimiser(settings, self.network.parameters())
        self._discriminator_optimiser = make_optimiser(settings, self._discriminator.parameters())
        self._average = WeightAverage(self.network, settings.averaging) if settings.averaging else None
        self._steps = 0

    def step(self, pieces: Sequence[DeviceBatch], learning_rate: float) -> float:
        """Learn from one batch; see `Learner`."""
        self.network.train()
        self._discriminator.train()
        for optimiser in (self._optimiser, self._discriminator_optimiser):
            optimiser.zero_grad(set_to_none=True)
            set_learning_rate(optimiser, learning_rate)
        judge = self._discriminator
        changed = (*self.network.buffers(), *judge.parameters(), *judge.buffers())
        with undone_on_failure(changed, self._discriminator_optimiser):
            error, n = self._learn(pieces)
        self._optimiser.step()
        if self._average is not None:
            self._average.update(self.network, self._steps)
        self._steps += 1
        return mean(error, n)

    def evaluated(self) -> GANDA:
        """Network to predict with; see `Learner`."""
        network = self.network if self._average is None else self._average.network
        network.eval()
        return network  # type: ignore[return-value]

    def tensors(self) -> dict[str, Tensor]:
        """Everything that decides the steps to come; see `Learner`."""
        parts = {
            "network": self.network.state_dict(),
            "discriminator": self._discriminator.state_dict(),
            "optimiser": optimiser_tensors(self._optimiser),
            "discriminator_optimiser": optimiser_tensors(self._discriminator_optimiser),
            "average": {} if self._average is None else self._average.tensors(),
        }
        named = {f"{part}.{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}
        return {**named, "steps": torch.tensor(self._steps)}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from such tensors; see `Learner`."""
        self.network.load_state_dict(below(tensors, "network"))
        self._discriminator.load_state_dict(below(tensors, "discriminator"))
        load_optimiser(self._optimiser, below(tensors, "optimiser"))
        load_optimiser(self._discriminator_optimiser, below(tensors, "discriminator_optimiser"))
        if self._average is not None:
            self._average.load(below(tensors, "average"))
        self._steps = int(tensors["steps"])

    def _learn(self, pieces: Sequence[DeviceBatch]) -> tuple[Tensor, Tensor]:
        """Both turns, but for the generator's step; returns the sum of squared errors, and of how many pixels."""
        valid = count([piece.valid for piece in pieces], self._device)
        patches = torch.full_like(valid, sum(len(piece.target) for piece in pieces))
        patches, valid = self._team.sum(torch.stack([patches, valid])).unbind()
        # with a single piece, what the discriminator is shown serves the generator's turn as well
        generated = self._generated(pieces[0]) if len(pieces) == 1 else None
        self._teach_discriminator(pieces, generated, patches.float())
        return self._teach_generator(pieces, generated, patches.float(), valid), valid

    def _teach_discriminator(self, pieces: Sequence[DeviceBatch], generated: Tensor | None, patches: Tensor) -> None:
        self._discriminator.requires_grad_(requires_grad=True)
        for piece in pieces:
            with torch.no_grad(), _kept_statistics(self.network):
                fake = self._generated(piece) if generated is None else generated.detach()
            real_error = (self._judged(piece.target * piece.valid) - 1) ** 2
            fake_error = self._judged(fake * piece.valid) ** 2
            loss = _DISCRIMINATOR_WEIGHT * (real_error + fake_error).sum() / patches
            loss.backward()  # type: ignore[no-untyped-call]
        self._team.unite(self._discriminator)
        self._discriminator_optimiser.step()

    def _teach_generator(
        self, pieces: Sequence[DeviceBatch], generated: Tensor | None, patches: Tensor, valid: Tensor
    ) -> Tensor:
        self._discriminator.requires_grad_(requires_grad=False)
        error, n = torch.zeros_like(valid), valid.clamp(min=1).float()
        for piece in pieces:
            fake = self._generated(piece) if generated is None else generated
            squared = (fake - piece.target) ** 2 * piece.valid
            missed = (self._judged(fake * piece.valid) - 1) ** 2
            loss = _ADVERSARIAL_WEIGHT * missed.sum() / patches + _PIXEL_WEIGHT * squared.sum() / n
            loss.backward()  # type: ignore[no-untyped-call]
            error += squared.detach().sum(dtype=error.dtype)
        self._team.unite(self.network, self._discriminator)
        return self._team.sum(error)

    def _generated(self, piece: DeviceBatch) -> Tensor:
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._half):
            generated: Tensor = self.network(piece.inputs.contiguous(memory_format=torch.channels_last))
        return generated

    def _judged(self, patches: Tensor) -> Tensor:
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._half):
            judged: Tensor = self._discriminator(patches)
        return judged


def ganda_settings(settings: TrainingSettings) -> GANDASettings:
    """Architecture that training settings ask for."""
    return GANDASettings(len(settings.channels), patch_px=settings.patch_px)


def _placed(network: nn.Module, device: str) -> nn.Module:
    return network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


@contextmanager
def _kept_statistics(network: nn.Module) -> Iterator[None]:
    """Let batches be normalised as in training without counting them into the running statistics."""
    layers = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True
