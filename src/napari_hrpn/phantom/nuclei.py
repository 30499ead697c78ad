"""Nuclei of the phantom: ellipses that keep their distance, with chromatin texture and a perinuclear shell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.special import ndtri

from napari_hrpn.phantom.points import Bounds, HardCore, Purpose, RandomField
from napari_hrpn.phantom.sample_grid import SampleGrid
from napari_hrpn.phantom.settings import PhantomSettings
from napari_hrpn.phantom.tissue import TissueShape
from napari_hrpn.phantom.vessels import Vessels, inside_vessels

_CROWDING = 1.6
_BRIGHTNESS_SD = 0.25
_ACTIVITY_SD = 0.6
_EDGE_UM = 0.5
_SHELL_UM = 1.5
_NECROTIC_SHARE = 0.12
_DENSITY_BLUR_UM = 15.0
_CHROMATIN_UM = 0.6


@dataclass(frozen=True, eq=False)
class Nuclei:
    """Nuclei as columns of numbers, one row per nucleus."""

    centre_um: np.ndarray  # (n, 2), y and x
    direction: np.ndarray  # (n, 2), unit vector of the long axis
    semi_axes_um: np.ndarray  # (n, 2), long and short
    brightness: np.ndarray
    activity: np.ndarray  # How eagerly the cell takes up probe, mean 1; not to be seen in the inputs

    def where(self, keep: np.ndarray) -> Nuclei:
        """Return the nuclei that a boolean array picks."""
        return Nuclei(*(column[keep] for column in vars(self).values()))


def nuclei_within(bounds: Bounds, settings: PhantomSettings, tissue: TissueShape, vessels: Vessels) -> Nuclei:
    """Return the nuclei whose centres lie in a rectangle."""
    points = _pattern(settings, tissue).within(bounds)
    points = points.where(~inside_vessels(points.positions_um, vessels, settings.nucleus_radius_um / 2))
    normal = ndtri(np.clip(points.marks, 1e-12, 1 - 1e-12))
    angle = np.pi * points.marks[:, 0]
    long_axis = settings.nucleus_radius_um * np.exp(settings.nucleus_radius_sd * normal[:, 1])
    short_axis = long_axis * (0.6 + 0.35 * points.marks[:, 2])
    return Nuclei(
        points.positions_um,
        np.column_stack([np.sin(angle), np.cos(angle)]),
        np.column_stack([long_axis, short_axis]),
        np.exp(_BRIGHTNESS_SD * normal[:, 3] - _BRIGHTNESS_SD**2 / 2),
        np.exp(_ACTIVITY_SD * normal[:, 4] - _ACTIVITY_SD**2 / 2),
    )


def _pattern(settings: PhantomSettings, tissue: TissueShape) -> HardCore:
    own = RandomField(tissue.seed, Purpose.NUCLEUS_CLUSTERING, settings.nucleus_clustering_um)
    of_vessels = RandomField(tissue.seed, Purpose.VESSEL_CLUSTERING, settings.vessel_clustering_um)
    shared = settings.nest_avoidance
    spread = settings.nucleus_clustering
    highest = settings.nucleus_density_per_mm2 * (_CROWDING if spread else 1.0)

    def density(points_um: np.ndarray) -> np.ndarray:
        field = np.sqrt(1 - shared**2) * own.at(points_um) - shared * of_vessels.at(points_um)
        local = np.exp(spread * field - spread**2 / 2) * settings.nucleus_density_per_mm2
        there, alive = tissue.at(points_um)
        return np.asarray(np.minimum(local, highest) * (alive + _NECROTIC_SHARE * (there - alive)))

    return HardCore(tissue.seed, Purpose.NUCLEI, settings.nucleus_distance_um, highest, density)


def local_density(nuclei: Nuclei, window: SampleGrid) -> np.ndarray:
    """Return the density of nuclei smoothed over some cells."""
    bounds = window.bounds
    edges = [(bounds.y0, bounds.y1), (bounds.x0, bounds.x1)]
    counts = np.histogramdd(nuclei.centre_um, bins=window.shape, range=edges)[0]
    blurred = gaussian_filter(counts, _DENSITY_BLUR_UM / window.step_um, mode="nearest")
    return np.asarray(blurred / (window.step_um / 1000) ** 2)


@dataclass(frozen=True, eq=False)
class NucleusImages:
    """What nuclei look like on a window, each image float32."""

    stain: np.ndarray  # DAPI, mean 1 inside nuclei
    inside: np.ndarray  # 1 inside a nucleus, 0 outside, with a smooth edge
    shell: np.ndarray  # Uptake around nuclei, the cell's activity at the rim and falling outwards


def draw_nuclei(nuclei: Nuclei, window: SampleGrid, contrast: float, seed: int) -> NucleusImages:
    """Return the images of nuclei."""
    stain, inside, shell = (np.zeros(window.shape, np.float32) for _ in range(3))
    for nucleus in range(len(nuclei.brightness)):
        place, outwards_um = _distance_to_rim(nuclei, nucleus, window)
        body = np.clip(0.5 - outwards_um / np.float32(_EDGE_UM), 0, 1)
        halo = np.exp(-np.maximum(outwards_um, 0) / np.float32(_SHELL_UM))
        np.maximum(inside[place], body, out=inside[place])
        np.maximum(stain[place], np.float32(nuclei.brightness[nucleus]) * body, out=stain[place])
        np.maximum(shell[place], np.float32(nuclei.activity[nucleus]) * halo, out=shell[place])
    chromatin = RandomField(seed, Purpose.CHROMATIN, _CHROMATIN_UM).on_grid(window.y_um, window.x_um)
    stain *= np.clip(1 + np.float32(contrast) * chromatin, 0.2, None)
    return NucleusImages(stain, inside, shell * (1 - inside))


def _distance_to_rim(nuclei: Nuclei, nucleus: int, window: SampleGrid) -> tuple[tuple[slice, slice], np.ndarray]:
    """Return a square around a nucleus, and in it roughly the distance from its rim, negative inside."""
    y_um, x_um = nuclei.centre_um[nucleus]
    long_axis, short_axis = nuclei.semi_axes_um[nucleus].astype(np.float32)
    place = window.around(y_um, x_um, float(long_axis) + 4 * _SHELL_UM)
    y = (window.y_um[place[0]] - y_um).astype(np.float32)[:, None]
    x = (window.x_um[place[1]] - x_um).astype(np.float32)[None, :]
    along_y, along_x = nuclei.direction[nucleus].astype(np.float32)
    along = (y * along_y + x * along_x) / long_axis
    across = (y * along_x - x * along_y) / short_axis
    return place, (np.sqrt(along * along + across * across) - 1) * np.sqrt(long_axis * short_axis)
