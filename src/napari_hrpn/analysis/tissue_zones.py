"""Parts of the tissue: bands of distance from the vessels, core and periphery; cut tile by tile.

The rule: they are the bands and areas that `slide_penetration` gives numbers of.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.analysis.distance import TILE_PX, distance_tiles, nearest_in
from napari_hrpn.analysis.distance_shells import PenetrationSettings
from napari_hrpn.analysis.errors import AnalysisError
from napari_hrpn.analysis.strip_filter import StripReport, level_pixel_um, region_on_grid
from napari_hrpn.core import TileGrid
from napari_hrpn.slides import RegionMask

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray

    from napari_hrpn.analysis.vessel_mask import VesselMask
    from napari_hrpn.slides import Slide

AREAS = ("core", "periphery")


@dataclass(frozen=True, eq=False)
class Subareas:
    """Parts of the tissue as labels.

    Attributes
    ----------
    labels : numpy.ndarray of uint8, shape (y, x)
        0 where there is none.
    downsample : tuple of float
        Full-resolution pixels per pixel, along y and x.
    names : tuple of str
        Of the labels from 1 on.
    """

    labels: NDArray[np.uint8]
    downsample: tuple[float, float]
    names: tuple[str, ...]


def distance_bands(
    vessels: VesselMask, tissue: RegionMask | None = None, settings: PenetrationSettings | None = None
) -> Generator[StripReport, None, Subareas]:
    """Cut the tissue into bands of distance from the nearest vessel.

    Parameters
    ----------
    vessels : VesselMask
        Of the slide.
    tissue : RegionMask, optional
        What is cut; everything where left out.
    settings : PenetrationSettings, optional
        Ends of the bands.

    Yields
    ------
    StripReport
        After each tile.

    Returns
    -------
    Subareas
        On the grid of the vessels, which themselves belong to no band.
    """
    ends = (settings or PenetrationSettings()).band_edges_um
    height, width = vessels.mask.shape
    labels = np.zeros((height, width), np.uint8)
    tiles = TileGrid(height, width, TILE_PX, 0, 1)
    for done, tile in enumerate(tiles, start=1):
        furthest_um = ends[-1] + max(vessels.pixel_um) / 2
        distance_um = nearest_in(vessels.mask, tile.core, vessels.pixel_um, furthest_um).edge_um
        rows, columns = slice(tile.core.y0, tile.core.y1), slice(tile.core.x0, tile.core.x1)
        inside = region_on_grid(tissue, vessels.downsample, rows, columns) & (distance_um > 0)
        labels[rows, columns] = np.where(inside, 1 + np.searchsorted(ends, distance_um), 0)
        yield StripReport(done, len(tiles))
    names = [f"{low:g} to {high:g} µm" for low, high in zip((0.0, *ends[:-1]), ends, strict=True)]
    return Subareas(labels, vessels.downsample, (*names, f"more than {ends[-1]:g} µm"))


def core_and_periphery(
    slide: Slide, tissue: RegionMask | None, settings: PenetrationSettings | None = None
) -> Subareas:
    """Cut the tissue into what is near its edge and the rest.

    Parameters
    ----------
    slide : Slide
        Says how large its pixels are.
    tissue : RegionMask or None
        What is cut; None means everything.
    settings : PenetrationSettings, optional
        Width of the periphery.

    Returns
    -------
    Subareas
        On the grid of the tissue.

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
    """The tissue near its edge; the border of the slide is no edge."""
    if tissue is None or tissue.mask.all():
        return None
    near = np.zeros_like(tissue.mask)
    for tile in distance_tiles(~tissue.mask, level_pixel_um(slide, tissue.downsample), width_um):
        part = slice(tile.box.y0, tile.box.y1), slice(tile.box.x0, tile.box.x1)
        near[part] = tissue.mask[part] & (tile.distance_um < width_um)
    return RegionMask(near, tissue.downsample)
