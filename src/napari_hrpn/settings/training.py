"""Settings of a training: patches, augmentation, optimiser, time and devices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from napari_hrpn.core.errors import TrainingError
from napari_hrpn.core.options import Option
from napari_hrpn.settings.networks import NO_AUGMENTATION
from napari_hrpn.settings.trained_network import TrainedNetwork

_OF_RANGE = "in each input of a patch, as a share of its range of grey levels in the tissue"
_OF_ITSELF = "that is added to each input of a patch, as a share of its own light"


def _share(title: str, words: str, flag: str = "", step: float = 0.05) -> Option:
    return Option(title=title, help=words, flag=flag, metavar="SHARE", minimum=0, maximum=1, step=step, is_share=True)


NO_VALIDATION = "none"
"""Instead of a tumour to validate on: all are trained on, for a number of epochs that is known from other runs."""


@dataclass(frozen=True)
class TrainingSettings(TrainedNetwork):
    """How a network is trained."""

    sampling: Annotated[
        Literal["grid", "crops"],
        Option(
            title="Sampling",
            help="Patches of a fixed grid, each once per epoch; or random crops.",
            titles={"grid": "Grid", "crops": "Random crops"},
        ),
    ] = "crops"
    patch_px: Annotated[
        int,
        Option(
            title="Patch",
            help="Side of a patch, a multiple of the network's stride.",
            minimum=32,
            maximum=4096,
            step=32,
            unit="px",
            noun="patch",
            flag="--patch",
            metavar="PX",
        ),
    ] = 256
    batch: Annotated[
        int,
        Option(
            title="Batch",
            help="Patches per step. Where memory runs out, a step is done in pieces.",
            minimum=1,
            maximum=4096,
            flag="--batch",
            metavar="N",
        ),
    ] = 8
    epochs: Annotated[
        int,
        Option(
            title="Epochs",
            help="Epochs at most; the weights of the best one are kept.",
            minimum=1,
            maximum=100_000,
            flag="--epochs",
            metavar="N",
        ),
    ] = 20
    steps_per_epoch: Annotated[
        int | None,
        Option(
            title="Steps",
            help="Steps per epoch, with random crops; if not given, as many as cover the tissue once, 50 at least.",
            minimum=1,
            maximum=1_000_000,
            flag="--steps",
            metavar="N",
        ),
    ] = None
    optimiser: Annotated[
        Literal["rmsprop", "adamw", "adam"],
        Option(
            title="Optimiser",
            help="Optimiser of the weights; GANDA uses it for both of its networks.",
            titles={"rmsprop": "RMSprop", "adamw": "AdamW", "adam": "Adam"},
        ),
    ] = "adamw"
    learning_rate: Annotated[
        float,
        Option(
            title="Rate",
            help="Learning rate; its peak where the recipe has a cycle.",
            minimum=1e-12,
            maximum=10,
            is_logarithmic=True,
            flag="--learning-rate",
            metavar="X",
        ),
    ] = 4e-3
    momentum: Annotated[float, Option(title="Momentum", help="Momentum of the optimiser.", minimum=0, maximum=1)] = 0.9
    weight_decay: Annotated[float, Option(title="Weight decay", help="Weight decay.", minimum=0, maximum=10)] = 1e-2
    schedule: Annotated[
        Literal["constant", "cosine"],
        Option(
            title="Schedule",
            help="Learning rate over time; cosine rises during the warm-up and falls to zero at the end.",
            titles={"constant": "Constant", "cosine": "Cosine"},
        ),
    ] = "cosine"
    warm_up: Annotated[float, _share("Warm-up", "Share of the training in which the learning rate rises.")] = 0.3
    scaling: Annotated[
        Literal["raw", "fixed", "percentile", "full_scale"],
        Option(
            title="Scaling",
            help="From grey levels to the network's numbers: the 1st percentile of the tissue becomes 0 and the 99.5th "
            "becomes 1, over all training slides together or on each slide by itself; or as published for HRPN (none) "
            "and for GANDA (the full scale of the pixel type becomes -1 to 1).",
            titles={
                "fixed": "Percentiles of all slides",
                "percentile": "Percentiles of each slide",
                "raw": "None: grey levels",
                "full_scale": "Full scale of the camera",
            },
        ),
    ] = "fixed"
    flips: Annotated[bool, Option(title="Flips", help="Flip and turn patches at random.")] = True
    gain: Annotated[
        float,
        Option(
            title="Gain",
            help="Largest factor by which each input of a patch is made brighter or darker at random; 1 for none.",
            minimum=1,
            maximum=10,
            step=0.1,
            flag="--gain",
            metavar="X",
        ),
    ] = 1.6
    offset: Annotated[float, _share("Offset", f"Largest random shift {_OF_RANGE}.", "--offset", 0.01)] = 0.05
    blur_px: Annotated[
        float,
        Option(
            title="Blur",
            help="Largest random blur of each input of a patch, the sigma of a Gaussian.",
            minimum=0,
            maximum=16,
            step=0.1,
            unit="px",
            noun="blur",
            flag="--blur",
            metavar="PX",
        ),
    ] = 0.5
    haze: Annotated[float, _share("Haze", f"Largest random light out of focus {_OF_ITSELF}.", "--haze")] = 0.05
    noise: Annotated[float, _share("Noise", f"Largest random noise {_OF_RANGE}.", "--noise", 0.01)] = 0.01
    padding_counts: Annotated[
        bool,
        Option(
            title="Padding counts",
            help="Learn from the padding of patches at the slide's border too, as published. Validation leaves it out.",
        ),
    ] = False
    averaging: Annotated[
        float,
        Option(
            title="Averaging",
            help="Share of the averaged weights that each step keeps; 0 for the latest weights alone.",
            minimum=0,
            maximum=0.999999,
            step=0.001,
        ),
    ] = 0.995
    precision: Annotated[
        Literal["auto", "fp32", "bf16"],
        Option(
            title="Precision",
            help="Arithmetic inside the network: fp32, bf16, or auto, which is bf16 on a device that has it.",
            titles={"auto": "Automatic", "fp32": "32 bit, exact", "bf16": "16 bit, bfloat16"},
            flag="--precision",
            metavar="TYPE",
        ),
    ] = "auto"
    minimum_overlap: Annotated[
        float, _share("In regions", "Share of a patch that must lie in the annotated regions.")
    ] = 0.5
    minimum_tissue: Annotated[float, _share("Tissue", "Share of a patch that must be tissue.")] = 0.0
    max_minutes: Annotated[
        float | None,
        Option(
            title="Stop after",
            help="Time limit for all runs of this training together. The learning rate falls within it.",
            minimum=0.01,
            maximum=1e6,
            unit="min",
            automatic="No limit",
            flag="--max-minutes",
            metavar="M",
        ),
    ] = None
    device: Annotated[
        str,
        Option(
            title="Device",
            help="Processor that trains the network: auto, cpu, cuda, cuda:N or mps.",
            flag="--device",
            metavar="NAME",
        ),
    ] = "auto"
    seed: Annotated[
        int,
        Option(
            title="Seed",
            help="Seed of everything that is random.",
            minimum=0,
            maximum=2**63,
            flag="--seed",
            metavar="N",
        ),
    ] = 0
    devices: Annotated[
        int,
        Option(
            title="Devices",
            help="Number of GPUs, from the chosen one on, that share every batch. On a CPU, number of processes, which "
            "are no faster than one.",
            minimum=1,
            maximum=64,
            flag="--devices",
            metavar="N",
        ),
    ] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.patch_px % self.stride:
            msg = f"patches are {self.patch_px} px; expected a multiple of {self.stride} px, the network's stride."
            raise TrainingError(msg)
        if self.devices > self.batch:
            msg = f"a batch has {self.batch} patches for {self.devices} devices; expected at least one for each."
            raise TrainingError(msg)

    @property
    def augments(self) -> bool:
        """Whether the inputs of patches are changed at random."""
        return any(getattr(self, name) != off for name, off in NO_AUGMENTATION.items())
