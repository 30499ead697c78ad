"""Nuclei of the phantom: ellipses that keep their distance, with chromatin texture and a perinuclear shell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.special import ndtri

from napari_hrpn.phantom.sampling import Bounds, HardCore, Purpose, RandomField, SampleGrid
from napari_hrpn.phantom.settings import PhantomSettings
from napari_hrpn.phantom.tissue import TissueShape, Vessels, inside_vessels

# largest local density of nuclei over their mean density
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
    activity: np.ndarray  # Relative uptake of probe by the cell, mean 1; it does not show in the inputs

    def where(self, keep: np.ndarray) -> Nuclei:
        """Return the nuclei that a boolean array selects."""
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
    nucleus_field = RandomField(tissue.seed, Purpose.NUCLEUS_CLUSTERING, settings.nucleus_clustering_um)
    vessel_field = RandomField(tissue.seed, Purpose.VESSEL_CLUSTERING, settings.vessel_clustering_um)
    shared = settings.nest_avoidance
    spread = settings.nucleus_clustering
    highest = settings.nucleus_density_per_mm2 * (_CROWDING if spread else 1.0)

    def density(points_um: np.ndarray) -> np.ndarray:
        field = np.sqrt(1 - shared**2) * nucleus_field.at(points_um) - shared * vessel_field.at(points_um)
        local = np.exp(spread * field - spread**2 / 2) * settings.nucleus_density_per_mm2
        all_tissue, alive = tissue.at(points_um)
        return np.asarray(np.minimum(local, highest) * (alive + _NECROTIC_SHARE * (all_tissue - alive)))

    return HardCore(tissue.seed, Purpose.NUCLEI, settings.nucleus_distance_um, highest, density)


def binned(nuclei: Nuclei, window: SampleGrid, weights: np.ndarray | None = None) -> np.ndarray:
    """Return the number of nuclei, or the sum of their weights, around each sample."""
    bounds = window.bounds
    edges = [(bounds.y0, bounds.y1), (bounds.x0, bounds.x1)]
    return np.asarray(np.histogramdd(nuclei.centre_um, bins=window.shape, range=edges, weights=weights)[0])


def local_density(nuclei: Nuclei, window: SampleGrid) -> np.ndarray:
    """Return the density of nuclei smoothed over some cells."""
    blurred = gaussian_filter(binned(nuclei, window), _DENSITY_BLUR_UM / window.step_um, mode="nearest")
    return np.asarray(blurred / (window.step_um / 1000) ** 2)


@dataclass(frozen=True, eq=False)
class NucleusImages:
    """Images of nuclei on a window, each float32."""

    stain: np.ndarray  # DAPI, mean 1 inside nuclei
    inside: np.ndarray  # 1 inside a nucleus, 0 outside, with a smooth edge
    shell: np.ndarray  # Uptake around nuclei: the cell's activity at the rim, falling outwards


def draw_nuclei(nuclei: Nuclei, window: SampleGrid, contrast: float, seed: int) -> NucleusImages:
    """Return the images of nuclei."""
    stain, inside, shell = (np.zeros(window.shape, np.float32) for _ in range(3))
    for nucleus in range(len(nuclei.brightness)):
        square, outwards_um = _distance_to_rim(nuclei, nucleus, window)
        body = np.clip(0.5 - outwards_um / np.float32(_EDGE_UM), 0, 1)
        halo = np.exp(-np.maximum(outwards_um, 0) / np.float32(_SHELL_UM))
        np.maximum(inside[square], body, out=inside[square])
        np.maximum(stain[square], np.float32(nuclei.brightness[nucleus]) * body, out=stain[square])
        np.maximum(shell[square], np.float32(nuclei.activity[nucleus]) * halo, out=shell[square])
    chromatin = RandomField(seed, Purpose.CHROMATIN, _CHROMATIN_UM).on_grid(window.y_um, window.x_um)
    stain *= np.clip(1 + np.float32(contrast) * chromatin, 0.2, None)
    return NucleusImages(stain, inside, shell * (1 - inside))


def _distance_to_rim(nuclei: Nuclei, nucleus: int, window: SampleGrid) -> tuple[tuple[slice, slice], np.ndarray]:
    """Return a square around a nucleus, and the approximate distance of its pixels from the rim, negative inside."""
    y_um, x_um = nuclei.centre_um[nucleus]
    long_axis, short_axis = nuclei.semi_axes_um[nucleus].astype(np.float32)
    square = window.around(y_um, x_um, float(long_axis) + 4 * _SHELL_UM)
    y = (window.y_um[square[0]] - y_um).astype(np.float32)[:, None]
    x = (window.x_um[square[1]] - x_um).astype(np.float32)[None, :]
    along_y, along_x = nuclei.direction[nucleus].astype(np.float32)
    along = (y * along_y + x * along_x) / long_axis
    across = (y * along_x - x * along_y) / short_axis
    return square, (np.sqrt(along * along + across * across) - 1) * np.sqrt(long_axis * short_axis)
