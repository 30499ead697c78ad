"""Networks and their settings by the names of the table of networks, loaded when they are asked for."""

from __future__ import annotations

from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

from napari_hrpn.settings.networks import NETWORKS

if TYPE_CHECKING:
    from torch import nn

    from napari_hrpn.settings import TrainingSettings
    from napari_hrpn.settings.networks import Network


class NetworkSettings(Protocol):
    """Frozen dataclass from which a network is built.

    The network takes it as its only argument and has the class as `Settings`. It maps (n, in_channels, y, x), with
    sides that are multiples of `stride`, to (n, 1, y, x) in float32; `forward(x, crop=0)` leaves out `crop` pixels on
    each side.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def in_channels(self) -> int:
        """Number of input stains."""
        ...

    @property
    def stride(self) -> int:
        """Pixels of the input per pixel of the network's coarsest part."""
        ...

    def __hash__(self) -> int: ...

    def narrowed(self) -> Self:
        """Settings with the same layers but one channel each, which have the same receptive field."""
        ...

    @classmethod
    def of_training(cls, settings: TrainingSettings) -> Self:
        """Settings of the network that a training asks for."""
        ...


def settings_class(name: str) -> type[Any]:
    """Class of the settings of a network."""
    found: type[Any] = resolve_name(NETWORKS[name].network).Settings
    return found


def architecture_of(settings: NetworkSettings) -> Network:
    """Row of the table that some settings belong to."""
    return next(row for row in NETWORKS.values() if settings_class(row.name) is type(settings))


def built(settings: NetworkSettings) -> nn.Module:
    """Network of some settings, with random weights."""
    network: nn.Module = resolve_name(architecture_of(settings).network)(settings)
    return network
