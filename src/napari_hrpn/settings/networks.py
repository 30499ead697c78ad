"""Names of the networks and what there is to choose of each: the one place that spells them, without loading torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

NetworkName = Literal["hrpn", "ganda"]


@dataclass(frozen=True)
class _NetworkFacts:
    """What settings and forms know of a network; `models/architectures.py` has the network itself."""

    name: NetworkName  # As checkpoints, training settings and studies have it
    title: str
    stride: int  # Pixels of the input per pixel of the coarsest part, of a network with one branch
    has_branches: bool = False  # Whether their number and how they exchange what they see can be chosen


HRPN = _NetworkFacts("hrpn", "HRPN", 4, has_branches=True)
GANDA = _NetworkFacts("ganda", "GANDA", 16)
NETWORKS: dict[str, _NetworkFacts] = {network.name: network for network in (HRPN, GANDA)}
