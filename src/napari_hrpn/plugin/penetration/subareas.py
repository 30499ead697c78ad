"""Parts of the tissue to look at: bands of distance from the vessels, core and periphery; cut tile by tile."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.analysis import PenetrationSettings, StripReport, VesselMask, distance_tiles
from napari_hrpn.analysis.level_strips import level_pixel_um, region_on_grid
from napari_hrpn.plugin.penetration.work import Subareas
from napari_hrpn.plugin.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_hrpn.slides import RegionMask, Slide

TILE_PX = 1024


def distance_bands(
    vessels: VesselMask, tissue: RegionMask | None, settings: PenetrationSettings | None = None
) -> Generator[StripReport, None, Subareas]:
    """Cut the tissue into bands of distance from the nearest vessel.

    Parameters
    ----------
    vessels : VesselMask
        Of the slide.
    tissue : RegionMask or None
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
    labels = np.zeros(vessels.mask.shape, np.uint8)
    tiles = distance_tiles(vessels.mask, vessels.pixel_um, ends[-1], TILE_PX)
    for done, tile in enumerate(tiles, start=1):
        rows, columns = slice(tile.box.y0, tile.box.y1), slice(tile.box.x0, tile.box.x1)
        band = 1 + np.searchsorted(ends, tile.distance_um)
        inside = region_on_grid(tissue, vessels.downsample, rows, columns) & (tile.distance_um > 0)
        labels[rows, columns] = np.where(inside, band, 0)
        yield StripReport(done, _tile_count(vessels.mask.shape))
    starts = (0.0, *ends)
    names = [f"{low:g} to {high:g} µm" for low, high in zip(starts, ends, strict=False)]
    return Subareas(labels, vessels.downsample, (*names, f"more than {ends[-1]:g} µm"))


def core_and_periphery(
    slide: Slide, tissue: RegionMask | None, settings: PenetrationSettings | None = None
) -> Generator[StripReport, None, Subareas]:
    """Cut the tissue into what is near its edge and the rest, as `slide_penetration` does.

    Parameters
    ----------
    slide : Slide
        The slide.
    tissue : RegionMask or None
        What is cut.
    settings : PenetrationSettings, optional
        Width of the periphery.

    Yields
    ------
    StripReport
        After each tile.

    Returns
    -------
    Subareas
        On the grid of the tissue.

    Raises
    ------
    Refusal
        If the tissue has no edge on the slide.
    """
    width_um = (settings or PenetrationSettings()).periphery_um
    if tissue is None or tissue.mask.all():
        raise Refusal("The tissue fills the slide, so it has no edge, no core and no periphery.")
    labels = np.zeros(tissue.mask.shape, np.uint8)
    tiles = distance_tiles(~tissue.mask, level_pixel_um(slide, tissue.downsample), width_um, TILE_PX)
    for done, tile in enumerate(tiles, start=1):
        rows, columns = slice(tile.box.y0, tile.box.y1), slice(tile.box.x0, tile.box.x1)
        part = np.where(tile.distance_um < width_um, 2, 1)
        labels[rows, columns] = np.where(tissue.mask[rows, columns], part, 0)
        yield StripReport(done, _tile_count(tissue.mask.shape))
    return Subareas(labels, tissue.downsample, ("core", f"periphery, {width_um:g} µm"))


def _tile_count(shape: tuple[int, ...]) -> int:
    return math.prod(-(-size // TILE_PX) for size in shape)
