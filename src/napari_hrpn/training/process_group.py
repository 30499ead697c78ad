"""Devices that train one network together: what they sum, and what the first of them decides for all.

The rest of a training knows no more of the other devices than this, and after each step all hold the same network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor, nn


class ProcessGroup(Protocol):
    """One device's view of all that train together; each of them must call the same methods in the same order."""

    @property
    def rank(self) -> int:
        """Number of this device; the first, 0, writes and reports."""
        ...

    @property
    def size(self) -> int:
        """How many devices there are."""
        ...

    def sum(self, numbers: Tensor) -> Tensor:
        """Sum numbers over the devices."""
        ...

    def unite(self, *networks: nn.Module) -> None:
        """Sum the gradients of what is learnt now, and average the batch statistics."""
        ...

    def from_first(self, *numbers: float) -> tuple[float, ...]:
        """Numbers of the first device: clocks and events differ."""
        ...


class Alone:
    """A single device: nothing to sum, nobody to ask."""

    rank, size = 0, 1

    def sum(self, numbers: Tensor) -> Tensor:
        """See `ProcessGroup`."""
        return numbers

    def unite(self, *networks: nn.Module) -> None:
        """See `ProcessGroup`."""

    def from_first(self, *numbers: float) -> tuple[float, ...]:
        """See `ProcessGroup`."""
        return numbers


SINGLE = Alone()
