"""Every choice of a training, and the only home of its defaults: the published recipes and the fast one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from napari_hrpn.training.errors import TrainingError

_CHOICES = {
    "model": ("hrpn", "ganda"),
    "recipe": ("paper", "fast"),
    "upsampling": ("bilinear", "transposed"),
    "sampling": ("grid", "crops"),
    "optimiser": ("rmsprop", "adamw", "adam"),
    "schedule": ("constant", "cosine"),
    "scaling": ("raw", "fixed", "percentile", "full_scale"),
    "precision": ("auto", "fp32", "bf16"),
}
_RANGES = {
    "branches": (1, 4),
    "patch_px": (32, 4096),
    "batch": (1, 4096),
    "epochs": (1, 100_000),
    "steps_per_epoch": (1, 1_000_000),
    "learning_rate": (1e-12, 10.0),
    "momentum": (0.0, 1.0),
    "weight_decay": (0.0, 10.0),
    "warm_up": (0.0, 1.0),
    "averaging": (0.0, 0.999999),
    "minimum_overlap": (0.0, 1.0),
    "minimum_tissue": (0.0, 1.0),
    "max_minutes": (0.01, 1e6),
    "seed": (0, 2**63),
    "devices": (1, 64),
}


@dataclass(frozen=True)
class TrainingSettings:
    """How a network is trained.

    Attributes
    ----------
    model : {"hrpn", "ganda"}
        Which network.
    recipe : {"paper", "fast"}
        Name of the recipe that the other fields started from.
    channels : tuple of str
        Roles of the input stains, in the network's order.
    target : str
        Role of the stain that is predicted.
    branches : int
        Of HRPN, 1 to 4.
    upsampling : {"bilinear", "transposed"}
        Of HRPN, between its branches.
    sampling : {"grid", "crops"}
        Patches of a fixed grid, each once per epoch; or random crops.
    patch_px : int
        Side of a patch or crop, a multiple of the network's stride.
    batch : int
        Patches per step of the optimiser.
    epochs : int
        Epochs at most.
    steps_per_epoch : int or None
        With random crops; None: as many as cover the tissue once, 50 at least.
    optimiser : {"rmsprop", "adamw", "adam"}
        GANDA takes it for both its networks.
    learning_rate, momentum, weight_decay : float
        Of the optimiser; the learning rate is its peak where there is a schedule.
    schedule : {"constant", "cosine"}
        "cosine" rises over the first `warm_up` share of the training and falls to zero at its end.
    warm_up : float
        Share of the training, 0 to 1.
    scaling : {"raw", "fixed", "percentile", "full_scale"}
        Intensities as they are; scaled by percentiles of all training slides together; by percentiles of each slide;
        or from 0 to the full scale of the pixel type to -1 to 1, as GANDA has it.
    flips : bool
        Flip and turn patches at random.
    padding_counts : bool
        Learn from the padding of patches at the border as well, as published. Validation leaves it out.
    averaging : float
        Share of the averaged weights that a step keeps; 0 takes the latest weights.
    precision : {"auto", "fp32", "bf16"}
        "auto": bf16 on a GPU that has it, else fp32.
    minimum_overlap : float
        Share of a patch that must lie in the annotated regions, 0 to 1.
    minimum_tissue : float
        Share of a patch that must be tissue, 0 to 1.
    max_minutes : float or None
        End by then; the schedule is bent to it.
    device : str
        "auto", "cpu", "cuda", "cuda:N" or "mps".
    seed : int
        Of everything random.
    devices : int
        Train on so many together: from `device` on, or that many processes on the CPU. Each has its share of every
        batch.
    """

    model: Literal["hrpn", "ganda"] = "hrpn"
    recipe: Literal["paper", "fast"] = "fast"
    channels: tuple[str, ...] = ("nuclei", "vessels")
    target: str = "probe"
    branches: int = 4
    upsampling: Literal["bilinear", "transposed"] = "bilinear"
    sampling: Literal["grid", "crops"] = "crops"
    patch_px: int = 256
    batch: int = 8
    epochs: int = 20
    steps_per_epoch: int | None = None
    optimiser: Literal["rmsprop", "adamw", "adam"] = "adamw"
    learning_rate: float = 4e-3
    momentum: float = 0.9
    weight_decay: float = 1e-2
    schedule: Literal["constant", "cosine"] = "cosine"
    warm_up: float = 0.3
    scaling: Literal["raw", "fixed", "percentile", "full_scale"] = "fixed"
    flips: bool = True
    padding_counts: bool = False
    averaging: float = 0.995
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    minimum_overlap: float = 0.5
    minimum_tissue: float = 0.0
    max_minutes: float | None = None
    device: str = "auto"
    seed: int = 0
    devices: int = 1

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                msg = f"{name} is {getattr(self, name)!r}; expected one of {', '.join(allowed)}."
                raise TrainingError(msg)
        for name, (lowest, highest) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not lowest <= value <= highest:
                msg = f"{name.replace('_', ' ')} is {value:g}; expected {lowest:g} to {highest:g}."
                raise TrainingError(msg)
        if not self.channels or len(set(self.channels)) < len(self.channels) or self.target in self.channels:
            msg = (
                f"input channels are {', '.join(self.channels) or 'none'}; expected different ones without the target."
            )
            raise TrainingError(msg)
        if self.patch_px % self.stride:
            msg = f"patches are {self.patch_px} px; expected a multiple of {self.stride} px, the network's stride."
            raise TrainingError(msg)
        if self.devices > self.batch:
            msg = f"a batch has {self.batch} patches for {self.devices} devices; expected at least one for each."
            raise TrainingError(msg)

    @property
    def stride(self) -> int:
        """Pixels of the input per pixel of the network's coarsest part."""
        return 16 if self.model == "ganda" else 4 << (self.branches - 1)


_PAPER = TrainingSettings(
    recipe="paper",
    sampling="grid",
    patch_px=512,
    batch=32,
    optimiser="rmsprop",
    learning_rate=1e-5,
    weight_decay=1e-8,
    schedule="constant",
    scaling="raw",
    flips=False,
    padding_counts=True,
    averaging=0.0,
    precision="fp32",
)
_FAST = TrainingSettings()
_GANDA = replace(
    _PAPER,
    model="ganda",
    batch=20,
    epochs=50,
    optimiser="adam",
    learning_rate=2e-4,
    momentum=0.5,
    weight_decay=0.0,
    scaling="full_scale",
)
_GANDA_FAST = replace(
    _GANDA,
    recipe="fast",
    sampling="crops",
    patch_px=256,
    batch=8,
    epochs=20,
    flips=True,
    padding_counts=False,
    precision="auto",
)
_RECIPES = {
    ("hrpn", "paper"): _PAPER,
    ("hrpn", "fast"): _FAST,
    ("ganda", "paper"): _GANDA,
    ("ganda", "fast"): _GANDA_FAST,
}


def recipe_settings(recipe: str = "fast", model: str = "hrpn", **changes: object) -> TrainingSettings:
    """Settings of a recipe, with changes.

    Parameters
    ----------
    recipe : {"paper", "fast"}
        "paper" is as published (Xu et al. 2023; for GANDA what its paper and theirs say); "fast" reaches the same
        validation loss in a small part of the time.
    model : {"hrpn", "ganda"}
        Which network.
    **changes
        Fields of `TrainingSettings` that differ.

    Returns
    -------
    TrainingSettings
        All other fields as the recipe has them.

    Raises
    ------
    TrainingError
        In one sentence, when there is no such recipe or a field is out of its range.
    """
    if (model, recipe) not in _RECIPES:
        msg = f"there is no recipe {recipe!r} for the model {model!r}; expected paper or fast, for hrpn or ganda."
        raise TrainingError(msg)
    return replace(_RECIPES[model, recipe], **changes)  # type: ignore[arg-type]
