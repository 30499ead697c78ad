"""One step of GANDA: generator and discriminator learn in turn, by least squares.

The generator is also held to the target by its mean squared error, which is what `step` returns.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import nn

from napari_hrpn.models import GANDADiscriminator
from napari_hrpn.training.learners.learner import SINGLE, Learner, make_optimiser

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor
    from torch.optim import Optimizer

    from napari_hrpn.models.architectures import NetworkSettings
    from napari_hrpn.settings import TrainingSettings
    from napari_hrpn.training.data.patch_loader import Batch
    from napari_hrpn.training.learners.learner import ProcessGroup

_ADVERSARIAL_WEIGHT = 1.0
_PIXEL_WEIGHT = 10.0
_DISCRIMINATOR_WEIGHT = 0.5


class GANDALearner(Learner):
    """Trains a GANDA."""

    def __init__(
        self,
        settings: TrainingSettings,
        device: str = "cpu",
        precision: str = "fp32",
        architecture: NetworkSettings | None = None,
        team: ProcessGroup = SINGLE,
    ) -> None:
        super().__init__(settings, device, precision, architecture, team)
        self._discriminator = self._placed(GANDADiscriminator(self.settings))
        self._discriminator_optimiser = make_optimiser(settings, self._discriminator.parameters())

    def _parts(self) -> dict[str, nn.Module | Optimizer]:
        return {
            **super()._parts(),
            "discriminator": self._discriminator,
            "discriminator_optimiser": self._discriminator_optimiser,
        }

    def _changed_before_the_step(self) -> tuple[list[Tensor], Optimizer | None]:
        judge = self._discriminator
        return [*self.network.buffers(), *judge.parameters(), *judge.buffers()], self._discriminator_optimiser

    def _learn(self, pieces: Sequence[Batch[Tensor]]) -> tuple[Tensor, Tensor]:
        """Train the discriminator, and compute the gradients of the generator."""
        valid = self._count(pieces)
        patches = torch.full_like(valid, sum(len(piece.target) for piece in pieces))
        patches, valid = self._team.sum(torch.stack([patches, valid])).unbind()
        # with a single piece, the images generated for the discriminator serve the generator's turn as well
        generated = self._computed(self.network, pieces[0].inputs) if len(pieces) == 1 else None
        self._teach_discriminator(pieces, generated, patches.float())
        return self._teach_generator(pieces, generated, patches.float(), valid), valid

    def _teach_discriminator(self, pieces: Sequence[Batch[Tensor]], generated: Tensor | None, patches: Tensor) -> None:
        self._discriminator.requires_grad_(requires_grad=True)
        for piece in pieces:
            with torch.no_grad(), _kept_statistics(self.network):
                fake = self._computed(self.network, piece.inputs) if generated is None else generated.detach()
            real_error = (self._judged(piece.target * piece.valid) - 1) ** 2
            fake_error = self._judged(fake * piece.valid) ** 2
            loss = _DISCRIMINATOR_WEIGHT * (real_error + fake_error).sum() / patches
            loss.backward()  # type: ignore[no-untyped-call]
        self._team.unite(self._discriminator)
        self._discriminator_optimiser.step()

    def _teach_generator(
        self, pieces: Sequence[Batch[Tensor]], generated: Tensor | None, patches: Tensor, valid: Tensor
    ) -> Tensor:
        self._discriminator.requires_grad_(requires_grad=False)
        error, n = torch.zeros_like(valid), valid.clamp(min=1).float()
        for piece in pieces:
            fake = self._computed(self.network, piece.inputs) if generated is None else generated
            squared = (fake - piece.target) ** 2 * piece.valid
            missed = (self._judged(fake * piece.valid) - 1) ** 2
            loss = _ADVERSARIAL_WEIGHT * missed.sum() / patches + _PIXEL_WEIGHT * squared.sum() / n
            loss.backward()  # type: ignore[no-untyped-call]
            error += squared.detach().sum(dtype=error.dtype)
        self._team.unite(self.network, self._discriminator)
        return self._team.sum(error)

    def _judged(self, patches: Tensor) -> Tensor:
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._half):
            judged: Tensor = self._discriminator(patches)
        return judged


@contextmanager
def _kept_statistics(network: nn.Module) -> Iterator[None]:
    """Normalise batches as in training, without counting them into the running statistics."""
    layers = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True
