"""Training session: patches to learn from and to validate on, the validation, and the checkpoint with its card.

The validation has a baseline: the input stains, blurred and fitted by least squares to the validation patches
themselves. The fit favours the baseline; a network that does not beat it has learnt no more than a blur.
"""

from __future__ import annotations

import importlib.metadata
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import ndimage

from napari_hrpn.analysis import tissue_mask
from napari_hrpn.inference.fit import input_quantiles, kept_quantiles
from napari_hrpn.models import Checkpoint, ModelCard
from napari_hrpn.settings import DISTANCE
from napari_hrpn.settings.networks import NETWORKS
from napari_hrpn.settings.vessel_distance import VesselDistance
from napari_hrpn.slides import glance
from napari_hrpn.training.data.grey_levels import measure_scaling
from napari_hrpn.training.data.patch_loader import PatchSource, validation_batches
from napari_hrpn.training.learners.learner import SINGLE
from napari_hrpn.training.reports import Preview
from napari_hrpn.training.start import parent_facts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import nn

    from napari_hrpn.settings import TrainingSettings
    from napari_hrpn.training.data.grey_levels import MeasuredScaling
    from napari_hrpn.training.data.patch_cache import PatchCache
    from napari_hrpn.training.data.patch_loader import Arrays
    from napari_hrpn.training.entries import Split, TrainingSlide
    from napari_hrpn.training.learners.learner import Learner, ProcessGroup
    from napari_hrpn.training.reports import EpochRecord
    from napari_hrpn.training.run_request import RunRequest

SIGMAS_PX = (0.0, 2.0, 8.0)
_PREVIEW_CANDIDATES = 64
_BASELINE_PATCHES = 64
"""So many give r and R2 to two digits, and blurring them takes a second."""
_PACKAGES = ("napari-hrpn", "torch", "numpy")


@dataclass(frozen=True, eq=False)
class Material:
    """Patches of training and validation, and their scaling; it can be sent to a process, as pixels stay on disk."""

    request: RunRequest
    folder: Path
    # the cut slides
    train: tuple[PatchSource, ...]
    validation: tuple[PatchSource, ...]
    measured: MeasuredScaling  # how intensities are scaled
    quantiles: tuple[tuple[tuple[float, ...], ...], ...]  # of the inputs of each slide trained on, for its card


def gather_material(request: RunRequest, folder: Path, split: Split, caches: Sequence[PatchCache]) -> Material:
    """Measure the intensity scaling of the slides, once for all devices."""
    measured = measure_scaling(split.train, request.settings)
    # each slide's own percentiles are 0 and 1 after its scaling
    ranges = None if measured.scaling.kind == "percentile" else measured.input_ranges
    sources = tuple(
        PatchSource(cache, slide.regions, measured.for_slide(slide), ranges)
        for cache, slide in zip(caches, (*split.train, *split.judged_on), strict=True)
    )
    train, validation = sources[: len(split.train)], sources[len(split.train) :]
    quantiles = kept_quantiles(
        [_quantiles(slide, source, request.settings) for slide, source in zip(split.train, train, strict=True)]
    )
    return Material(request, folder, train, validation, measured, quantiles)


def _quantiles(slide: TrainingSlide, source: PatchSource, settings: TrainingSettings) -> NDArray[np.float64]:
    """Quantiles of the inputs in the regions of a slide, for the card."""
    by_role = dict(zip(settings.channels, slide.inputs, strict=True))
    stains = glance(slide.slide, [by_role[role] for role in settings.stains], source.scaling.reference_um)
    tissue = tissue_mask(stains, 0)
    tissue = tissue if slide.regions is None else tissue.intersected(slide.regions)
    distance = VesselDistance() if DISTANCE in settings.channels else None
    return input_quantiles(stains, settings.channels, tissue, source.scaling, distance)


def trained_checkpoint(
    material: Material, split: Split, learner: Learner, record: EpochRecord, start: Checkpoint | None
) -> Checkpoint:
    """Make the checkpoint of the epoch that was finished last."""
    card = _card(material, split, record)
    if start is not None:
        parent = parent_facts(start, material.request.settings)
        # a card is passed on, and the folders of this computer are not part of it
        card = replace(card, parent=parent, recipe={**card.recipe, "start": parent["file"]})
    return Checkpoint(learner.settings, learner.evaluated().state_dict(), card)


def _card(material: Material, split: Split, record: EpochRecord) -> ModelCard:
    settings, first = material.request.settings, split.train[0].slide
    names = {
        part: list(dict.fromkeys(slide.entry.tumour_id for slide in getattr(split, part)))
        for part in ("train", "validation", "test")
    }
    if split.validation:
        chosen, judged = f"the epoch was chosen on {', '.join(names['validation'])}", "validation"
    else:
        chosen, judged = "the last epoch is kept", "training"
    return ModelCard(
        title=f"{NETWORKS[settings.model].title} from {', '.join(names['train'])}",
        description=(
            f"Predicts {first.channel_names[split.train[0].target]} from {', '.join(settings.channels)}. "
            f"Trained on {len(split.train)} slides; {chosen}."
        ),
        input_roles=settings.channels,
        target=settings.target,
        scaling=material.measured.scaling,
        pixel_size_um=settings.pixel_um or (first.pixel_size_um and float(np.mean(first.pixel_size_um))),
        resamples=settings.pixel_um is not None,
        distance=VesselDistance() if DISTANCE in settings.channels else None,
        dtype=str(first.dtype),
        input_ranges=material.measured.input_ranges,
        input_quantiles=material.quantiles,
        n_sections=len({slide.entry.path for slide in split.train}),
        recipe={**asdict(settings), "channels": list(settings.channels)},
        split={**names, "note": split.note},
        metrics={
            "epoch": record.epoch,
            f"{judged}_mse_grey_levels2": record.validation_loss,
            f"{judged}_rmse_grey_levels": record.validation_loss**0.5,
            f"{judged}_r": record.validation_r,
            f"{judged}_r2": record.validation_r2,
            "blurred_inputs_r": record.baseline_r,
            "blurred_inputs_r2": record.baseline_r2,
            "train_mse_grey_levels2": record.train_loss,
            "training_seconds": round(record.seconds, 1),
        },
        versions={name: importlib.metadata.version(name) for name in _PACKAGES},
    )


@dataclass(frozen=True)
class _Agreement:
    """Agreement of predicted with real pixels; r and R2 are None if an image is constant."""

    mean_squared_error: float
    r: float | None
    r2: float | None


def _sums(real: NDArray[np.float64], predicted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Count of pixels, and sums of real, predicted, their squares, their product, and of squared errors."""
    # squared errors are summed directly: as a difference of sums of squares, a small error would be lost in rounding
    error = predicted - real
    return np.array(
        [real.size, real.sum(), predicted.sum(), real @ real, predicted @ predicted, real @ predicted, error @ error]
    )


def _agreement(sums: NDArray[np.float64]) -> _Agreement:
    n, real_sum, predicted_sum, real2, predicted2, product, error = sums.tolist()
    real, predicted = _scatter(n, real_sum, real2), _scatter(n, predicted_sum, predicted2)
    r = None
    if real > 0 and predicted > 0:
        covariance = product - real_sum * predicted_sum / n
        r = float(np.clip(covariance / np.sqrt(real) / np.sqrt(predicted), -1, 1))
    return _Agreement(error / max(1, n), r, 1 - error / real if real > 0 else None)


def _scatter(n: float, total: float, squares: float) -> float:
    """Sum of squares about the mean; zero if it is no larger than rounding."""
    scatter = squares - total**2 / max(n, 1)
    return scatter if scatter > 1e-9 * squares else 0.0


class Validation:
    """Fixed patches on which a network is measured after each epoch."""

    def __init__(
        self, sources: Sequence[PatchSource], settings: TrainingSettings, device: str, team: ProcessGroup = SINGLE
    ) -> None:
        self._sources, self._settings, self._device, self._team = sources, settings, device, team
        # the first patch may be dark or padding: of several, the one with the most contrast is shown
        self._shown = max(islice(validation_batches(sources, settings, 1), _PREVIEW_CANDIDATES), key=_contrast)
        self.baseline = _blurred_baseline(islice(validation_batches(sources, settings, 1), _BASELINE_PATCHES))

    def judge(self, network: nn.Module) -> tuple[_Agreement, Preview]:
        """Measure how well a network predicts the patches, in the network's numbers; one of them is shown."""
        sums = np.zeros(7)
        share, at_once = (self._team.rank, self._team.size), -(-self._settings.batch // self._team.size)
        for batch in validation_batches(self._sources, self._settings, at_once, share):
            predicted = self._predicted(network, batch)[batch.valid].astype(np.float64)
            sums += _sums(batch.target[batch.valid].astype(np.float64), predicted)
        sums = self._team.sum(torch.from_numpy(sums)).cpu().numpy()
        shown, unscaled = self._shown, self._sources[0].scaling.unscale_output
        shown_prediction = unscaled(self._predicted(network, shown)[0, 0])
        return _agreement(sums), Preview(shown.inputs[0], unscaled(shown.target[0, 0]), shown_prediction)

    @torch.inference_mode()
    def _predicted(self, network: nn.Module, batch: Arrays) -> NDArray[np.float32]:
        inputs = torch.from_numpy(batch.inputs).to(self._device).contiguous(memory_format=torch.channels_last)
        predicted: NDArray[np.float32] = network(inputs).float().cpu().numpy()
        return predicted


def _contrast(batch: Arrays) -> float:
    return float(batch.target[batch.valid].std() * batch.valid.mean())


def _blurred_baseline(batches: Iterable[Arrays]) -> _Agreement:
    """Fit blurred inputs to the target over all valid pixels, and measure their agreement."""
    gram, target, sums = np.zeros(()), np.zeros(()), np.zeros(7)
    for batch in batches:
        for inputs, real, valid in zip(batch.inputs, batch.target[:, 0], batch.valid[:, 0], strict=True):
            features, y = _features(inputs)[:, valid], real[valid].astype(np.float64)
            gram, target = gram + features @ features.T, target + features @ y
            sums += _sums(y, np.zeros_like(y))
    n, real, _, real2, *_ = sums
    if n:
        weights = np.linalg.lstsq(gram, target, rcond=None)[0]
        predicted, predicted2, product = weights @ gram[-1], weights @ gram @ weights, weights @ target
        error = max(0.0, real2 - 2 * product + predicted2)
        sums = np.array([n, real, predicted, real2, predicted2, product, error])
    return _agreement(sums)


def _features(inputs: NDArray[np.float32]) -> NDArray[np.float64]:
    """Blur each stain by each width, and append a constant; shape (features, y, x)."""
    blurred = [ndimage.gaussian_filter(stain.astype(np.float64), sigma) for stain in inputs for sigma in SIGMAS_PX]
    return np.stack([*blurred, np.ones(inputs.shape[1:])])
