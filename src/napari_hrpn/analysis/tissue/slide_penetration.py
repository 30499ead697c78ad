"""Penetration of a probe from the vessels of a whole slide, in real and predicted images in one scan."""

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

# share of the slide; less glass may be holes in the tissue, where the probe can be
_LEAST_GLASS = 0.02
_GLASS_PIXEL_UM = 8.0


@dataclass(frozen=True, eq=False)
class ProbeImage:
    """A channel with the imaged or the predicted probe.

    Attributes
    ----------
    name : str
        Its name in results.
    slide : Slide
        The slide, of the same height and width as the others.
    channel : int
        Index of the channel.
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
        Number of the vessel in the table of vessels.
    image : str
        Name of the image.
    within_um : float
        Largest distance from the vessel; pixels inside the vessel are left out.
    n : int
        Number of pixels that are nearer to this vessel than to any other.
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
    """Penetration of a probe from the vessels of a slide.

    Attributes
    ----------
    profiles : tuple of Penetration
        For each image, profiles of the whole tissue and, if the tissue has an edge, of its core and periphery.
    vessels : tuple of VesselProbe
        Probe around each vessel, for each image and distance.
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
    """Measure the penetration of a probe from the vessels of a slide, in any number of images at once.

    Grey levels of the full resolution are added up over each pixel of the vessel mask, and distances are those from the
    centres of these pixels to the edge of the nearest vessel. The border of the slide does not count as edge of the
    tissue. Near the border the nearest vessel may lie outside the slide, which lifts the far shells: in a field of
    2 x 2 mm, a decay length of 30 µm becomes 2 % longer at 25 vessels per mm2 and 15 % at 150. Leave a margin out of
    the tissue if the field is small.

    Parameters
    ----------
    vessels : VesselMask
        Vessels of the slide.
    images : sequence of ProbeImage
        Images; each is read once at full resolution, block by block.
    tissue : RegionMask, optional
        Pixels outside are left out; without it, or if it fills the slide, core and periphery are not distinguished.
    settings : PenetrationSettings, optional
        Shells, bands and distances.
    background : mapping of str to float, optional
        Grey level without probe by name of image; 0 by default. It is not subtracted in the table of vessels.

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
        If the images differ in size, two have the same name, or pixels are not finite.
    SlideError
        If an image cannot be read.
    """
    counter = PenetrationCounter(vessels, images, tissue, settings, in_all(image.slide.finished for image in images))
    yield from count_blocks(counter.channels, [counter])
    return counter.penetration(background)


class PenetrationCounter(BlockCounter["tuple[ShellSums, _NearSums] | None"]):
    """Counter of the probe by distance from the vessels of a slide, in any number of images."""

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
        """Sums of a block; None if it contains no tissue."""
        box = self._grid.cells(block.rows, block.columns)
        area = _area(self._vessels, self._tissue, self._edge, box)
        if self._finished is not None:
            area[~self._finished.between(*self._grid.edges(box))] = -1
        inside = area >= 0
        if not inside.any():
            return None
        extent = block.rows, block.columns
        mask, pixel_um = self._vessels.mask, self._vessels.pixel_um
        # distances are searched from pixel centres, half a pixel further than from the edge of the vessel
        furthest_um = self._settings.furthest_um + max(pixel_um) / 2
        reach_um = longest_distance(mask, box, inside, pixel_um, furthest_um)
        nearest = nearest_in(mask, box, pixel_um, reach_um)
        values = [self._grid.sums_within(block.pixels(channel), *extent) for channel in self.channels]
        pixels = self._grid.counts_within(*extent)
        shells = update_shells(self._no_shells, nearest.edge_um, values, self._settings, area=area, pixels=pixels)
        return shells, _near_sums(self._near, self._vessels, nearest, values, pixels, inside)

    def add(self, found: tuple[ShellSums, _NearSums] | None) -> None:
        """Pool the sums."""
        if found is not None:
            self._shells, self._near = self._shells + found[0], self._near + found[1]

    def penetration(self, background: Mapping[str, float] | None = None) -> SlidePenetration:
        """Compute the profiles, and the probe around each vessel."""
        profiles = compute_penetration(self._shells, self._settings, background)
        return SlidePenetration(profiles, _vessel_rows(self._near, self._shells))


def glass_levels(
    images: Sequence[ProbeImage], glass: RegionMask | None, finished: FinishedTiles | None = None
) -> dict[str, float]:
    """Grey levels of blank glass, to be subtracted as background.

    Parameters
    ----------
    images : sequence of ProbeImage
        Images; a coarse level of about 8 µm per pixel is read.
    glass : RegionMask or None
        Region that certainly has no tissue; None if there is none.
    finished : FinishedTiles, optional
        Tiles that count of unfinished predictions; by default those finished now.

    Returns
    -------
    dict of str to float
        Median by name of image; empty if less than 2 % of the slide is glass, which may be holes in the tissue.
    """
    if glass is None or glass.fraction < _LEAST_GLASS:
        return {}
    finished = finished or in_all(image.slide.finished for image in images)
    glass = predicted_part(glass, finished, images[0].slide.shape)
    if not glass.mask.any():
        return {}
    medians = {
        image.name: tissue_percentiles(image.slide, [image.channel], glass, [50], _GLASS_PIXEL_UM)[0, 0]
        for image in images
    }
    return {name: float(level) for name, level in medians.items() if np.isfinite(level)}


def _checked_shape(images: Sequence[ProbeImage]) -> tuple[int, int]:
    shapes, names = {image.slide.shape for image in images}, {image.name for image in images}
    if len(shapes) != 1 or len(names) != len(images):
        sizes = ", ".join(f"{image.name} of {image.slide.shape[0]} x {image.slide.shape[1]} px" for image in images)
        msg = f"the images are {sizes or 'none'}; expected one or more of one size, with different names"
        raise AnalysisError(msg)
    (shape,) = shapes
    return shape


def _area(vessels: VesselMask, tissue: RegionMask | None, edge: RegionMask | None, box: Box) -> NDArray[np.intp]:
    rows, columns = slice(box.y0, box.y1), slice(box.x0, box.x1)
    area = region_on_grid(tissue, vessels.downsample, rows, columns).astype(np.intp) - 1
    return area if edge is None else area + region_on_grid(edge, vessels.downsample, rows, columns)


@dataclass(frozen=True, eq=False)
class _NearSums:
    """Pixels, and signal of each image, per distance and vessel; the first vessel is at index 1."""

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
    """Sums over the pixels nearest to each vessel, in rings between two distances."""
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
