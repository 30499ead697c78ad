"""Table of networks: what options, commands, forms and studies know of each without loading torch.

A new network is a module in `models/` and a row here. A name that is not in the table is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_Recipes = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Network:
    """A row of the table."""

    name: str  # As checkpoints, training settings and studies have it
    title: str
    summary: str  # What it is, for the help text
    network: str  # "module:class" of the network, whose `Settings` is the class of its settings
    stride: int  # Pixels of the input per pixel of the coarsest part; of a network with branches, of one branch
    recipes: _Recipes  # "fast", and "paper" if it is published: values of `TrainingSettings` other than its defaults
    options: tuple[str, ...] = ()  # Fields of `TrainingSettings` that this network has and others lack
    learner: str = "napari_hrpn.training.learners.learner:Learner"  # "module:class" of what a training step is
    is_compared: bool = False  # Whether a study trains it unless the study names its networks
    # parts that a training can freeze: names of their modules in the network
    stages: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    papers: tuple[tuple[str, str], ...] = ()  # What to cite: reference and DOI


_XU = (
    "Xu et al., A High-Resolution Prediction Network for Predicting Intratumoral Distribution of Nanoprobes by Tumor "
    "Vascular and Nuclear Feature, Adv. Intell. Syst. 2023",
    "10.1002/aisy.202300592",
)
_ZHANG = ("Zhang, Tang and Wang, J. Control. Release 2021", "10.48550/arXiv.2012.12561")
# values with which the inputs of patches stay as they are; so were all trainings before these options existed
NO_AUGMENTATION: Mapping[str, Any] = {"gain": 1.0, "offset": 0.0, "blur_px": 0.0, "haze": 0.0, "noise": 0.0}
# Xu et al. 2023
_PAPER = {
    **NO_AUGMENTATION,
    "sampling": "grid",
    "patch_px": 512,
    "batch": 32,
    "optimiser": "rmsprop",
    "learning_rate": 1e-5,
    "weight_decay": 1e-8,
    "schedule": "constant",
    "scaling": "raw",
    "flips": False,
    "padding_counts": True,
    "averaging": 0.0,
    "precision": "fp32",
}
# as Xu et al. compare it with HRPN
_GANDA = {
    **_PAPER,
    "batch": 20,
    "epochs": 50,
    "optimiser": "adam",
    "learning_rate": 2e-4,
    "momentum": 0.5,
    "weight_decay": 0.0,
    "scaling": "full_scale",
}
# without augmentation: it is here to be compared as published
_GANDA_FAST = {
    **_GANDA,
    "sampling": "crops",
    "patch_px": 256,
    "batch": 8,
    "epochs": 20,
    "flips": True,
    "padding_counts": False,
    "precision": "auto",
}

NETWORKS = {
    row.name: row
    for row in (
        Network(
            "hrpn",
            "HRPN",
            "the high-resolution prediction network",
            "napari_hrpn.models.hrpn:HRPN",
            stride=4,
            recipes={"paper": _PAPER, "fast": {}},
            options=("branches", "upsampling"),
            is_compared=True,
            stages={
                "stem": ("stem",),
                "stage1": ("stage1",),
                "stage2": ("transitions.0", "transitions.1", "stages.0"),
                "stage3": ("transitions.2", "stages.1"),
                "stage4": ("transitions.3", "stages.2"),
                "head": ("head",),
            },
            papers=(_XU,),
        ),
        Network(
            "ganda",
            "GANDA",
            "the generative network that the paper compares it with",
            "napari_hrpn.models.ganda:GANDA",
            stride=16,
            recipes={"paper": _GANDA, "fast": _GANDA_FAST},
            learner="napari_hrpn.training.learners.ganda:GANDALearner",
            is_compared=True,
            stages={name: (name,) for name in ("encoders", "bottom", "upsamplers", "decoders", "last")},
            papers=(_ZHANG, _XU),
        ),
    )
}
HRPN, GANDA = NETWORKS["hrpn"], NETWORKS["ganda"]
COMPARED = tuple(network.name for network in NETWORKS.values() if network.is_compared)

SYNTHETIC = "synthetic"
"""The checkpoint that predicts phantoms, and where none is chosen."""
BUNDLED = {
    SYNTHETIC: "Synthetic tumours, bundled",
    "dextran": "Dextran, bundled",
}
"""Checkpoints that come with the package, by name, with their titles in a form."""
