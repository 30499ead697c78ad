"""Pixels of the phantom, one square of 1,024 at a time: probe around its vessels, light, blur and camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, shift

from napari_hrpn.phantom.nuclei import Nuclei, NucleusImages, binned, draw_nuclei, local_density, nuclei_within
from napari_hrpn.phantom.sampling import Purpose, RandomField, SampleGrid, enlarge, keyed_generator
from napari_hrpn.phantom.settings import PhantomSettings
from napari_hrpn.phantom.tissue import (
    LONGEST_UM,
    SOURCE_WALL_UM,
    TissueShape,
    Vessels,
    draw_vessels,
    leak_source,
    steady_concentration,
    vessels_within,
    without_vessels,
)

CELL_PX = 1024
# pixels per transport sample: the most that resolve a wall, or half the penetration if that is longer
_LATTICES_PX = (8, 4, 2, 1)
_MARGIN_PX = 16
# samples outside of the pixels from which they are interpolated
_INTERPOLATION = 2
# bounds of the local uptake over its mean, without which the transport would converge slowly
_UPTAKE_RANGE = (0.3, 2.5)
_AUTOFLUORESCENCE_UM = 40.0


@dataclass(frozen=True, eq=False)
class CellPixels:
    """Pixels of a cell."""

    channels: np.ndarray  # (3, y, x)
    probe: np.ndarray  # (y, x) float32, noise-free
    tissue: np.ndarray  # (y, x) bool

    @property
    def nbytes(self) -> int:
        """Memory that the pixels take."""
        return self.channels.nbytes + self.probe.nbytes + self.tissue.nbytes


@dataclass(frozen=True, eq=False)
class _Surroundings:
    """Sample grids of a cell, and tissue, vessels and nuclei in a margin that decides its probe concentration."""

    pixels: SampleGrid  # Padded pixels
    lattice: SampleGrid  # Transport samples from which the pixels are interpolated
    around: SampleGrid  # Transport samples with a margin that is wide enough to solve the equation on
    tissue: TissueShape
    vessels: Vessels  # Vessels that are stained
    leaking: Vessels  # Vessels that leak probe: the same ones, or hidden ones
    nuclei: Nuclei

    def inner(self, around: np.ndarray) -> np.ndarray:
        """Return the part of transport samples from which the pixels are interpolated."""
        top, left = self.lattice.y0 - self.around.y0, self.lattice.x0 - self.around.x0
        height, width = self.lattice.shape
        return around[top : top + height, left : left + width]

    def to_pixels(self, values: np.ndarray) -> np.ndarray:
        """Enlarge samples of the lattice to the padded pixels."""
        height, width = self.pixels.shape
        return enlarge(values, round(self.lattice.step_um / self.pixels.step_um))[:height, :width]


def make_cell(settings: PhantomSettings, shape: tuple[int, int], seed: int, row: int, column: int) -> CellPixels:
    """Return the pixels of one cell."""
    cell = _surroundings(settings, shape, seed, row, column)
    # clipped, since the smooth enlargement overshoots a little beside a steep edge
    tissue = np.clip(cell.to_pixels(cell.tissue.on_grid(cell.lattice.y_um, cell.lattice.x_um)[0]), 0, 1)
    light = _light(settings, cell, tissue)
    inner = (slice(_MARGIN_PX, -_MARGIN_PX), slice(_MARGIN_PX, -_MARGIN_PX))
    random = keyed_generator(seed, Purpose.NOISE, row, column)
    gains = (settings.electrons_per_grey, settings.electrons_per_grey, settings.probe_electrons_per_grey)
    offsets = (*(settings.offset_grey + extra for extra in settings.input_offset_grey), settings.offset_grey)
    read = [
        _exposed(image[inner], settings, gain, offset, random)
        for image, gain, offset in zip(light, gains, offsets, strict=True)
    ]
    probe = (light[2][inner] + np.float32(settings.offset_grey)) * np.float32(settings.grey_unit)
    return CellPixels(
        np.stack(read), np.asarray(np.minimum(probe, 2**settings.bits - 1), np.float32), tissue[inner] > 0.5
    )


def _surroundings(settings: PhantomSettings, shape: tuple[int, int], seed: int, row: int, column: int) -> _Surroundings:
    y0, x0 = row * CELL_PX, column * CELL_PX
    y1, x1 = min(y0 + CELL_PX, shape[0]), min(x0 + CELL_PX, shape[1])
    pixels = SampleGrid(y0, y1, x0, x1, settings.pixel_size_um).grown(_MARGIN_PX)
    factor = _lattice_px(settings)
    step_um = factor * settings.pixel_size_um
    core = SampleGrid(y0 // factor, -(-y1 // factor), x0 // factor, -(-x1 // factor), step_um)
    around = core.grown(int(np.ceil(_margin_um(settings) / step_um / 8)) * 8)
    tissue = TissueShape(settings, (shape[0] * settings.pixel_size_um, shape[1] * settings.pixel_size_um), seed)
    everywhere = vessels_within(around.bounds.grown(LONGEST_UM), settings, tissue)
    nuclei = nuclei_within(around.bounds, settings, tissue, everywhere)
    vessels = leaking = without_vessels(everywhere, settings.removed_vessels_um)
    if settings.has_independent_probe:
        leaking = vessels_within(around.bounds, settings, tissue, hidden=True)
    lattice = core.grown(_MARGIN_PX // factor + _INTERPOLATION)
    return _Surroundings(pixels, lattice, around, tissue, vessels, leaking, nuclei)


def _lattice_px(settings: PhantomSettings) -> int:
    finest_um = max(SOURCE_WALL_UM, settings.penetration_um / 2)
    return next((px for px in _LATTICES_PX if px * settings.pixel_size_um <= finest_um), 1)


def _margin_um(settings: PhantomSettings) -> float:
    """Return the margin around a cell beyond which vessels and nuclei have no visible effect in it.

    However short the penetration, it holds the longest vessel that reaches into the cell.
    """
    penetration = settings.penetration_um
    return max(min(10 * penetration, 300.0), 6 * penetration + 1.3 * LONGEST_UM, 4 * settings.haze_um)


def _light(settings: PhantomSettings, cell: _Surroundings, tissue: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the light of the three channels on the padded pixels, in 8-bit grey levels.

    Blur, cross-talk, displacement and shading are included, noise is not.
    """
    pixels, lattice, seed = cell.pixels, cell.lattice, cell.tissue.seed
    near = cell.nuclei.where(pixels.bounds.grown(20.0).holds(cell.nuclei.centre_um))
    images = draw_nuclei(near, pixels, settings.chromatin_contrast, seed)
    is_solid = cell.vessels.radius_um <= settings.solid_vessel_um
    stain = draw_vessels(cell.vessels, pixels, settings.vessel_wall_um, cell.vessels.brightness, is_solid)
    in_section = _share_in_section(settings, cell)
    stain *= in_section
    probe = _probe(settings, cell, images, in_section) * tissue
    glow = RandomField(seed, Purpose.AUTOFLUORESCENCE, _AUTOFLUORESCENCE_UM).on_grid(lattice.y_um, lattice.x_um)
    background = cell.to_pixels(settings.tissue_grey * np.exp(0.2 * glow)) * tissue
    nuclei, vessels, probe = (
        np.asarray(gaussian_filter(image, settings.psf_um / settings.pixel_size_um, mode="nearest"))
        for image in (
            (images.stain + _haze(settings, cell)) * np.float32(settings.nuclei_grey) + background,
            stain * np.float32(settings.vessels_grey) + background,
            probe,
        )
    )
    vessels, probe = vessels + settings.cross_talk * nuclei, probe + settings.cross_talk * vessels
    if settings.probe_shift_um != (0.0, 0.0):
        shift_px = [distance / settings.pixel_size_um for distance in settings.probe_shift_um]
        probe = np.asarray(shift(probe, shift_px, order=3, mode="nearest"))
    share = _shading(pixels, settings)
    nuclei, vessels = (
        image * np.float32(gain) for image, gain in zip((nuclei, vessels), settings.input_gain, strict=True)
    )
    return nuclei * share, vessels * share, np.maximum(probe, 0) * share


def _haze(settings: PhantomSettings, cell: _Surroundings) -> np.ndarray:
    """Return the light of nuclei out of focus, relative to that in focus."""
    if settings.haze == 0:
        return np.zeros((1, 1), np.float32)
    area_um2 = np.pi * cell.nuclei.semi_axes_um.prod(axis=1)
    light = binned(cell.nuclei, cell.around, area_um2 * cell.nuclei.brightness) / cell.around.step_um**2
    blurred = gaussian_filter(light, settings.haze_um / cell.around.step_um, mode="nearest")
    return np.asarray(np.maximum(cell.to_pixels(settings.haze * cell.inner(blurred)), 0))


def _concentration(settings: PhantomSettings, cell: _Surroundings) -> np.ndarray:
    """Solve the transport equation with a wide margin, and return the samples from which pixels are interpolated."""
    around = cell.around
    uptake = np.ones(around.shape)
    if not settings.has_independent_probe:
        crowding = local_density(cell.nuclei, around) / max(settings.nucleus_density_per_mm2, 1e-9)
        uptake = np.clip(1 - settings.uptake_rise * (1 - crowding), *_UPTAKE_RANGE)
    source = leak_source(cell.leaking, around) / _mean_leak_per_um2(settings)
    concentration = steady_concentration(source, uptake, settings.penetration_um, around.step_um)
    return np.asarray(np.maximum(cell.inner(concentration), 0))


def _mean_leak_per_um2(settings: PhantomSettings) -> float:
    circle = 2 * np.pi * settings.vessel_radius_um * np.exp(settings.vessel_radius_sd**2 / 2)
    sides = 4 * settings.vessel_half_length_um * np.exp(settings.vessel_half_length_sd**2 / 2)
    return float(max(settings.vessel_density_per_mm2, 1e-9) / 1e6 * (circle + sides))


def _probe(settings: PhantomSettings, cell: _Surroundings, nuclei: NucleusImages, in_section: np.ndarray) -> np.ndarray:
    """Return the probe that has left its vessels, the one that is still in them, and the autofluorescence below."""
    outside, shell = np.ones((1, 1), np.float32), np.zeros((1, 1), np.float32)
    if not settings.has_independent_probe:
        outside = 1 - np.float32(settings.nuclear_exclusion) * nuclei.inside
        shell = np.float32(settings.perinuclear_uptake) * nuclei.shell
    concentration = np.maximum(cell.to_pixels(_concentration(settings, cell)), 0)
    probe = concentration * (outside + shell) * np.float32(settings.probe_grey * (1 - settings.retained_share))
    if settings.retained_share > 0:
        retained = settings.retained_share * settings.retained_grey * cell.leaking.retained
        is_solid = np.ones(len(retained), bool)
        probe += draw_vessels(cell.leaking, cell.pixels, settings.vessel_wall_um, retained, is_solid) * in_section
    if settings.floor_grey > 0:
        field = RandomField(cell.tissue.seed, Purpose.FLOOR, settings.floor_texture_um)
        texture = settings.floor_texture_sd * field.on_grid(cell.pixels.y_um, cell.pixels.x_um)
        mean_grey = settings.floor_grey * np.exp(-(settings.floor_texture_sd**2) / 2)
        probe += outside * np.float32(mean_grey) * np.exp(texture)
    return np.asarray(probe)


def _share_in_section(settings: PhantomSettings, cell: _Surroundings) -> np.ndarray:
    """Return how much of a vessel at each pixel lies within the section and in focus, mean 1."""
    if settings.section_sd == 0:
        return np.ones((1, 1), np.float32)
    field = RandomField(cell.tissue.seed, Purpose.SECTION, settings.section_um)
    varied = settings.section_sd * field.on_grid(cell.pixels.y_um, cell.pixels.x_um)
    return np.asarray(np.exp(varied - settings.section_sd**2 / 2), np.float32)


def _shading(window: SampleGrid, settings: PhantomSettings) -> np.ndarray:
    """Return the share of light that reaches each pixel, 1 in the middle of a camera field."""
    if settings.shading == 0:
        return np.ones(window.shape, np.float32)
    period = settings.shading_field_px
    rows = 0.5 * (1 + np.cos(2 * np.pi * (np.arange(window.y0, window.y1) + 0.5) / period))
    columns = 0.5 * (1 + np.cos(2 * np.pi * (np.arange(window.x0, window.x1) + 0.5) / period))
    loss = (rows[:, None] + columns[None, :]) / 2
    return np.asarray(1 - settings.shading * loss, np.float32)


def _exposed(
    light_grey: np.ndarray,
    settings: PhantomSettings,
    electrons_per_grey: float,
    offset_grey: float,
    random: np.random.Generator,
) -> np.ndarray:
    """Return the values that the detector reads, with Poisson and read noise, offset and saturation."""
    electrons = random.poisson(light_grey * np.float32(electrons_per_grey)).astype(np.float32)
    electrons += random.standard_normal(light_grey.shape, np.float32) * np.float32(settings.read_noise_electrons)
    grey = electrons / np.float32(electrons_per_grey) + np.float32(offset_grey)
    value = np.rint(grey * np.float32(settings.grey_unit))
    return np.asarray(np.clip(value, 0, 2**settings.bits - 1), np.uint8 if settings.bits == 8 else np.uint16)
