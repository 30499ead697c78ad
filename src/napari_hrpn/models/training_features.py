"""Features of the slides trained on: their mean, and the matrix that measures the distance of others from it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_hrpn.models.architectures import NetworkSettings

_PREFIX = "training_features."
"""Begins the names of these tensors in the file of a checkpoint; those of the network's weights have none."""
BLOCK_PX = 64
"""Side of the blocks over which features are averaged, in pixels of the network's grid."""


@dataclass(frozen=True, eq=False)
class TrainingFeatures:
    """Distribution of the features of blocks, to which those of other slides are compared."""

    mean: NDArray[np.float32]
    # lower triangular; the length of its product with a deviation from the mean is the distance
    to_distance: NDArray[np.float32]

    def distances(self, features: NDArray[Any]) -> NDArray[np.float64]:
        """Mahalanobis distances of features, shape (..., features), in units of the training's own slides."""
        deviations = features.astype(np.float64) - self.mean
        return np.asarray(np.linalg.norm(deviations @ self.to_distance.T.astype(np.float64), axis=-1))

    @property
    def digest(self) -> str:
        """Short hash."""
        return hashlib.sha256(self.mean.tobytes() + self.to_distance.tobytes()).hexdigest()[:16]


def compared_features(settings: NetworkSettings) -> int:
    """Number of features that enter the head of a network; 0 of a network without branches, which is not compared."""
    return sum(getattr(settings, "widths", ()))


def named_tensors(features: TrainingFeatures | None) -> dict[str, Tensor]:
    """Tensors for the file of a checkpoint."""
    if features is None:
        return {}
    return {f"{_PREFIX}{name}": torch.from_numpy(getattr(features, name)) for name in ("mean", "to_distance")}


def taken_from(tensors: dict[str, Tensor], settings: NetworkSettings) -> TrainingFeatures | None:
    """Take the features out of the tensors of a file; None if there are none, an error if they do not fit."""
    names = [name for name in tensors if name.startswith(_PREFIX)]
    if not names:
        return None
    found: Mapping[str, Tensor] = {name.removeprefix(_PREFIX): tensors.pop(name) for name in names}
    count = compared_features(settings)
    expected = {"mean": (count,), "to_distance": (count, count)}
    if {name: tuple(tensor.shape) for name, tensor in found.items()} != expected:
        raise ValueError("its features of the training are not those of its network")
    if not all(tensor.dtype == torch.float32 and torch.isfinite(tensor).all() for tensor in found.values()):
        raise ValueError("its features of the training are not finite numbers of 32 bit")
    return TrainingFeatures(**{name: tensor.numpy() for name, tensor in found.items()})
