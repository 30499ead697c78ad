"""Measurement of vessels, the probe around them, densities and subareas, as parts that run in another thread.

No function here uses Qt or napari.
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
    """Use a drawn or edited mask as the vessels."""
    key = "edited", who(slide), mark
    return step("Reading the mask", 0.05 * math.prod(slide.shape), edited_vessel_mask, labels, slide, key=key)


def subareas_part(kind: str, slide: Slide, vessels: Part, tissue: RegionMask | None) -> Part:
    """Divide the tissue into subareas."""
    cut = (core_and_periphery, slide) if kind == EDGE else (distance_bands, vessels)
    return step("Dividing the tissue into subareas", 0.3 * math.prod(slide.shape), *cut, tissue)


def penetration_parts(
    images: Sequence[ComparedChannel],
    vessels: Part,
    stain: ComparedChannel | None,
    nuclei: ComparedChannel | None,
    tissue: RegionMask | None,
    background: RegionMask | float | None,
) -> dict[str, Part]:
    """Make the parts that measure images of one size, real and predicted, in the tissue or everywhere.

    The result of `vessels` is a `VesselMask`, of `table` a `VesselTable`, of `background` the subtracted grey level by
    name of image (the median of blank glass, nothing, or a given level), of `probe` a `SlidePenetration`, of `nuclei` a
    `CellDensity` (there is no such part if no layer shows nuclei), and of `tables` the tables of an evaluation by name.
    """
    slide, probes = images[0].slide, [ProbeImage(image.name, image.slide, image.channel) for image in images]
    pixels, stained = float(math.prod(slide.shape)), (slide, None) if stain is None else (stain.slide, stain.channel)
    table = step("Measuring each vessel", 0.5 * pixels, measure_vessels, *stained, vessels, tissue)
    weight = 1.0 if isinstance(background, float) else 0.02 * pixels * len(images)
    subtracted = step("Measuring the blank glass", weight, _background, probes, background)
    words, weight = "Measuring distances from vessels", pixels * (len(images) + 2)
    probe = step(words, weight, slide_penetration, vessels, probes, tissue, None, subtracted)
    parts = {"vessels": vessels, "table": table, "background": subtracted, "probe": probe}
    if nuclei is not None:
        weight = 0.5 * math.prod(nuclei.slide.shape)
        parts["nuclei"] = step("Counting nuclei", weight, cell_density, nuclei.slide, nuclei.channel, tissue)
    results = vessels, table, parts.get("nuclei"), probe, subtracted
    return {**parts, "tables": step("Making tables", 0.01 * pixels, _tables, *results)}


def _find_vessels(
    slide: Slide, channel: int, tissue: RegionMask | None, settings: VesselSettings
) -> Generator[Progress, None, VesselMask]:
    # napari imports these for the first Labels layer, which would block the GUI thread for half a second
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
