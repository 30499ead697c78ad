"""Table of networks: name, title, settings class and network class.

To add a network: a file beside `hrpn.py`, its name in `settings/networks.py`, a row here, and a row in
`training/learners/__init__.py` for its training. A name that is not in the table is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

from napari_hrpn.models.ganda import GANDA, GANDASettings
from napari_hrpn.models.hrpn import HRPN, HRPNSettings
from napari_hrpn.settings import networks

if TYPE_CHECKING:
    from torch import nn


class NetworkSettings(Protocol):
    """Settings of a network: a frozen dataclass from which it is built."""

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


@dataclass(frozen=True)
class Architecture:
    """A row of the table."""

    name: str  # In checkpoints and training settings
    title: str
    settings: type[Any]
    network: Callable[[Any], nn.Module]  # Takes the settings; maps (n, in_channels, y, x) to (n, 1, y, x)


ARCHITECTURES = {
    row.name: row
    for row in (
        Architecture(networks.HRPN.name, networks.HRPN.title, HRPNSettings, HRPN),
        Architecture(networks.GANDA.name, networks.GANDA.title, GANDASettings, GANDA),
    )
}


def architecture_of(settings: NetworkSettings) -> Architecture:
    """Row of the table for the class of some settings."""
    return next(row for row in ARCHITECTURES.values() if row.settings is type(settings))


def built(settings: NetworkSettings) -> nn.Module:
    """Network that is built from settings, with random weights."""
    return architecture_of(settings).network(settings)
