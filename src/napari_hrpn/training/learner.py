"""What the training loop asks of a network that learns: one step, the network to predict with, and its whole state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from napari_hrpn.models import GANDA, HRPN


@dataclass(frozen=True, eq=False)
class DeviceBatch:
    """Patches on the device that learns from them, in the network's numbers."""

    inputs: Tensor  # Shape (n, c, y, x)
    target: Tensor  # Shape (n, 1, y, x)
    valid: Tensor  # Shape (n, 1, y, x); False on what is not to be learnt from


class Learner(Protocol):
    """A network, its optimiser, and how it learns from a batch."""

    def step(self, pieces: Sequence[DeviceBatch], learning_rate: float) -> float:
        """Learn from one batch, and say its mean squared error in the network's numbers, over the valid pixels.

        The batch comes in pieces that fit the device's memory; gradients are added up over them, and over the
        devices that learn together, so that the step is that of the whole batch. A device may have no piece of it.
        A step that fails leaves everything as it was, to be taken again.
        """
        ...

    def evaluated(self) -> HRPN | GANDA:
        """Network to predict with, in evaluation mode: averaged weights where the recipe averages."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """Everything that decides the steps to come, by name."""
        ...

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from such tensors, bit for bit."""
        ...
