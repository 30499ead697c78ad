"""Learners: one training step of each network."""

from __future__ import annotations

from pkgutil import resolve_name
from typing import TYPE_CHECKING

from napari_hrpn.inference.predictor import computes_in
from napari_hrpn.settings.networks import NETWORKS
from napari_hrpn.training.learners.learner import SINGLE
from napari_hrpn.training.start import frozen_modules, placed_weights

if TYPE_CHECKING:
    from napari_hrpn.models import Checkpoint
    from napari_hrpn.settings import TrainingSettings
    from napari_hrpn.training.learners.learner import Learner, ProcessGroup


def make_learner(
    settings: TrainingSettings, device: str, team: ProcessGroup = SINGLE, start: Checkpoint | None = None
) -> Learner:
    """Make the network of some settings on a device, with its optimiser; it begins with the weights of `start`."""
    precision: str = settings.precision
    if precision == "auto":
        # a device that computes bfloat16 in software is slower with it than with float32
        precision = "bf16" if device != "mps" and computes_in(device, "bf16") else "fp32"
    learner: Learner = resolve_name(NETWORKS[settings.model].learner)(settings, device, precision, team=team)
    if start is not None:
        learner.start_from(placed_weights(start, settings), frozen_modules(settings), settings)
    return learner
