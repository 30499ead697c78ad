"""Names and choices of the networks, for all code that must not load torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

NetworkName = Literal["hrpn", "ganda"]


@dataclass(frozen=True)
class _NetworkFacts:
    """Facts about a network that settings and forms need; `models/architectures.py` has the network itself."""

    name: NetworkName  # In checkpoints, training settings and studies
    title: str
    stride: int  # Pixels of the input per pixel of the coarsest part; with branches, that of a single branch
    has_branches: bool = False  # Whether the number of branches and their upsampling can be chosen


HRPN = _NetworkFacts("hrpn", "HRPN", 4, has_branches=True)
GANDA = _NetworkFacts("ganda", "GANDA", 16)
NETWORKS: dict[str, _NetworkFacts] = {network.name: network for network in (HRPN, GANDA)}
