"""Tissue outline and necrosis of the phantom, as functions of the position alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from napari_hrpn.phantom.points import Purpose, RandomField
from napari_hrpn.phantom.settings import PhantomSettings

_EDGE_UM = 4.0
_RADIUS_SHARE = 0.44
_RIM_SHARE = 0.3


@dataclass(frozen=True, eq=False)
class TissueShape:
    """Outline of a tumour section and of its necrosis on a slide of a given extent."""

    settings: PhantomSettings  # Whether there is an outline, and how much necrosis
    extent_um: tuple[float, float]  # Height and width of the slide
    seed: int  # Seed of the phantom

    def at(self, points_um: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return how much tissue and how much living tissue there is at points."""
        return self._parts(points_um[:, 0], points_um[:, 1], lambda field: field.at(points_um))

    def on_grid(self, y_um: np.ndarray, x_um: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return how much tissue and how much living tissue there is on a grid."""
        return self._parts(y_um[:, None], x_um[None, :], lambda field: field.on_grid(y_um, x_um))

    def _parts(
        self, y_um: np.ndarray, x_um: np.ndarray, values: Callable[[RandomField], np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        if not self.settings.has_outline:
            ones = np.ones(np.broadcast_shapes(y_um.shape, x_um.shape), np.float32)
            return ones, ones
        (height, width), radius_um = self.extent_um, _RADIUS_SHARE * min(self.extent_um)
        roughness = values(RandomField(self.seed, Purpose.OUTLINE, radius_um / 2.5))
        necrosis = values(RandomField(self.seed, Purpose.NECROSIS, radius_um / 4))
        from_centre = np.hypot((2 * y_um / height - 1), (2 * x_um / width - 1)) * min(self.extent_um) / 2
        depth_um = radius_um * (1 + 0.09 * np.clip(roughness, -1.5, 1.2)) - from_centre
        tissue = _smooth_step(depth_um / _EDGE_UM)
        # a necrotic core: the deeper, the likelier
        dead_um = radius_um * (depth_um / radius_um - _RIM_SHARE) * self.settings.necrosis * 4
        alive = 1 - _smooth_step((dead_um + (0.12 * necrosis - 0.25) * radius_um) / (3 * _EDGE_UM))
        return tissue, tissue * alive


def _smooth_step(value: np.ndarray) -> np.ndarray:
    return np.asarray(0.5 * (1 + np.tanh(value)))
