"""Table of learners: how each network of `models/architectures.py` is trained.

A network that learns by the mean squared error needs a subclass of `Learner` with its `architecture` alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_hrpn.core.errors import TrainingError
from napari_hrpn.inference.predictor import computes_in
from napari_hrpn.settings.networks import GANDA, HRPN
from napari_hrpn.training.learners.ganda import GANDALearner
from napari_hrpn.training.learners.learner import SINGLE, HRPNLearner

if TYPE_CHECKING:
    from napari_hrpn.settings import TrainingSettings
    from napari_hrpn.training.learners.learner import Learner, ProcessGroup

LEARNERS: dict[str, type[Learner]] = {HRPN.name: HRPNLearner, GANDA.name: GANDALearner}


def make_learner(settings: TrainingSettings, device: str, team: ProcessGroup = SINGLE) -> Learner:
    """Network of some settings on a device, ready to learn."""
    if settings.model not in LEARNERS:
        msg = f"there is no way to train a network {settings.model!r}; expected {' or '.join(LEARNERS)}."
        raise TrainingError(msg)
    precision: str = settings.precision
    if precision == "auto":
        precision = "bf16" if device != "mps" and computes_in(device, "bf16") else "fp32"
    return LEARNERS[settings.model](settings, device, precision, team=team)
