"""Vessels, the probe around them, densities and subareas, as parts of a measurement off the GUI thread.

Nothing of Qt or napari is touched here.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from napari_hrpn.analysis import (
    ProbeImage,
    VesselFindings,
    cell_density,
    core_and_periphery,
    distance_bands,
    edited_vessel_mask,
    glass_levels,
    measure_vessels,
    slide_penetration,
    vessel_mask,
)
from napari_hrpn.plugin.parts.measure_bar import Part, step, who
from napari_hrpn.reports import penetration_tables

if TYPE_CHECKING:
    from collections.abc import Generator, Hashable, Sequence

    from numpy.typing import NDArray

    from napari_hrpn.analysis import CellDensity, SlidePenetration, VesselMask, VesselSettings, VesselTable
    from napari_hrpn.core import Progress
    from napari_hrpn.plugin.parts.selection import ComparedChannel
    from napari_hrpn.slides import RegionMask, Slide

BANDS, EDGE = "bands", "edge"


def vessels_part(stain: ComparedChannel, tissue: RegionMask | None, settings: VesselSettings) -> Part:
    """Find vessels by their stain."""
    weight = 0.3 * math.prod(stain.slide.shape)
    return step("Looking for vessels", weight, _find_vessels, stain.slide, stain.channel, tissue, settings)


def edited_part(labels: NDArray[Any], slide: Slide, mark: Hashable) -> Part:
    """Take a drawn or edited mask for the vessels."""
    key = "edited", who(slide), mark
    return step("Taking over the mask", 0.05 * math.prod(slide.shape), edited_vessel_mask, labels, slide, key=key)


def subareas_part(kind: str, slide: Slide, vessels: Part, tissue: RegionMask | None) -> Part:
    """Cut the tissue into subareas."""
    cut = (core_and_periphery, slide) if kind == EDGE else (distance_bands, vessels)
    return step("Cutting the tissue into subareas", 0.3 * math.prod(slide.shape), *cut, tissue)


def penetration_parts(
    images: Sequence[ComparedChannel],
    vessels: Part,
    stain: ComparedChannel | None,
    nuclei: ComparedChannel | None,
    tissue: RegionMask | None,
    background: RegionMask | float | None,
) -> dict[str, Part]:
    """All that is measured of images of one size, the real one and predictions, in the tissue or everywhere.

    `vessels` gives a `VesselMask`, `table` a `VesselTable`, `background` what is taken off by name of image (the
    median of blank glass, nothing, or a grey level), `probe` a `SlidePenetration`, `nuclei` a `CellDensity` (there is
    none where no layer shows them), and `tables` the tables of an evaluation by name.
    """
    slide, probes = images[0].slide, [ProbeImage(image.name, image.slide, image.channel) for image in images]
    pixels, stained = float(math.prod(slide.shape)), (slide, None) if stain is None else (stain.slide, stain.channel)
    table = step("Measuring each vessel", 0.5 * pixels, measure_vessels, *stained, vessels, tissue)
    weight = 1.0 if isinstance(background, float) else 0.02 * pixels * len(images)
    taken_off = step("Looking at the blank glass", weight, _background, probes, background)
    words, weight = "Measuring distances from vessels", pixels * (len(images) + 2)
    probe = step(words, weight, slide_penetration, vessels, probes, tissue, None, taken_off)
    parts = {"vessels": vessels, "table": table, "background": taken_off, "probe": probe}
    if nuclei is not None:
        weight = 0.5 * math.prod(nuclei.slide.shape)
        parts["nuclei"] = step("Counting nuclei", weight, cell_density, nuclei.slide, nuclei.channel, tissue)
    found = vessels, table, parts.get("nuclei"), probe, taken_off
    return {**parts, "tables": step("Writing tables", 0.01 * pixels, _tables, *found)}


def _find_vessels(
    slide: Slide, channel: int, tissue: RegionMask | None, settings: VesselSettings
) -> Generator[Progress, None, VesselMask]:
    # napari imports these for the first Labels layer, in the GUI thread, where they take half a second
    import pandas  # noqa: F401
    import skimage.color.colorconv  # noqa: F401

    return (yield from vessel_mask(slide, channel, tissue, settings))


def _background(probes: Sequence[ProbeImage], background: RegionMask | float | None) -> dict[str, float]:
    if isinstance(background, float):
        return {probe.name: background for probe in probes}
    return glass_levels(probes, background)


def _tables(
    vessels: VesselMask,
    table: VesselTable,
    cells: CellDensity | None,
    probe: SlidePenetration,
    background: dict[str, float],
) -> dict[str, Any]:
    return penetration_tables(VesselFindings(vessels.threshold, table, cells, probe, background))
