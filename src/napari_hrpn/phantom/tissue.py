"""Tissue of the phantom: outline and necrosis, vessels, and the transport of the probe out of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import fft
from scipy.spatial import cKDTree
from scipy.special import ndtri

from napari_hrpn.phantom.sampling import Bounds, HardCore, Purpose, RandomField, SampleGrid
from napari_hrpn.phantom.settings import PhantomSettings

_EDGE_UM = 4.0
# radius of the tumour as a share of the slide's shorter side
_RADIUS_SHARE = 0.44
# depth from which tissue may be necrotic, as a share of the radius
_RIM_SHARE = 0.3


@dataclass(frozen=True, eq=False)
class TissueShape:
    """Outline of a tumour section and of its necrosis on a slide of a given extent."""

    settings: PhantomSettings  # Outline and necrosis are used
    extent_um: tuple[float, float]  # Height and width of the slide
    seed: int  # Seed of the phantom

    def at(self, points_um: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the share of tissue and of living tissue at points, 0 to 1."""
        return self._parts(points_um[:, 0], points_um[:, 1], lambda field: field.at(points_um))

    def on_grid(self, y_um: np.ndarray, x_um: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the share of tissue and of living tissue on a grid, 0 to 1."""
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
        # necrosis is likelier the deeper the tissue lies
        dead_um = radius_um * (depth_um / radius_um - _RIM_SHARE) * self.settings.necrosis * 4
        alive = 1 - _smooth_step((dead_um + (0.12 * necrosis - 0.25) * radius_um) / (3 * _EDGE_UM))
        return tissue, tissue * alive


def _smooth_step(value: np.ndarray) -> np.ndarray:
    return np.asarray(0.5 * (1 + np.tanh(value)))


# longest vessel, which decides how far outside of a cell vessels are made
LONGEST_UM = 90.0
_CROWDING = 3.0
# SDs from the middle of a Gaussian to half its maximum
_HALF_MAXIMUM = math.sqrt(2 * math.log(2))
# sharpest bend of a vessel: the angle of half its axis, and the arc's radius over that of the lumen
_MOST_BEND = 1.2
_TIGHTEST_RADII = 3.0
SOURCE_WALL_UM = 1.5
_SAME_PLACE_UM = 1.0


@dataclass(frozen=True, eq=False)
class Vessels:
    """Vessels as columns of numbers, one row per vessel."""

    centre_um: np.ndarray  # (n, 2), y and x
    direction: np.ndarray  # (n, 2), unit vector of the axis
    radius_um: np.ndarray  # Radius of the lumen
    half_length_um: np.ndarray  # Half the length of the axis, along its direction
    curvature_per_um: np.ndarray  # Of the axis, a parabola; 0 is straight
    brightness: np.ndarray  # CD31 of the wall, mean 1
    permeability: np.ndarray  # P_i C_p, mean 1 over perfused vessels
    retained: np.ndarray  # Probe in lumen and wall, mean 1 over perfused vessels

    @property
    def perimeter_um(self) -> np.ndarray:
        """Length of each wall in the section."""
        return np.asarray(2 * np.pi * self.radius_um + 4 * self.half_length_um)

    def where(self, keep: np.ndarray) -> Vessels:
        """Return the vessels that a boolean array or a slice selects."""
        return Vessels(*(column[keep] for column in vars(self).values()))


def vessels_within(bounds: Bounds, settings: PhantomSettings, tissue: TissueShape, *, hidden: bool = False) -> Vessels:
    """Return the vessels whose centres lie in a rectangle."""
    points = _pattern(settings, tissue, hidden=hidden).within(bounds)
    normal = ndtri(np.clip(points.marks, 1e-12, 1 - 1e-12))
    angle = np.pi * points.marks[:, 0]
    faint = settings.vessel_brightness_sd * normal[:, 1]
    leak = settings.permeability_visible * faint + settings.permeability_hidden_sd * normal[:, 2]
    leak_variance = (settings.permeability_visible * settings.vessel_brightness_sd) ** 2
    leak_variance += settings.permeability_hidden_sd**2
    retained = settings.retained_sd * normal[:, 5] - settings.retained_sd**2 / 2
    is_perfused = points.marks[:, 6] < settings.perfused_share
    half_length = settings.vessel_half_length_um * np.exp(settings.vessel_half_length_sd * normal[:, 4])
    half_length = np.minimum(half_length, LONGEST_UM / 2)
    radius = np.minimum(settings.vessel_radius_um * np.exp(settings.vessel_radius_sd * normal[:, 3]), LONGEST_UM / 4)
    sharpest = 1 / np.maximum(half_length / _MOST_BEND, _TIGHTEST_RADII * radius)
    return Vessels(
        points.positions_um,
        np.column_stack([np.sin(angle), np.cos(angle)]),
        radius,
        half_length,
        np.clip(settings.vessel_bend * normal[:, 7] / np.maximum(half_length, 1e-9), -sharpest, sharpest),
        np.exp(-faint - settings.vessel_brightness_sd**2 / 2),
        np.exp(leak - leak_variance / 2) * is_perfused,
        np.exp(retained) * is_perfused,
    )


def _pattern(settings: PhantomSettings, tissue: TissueShape, *, hidden: bool) -> HardCore:
    purpose = Purpose.HIDDEN_VESSELS if hidden else Purpose.VESSELS
    clustering = Purpose.HIDDEN_VESSEL_CLUSTERING if hidden else Purpose.VESSEL_CLUSTERING
    field = RandomField(tissue.seed, clustering, settings.vessel_clustering_um)
    spread = settings.vessel_clustering
    highest = settings.vessel_density_per_mm2 * (_CROWDING if spread else 1.0)

    def density(points_um: np.ndarray) -> np.ndarray:
        local = np.exp(spread * field.at(points_um) - spread**2 / 2) * settings.vessel_density_per_mm2
        return np.asarray(np.minimum(local, highest) * tissue.at(points_um)[1])

    return HardCore(tissue.seed, purpose, settings.vessel_distance_um, highest, density)


def without_vessels(vessels: Vessels, centres_um: Sequence[tuple[float, float]]) -> Vessels:
    """Return the vessels whose centres are none of these points."""
    if not centres_um:
        return vessels
    return vessels.where(cKDTree(centres_um).query(vessels.centre_um)[0] > _SAME_PLACE_UM)


def draw_vessels(
    vessels: Vessels, window: SampleGrid, wall_um: float, brightness: np.ndarray, is_solid: np.ndarray
) -> np.ndarray:
    """Return an image of vessels, each of its brightness in its wall or, if it is solid, up to the radius."""
    image = np.zeros(window.shape, np.float32)
    near = window.bounds.grown(2 * LONGEST_UM).holds(vessels.centre_um)
    for vessel in np.flatnonzero(near & (brightness > 0)):
        square, from_wall_um = _distance_to_wall(vessels, vessel, window, 4 * wall_um)
        if is_solid[vessel]:
            from_wall_um = np.maximum(from_wall_um + np.float32(_HALF_MAXIMUM * wall_um), 0)
        profile = np.exp(-0.5 * (from_wall_um / np.float32(wall_um)) ** 2)
        np.maximum(image[square], np.float32(brightness[vessel]) * profile, out=image[square])
    return image


def leak_source(vessels: Vessels, window: SampleGrid) -> np.ndarray:
    """Return the probe that vessels leak per area."""
    source = np.zeros(window.shape)
    wall_um = max(SOURCE_WALL_UM, window.step_um / 2)
    reach_um = _reach_um(vessels.half_length_um, vessels.curvature_per_um) + vessels.radius_um + 4 * wall_um
    for vessel in np.flatnonzero(window.bounds.grown(-reach_um).holds(vessels.centre_um)):
        square, from_wall_um = _distance_to_wall(vessels, vessel, window, 4 * wall_um)
        profile = np.exp(-0.5 * (from_wall_um.astype(np.float64) / wall_um) ** 2)
        strength = vessels.permeability[vessel] * vessels.perimeter_um[vessel] / window.step_um**2
        source[square] += strength * profile / profile.sum()
    return source


def _distance_to_wall(
    vessels: Vessels, vessel: int | np.intp, window: SampleGrid, beyond_um: float
) -> tuple[tuple[slice, slice], np.ndarray]:
    """Return a square around a vessel, and the distance of its pixels to the middle of the wall, negative inside."""
    y_um, x_um = vessels.centre_um[vessel]
    half_length, radius = vessels.half_length_um[vessel], vessels.radius_um[vessel]
    reach_um = _reach_um(half_length, vessels.curvature_per_um[vessel])
    square = window.around(y_um, x_um, reach_um + radius + beyond_um)
    y = (window.y_um[square[0]] - y_um).astype(np.float32)[:, None]
    x = (window.x_um[square[1]] - x_um).astype(np.float32)[None, :]
    along_y, along_x = vessels.direction[vessel].astype(np.float32)
    along = y * along_y + x * along_x
    on_axis = np.clip(along, -np.float32(half_length), np.float32(half_length))
    if vessels.curvature_per_um[vessel] == 0:
        return square, np.hypot(y - on_axis * along_y, x - on_axis * along_x) - np.float32(radius)
    across = y * along_x - x * along_y
    return square, _from_arc(along, across, on_axis, vessels.curvature_per_um[vessel]) - np.float32(radius)


def _reach_um(half_length_um: np.ndarray, curvature_per_um: np.ndarray) -> np.ndarray:
    """Return the furthest distance of an axis from its centre."""
    return np.asarray(half_length_um * np.hypot(1, curvature_per_um * half_length_um / 2))


def _from_arc(along: np.ndarray, across: np.ndarray, on_axis: np.ndarray, curvature: float) -> np.ndarray:
    """Return the distance from a bent axis, nearly: it is measured across the arc."""
    slope = np.float32(curvature) * on_axis
    return np.asarray(np.hypot(along - on_axis, (across - slope * on_axis / 2) / np.hypot(np.float32(1), slope)))


def inside_vessels(points_um: np.ndarray, vessels: Vessels, beyond_um: float) -> np.ndarray:
    """Return which points lie in a vessel or nearer than `beyond_um` to its wall."""
    inside = np.zeros(len(points_um), bool)
    wall_um = vessels.radius_um + beyond_um
    if len(points_um) == 0 or len(wall_um) == 0:
        return inside
    reach_um = _reach_um(vessels.half_length_um, vessels.curvature_per_um) + wall_um
    around = cKDTree(points_um).query_ball_point(vessels.centre_um, reach_um)
    for vessel, near in enumerate(around):
        offset = points_um[near] - vessels.centre_um[vessel]
        half_length, (along_y, along_x) = vessels.half_length_um[vessel], vessels.direction[vessel]
        along, across = offset @ vessels.direction[vessel], offset @ np.array([along_x, -along_y])
        on_axis = np.clip(along, -half_length, half_length)
        inside[near] |= _from_arc(along, across, on_axis, vessels.curvature_per_um[vessel]) < wall_um[vessel]
    return inside


def steady_concentration(
    source: np.ndarray,
    uptake: np.ndarray,
    penetration_um: float,
    step_um: float,
    tolerance: float = 1e-6,
) -> np.ndarray:
    """Return the steady concentration at which diffusion and uptake balance a source.

    With the length lambda = `penetration_um` = sqrt(D / k0) and concentrations in units of source / k0, the equation is
    lambda^2 lap C - (k / k0) C + S / k0 = 0. The varying part of k is moved to the right side and iterated:
    (kc - lambda^2 lap) C' = S + (kc - k) C, with kc halfway between the extremes of k, which reduces the error by
    (kmax - kmin) / (kmax + kmin) or better in each iteration.
    """
    middle = (uptake.max() + uptake.min()) / 2
    inverse = 1 / (middle + penetration_um**2 * _squared_wave_numbers(source.shape, step_um))
    concentration = fft.irfft2(fft.rfft2(source) * inverse, source.shape)
    while True:
        pushed = source + (middle - uptake) * concentration
        following = fft.irfft2(fft.rfft2(pushed) * inverse, source.shape)
        change = np.abs(following - concentration).max()
        concentration = following
        if change <= tolerance * np.abs(concentration).max():
            return np.asarray(concentration)


def _squared_wave_numbers(shape: tuple[int, ...], step_um: float) -> np.ndarray:
    rows = 2 * np.pi * fft.fftfreq(shape[0], step_um)
    columns = 2 * np.pi * fft.rfftfreq(shape[1], step_um)
    return np.asarray(rows[:, None] ** 2 + columns[None, :] ** 2)
