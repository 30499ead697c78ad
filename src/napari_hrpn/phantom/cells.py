"""One cell of the phantom from numbers to pixels; `PhantomCells` keeps the latest ones.

The rule: a cell is always made whole and with the same margins, so its pixels are the same whoever asks.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np

from napari_hrpn.phantom import camera
from napari_hrpn.phantom.nuclei import (
    Nuclei,
    NucleusImages,
    draw_nuclei,
    local_density,
    nuclei_within,
)
from napari_hrpn.phantom.random_field import Purpose, RandomField, keyed_generator
from napari_hrpn.phantom.sample_grid import SampleGrid, enlarge
from napari_hrpn.phantom.settings import PhantomSettings
from napari_hrpn.phantom.tissue import TissueShape
from napari_hrpn.phantom.transport import steady_concentration
from napari_hrpn.phantom.vessels import LONGEST_UM, Vessels, draw_walls, leak_source, vessels_within

CELL_PX = 1024
_LATTICE_PX = 8
_MARGIN_PENETRATIONS = 10.0
_LATTICE_MARGIN = 4
_MARGIN_PX = (_LATTICE_MARGIN - 2) * _LATTICE_PX
_KEPT_BYTES = 256 * 2**20
_UPTAKE_RANGE = (0.3, 2.5)
_AUTOFLUORESCENCE_UM = 40.0


@dataclass(frozen=True, eq=False)
class _CellPixels:
    """Pixels of a cell: `channels` (3, y, x), noise-free `probe` (y, x) float32, `tissue` (y, x) bool."""

    channels: np.ndarray
    probe: np.ndarray
    tissue: np.ndarray

    @property
    def nbytes(self) -> int:
        """Memory that they take."""
        return self.channels.nbytes + self.probe.nbytes + self.tissue.nbytes


@dataclass(frozen=True, eq=False)
class _Population:
    """What lives around a cell, far enough out for the probe's concentration in it."""

    vessels: Vessels
    leaking: Vessels
    nuclei: Nuclei


def make_cell(settings: PhantomSettings, shape: tuple[int, int], seed: int, row: int, column: int) -> _CellPixels:
    """Return the pixels of one cell."""
    place = _place(settings, shape, seed, row, column)
    light = _light(settings, place)
    inner = (slice(_MARGIN_PX, -_MARGIN_PX), slice(_MARGIN_PX, -_MARGIN_PX))
    random = keyed_generator(seed, Purpose.NOISE, row, column)
    gains = (settings.electrons_per_grey, settings.electrons_per_grey, settings.probe_electrons_per_grey)
    exposures = [
        camera.expose(image[inner], settings, gain, random) for image, gain in zip(light.channels, gains, strict=True)
    ]
    probe = camera.expected_value(light.channels[2][inner], settings)
    return _CellPixels(np.stack(exposures), probe, light.tissue[inner] > 0.5)


def cell_concentration(
    settings: PhantomSettings, shape: tuple[int, int], seed: int, row: int, column: int
) -> np.ndarray:
    """Return the probe's concentration around one cell."""
    place = _place(settings, shape, seed, row, column)
    return _concentration(settings, _populate(settings, place), place)


@dataclass(frozen=True, eq=False)
class _Place:
    """Windows of a cell: padded pixels, transport samples that they need, and all samples that these need."""

    pixels: SampleGrid
    lattice: SampleGrid
    around: SampleGrid
    tissue: TissueShape


def _place(settings: PhantomSettings, shape: tuple[int, int], seed: int, row: int, column: int) -> _Place:
    y0, x0 = row * CELL_PX, column * CELL_PX
    y1, x1 = min(y0 + CELL_PX, shape[0]), min(x0 + CELL_PX, shape[1])
    pixels = SampleGrid(y0, y1, x0, x1, settings.pixel_size_um).grown(_MARGIN_PX)
    step_um = _LATTICE_PX * settings.pixel_size_um
    ends = (-(-edge // _LATTICE_PX) for edge in (y1, x1))
    core = SampleGrid(y0 // _LATTICE_PX, next(ends), x0 // _LATTICE_PX, next(ends), step_um)
    extent_um = (shape[0] * settings.pixel_size_um, shape[1] * settings.pixel_size_um)
    margin = int(np.ceil(_MARGIN_PENETRATIONS * settings.penetration_um / step_um / 8)) * 8
    return _Place(pixels, core.grown(_LATTICE_MARGIN), core.grown(margin), TissueShape(settings, extent_um, seed))


@dataclass(frozen=True, eq=False)
class _Light:
    channels: tuple[np.ndarray, np.ndarray, np.ndarray]
    tissue: np.ndarray


def _light(settings: PhantomSettings, place: _Place) -> _Light:
    """Return the light of the three channels on the padded pixels of a cell, in 8-bit grey levels."""
    population, pixels, lattice = _populate(settings, place), place.pixels, place.lattice
    nuclei = draw_nuclei(_near(population.nuclei, pixels), pixels, settings.chromatin_contrast, place.tissue.seed)
    walls = draw_walls(population.vessels, pixels, settings.vessel_wall_um)
    concentration = _to_pixels(_concentration(settings, population, place), pixels)
    # a smooth enlargement overshoots a little beside a steep edge
    there = np.clip(_to_pixels(place.tissue.on_grid(lattice.y_um, lattice.x_um)[0], pixels), 0, 1)
    glow = RandomField(place.tissue.seed, Purpose.AUTOFLUORESCENCE, _AUTOFLUORESCENCE_UM)
    glow_grid = settings.tissue_grey * np.exp(0.2 * glow.on_grid(lattice.y_um, lattice.x_um))
    background = _to_pixels(glow_grid, pixels) * there
    probe = _probe(settings, np.maximum(concentration, 0), nuclei) * there
    return _Light(_seen(settings, pixels, nuclei.stain, walls, probe, background), there)


def _populate(settings: PhantomSettings, place: _Place) -> _Population:
    bounds, tissue = place.around.bounds, place.tissue
    vessels = vessels_within(bounds.grown(LONGEST_UM), settings, tissue)
    leaking = vessels
    if settings.has_independent_probe:
        leaking = vessels_within(bounds, settings, tissue, hidden=True)
    return _Population(vessels, leaking, nuclei_within(bounds, settings, tissue, vessels))


def _near(nuclei: Nuclei, pixels: SampleGrid) -> Nuclei:
    near = pixels.bounds.grown(20.0).holds(nuclei.centre_um)
    return Nuclei(*(column[near] for column in vars(nuclei).values()))


def _concentration(settings: PhantomSettings, population: _Population, place: _Place) -> np.ndarray:
    """Solve the transport with a wide margin and return what lies on the samples that the pixels need."""
    around, lattice = place.around, place.lattice
    uptake = np.ones(around.shape)
    if not settings.has_independent_probe:
        crowding = local_density(population.nuclei, around) / max(settings.nucleus_density_per_mm2, 1e-9)
        uptake = np.clip(1 - settings.uptake_rise * (1 - crowding), *_UPTAKE_RANGE)
    source = leak_source(population.leaking, around) / _mean_leak_per_um2(settings)
    concentration = steady_concentration(source, uptake, settings.penetration_um, around.step_um)
    top, left = lattice.y0 - around.y0, lattice.x0 - around.x0
    height, width = lattice.shape
    return np.asarray(np.maximum(concentration[top : top + height, left : left + width], 0))


def _mean_leak_per_um2(settings: PhantomSettings) -> float:
    circle = 2 * np.pi * settings.vessel_radius_um * np.exp(settings.vessel_radius_sd**2 / 2)
    sides = 4 * settings.vessel_half_length_um * np.exp(settings.vessel_half_length_sd**2 / 2)
    return float(max(settings.vessel_density_per_mm2, 1e-9) / 1e6 * (circle + sides))


def _probe(settings: PhantomSettings, concentration: np.ndarray, nuclei: NucleusImages) -> np.ndarray:
    if settings.has_independent_probe:
        return concentration * np.float32(settings.probe_grey)
    share = 1 - np.float32(settings.nuclear_exclusion) * nuclei.inside
    share += np.float32(settings.perinuclear_uptake) * nuclei.shell
    return concentration * share * np.float32(settings.probe_grey)


def _seen(
    settings: PhantomSettings,
    pixels: SampleGrid,
    stain: np.ndarray,
    walls: np.ndarray,
    probe: np.ndarray,
    background: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the light of each channel after cross-talk, blur, displacement and shading."""
    sigma = settings.psf_um / settings.pixel_size_um
    nuclei = camera.blur(stain * np.float32(settings.nuclei_grey) + background, sigma)
    vessels = camera.blur(walls * np.float32(settings.vessels_grey) + background, sigma)
    probe = camera.blur(probe, sigma)
    vessels, probe = vessels + settings.cross_talk * nuclei, probe + settings.cross_talk * vessels
    shift_y, shift_x = settings.probe_shift_um
    probe = camera.displace(probe, (shift_y / settings.pixel_size_um, shift_x / settings.pixel_size_um))
    light = camera.shading(pixels, settings)
    return nuclei * light, vessels * light, np.maximum(probe, 0) * light


def _to_pixels(values: np.ndarray, pixels: SampleGrid) -> np.ndarray:
    """Enlarge lattice samples (a cell and its margin) to the padded pixels of the cell."""
    height, width = pixels.shape
    return enlarge(values, _LATTICE_PX)[:height, :width]


@dataclass(eq=False)
class PhantomCells:
    """Cells of a phantom, made when asked for; the latest are kept, in a bounded amount of memory."""

    settings: PhantomSettings
    shape: tuple[int, int]  # Height and width of the slide
    seed: int  # Seed of the phantom
    _kept: OrderedDict[tuple[int, int], _CellPixels] = field(default_factory=OrderedDict, repr=False)
    _making: dict[tuple[int, int], threading.Lock] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __reduce__(self) -> tuple[type, tuple[PhantomSettings, tuple[int, int], int]]:
        return PhantomCells, (self.settings, self.shape, self.seed)

    def cell(self, row: int, column: int) -> _CellPixels:
        """Return one cell; threads that ask for the same cell wait for one of them to make it."""
        key = (row, column)
        with self._lock:
            making = self._making.setdefault(key, threading.Lock())
        with making:
            with self._lock:
                if key in self._kept:
                    self._kept.move_to_end(key)
                    return self._kept[key]
            made = make_cell(self.settings, self.shape, self.seed, row, column)
            with self._lock:
                self._keep(key, made)
            return made

    def _keep(self, key: tuple[int, int], made: _CellPixels) -> None:
        self._kept[key] = made
        self._making.pop(key, None)
        while len(self._kept) > 1 and sum(cell.nbytes for cell in self._kept.values()) > _KEPT_BYTES:
            self._kept.popitem(last=False)
