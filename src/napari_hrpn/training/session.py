"""Training session: the patches to learn from and to be judged by, and the checkpoint with its card."""

from __future__ import annotations

import importlib.metadata
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.models import Checkpoint, ModelCard
from napari_hrpn.models.architectures import ARCHITECTURES
from napari_hrpn.training.data.grey_levels import measure_scaling
from napari_hrpn.training.data.patch_loader import PatchSource

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_hrpn.training.data.grey_levels import MeasuredScaling
    from napari_hrpn.training.data.patch_cache import PatchCache
    from napari_hrpn.training.entries import Split
    from napari_hrpn.training.learners.learner import Learner
    from napari_hrpn.training.reports import EpochRecord
    from napari_hrpn.training.run_folder import RunRequest

_PACKAGES = ("napari-hrpn", "torch", "numpy")


@dataclass(frozen=True, eq=False)
class Material:
    """What is learnt from and judged by; another process can be given it, as pixels stay on disk."""

    request: RunRequest  # What was asked for
    folder: Path
    # The cut slides
    train: tuple[PatchSource, ...]
    validation: tuple[PatchSource, ...]
    measured: MeasuredScaling  # How intensities are scaled


def gather_material(request: RunRequest, folder: Path, split: Split, caches: Sequence[PatchCache]) -> Material:
    """Measure how the slides are to be scaled, once for all devices."""
    measured = measure_scaling(split.train, request.settings)
    sources = tuple(
        PatchSource(cache, slide.regions, measured.for_slide(slide))
        for cache, slide in zip(caches, (*split.train, *split.validation), strict=True)
    )
    return Material(request, folder, sources[: len(split.train)], sources[len(split.train) :], measured)


def trained_checkpoint(material: Material, split: Split, learner: Learner, record: EpochRecord) -> Checkpoint:
    """Checkpoint of the epoch that was finished last."""
    return Checkpoint(learner.settings, learner.evaluated().state_dict(), _card(material, split, record))


def _card(material: Material, split: Split, record: EpochRecord) -> ModelCard:
    settings, first = material.request.settings, split.train[0].slide
    names = {
        part: list(dict.fromkeys(slide.entry.tumour_id for slide in getattr(split, part)))
        for part in ("train", "validation", "test")
    }
    return ModelCard(
        title=f"{ARCHITECTURES[settings.model].title} from {', '.join(names['train'])}",
        description=(
            f"Predicts {first.channel_names[split.train[0].target]} from {' and '.join(settings.channels)}. "
            f"Trained on {len(split.train)} slides; the epoch was chosen on {', '.join(names['validation'])}."
        ),
        input_roles=settings.channels,
        target=settings.target,
        scaling=material.measured.scaling,
        pixel_size_um=None if first.pixel_size_um is None else float(np.mean(first.pixel_size_um)),
        dtype=str(first.dtype),
        input_ranges=material.measured.input_ranges,
        recipe={**asdict(settings), "channels": list(settings.channels)},
        split={**names, "note": split.note},
        metrics={
            "epoch": record.epoch,
            "validation_mse_grey_levels2": record.validation_loss,
            "validation_rmse_grey_levels": record.validation_loss**0.5,
            "validation_r": record.validation_r,
            "validation_r2": record.validation_r2,
            "blurred_inputs_r": record.baseline_r,
            "blurred_inputs_r2": record.baseline_r2,
            "train_mse_grey_levels2": record.train_loss,
            "training_seconds": round(record.seconds, 1),
        },
        versions={name: importlib.metadata.version(name) for name in _PACKAGES},
    )
