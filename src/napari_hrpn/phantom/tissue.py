"""Where there is tissue, and where it is necrotic: functions of the place on the slide alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_hrpn.phantom.random_field import Purpose, RandomField
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
        ones = np.ones(len(points_um))
        if not self.settings.has_outline:
            return ones, ones
        radius = self._radius_um
        roughness = RandomField(self.seed, Purpose.OUTLINE, radius / 2.5).at(points_um)
        necrosis = RandomField(self.seed, Purpose.NECROSIS, radius / 4).at(points_um)
        return self._parts(points_um[:, 0], points_um[:, 1], roughness, necrosis)

    def on_grid(self, y_um: np.ndarray, x_um: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return how much tissue and how much living tissue there is on a grid."""
        ones = np.ones((len(y_um), len(x_um)), np.float32)
        if not self.settings.has_outline:
            return ones, ones
        radius = self._radius_um
        roughness = RandomField(self.seed, Purpose.OUTLINE, radius / 2.5).on_grid(y_um, x_um)
        necrosis = RandomField(self.seed, Purpose.NECROSIS, radius / 4).on_grid(y_um, x_um)
        return self._parts(y_um[:, None], x_um[None, :], roughness, necrosis)

    @property
    def _radius_um(self) -> float:
        return _RADIUS_SHARE * min(self.extent_um)

    def _parts(
        self, y_um: np.ndarray, x_um: np.ndarray, roughness: np.ndarray, necrosis: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        height, width = self.extent_um
        from_centre = np.hypot((2 * y_um / height - 1), (2 * x_um / width - 1)) * min(self.extent_um) / 2
        depth_um = self._radius_um * (1 + 0.09 * np.clip(roughness, -1.5, 1.2)) - from_centre
        tissue = _smooth_step(depth_um / _EDGE_UM)
        # a necrotic core: the deeper, the likelier
        dead_um = self._radius_um * (depth_um / self._radius_um - _RIM_SHARE) * self.settings.necrosis * 4
        alive = 1 - _smooth_step((dead_um + (0.12 * necrosis - 0.25) * self._radius_um) / (3 * _EDGE_UM))
        return tissue, tissue * alive


def _smooth_step(value: np.ndarray) -> np.ndarray:
    return np.asarray(0.5 * (1 + np.tanh(value)))
