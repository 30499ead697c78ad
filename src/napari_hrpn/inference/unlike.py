"""Where a slide is unlike the training: distances of the network's features, block by block.

Blocks are squares of 64 pixels of the network's grid, counted from the slide's corner, so tiles change no distance. Of
each block that is at least half tissue, the mean over the tissue of the features that enter the network's head is
compared.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import avg_pool2d

from napari_hrpn.core.errors import PredictionError
from napari_hrpn.inference.fit import NOTED, WARNED, Fit, comparison
from napari_hrpn.models.hrpn import cropped
from napari_hrpn.models.training_features import BLOCK_PX

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_hrpn.core import Box
    from napari_hrpn.inference.tile_pipeline import Sampling
    from napari_hrpn.models import Checkpoint, ModelCard
    from napari_hrpn.models.training_features import TrainingFeatures
    from napari_hrpn.settings import PredictionSettings
    from napari_hrpn.slides import RegionMask

_LEAST_TISSUE = 0.5
UNIT_PERCENT = 95.0
"""A slide is as far from a training as this percentile of its blocks."""
_MOST_PX = 4 << 20
_FURTHEST = 1e6
"""Largest distance; also that of features that are not finite, as those of huge grey levels."""


def check_comparable(members: Sequence[Checkpoint], settings: PredictionSettings) -> None:
    """Refuse to compare a slide with the training if a network does not know it, or the result cannot have it."""
    lacking = [member.card.title for member in members if member.features is None]
    if settings.unlike and lacking:
        msg = (
            f"{lacking[0]} does not say which features it saw in its training, so where a slide is unlike it is not "
            "known: only networks HRPN do that were trained to the end by this version, on tissue of eight blocks of "
            "64 px or more; choose one, or predict without."
        )
        raise PredictionError(msg)
    if settings.unlike and settings.output == "probe":
        msg = (
            "distances from the training are fractions, and the result was to be whole numbers as trained on; expected "
            "32 bit floating point: predict without one of the two."
        )
        raise PredictionError(msg)


def compared_digests(members: Sequence[Checkpoint]) -> list[str]:
    """Hashes of the features of the training, which decide distances from it."""
    return [member.features.digest for member in members if member.features is not None]


def seen_step(stride: int, settings: PredictionSettings) -> int:
    """Pixels of the network's grid by which tiles are rounded up: whole blocks, if these are compared."""
    return math.lcm(stride, BLOCK_PX) if settings.unlike else stride


class Blocks:
    """Blocks that a piece of a slide touches, with the largest distance of each from the training of any network."""

    def __init__(self, sampling: Sampling, core: Box, tissue: RegionMask, shape: tuple[int, int]) -> None:
        self._sampling, self._core, self._tissue, self._shape = sampling, core, tissue, shape
        # of the network's grid, on which blocks begin at multiples of their side
        self._box = sampling.seen_by_network(core).grown(-sampling.halo)
        side = sampling.stride
        self.distances = np.zeros((self._box.height // side, self._box.width // side))

    def compare(self, branches: list[Tensor], training: TrainingFeatures) -> None:
        """Measure the distances of one network's features, finest branch first, with the halo around them."""
        means, known = self.means(branches)
        with np.errstate(invalid="ignore", over="ignore"):
            found = np.fmin(training.distances(means[known]), _FURTHEST)
        self.distances[known] = np.maximum(self.distances[known], found)

    def means(self, branches: list[Tensor]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Mean features over the tissue, shape (rows, columns, features), and which blocks are tissue enough."""
        halo, side = self._sampling.halo, self._sampling.stride
        pixel = (self._box.width + 2 * halo) // branches[0].shape[-1]
        tissue = torch.from_numpy(self._tissue_share(pixel)).to(branches[0].device)[None, None]
        share = avg_pool2d(tissue, side // pixel)
        means = []
        for branch in branches:
            coarser = branches[0].shape[-1] // branch.shape[-1]
            features = cropped(branch, halo // (pixel * coarser)).float() * avg_pool2d(tissue, coarser)
            means.append(avg_pool2d(features, side // (pixel * coarser)) / share.clamp(min=1e-6))
        known = (share[0, 0] >= _LEAST_TISSUE).cpu().numpy()
        return torch.cat(means, dim=1)[0].permute(1, 2, 0).cpu().numpy(), known

    def on_pixels(self) -> NDArray[np.float32]:
        """Distance at each pixel of the core; 0 outside of the tissue, and where there is too little of it."""
        core, side = self._core, self._sampling.stride
        rows, columns = (
            (np.floor((np.arange(start, stop) + 0.5) * factor).astype(int) - first) // side
            for start, stop, factor, first in (
                (core.y0, core.y1, self._sampling.factors[0], self._box.y0),
                (core.x0, core.x1, self._sampling.factors[1], self._box.x0),
            )
        )
        pixels = self.distances.astype(np.float32)[np.ix_(rows, columns)]
        pixels[~self._tissue.within(*core.slices)] = 0
        return pixels

    def _tissue_share(self, pixel: int) -> NDArray[np.float32]:
        """Which features, each as wide as some pixels of the network's grid, have their centre in the tissue."""
        factors, first = self._sampling.factors, (self._box.y0 // pixel, self._box.x0 // pixel)
        share = np.zeros((self._box.height // pixel, self._box.width // pixel), np.float32)
        rows, columns = (
            slice(max(0, start), min(start + count, math.ceil(length * factor / pixel - 0.5)))
            for start, count, length, factor in zip(first, share.shape, self._shape, factors, strict=True)
        )
        inside = (
            slice(rows.start - first[0], rows.stop - first[0]),
            slice(columns.start - first[1], columns.stop - first[1]),
        )
        share[inside] = self._tissue.at_level(rows, columns, (pixel / factors[0], pixel / factors[1]))
        return share


def shown_distances(levels: Sequence[Any]) -> NDArray[np.float32]:
    """Distances in the tissue, from the last channel of a prediction, at the finest level that is read in a moment."""
    level = next((level for level in levels if math.prod(level.shape[1:]) <= _MOST_PX), levels[-1])
    pixels = np.asarray(level[-1])
    return pixels[pixels > 0]


def fit_of_blocks(distances: NDArray[np.float32], card: ModelCard, name: str) -> Fit:
    """Say which share of the tissue is unlike the training, with the levels of the fit of a slide."""
    if not distances.size:
        return Fit(None, "unknown", f"no block of {name} is tissue enough to be compared with the training.")
    distance, share = float(np.percentile(distances, UNIT_PERCENT)), float(np.mean(distances > NOTED))
    unlike = f"{100 * share:.0f} % of the compared tissue of {name} is unlike the training"
    if len(card.input_quantiles) == 1:
        sentence = f"{unlike}, which was of one slide, so how far slides may differ from it is not known."
        return Fit(distance, "note", sentence)
    if distance <= NOTED:
        return Fit(distance, "fits", f"{unlike}, no more than is usual in its own slides.")
    how_far = comparison(distance, "far from it", "further from it")
    sentence = f"{unlike}, and a part of it {how_far} its own slides"
    if distance <= WARNED:
        return Fit(distance, "note", f"{sentence}.")
    return Fit(distance, "warning", f"{sentence}; expect a poor prediction there, or train on slides like this one.")
