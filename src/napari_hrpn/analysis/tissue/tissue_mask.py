"""Tissue mask from the nuclei, at a coarse level, and its zones: distance bands, core and periphery.

The mask rather includes some glass than omits tissue, because pixels outside are neither predicted nor measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage
from skimage.filters import gaussian
from skimage.morphology import remove_small_objects

from napari_hrpn.analysis.tissue.distance import TILE_PX, distance_tiles, nearest_in
from napari_hrpn.analysis.tissue.strip_filter import level_pixel_um, region_on_grid
from napari_hrpn.core import Progress, TileGrid
from napari_hrpn.core.errors import AnalysisError
from napari_hrpn.settings import PenetrationSettings
from napari_hrpn.slides import RegionMask, known_pixels

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray

    from napari_hrpn.analysis.tissue.vessel_mask import VesselMask
    from napari_hrpn.slides import Slide

MOST_PX = 16 << 20
"""Largest number of pixels of the level that is used; it has priority over the pixel size."""


@dataclass(frozen=True)
class TissueSettings:
    """Settings for the detection of tissue.

    Attributes
    ----------
    pixel_um : float
        Largest pixel size of the level that is used, in µm.
    smoothing_um : float
        Standard deviation of the Gaussian that joins nuclei into tissue.
    threshold : float
        Position between the background (0) and the brightest smoothed tissue, the 95th percentile (1).
    smallest_um2 : float
        Smallest area of tissue; smaller islands are removed as dust.
    margin_um : float
        Margin by which the mask is grown.
    """

    pixel_um: float = 8.0
    smoothing_um: float = 16.0
    threshold: float = 0.1
    smallest_um2: float = 20_000.0
    margin_um: float = 25.0


def tissue_mask(slide: Slide, nuclei: int, settings: TissueSettings | None = None) -> RegionMask:
    """Find the tissue of a slide by its nuclei.

    Nuclei are smoothed until they merge. The threshold lies between the background (1st percentile) and bright tissue
    (95th). Holes are filled, dust is removed, and the rest is grown by a margin. Pixels that are no grey levels (see
    `known_pixels`) count as background.

    Parameters
    ----------
    slide : Slide
        The slide; only a coarse level is read.
    nuclei : int
        Index of its channel of nuclei.
    settings : TissueSettings, optional
        Lengths and threshold.

    Returns
    -------
    RegionMask
        Mask of the whole slide, at one of its levels. A slide without contrast, or with only dust, is all tissue.
    """
    settings = settings or TissueSettings()
    level = _level(slide, settings)
    image = _known(np.asarray(slide.levels[level][nuclei].compute(), np.float64))
    pixel_um = _pixel_um(slide, level)
    # a filter wider than the image takes longer and changes nothing
    sigma = min(settings.smoothing_um / pixel_um, max(image.shape))
    smooth = gaussian(image, sigma=sigma, mode="nearest", preserve_range=True)
    background, bright = np.percentile(smooth, [1, 95])
    if bright <= background:
        return RegionMask(np.ones(image.shape, bool), slide.downsample(level))
    mask = smooth > background + settings.threshold * (bright - background)
    return RegionMask(_tidied(mask, pixel_um, settings), slide.downsample(level))


def _level(slide: Slide, settings: TissueSettings) -> int:
    sizes = [math.prod(level.shape[1:]) for level in slide.levels]
    small = next((level for level, size in enumerate(sizes) if size <= MOST_PX), len(sizes) - 1)
    return max(slide.level_for(settings.pixel_um), small)


def _known(image: NDArray[np.float64]) -> NDArray[np.float64]:
    known = known_pixels(image)
    if known is None:
        return image
    return np.where(known, image, np.percentile(image[known], 1) if known.any() else 0.0)


def _pixel_um(slide: Slide, level: int) -> float:
    finest = slide.pixel_size_um or (0.3, 0.3)
    return float(np.mean(np.multiply(finest, slide.downsample(level))))


def _tidied(mask: NDArray[np.bool_], pixel_um: float, settings: TissueSettings) -> NDArray[np.bool_]:
    smallest = min(settings.smallest_um2 / pixel_um / pixel_um, 0.01 * mask.size)
    islands = remove_small_objects(mask, max_size=max(1, int(smallest)))
    filled = ndimage.binary_fill_holes(islands)
    if not filled.any():
        return np.ones_like(mask)
    distance = ndimage.distance_transform_edt(~filled)
    return np.asarray(distance * pixel_um <= settings.margin_um)


AREAS = ("core", "periphery")


@dataclass(frozen=True, eq=False)
class Subareas:
    """Zones of the tissue as a label image.

    Attributes
    ----------
    labels : numpy.ndarray of uint8, shape (y, x)
        Label of each pixel; 0 outside of all zones.
    downsample : tuple of float
        Full-resolution pixels per pixel, along y and x.
    names : tuple of str
        Names of the labels, beginning with label 1.
    """

    labels: NDArray[np.uint8]
    downsample: tuple[float, float]
    names: tuple[str, ...]


def distance_bands(
    vessels: VesselMask, tissue: RegionMask | None = None, settings: PenetrationSettings | None = None
) -> Generator[Progress, None, Subareas]:
    """Divide the tissue into bands by the distance from the nearest vessel.

    Parameters
    ----------
    vessels : VesselMask
        Vessels of the slide.
    tissue : RegionMask, optional
        Tissue to divide; by default the whole slide.
    settings : PenetrationSettings, optional
        Settings with the ends of the bands.

    Yields
    ------
    Progress
        After each tile.

    Returns
    -------
    Subareas
        Bands on the grid of the vessel mask; the vessels belong to no band.
    """
    ends = (settings or PenetrationSettings()).band_edges_um
    height, width = vessels.mask.shape
    labels = np.zeros((height, width), np.uint8)
    tiles = TileGrid(height, width, TILE_PX, 0, 1)
    for done, tile in enumerate(tiles, start=1):
        furthest_um = ends[-1] + max(vessels.pixel_um) / 2
        distance_um = nearest_in(vessels.mask, tile.core, vessels.pixel_um, furthest_um).edge_um
        rows, columns = tile.core.slices
        inside = region_on_grid(tissue, vessels.downsample, rows, columns) & (distance_um > 0)
        labels[rows, columns] = np.where(inside, 1 + np.searchsorted(ends, distance_um), 0)
        yield Progress(done, len(tiles))
    names = [f"{low:g} to {high:g} µm" for low, high in zip((0.0, *ends[:-1]), ends, strict=True)]
    return Subareas(labels, vessels.downsample, (*names, f"more than {ends[-1]:g} µm"))


def core_and_periphery(
    slide: Slide, tissue: RegionMask | None, settings: PenetrationSettings | None = None
) -> Subareas:
    """Divide the tissue into a periphery near its edge and a core.

    Parameters
    ----------
    slide : Slide
        The slide, which has to have a pixel size.
    tissue : RegionMask or None
        Tissue to divide; None means the whole slide.
    settings : PenetrationSettings, optional
        Settings with the width of the periphery.

    Returns
    -------
    Subareas
        Zones on the grid of the tissue mask.

    Raises
    ------
    AnalysisError
        If the tissue has no edge on the slide.
    """
    width_um = (settings or PenetrationSettings()).periphery_um
    near = periphery(slide, tissue, width_um)
    if tissue is None or near is None:
        msg = "the tissue fills the slide, so it has no core and no periphery; expected tissue with an edge"
        raise AnalysisError(msg)
    labels = tissue.mask.astype(np.uint8) + near.mask
    return Subareas(labels, tissue.downsample, (AREAS[0], f"{AREAS[1]}, {width_um:g} µm"))


def periphery(slide: Slide, tissue: RegionMask | None, width_um: float) -> RegionMask | None:
    """The tissue near its edge; the border of the slide does not count as edge."""
    if tissue is None or tissue.mask.all():
        return None
    near = np.zeros_like(tissue.mask)
    for tile in distance_tiles(~tissue.mask, level_pixel_um(slide, tissue.downsample), width_um):
        part = tile.box.slices
        near[part] = tissue.mask[part] & (tile.distance_um < width_um)
    return RegionMask(near, tissue.downsample)
