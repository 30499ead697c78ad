"""Slides in memory with drawn vessels, and the end of a generator."""

from dataclasses import replace
from pathlib import Path

import dask.array as da
import numpy as np
from scipy import ndimage

from napari_hrpn.analysis import VesselMask
from napari_hrpn.phantom import PHANTOM_PRESETS
from napari_hrpn.slides import Slide, coarser_levels

# vessels that leak alike, tissue that takes up alike: the profile is that of lambda = 30 µm alone
PLAIN_TRANSPORT = replace(
    PHANTOM_PRESETS["tumour"],
    has_outline=False,
    pixel_size_um=1.0,
    nucleus_density_per_mm2=0.0,
    vessel_density_per_mm2=25.0,
    vessel_clustering=0.0,
    vessel_distance_um=0.0,
    vessel_brightness_sd=0.0,
    permeability_hidden_sd=0.0,
    uptake_rise=0.0,
    perinuclear_uptake=0.0,
    nuclear_exclusion=0.0,
)


def slide_of(image: np.ndarray, pixel_um: float | tuple[float, float] | None = 1.0, chunk: int = 512) -> Slide:
    """A slide in memory of one image (y, x), or of several (c, y, x)."""
    pixels = image[None] if image.ndim == 2 else image
    finest = da.from_array(pixels, chunks=(1, chunk, chunk), name=False)
    size = (pixel_um, pixel_um) if isinstance(pixel_um, float | int) else pixel_um
    names = tuple(f"channel {i}" for i in range(len(pixels)))
    return Slide((finest, *coarser_levels(finest, smallest=64)), names, size, Path("made-up"))


def drawn_mask(mask: np.ndarray, pixel_um: float | tuple[float, float] = 1.0, factor: float = 1.0) -> VesselMask:
    """A vessel mask as it was drawn, on a grid `factor` times as coarse as the slide."""
    size = (pixel_um, pixel_um) if isinstance(pixel_um, float | int) else pixel_um
    return VesselMask(mask, (factor, factor), size)


def edge_distance(mask: np.ndarray, pixel_um: tuple[float, float] = (1.0, 1.0)) -> np.ndarray:
    """Distance from the edge of a mask: that between centres, less half a pixel on the way."""
    size = np.reshape(pixel_um, (2, 1, 1))
    place = ndimage.distance_transform_edt(~mask, pixel_um, return_distances=False, return_indices=True)
    along = np.abs(place - np.indices(mask.shape)) * size
    distance = np.sqrt((along**2).sum(axis=0))
    return distance - (along * size / 2).max(axis=0) / np.where(mask, 1, distance)


def discs(shape: tuple[int, int], centres: np.ndarray, radius: float) -> np.ndarray:
    """A mask of discs around pixels."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    mask = np.zeros(shape, bool)
    for row, column in centres:
        mask |= (y - row) ** 2 + (x - column) ** 2 <= radius**2
    return mask
