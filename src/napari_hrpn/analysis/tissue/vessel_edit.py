"""Vessel stain without a vessel, or with one more: edits with texture and vessels of the same slide.

The slide itself is never written to: an edit is a rectangle of pixels that are read in place of those of the slide.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_hrpn.analysis.tissue.strip_filter import level_pixel_um, region_on_grid
from napari_hrpn.analysis.tissue.vessel_mask import vessel_mask
from napari_hrpn.core import Box, Progress
from napari_hrpn.core.errors import AnalysisError
from napari_hrpn.settings import VesselSettings
from napari_hrpn.slides import RegionMask, Slide, coarser_levels

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from numpy.typing import NDArray

    from napari_hrpn.settings.what_if import WhatIfSettings
    from napari_hrpn.slides import Region

# the stain of a wall reaches so far beyond the outline of the mask; the edit fades out beyond
_RIM_UM, _BLEND_UM = 2.5, 1.5
# tissue is free of vessels if it is further than this from all of them
_CLEAR_UM = 4.0
# a vessel counts as meant if it is no further than this from the place that a user named
_NEAR_UM = 10.0
# sham edits smaller than this share of the edit say too little about its noise
_LEAST_SHAM_SHARE = 0.9
_DRAWS = 300
NO_NOISE = (
    "no noise could be measured, because no sham edit was possible: the window has too little tissue without vessels, "
    "or its stain has one grey level there"
)


@dataclass(frozen=True, eq=False)
class VesselEdit:
    """Pixels of the vessel stain that are read in place of those of the slide."""

    box: Box  # on the level that is read
    pixels: NDArray[np.generic]
    region: NDArray[np.bool_]  # pixels of the box that are in the vessel, or where it would be


@dataclass(frozen=True, eq=False)
class VesselWindow:
    """A part of a slide's level: vessel stain, labels of its vessels, and tissue that is free of vessels."""

    box: Box  # on the level
    pixel_um: tuple[float, float]
    stain: NDArray[np.generic]
    labels: NDArray[np.int32]  # 0 outside of vessels
    tissue: NDArray[np.bool_]
    free: NDArray[np.bool_]

    def vessel_at(self, place_um: tuple[float, float]) -> NDArray[np.bool_]:
        """Pixels of the vessel at a place of the slide in µm, or of the nearest one within 10 µm."""
        y, x = self._index(place_um)
        distance, nearest = ndimage.distance_transform_edt(
            self.labels == 0, sampling=self.pixel_um, return_indices=True
        )
        if not self.labels.any() or distance[y, x] > _NEAR_UM:
            there = f"the nearest is {distance[y, x]:.0f} µm away" if self.labels.any() else "the window has none"
            msg = (
                f"there is no vessel within {_NEAR_UM:g} µm of {place_um[0]:g}, {place_um[1]:g} µm, {there}; name a "
                "place in a vessel, as y,x from the slide's upper left corner, or state the grey level of vessels."
            )
            raise AnalysisError(msg)
        return np.asarray(self.labels == self.labels[nearest[0][y, x], nearest[1][y, x]])

    def vessels_in(self, outlines: Sequence[Region], downsample: tuple[float, float]) -> NDArray[np.bool_]:
        """Pixels of the vessels in outlines that were drawn on the slide."""
        rows, columns = slice(self.box.y0, self.box.y1), slice(self.box.x0, self.box.x1)
        edges = np.array([[self.box.y0, self.box.x0], [self.box.y1, self.box.x1]]) * downsample
        corners = np.array([outline.extent for outline in outlines])
        if (corners[:, 0].min(axis=0) < edges[0]).any() or (corners[:, 1].max(axis=0) > edges[1]).any():
            msg = "the outlines reach beyond the window around their middle; take a larger window or fewer outlines."
            raise AnalysisError(msg)
        drawn = np.any([outline.at_level(rows, columns, downsample) for outline in outlines], axis=0)
        if not (drawn & (self.labels > 0)).any():
            msg = "there is no vessel in the outlines; draw them around vessels, or state the grey level of vessels."
            raise AnalysisError(msg)
        return np.asarray(drawn & (self.labels > 0))

    def removed(self, vessel: NDArray[np.bool_], random: np.random.Generator) -> VesselEdit:
        """Fill a vessel with texture of vessel-free tissue."""
        box, weights = self._weights(vessel)
        return self._edit(box, weights, self._texture(weights > 0, random), vessel[box.slices])

    def added(self, place_um: tuple[float, float]) -> VesselEdit:
        """Copy the vessel of median area to a place."""
        vessel = self._typical()
        source, weights = self._weights(vessel)
        y, x = self._index(place_um)
        top, left = y - source.height // 2, x - source.width // 2
        box = Box(top, top + source.height, left, left + source.width)
        if box.intersection(self._whole) != box:
            msg = (
                f"a vessel at {place_um[0]:g}, {place_um[1]:g} µm would reach over the slide's border; name a place "
                "further inside."
            )
            raise AnalysisError(msg)
        self._check_room(place_um, box, weights > 0)
        return self._edit(box, weights, self.stain[source.slices], vessel[source.slices])

    def shams(self, edit: VesselEdit, count: int, random: np.random.Generator) -> list[VesselEdit]:
        """The same edit at places that hold no vessel, or as little of one as there are: texture over texture."""
        vessel = self.on_window(edit)
        box, weights = self._weights(vessel)
        places = [self._drawn(weights.shape, random) for _ in range(_DRAWS)]
        shares = [self.free[place.slices][weights > 0].mean() for place in places]
        best = np.argsort(-np.round(shares, 3), kind="stable")[:count]
        edits = []
        for place in (places[index] for index in best):
            kept = weights * self.free[place.slices]
            # distances are from what the edit changes, not from vessels that it leaves as they are
            region = vessel[box.slices] & (kept > 0)
            if not region.any():
                continue
            sham = self._edit(place, kept, self._texture(kept > 0, random), region)
            # where the stain has one grey level, texture over texture is no edit
            if (sham.pixels != self.stain[place.slices]).any():
                edits.append(sham)
        return edits

    def on_window(self, edit: VesselEdit) -> NDArray[np.bool_]:
        """Pixels of the window that are in the vessel of an edit."""
        whole = np.zeros(self.labels.shape, bool)
        whole[self._within(edit.box).slices] = edit.region
        return whole

    def doubts(self, edit: VesselEdit, shams: Sequence[VesselEdit], shape: tuple[int, ...]) -> Iterator[str]:
        """Sentences on a vessel that goes on beyond the window, on a level of a shape, and on too small sham edits."""
        if self._is_cut(self.on_window(edit), shape):
            yield "the vessel goes on beyond the window, so that only its part inside is removed; take a larger window."
        if not shams:
            yield f"{NO_NOISE}; take a larger window."
            return
        pixels = [np.count_nonzero(sham.region) for sham in shams]
        share = sum(pixels) / len(pixels) / np.count_nonzero(edit.region)
        if share < _LEAST_SHAM_SHARE:
            yield (
                f"the sham edits have {share:.0%} of the edit's area, because the window has little tissue without "
                "vessels, so that the noise is underestimated; take a larger window."
            )

    def _is_cut(self, vessel: NDArray[np.bool_], shape: tuple[int, ...]) -> bool:
        sides = (
            (self.box.y0 > 0, vessel[0]),
            (self.box.y1 < shape[0], vessel[-1]),
            (self.box.x0 > 0, vessel[:, 0]),
            (self.box.x1 < shape[1], vessel[:, -1]),
        )
        return any(is_inside and side.any() for is_inside, side in sides)

    @property
    def _whole(self) -> Box:
        return Box(0, self.labels.shape[0], 0, self.labels.shape[1])

    def _within(self, box: Box) -> Box:
        """A box of the level in pixels of the window."""
        y, x = self.box.y0, self.box.x0
        return Box(box.y0 - y, box.y1 - y, box.x0 - x, box.x1 - x)

    def _index(self, place_um: tuple[float, float]) -> tuple[int, int]:
        y, x = (math.floor(um / size) for um, size in zip(place_um, self.pixel_um, strict=True))
        return y - self.box.y0, x - self.box.x0

    def _check_room(self, place_um: tuple[float, float], box: Box, changed: NDArray[np.bool_]) -> None:
        """Refuse a place where an edit would change the stain of a vessel that is there."""
        distance = ndimage.distance_transform_edt(self.labels == 0, sampling=self.pixel_um)
        if distance[box.slices][changed].min() > _RIM_UM:
            return
        y, x = self._index(place_um)
        away = (np.argwhere(changed) + np.array([box.y0 - y, box.x0 - x])) * self.pixel_um
        wanted = math.floor(np.hypot(*away.T).max() + _RIM_UM) + 1
        where = f"is {distance[y, x]:.0f} µm from the nearest vessel wall" if distance[y, x] else "lies in a vessel"
        msg = (
            f"the place {place_um[0]:g}, {place_um[1]:g} µm {where}, and an edit there would change that vessel; name "
            f"a place at least {wanted} µm from all vessels."
        )
        raise AnalysisError(msg)

    def _weights(self, vessel: NDArray[np.bool_]) -> tuple[Box, NDArray[np.float64]]:
        """Box around a vessel, and the weight of new pixels in it: 1 in the vessel, fading out beyond its rim."""
        margin = math.ceil((_RIM_UM + _BLEND_UM) / min(self.pixel_um)) + 1
        rows, columns = ndimage.find_objects(vessel.astype(np.int8))[0]
        box = Box(rows.start, rows.stop, columns.start, columns.stop).grown(margin).intersection(self._whole)
        distance = ndimage.distance_transform_edt(~vessel[box.slices], sampling=self.pixel_um)
        return box, np.clip((_RIM_UM + _BLEND_UM - distance) / _BLEND_UM, 0, 1)

    def _edit(
        self, box: Box, weights: NDArray[np.float64], pixels: NDArray[np.generic], region: NDArray[np.bool_]
    ) -> VesselEdit:
        there = self.stain[box.slices].astype(np.float64)
        mixed = there + weights * (pixels.astype(np.float64) - there)
        rounded = mixed if self.stain.dtype.kind == "f" else np.rint(mixed)
        on_level = Box(box.y0 + self.box.y0, box.y1 + self.box.y0, box.x0 + self.box.x0, box.x1 + self.box.x0)
        return VesselEdit(on_level, rounded.astype(self.stain.dtype), region)

    def _texture(self, footprint: NDArray[np.bool_], random: np.random.Generator) -> NDArray[np.float64]:
        """Stain of one vessel-free place in the shape of a footprint, or of several if none is as large."""
        if not footprint.any():
            return np.zeros(footprint.shape)
        for _ in range(_DRAWS):
            place = self._drawn(footprint.shape, random)
            if self.free[place.slices][footprint].all():
                return self.stain[place.slices].astype(np.float64)
        if footprint.size == 1:
            y, x = np.nonzero(self.free)
            chosen = random.integers(len(y))
            return np.full((1, 1), self.stain[y[chosen], x[chosen]], np.float64)
        axis = int(np.argmax(footprint.shape))
        halves = np.array_split(footprint, 2, axis)
        return np.concatenate([self._texture(half, random) for half in halves], axis)

    def _drawn(self, shape: tuple[int, ...], random: np.random.Generator) -> Box:
        """A random box of the window."""
        top, left = (int(random.integers(size - side + 1)) for size, side in zip(self.labels.shape, shape, strict=True))
        return Box(top, top + shape[0], left, left + shape[1])

    def _typical(self) -> NDArray[np.bool_]:
        """Pixels of the vessel of median area among those that the window does not cut."""
        areas = np.bincount(self.labels.ravel())
        areas[0] = 0
        border = np.concatenate([self.labels[[0, -1]].ravel(), self.labels[:, [0, -1]].ravel()])
        areas[border] = 0
        labels = np.argsort(areas, kind="stable")[np.count_nonzero(areas == 0) :]
        if not len(labels):
            msg = "there is no whole vessel in the window that could be copied; take a larger window."
            raise AnalysisError(msg)
        return np.asarray(self.labels == labels[len(labels) // 2])


def vessel_window(
    slide: Slide,
    channel: int,
    level: int,
    place_um: tuple[float, float],
    tissue: RegionMask | None,
    settings: WhatIfSettings,
) -> Generator[Progress, None, VesselWindow]:
    """Read the vessel stain around a place, and find the vessels in it."""
    downsample = slide.downsample(level)
    pixel_um = level_pixel_um(slide, downsample)
    box = _box_around(place_um, settings.window_um, pixel_um, slide.levels[level].shape[1:], slide)
    rows, columns = slice(box.y0, box.y1), slice(box.x0, box.x1)
    stain = slide.levels[level][channel : channel + 1, rows, columns].compute()
    inside = region_on_grid(tissue, downsample, rows, columns)
    lazy = slide.levels[level][channel : channel + 1, rows, columns]
    part = Slide((lazy, *coarser_levels(lazy)), (slide.channel_names[channel],), pixel_um, slide.source)
    found = yield from vessel_mask(
        part, 0, RegionMask(inside, (1.0, 1.0)), VesselSettings(threshold=settings.threshold)
    )
    coarse = found.objects.painted(slice(0, found.mask.shape[0]), slice(0, found.mask.shape[1]))
    y, x = (
        np.minimum((np.arange(size) + 0.5) / step, most - 1).astype(np.intp)
        for size, step, most in zip(inside.shape, found.downsample, found.mask.shape, strict=True)
    )
    labels = coarse[np.ix_(y, x)]
    far = ndimage.distance_transform_edt(labels == 0, sampling=pixel_um) > _CLEAR_UM if labels.any() else labels == 0
    free = inside & far
    if not free.any():
        msg = "there is no tissue without vessels around the place; take a larger window or another grey level."
        raise AnalysisError(msg)
    return VesselWindow(box, pixel_um, stain[0], labels, inside, free)


def _box_around(
    place_um: tuple[float, float], reach_um: float, pixel_um: tuple[float, float], shape: tuple[int, ...], slide: Slide
) -> Box:
    edges = []
    for um, size, length in zip(place_um, pixel_um, shape, strict=True):
        if not 0 <= um < length * size:
            extent = " x ".join(f"{length * size:.0f}" for length, size in zip(shape, pixel_um, strict=True))
            msg = (
                f"the place {place_um[0]:g}, {place_um[1]:g} µm lies outside of {slide.source.name}, which is "
                f"{extent} µm high and wide; give y,x in µm from its upper left corner."
            )
            raise AnalysisError(msg)
        edges += [max(0, math.floor((um - reach_um) / size)), min(length, math.ceil((um + reach_um) / size))]
    return Box(*edges)
