"""What a training makes: network, recipe, start, inputs, target and pixel size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from napari_hrpn.core.errors import TrainingError
from napari_hrpn.core.options import Option, check_options
from napari_hrpn.settings.networks import BUNDLED, HRPN, NETWORKS

if TYPE_CHECKING:
    from collections.abc import Iterable

VESSELS, DISTANCE = "vessels", "distance"
"""Roles of inputs that the program knows: the distance to vessels is not a channel of a slide but derived from one."""


def stains_of(roles: Iterable[str]) -> tuple[str, ...]:
    """Inputs that are channels of a slide, and not derived from others, in order."""
    return tuple(role for role in roles if role != DISTANCE)


@dataclass(frozen=True)
class TrainedNetwork:
    """The network that a training makes."""

    model: Annotated[
        str,
        Option(
            title="Model",
            help=f"Network: {'; '.join(f'{network.name}, {network.summary}' for network in NETWORKS.values())}.",
            titles={network.name: network.title for network in NETWORKS.values()},
            flag="--model",
            metavar="NAME",
        ),
    ] = HRPN.name
    recipe: Annotated[
        Literal["paper", "fast"],
        Option(
            title="Recipe",
            help="Source of all options that are not given. fast: random crops, AdamW with one learning rate cycle, "
            "averaged weights; minutes on a few slides, even without a GPU. paper: exactly as published (Xu et al. "
            "2023), a grid of 512 px patches, RMSprop, a learning rate of 0.00001 and no scaling; hours on a GPU.",
            titles={"fast": "Fast", "paper": "Paper"},
            flag="--recipe",
            metavar="NAME",
        ),
    ] = "fast"
    channels: Annotated[
        tuple[str, ...],
        Option(
            title="Inputs",
            help="Input stains, in order, such as nuclei,vessels. Any other stain can be added, with its channel in "
            "each slide; distance is the distance to the nearest vessel, which is derived from the vessels.",
            flag="--inputs --channels",
            metavar="ROLE,ROLE",
        ),
    ] = ("nuclei", "vessels")
    target: Annotated[
        str, Option(title="Target", help="Stain to predict; probe if not given.", flag="--target", metavar="ROLE")
    ] = "probe"
    pixel_um: Annotated[
        float | None,
        Option(
            title="Pixel size",
            help="Pixel size at which the network works. Slides are resampled to it, from the stored level that fits, "
            "and a prediction comes back on the slide's own pixels. At 0.55 µm HRPN sees 105 µm far, at a quarter of "
            "the cost of 0.27 µm.",
            minimum=0.05,
            maximum=100,
            step=0.05,
            unit="µm",
            automatic="The slides' own",
            noun="pixel size",
            flag="--pixel-um",
            metavar="UM",
        ),
    ] = None
    branches: Annotated[
        int,
        Option(
            title="Branches",
            help="Resolutions that HRPN works on at the same time, 1 to 4.",
            minimum=1,
            maximum=4,
            flag="--branches",
            metavar="N",
        ),
    ] = 4
    upsampling: Annotated[
        Literal["bilinear", "transposed"],
        Option(
            title="Upsampling",
            help="How HRPN makes coarse features fine again: bilinear or transposed.",
            titles={"bilinear": "Bilinear", "transposed": "Transposed convolution"},
            flag="--upsampling",
            metavar="KIND",
        ),
    ] = "bilinear"
    start: Annotated[
        str | None,
        Option(
            title="Start from",
            help="Checkpoint whose weights this training begins with: a file, or the name of a bundled one "
            f"({', '.join(BUNDLED)}). Model, branches and upsampling must be the same, and all its inputs must be "
            "among the inputs; an input that is new begins with zero weights. Grey levels are scaled to this "
            "training's slides, by the same rule as before: by percentiles, or not at all.",
            automatic="Random weights",
            flag="--start",
            metavar="CHECKPOINT",
        ),
    ] = None
    freeze: Annotated[
        tuple[str, ...],
        Option(
            title="Freeze",
            help="Parts of the network that stay as the start has them, weights and batch statistics, with commas "
            f"between: {'; '.join(f'of {row.title} ' + ', '.join(row.stages) for row in NETWORKS.values())}.",
            flag="--freeze",
            metavar="STAGE,STAGE",
        ),
    ] = ()

    def __post_init__(self) -> None:
        check_options(self, TrainingError)
        if not self.channels or len(set(self.channels)) < len(self.channels) or self.target in self.channels:
            msg = (
                f"input channels are {', '.join(self.channels) or 'none'}; expected one or more, each once, and not "
                "the target."
            )
            raise TrainingError(msg)
        if DISTANCE in self.channels and VESSELS not in self.channels[: self.channels.index(DISTANCE)]:
            msg = (
                f"input channels are {', '.join(self.channels)}; expected {VESSELS} before {DISTANCE}, which is "
                "derived from it."
            )
            raise TrainingError(msg)
        if self.target == DISTANCE:
            msg = f"the target is {DISTANCE}, which is derived from the vessels; expected a stain that was imaged."
            raise TrainingError(msg)
        if self.freeze and self.start is None:
            msg = (
                f"{', '.join(self.freeze)} cannot be frozen at random weights; name the checkpoint to start from, or "
                "freeze nothing."
            )
            raise TrainingError(msg)

    @property
    def stains(self) -> tuple[str, ...]:
        """Inputs that are channels of a slide, and not derived from others, in order."""
        return stains_of(self.channels)

    @property
    def stride(self) -> int:
        """Pixels of the input per pixel of the network's coarsest part."""
        network = NETWORKS[self.model]
        # each further branch halves the resolution once more
        return network.stride << (self.branches - 1) if "branches" in network.options else network.stride
