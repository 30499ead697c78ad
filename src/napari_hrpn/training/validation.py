"""Validation of a network on patches that it does not learn from, and the baseline that it has to beat.

The baseline is the input stains, blurred and fitted by least squares to the validation patches themselves, which
flatters it; a network that does not beat it has learnt nothing that a blur does not have.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import ndimage

from napari_hrpn.training.data.patch_loader import validation_batches
from napari_hrpn.training.learners.learner import SINGLE
from napari_hrpn.training.reports import Preview

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray
    from torch import nn

    from napari_hrpn.settings import TrainingSettings
    from napari_hrpn.training.data.patch_loader import Arrays, PatchSource
    from napari_hrpn.training.learners.learner import ProcessGroup

SIGMAS_PX = (0.0, 2.0, 8.0)
_PREVIEW_CANDIDATES = 64
_BASELINE_PATCHES = 64
"""They are enough for two digits, and blurring them takes a second."""


@dataclass(frozen=True)
class Agreement:
    """Agreement of predicted with real numbers; r and R2 are None where a constant leaves them undefined."""

    mean_squared_error: float
    r: float | None
    r2: float | None


def _sums(real: NDArray[np.float64], predicted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Count of pixels, and sums of real, predicted, their squares, their product, and of squared errors."""
    # of the differences themselves: sums of squares would round a small error away
    error = predicted - real
    return np.array(
        [real.size, real.sum(), predicted.sum(), real @ real, predicted @ predicted, real @ predicted, error @ error]
    )


def _agreement(sums: NDArray[np.float64]) -> Agreement:
    n, real_sum, predicted_sum, real2, predicted2, product, error = sums.tolist()
    real, predicted = _scatter(n, real_sum, real2), _scatter(n, predicted_sum, predicted2)
    r = None
    if real > 0 and predicted > 0:
        covariance = product - real_sum * predicted_sum / n
        r = float(np.clip(covariance / np.sqrt(real) / np.sqrt(predicted), -1, 1))
    return Agreement(error / max(1, n), r, 1 - error / real if real > 0 else None)


def _scatter(n: float, total: float, squares: float) -> float:
    """Sum of squares about the mean; zero where rounding alone is left of it."""
    scatter = squares - total**2 / max(n, 1)
    return scatter if scatter > 1e-9 * squares else 0.0


class Validation:
    """Fixed patches and how they are judged."""

    def __init__(
        self, sources: Sequence[PatchSource], settings: TrainingSettings, device: str, team: ProcessGroup = SINGLE
    ) -> None:
        self._sources, self._settings, self._device, self._team = sources, settings, device, team
        # the first patch alone says little where it is dark or padding: the one of a few that shows most
        self._shown = max(islice(validation_batches(sources, settings, 1), _PREVIEW_CANDIDATES), key=_contrast)
        self.baseline = _blurred_baseline(islice(validation_batches(sources, settings, 1), _BASELINE_PATCHES))

    def judge(self, network: nn.Module) -> tuple[Agreement, Preview]:
        """Predict all patches, in the network's numbers; one of them is shown."""
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


def _blurred_baseline(batches: Iterable[Arrays]) -> Agreement:
    """Fit blurred inputs to the target over all valid pixels."""
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
    """Each stain at each blur, and at the end a constant; shape (features, y, x)."""
    blurred = [ndimage.gaussian_filter(stain.astype(np.float64), sigma) for stain in inputs for sigma in SIGMAS_PX]
    return np.stack([*blurred, np.ones(inputs.shape[1:])])
