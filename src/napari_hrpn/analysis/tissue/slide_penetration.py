"""Penetration of a probe in a whole slide: real and predicted images in one scan."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.analysis.counts.area_binning import WorkingGrid
from napari_hrpn.analysis.scan.block_scan import BlockCounter, PixelBlock, count_blocks
from napari_hrpn.analysis.tissue.distance import (
    Nearest,
    ShellSums,
    longest_distance,
    nearest_in,
    no_shell_sums,
    update_shells,
)
from napari_hrpn.analysis.tissue.intensity import tissue_percentiles
from napari_hrpn.analysis.tissue.penetration import Penetration, compute_penetration
from napari_hrpn.analysis.tissue.strip_filter import region_on_grid
from napari_hrpn.analysis.tissue.tissue_mask import AREAS, periphery
from napari_hrpn.core import Progress
from napari_hrpn.core.errors import AnalysisError
from napari_hrpn.settings import PenetrationSettings
from napari_hrpn.slides import in_all, predicted_part

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_hrpn.analysis.tissue.vessel_mask import VesselMask
    from napari_hrpn.core import Box
    from napari_hrpn.slides import FinishedTiles, RegionMask, Slide

# less glass than this is holes in the tissue
_LEAST_GLASS = 0.02
_GLASS_PIXEL_UM = 8.0


@dataclass(frozen=True, eq=False)
class ProbeImage:
    """A channel that shows or predicts the probe.

    Attributes
    ----------
    name : str
        What results call it.
    slide : Slide
        Of the same height and width as the others.
    channel : int
        Its channel.
    """

    name: str
    slide: Slide
    channel: int = 0


@dataclass(frozen=True)
class VesselProbe:
    """The probe around one vessel.

    Attributes
    ----------
    label : int
        The vessel's number in the table of vessels.
    image : str
        Which image.
    within_um : float
        Up to which distance from the vessel, which is not part of it.
    n : int
        Pixels that are nearer to this vessel than to any other.
    mean : float
        Their mean grey level, background included; NaN without pixels.
    """

    label: int
    image: str
    within_um: float
    n: int
    mean: float


@dataclass(frozen=True)
class SlidePenetration:
    """How far a probe got from the vessels of a slide.

    Attributes
    ----------
    profiles : tuple of Penetration
        For each image, one for the whole tissue and, where the tissue has an edge, for its core and periphery.
    vessels : tuple of VesselProbe
        For each image, vessel and distance.
    """

    profiles: tuple[Penetration, ...]
    vessels: tuple[VesselProbe, ...]


def slide_penetration(
    vessels: VesselMask,
    images: Sequence[ProbeImage],
    tissue: RegionMask | None = None,
    settings: PenetrationSettings | None = None,
    background: Mapping[str, float] | None = None,
) -> Generator[Progress, None, SlidePenetration]:
    """Measure how far a probe got from the vessels of a slide, in any number of images at once.

    Grey levels are those of the full resolution, added up over the pixels of the vessel mask, whose centres' distances
    from the edges of vessels are taken. The border of the slide is no edge of the tissue; near it the nearest vessel
    may lie outside and lifts the far shells (of a field of 2 x 2 mm, by 2 % in a decay length of 30 µm at 25 vessels
    per mm2, by 15 % at 150): of a small field, leave a margin out of the tissue.

    Parameters
    ----------
    vessels : VesselMask
        Of the slide.
    images : sequence of ProbeImage
        Each read once at full resolution, block by block.
    tissue : RegionMask, optional
        Pixels outside are left out; without it, or where it fills the slide, there is no core and periphery.
    settings : PenetrationSettings, optional
        Shells, bands and distances.
    background : mapping of str to float, optional
        Grey level without probe by name of image; 0 where left out. It is not taken off the table of vessels.

    Yields
    ------
    Progress
        After each block.

    Returns
    -------
    SlidePenetration
        Profiles and the probe around each vessel.

    Raises
    ------
    AnalysisError
        If the images differ in size or names are given twice, or pixels are not finite.
    SlideError
        If an image cannot be read.
    """
    counter = PenetrationCounter(vessels, images, tissue, settings, in_all(image.slide.finished for image in images))
    yield from count_blocks(counter.channels, [counter])
    return counter.penetration(background)


class PenetrationCounter(BlockCounter["tuple[ShellSums, _NearSums] | None"]):
    """The probe by distance from the vessels of a slide, in any number of images, as a counter."""

    def __init__(
        self,
        vessels: VesselMask,
        images: Sequence[ProbeImage],
        tissue: RegionMask | None,
        settings: PenetrationSettings | None = None,
        finished: FinishedTiles | None = None,
    ) -> None:
        self._vessels, self._tissue, self._settings = vessels, tissue, settings or PenetrationSettings()
        self._finished = finished
        self._grid = WorkingGrid(_checked_shape(images), vessels.mask.shape)
        self.channels = [image.slide.levels[0][image.channel] for image in images]
        self._edge = periphery(images[0].slide, tissue, self._settings.periphery_um)
        names = [image.name for image in images]
        self._no_shells = no_shell_sums(names, self._settings, AREAS if self._edge else ("tissue",), vessels.pixel_um)
        self._shells, self._near = self._no_shells, _no_near_sums(images, vessels, self._settings)

    def count(self, block: PixelBlock) -> tuple[ShellSums, _NearSums] | None:
        """Sums of a block; None without tissue."""
        box = self._grid.cells(block.rows, block.columns)
        area = _area(self._vessels, self._tissue, self._edge, box)
        if self._finished is not None:
            area[~self._finished.between(*self._grid.edges(box))] = -1
        inside = area >= 0
        if not inside.any():
            return None
        place = block.rows, block.columns
        mask, pixel_um = self._vessels.mask, self._vessels.pixel_um
        # from the edge it is less than from the centre of the pixel at the edge
        furthest_um = self._settings.furthest_um + max(pixel_um) / 2
        reach_um = longest_distance(mask, box, inside, pixel_um, furthest_um)
        nearest = nearest_in(mask, box, pixel_um, reach_um)
        values = [self._grid.sums_within(block.pixels(channel), *place) for channel in self.channels]
        pixels = self._grid.counts_within(*place)
        shells = update_shells(self._no_shells, nearest.edge_um, values, self._settings, area=area, pixels=pixels)
        return shells, _near_sums(self._near, self._vessels, nearest, values, pixels, inside)

    def add(self, found: tuple[ShellSums, _NearSums] | None) -> None:
        """Pool the sums."""
        if found is not None:
            self._shells, self._near = self._shells + found[0], self._near + found[1]

    def penetration(self, background: Mapping[str, float] | None = None) -> SlidePenetration:
        """Profiles, and the probe around each vessel."""
        profiles = compute_penetration(self._shells, self._settings, background)
        return SlidePenetration(profiles, _vessel_rows(self._near, self._shells))


def glass_levels(
    images: Sequence[ProbeImage], glass: RegionMask | None, finished: FinishedTiles | None = None
) -> dict[str, float]:
    """Grey levels of blank glass, to be taken off as background.

    Parameters
    ----------
    images : sequence of ProbeImage
        Read at a coarse level, of 8 µm per pixel.
    glass : RegionMask or None
        Where there is certainly no tissue; None for nowhere.
    finished : FinishedTiles, optional
        What counts of unfinished predictions; where left out, as it is now.

    Returns
    -------
    dict of str to float
        Median by name of image; empty where less than 2 % of the slide are glass, which may be holes in the tissue.
    """
    if glass is None or glass.fraction < _LEAST_GLASS:
        return {}
    finished = finished or in_all(image.slide.finished for image in images)
    glass = predicted_part(glass, finished, images[0].slide.shape)
    if not glass.mask.any():
        return {}
    found = {
        image.name: tissue_percentiles(image.slide, [image.channel], glass, [50], _GLASS_PIXEL_UM)[0, 0]
        for image in images
    }
    return {name: float(level) for name, level in found.items() if np.isfinite(level)}


def _checked_shape(images: Sequence[ProbeImage]) -> tuple[int, int]:
    shapes, names = {image.slide.shape for image in images}, {image.name for image in images}
    if len(shapes) != 1 or len(names) != len(images):
        sizes = ", ".join(f"{image.name} of {image.slide.shape[0]} x {image.slide.shape[1]} px" for image in images)
        msg = f"the images are {sizes or 'none'}; expected one or more of one size, each with a name of its own"
        raise AnalysisError(msg)
    (shape,) = shapes
    return shape


def _area(vessels: VesselMask, tissue: RegionMask | None, edge: RegionMask | None, box: Box) -> NDArray[np.intp]:
    rows, columns = slice(box.y0, box.y1), slice(box.x0, box.x1)
    area = region_on_grid(tissue, vessels.downsample, rows, columns).astype(np.intp) - 1
    return area if edge is None else area + region_on_grid(edge, vessels.downsample, rows, columns)


@dataclass(frozen=True, eq=False)
class _NearSums:
    """Per distance and vessel, the first at index 1: pixels, and the signal of each image."""

    near_um: tuple[float, ...]
    pixels: NDArray[np.int64]
    signal: NDArray[np.float64]

    def __add__(self, other: _NearSums) -> _NearSums:
        return replace(self, pixels=self.pixels + other.pixels, signal=self.signal + other.signal)


def _no_near_sums(images: Sequence[ProbeImage], vessels: VesselMask, settings: PenetrationSettings) -> _NearSums:
    shape = (len(settings.near_um), vessels.objects.count + 1)
    return _NearSums(settings.near_um, np.zeros(shape, np.int64), np.zeros((len(images), *shape)))


def _near_sums(
    nothing: _NearSums,
    vessels: VesselMask,
    nearest: Nearest,
    values: Sequence[NDArray[Any]],
    pixels: NDArray[np.int64],
    inside: NDArray[np.bool_],
) -> _NearSums:
    """Sums in the ring, out of those between two distances, of the nearest vessel."""
    around, distance = nearest.around, nearest.edge_um
    chosen = inside & (distance > 0) & (distance <= nothing.near_um[-1])
    labels = vessels.objects.painted(slice(around.y0, around.y1), slice(around.x0, around.x1))
    vessel = labels[nearest.row[chosen], nearest.column[chosen]]
    rings, size = nothing.pixels.shape
    place = np.searchsorted(nothing.near_um, distance[chosen]) * size + vessel
    counted, *signal = (
        np.bincount(place, weights[chosen], rings * size).reshape(rings, size) for weights in (pixels, *values)
    )
    return replace(nothing, pixels=counted.astype(np.int64), signal=np.stack(signal))


def _vessel_rows(near: _NearSums, sums: ShellSums) -> tuple[VesselProbe, ...]:
    pixels, signal = near.pixels.cumsum(axis=0), near.signal.cumsum(axis=1)
    return tuple(
        VesselProbe(
            label,
            name,
            within,
            int(pixels[k, label]),
            signal[i, k, label] / pixels[k, label] if pixels[k, label] else math.nan,
        )
        for i, name in enumerate(sums.images)
        for label in range(1, pixels.shape[1])
        for k, within in enumerate(near.near_um)
    )
