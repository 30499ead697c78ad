"""What a training is judged by: the error on patches of slides that it does not learn from."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_hrpn.training.baseline import ValidationSums, blurred_baseline
from napari_hrpn.training.patch_loader import validation_batches
from napari_hrpn.training.process_group import SINGLE
from napari_hrpn.training.reports import Preview

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import nn

    from napari_hrpn.training.patch_loader import Batch, PatchSource
    from napari_hrpn.training.process_group import ProcessGroup
    from napari_hrpn.training.settings import TrainingSettings

_PREVIEW_CANDIDATES = 64
_BASELINE_PATCHES = 64
"""They are enough for two digits, and blurring them takes a second."""


@dataclass(frozen=True, eq=False)
class Judgement:
    """How good a network is."""

    loss: float  # Mean squared error in squared grey levels, over all pixels but padding
    # Pearson's r and R2 over the same pixels; None where they are undefined
    r: float | None
    r2: float | None
    preview: Preview  # One of the patches


class Validation:
    """Fixed patches and how they are judged."""

    def __init__(
        self, sources: Sequence[PatchSource], settings: TrainingSettings, device: str, team: ProcessGroup = SINGLE
    ) -> None:
        self._sources, self._settings, self._device, self._team = sources, settings, device, team
        self.target_scale = sources[0].scaling.target_scale
        self._shown = self._telling_patch()
        patches = islice(validation_batches(sources, settings, 1), _BASELINE_PATCHES)
        self.baseline = blurred_baseline(patches)

    def judge(self, network: nn.Module) -> Judgement:
        """Predict all patches."""
        sums = ValidationSums()
        share, at_once = (self._team.rank, self._team.size), -(-self._settings.batch // self._team.size)
        for batch in validation_batches(self._sources, self._settings, at_once, share):
            predicted = self._predicted(network, batch)[batch.valid].astype(np.float64)
            sums.add(batch.target[batch.valid].astype(np.float64), predicted)
        sums = ValidationSums(*self._team.sum(torch.tensor(astuple(sums), dtype=torch.float64)).tolist())
        loss = sums.error / max(1, sums.n) * self.target_scale**2
        return Judgement(loss, sums.r, sums.r2, self._preview(network))

    @torch.inference_mode()
    def _predicted(self, network: nn.Module, batch: Batch) -> NDArray[np.float32]:
        inputs = torch.from_numpy(batch.inputs).to(self._device).contiguous(memory_format=torch.channels_last)
        predicted: NDArray[np.float32] = network(inputs).float().cpu().numpy()
        return predicted

    def _preview(self, network: nn.Module) -> Preview:
        scaling = self._sources[0].scaling
        batch = self._shown
        predicted = scaling.unscale_output(self._predicted(network, batch)[0, 0])
        return Preview(batch.inputs[0], scaling.unscale_output(batch.target[0, 0]), predicted)

    def _telling_patch(self) -> Batch:
        """The first patch alone says little where it is dark or padding: the one of a few that shows most."""
        patches = validation_batches(self._sources, self._settings, 1)
        return max(islice(patches, _PREVIEW_CANDIDATES), key=_contrast)


def _contrast(batch: Batch) -> float:
    return float(batch.target[batch.valid].std() * batch.valid.mean())
