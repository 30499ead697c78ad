"""Settings of a counterfactual: what is edited, how much of the slide around a vessel is used, and the sham edits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from napari_hrpn.core.errors import AnalysisError
from napari_hrpn.core.options import Option, check_options

Action: TypeAlias = Literal["remove", "add", "sham"]

EDITS: dict[Action, str] = {"remove": "missing vessel", "add": "added vessel", "sham": "sham edit"}
"""Words for what differs from the slide as it is."""

# the fit holds a number per 4 µm² of the window and vessel: at 700 vessels per mm², 0.2 GB and 11 s at 250 µm, 2.8 GB
# and 3 minutes at 500 µm, and as the fourth power of the window 45 GB at 1,000 µm
_LARGEST_WINDOW_UM = 500


@dataclass(frozen=True)
class WhatIfSettings:
    """How a vessel is removed or added, and what the change is compared with."""

    window_um: Annotated[
        float,
        Option(
            title="Window",
            help="Distance around the place within which vessels, vessel-free tissue and the probe are used.",
            minimum=50,
            maximum=_LARGEST_WINDOW_UM,
            unit="µm",
            noun="the window",
            flag="--window",
            metavar="UM",
        ),
    ] = 250.0
    threshold: Annotated[
        float | None,
        Option(
            title="Threshold",
            help="Grey level of the smoothed stain above which a pixel is vessel; if not given, it is found in the "
            "window by Otsu's method.",
            flag="--threshold",
            metavar="GREY",
        ),
    ] = None
    shams: Annotated[
        int,
        Option(
            title="Sham edits",
            help="Number of the same edits at places without vessels, of which the differences are the noise.",
            minimum=2,
            flag="--shams",
            metavar="N",
        ),
    ] = 8
    seed: Annotated[
        int,
        Option(
            title="Seed",
            help="Seed of the choice of vessel-free places.",
            minimum=0,
            flag="--seed",
            metavar="N",
        ),
    ] = 0

    def __post_init__(self) -> None:
        check_options(self, AnalysisError)
