"""Validation of a network on patches that it does not learn from, and the baseline that it has to beat.

The baseline is the input stains, blurred and fitted by least squares to the validation patches themselves, which
flatters it; a network that does not beat it has learnt nothing that a blur does not have.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import ndimage

from napari_hrpn.training.data.patch_loader import validation_batches
from napari_hrpn.training.devices import SINGLE
from napari_hrpn.training.reports import Preview

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray
    from torch import nn

    from napari_hrpn.settings import TrainingSettings
    from napari_hrpn.training.data.patch_loader import Batch, PatchSource
    from napari_hrpn.training.devices import ProcessGroup

SIGMAS_PX = (0.0, 2.0, 8.0)
_PREVIEW_CANDIDATES = 64
_BASELINE_PATCHES = 64
"""They are enough for two digits, and blurring them takes a second."""


@dataclass
class _ValidationSums:
    """Sums over pixels, from which r and R2 of predicted against real numbers follow; `error` sums squared errors."""

    n: float = 0.0
    real: float = 0.0
    predicted: float = 0.0
    real2: float = 0.0
    predicted2: float = 0.0
    product: float = 0.0
    error: float = 0.0

    def add(self, real: NDArray[np.float64], predicted: NDArray[np.float64]) -> None:
        """Add pixels."""
        self.n += real.size
        self.real += float(real.sum())
        self.predicted += float(predicted.sum())
        self.real2 += float(np.dot(real, real))
        self.predicted2 += float(np.dot(predicted, predicted))
        self.product += float(np.dot(real, predicted))
        # of the differences themselves: sums of squares would round a small error away
        self.error += float(np.dot(predicted - real, predicted - real))

    @property
    def r(self) -> float | None:
        """Pearson's r; None where one of the two is constant."""
        real, predicted = self._scatter(self.real, self.real2), self._scatter(self.predicted, self.predicted2)
        if not (real > 0 and predicted > 0):
            return None
        covariance = self.product - self.real * self.predicted / self.n
        return float(np.clip(covariance / np.sqrt(real) / np.sqrt(predicted), -1, 1))

    @property
    def r2(self) -> float | None:
        """1 - SSE/SST; None where what is real is constant."""
        real = self._scatter(self.real, self.real2)
        return 1 - self.error / real if real > 0 else None

    def _scatter(self, total: float, squares: float) -> float:
        """Sum of squares about the mean; zero where rounding alone is left of it."""
        scatter = squares - total**2 / max(self.n, 1)
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

    def judge(self, network: nn.Module) -> tuple[_ValidationSums, Preview]:
        """Predict all patches, in the network's numbers; one of them is shown."""
        sums = _ValidationSums()
        share, at_once = (self._team.rank, self._team.size), -(-self._settings.batch // self._team.size)
        for batch in validation_batches(self._sources, self._settings, at_once, share):
            predicted = self._predicted(network, batch)[batch.valid].astype(np.float64)
            sums.add(batch.target[batch.valid].astype(np.float64), predicted)
        sums = _ValidationSums(*self._team.sum(torch.tensor(astuple(sums), dtype=torch.float64)).tolist())
        shown, unscaled = self._shown, self._sources[0].scaling.unscale_output
        shown_prediction = unscaled(self._predicted(network, shown)[0, 0])
        return sums, Preview(shown.inputs[0], unscaled(shown.target[0, 0]), shown_prediction)

    @torch.inference_mode()
    def _predicted(self, network: nn.Module, batch: Batch) -> NDArray[np.float32]:
        inputs = torch.from_numpy(batch.inputs).to(self._device).contiguous(memory_format=torch.channels_last)
        predicted: NDArray[np.float32] = network(inputs).float().cpu().numpy()
        return predicted


def _contrast(batch: Batch) -> float:
    return float(batch.target[batch.valid].std() * batch.valid.mean())


def _blurred_baseline(batches: Iterable[Batch]) -> _ValidationSums:
    """Fit blurred inputs to the target over all valid pixels."""
    gram, target, sums = np.zeros(()), np.zeros(()), _ValidationSums()
    for batch in batches:
        for inputs, real, valid in zip(batch.inputs, batch.target[:, 0], batch.valid[:, 0], strict=True):
            features, y = _features(inputs)[:, valid], real[valid].astype(np.float64)
            gram, target = gram + features @ features.T, target + features @ y
            sums.n, sums.real, sums.real2 = sums.n + y.size, sums.real + float(y.sum()), sums.real2 + float(y @ y)
    if sums.n:
        weights = np.linalg.lstsq(gram, target, rcond=None)[0]
        sums.predicted = float(weights @ gram[-1])
        sums.predicted2 = float(weights @ gram @ weights)
        sums.product = float(weights @ target)
        sums.error = max(0.0, sums.real2 - 2 * sums.product + sums.predicted2)
    return sums


def _features(inputs: NDArray[np.float32]) -> NDArray[np.float64]:
    """Each stain at each blur, and at the end a constant; shape (features, y, x)."""
    blurred = [ndimage.gaussian_filter(stain.astype(np.float64), sigma) for stain in inputs for sigma in SIGMAS_PX]
    return np.stack([*blurred, np.ones(inputs.shape[1:])])
