"""The model card of a training: what was learnt from, how, and what it reached."""

from __future__ import annotations

import importlib.metadata
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.models import Checkpoint, ModelCard

if TYPE_CHECKING:
    from napari_hrpn.training.intensity_scaling import MeasuredScaling
    from napari_hrpn.training.learner import Learner
    from napari_hrpn.training.run_folder import RunState
    from napari_hrpn.training.settings import TrainingSettings
    from napari_hrpn.training.splits import Split

_PACKAGES = ("napari-hrpn", "torch", "numpy")


def trained_checkpoint(
    learner: Learner, settings: TrainingSettings, split: Split, measured: MeasuredScaling, state: RunState
) -> Checkpoint:
    """Checkpoint of the epoch that was finished last."""
    network = learner.evaluated()
    return Checkpoint(network.settings, network.state_dict(), _card(settings, split, measured, state))


def _card(settings: TrainingSettings, split: Split, measured: MeasuredScaling, state: RunState) -> ModelCard:
    first = split.train[0].slide
    record = state.history[-1]
    names = {name: _names(getattr(split, name)) for name in ("train", "validation", "test")}
    return ModelCard(
        title=f"{settings.model.upper()} from {', '.join(names['train'])}",
        description=(
            f"Predicts {first.channel_names[split.train[0].target]} from {' and '.join(settings.channels)}. "
            f"Trained on {len(split.train)} slides; the epoch was chosen on {', '.join(names['validation'])}."
        ),
        input_roles=settings.channels,
        target=settings.target,
        scaling=measured.scaling,
        pixel_size_um=None if first.pixel_size_um is None else float(np.mean(first.pixel_size_um)),
        dtype=str(first.dtype),
        input_ranges=measured.input_ranges,
        recipe=_plain(asdict(settings)),
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


def _names(slides: tuple[Any, ...]) -> list[str]:
    return list(dict.fromkeys(f"{slide.entry.tumour_id}" for slide in slides))


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}
