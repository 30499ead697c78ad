"""All that a training needs, put together: from patches on disk to a network that is ready to learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_hrpn.inference.predictor import computes_in
from napari_hrpn.models import save_checkpoint
from napari_hrpn.training.ganda_learner import GANDALearner
from napari_hrpn.training.hrpn_learner import HRPNLearner
from napari_hrpn.training.intensity_scaling import measure_scaling
from napari_hrpn.training.model_card import trained_checkpoint
from napari_hrpn.training.patch_loader import PatchFeed, PatchSource
from napari_hrpn.training.process_group import SINGLE
from napari_hrpn.training.run_folder import RunFolder
from napari_hrpn.training.validation import Validation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from napari_hrpn.training.cached_patches import PatchCache
    from napari_hrpn.training.intensity_scaling import MeasuredScaling
    from napari_hrpn.training.learner import Learner
    from napari_hrpn.training.process_group import ProcessGroup
    from napari_hrpn.training.run_folder import RunRequest, RunState
    from napari_hrpn.training.settings import TrainingSettings
    from napari_hrpn.training.splits import Split


@dataclass(frozen=True, eq=False)
class Material:
    """What is learnt from and judged by; another process can be given it, as pixels stay on disk."""

    request: RunRequest  # What was asked for
    folder: Path
    # The cut slides
    train: tuple[PatchSource, ...]
    validation: tuple[PatchSource, ...]
    measured: MeasuredScaling  # How intensities are scaled


@dataclass(frozen=True, eq=False)
class TrainingSession:
    """All that a training needs, decided."""

    settings: TrainingSettings
    learner: Learner
    feed: PatchFeed
    validation: Validation
    folder: RunFolder  # Where it is kept
    device: str  # Where it is computed
    # Writes the checkpoint of the epoch that was just validated, given the state with that epoch in its history
    save_best: Callable[[RunState], None]
    team: ProcessGroup = SINGLE  # The devices that train together


def gather_material(request: RunRequest, folder: Path, split: Split, caches: Sequence[PatchCache]) -> Material:
    """Measure how the slides are to be scaled, once for all devices."""
    measured = measure_scaling(split.train, request.settings)
    slides = (*split.train, *split.validation)
    sources = tuple(
        PatchSource(cache, slide.regions, measured.for_slide(slide))
        for cache, slide in zip(caches, slides, strict=True)
    )
    return Material(request, folder, sources[: len(split.train)], sources[len(split.train) :], measured)


def make_course(material: Material, split: Split, device: str, team: ProcessGroup = SINGLE) -> TrainingSession:
    """Put a training together on a device."""
    settings, measured, folder = material.request.settings, material.measured, RunFolder(material.folder)
    learner = make_learner(settings, device, team)

    def save_best(state: RunState) -> None:
        """Write the checkpoint of the epoch that was just validated."""
        save_checkpoint(trained_checkpoint(learner, settings, split, measured, state), folder.checkpoint)

    return TrainingSession(
        settings=settings,
        learner=learner,
        feed=PatchFeed(material.train, settings, share=(team.rank, team.size)),
        validation=Validation(material.validation, settings, device, team),
        folder=folder,
        device=device,
        save_best=save_best,
        team=team,
    )


def make_learner(settings: TrainingSettings, device: str, team: ProcessGroup = SINGLE) -> Learner:
    """Network of the settings, ready to learn."""
    precision = _precision_on(device, settings.precision)
    if settings.model == "ganda":
        return GANDALearner(settings, device, precision, team=team)
    return HRPNLearner(settings, device, precision, team=team)


def _precision_on(device: str, precision: str) -> str:
    """Arithmetic that a device is to learn with."""
    if precision != "auto":
        return precision
    return "bf16" if device != "mps" and computes_in(device, "bf16") else "fp32"
