"""Vessels, the probe around them, densities and subareas, as parts of a measurement off the GUI thread.

Nothing of Qt or napari is touched here.
"""

from __future__ import annotations

from dataclasses import dataclass
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
from napari_hrpn.plugin.parts.tasks import Part, Steps, one_step, who
from napari_hrpn.reports import penetration_tables

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_hrpn.analysis import VesselSettings
    from napari_hrpn.plugin.parts.selection import ComparedChannel
    from napari_hrpn.slides import RegionMask, Slide

    Results = Mapping[Hashable, Any]

BANDS, EDGE = "bands", "edge"


def vessels_part(slide: Slide, stain: ComparedChannel, tissue: RegionMask | None, settings: VesselSettings) -> Part:
    """Find vessels by their stain."""

    def begin(_: Results) -> Steps:
        # napari imports these for the first Labels layer, in the GUI thread, where they take half a second
        import pandas  # noqa: F401
        import skimage.color.colorconv  # noqa: F401

        return vessel_mask(stain.slide, stain.channel, tissue, settings)

    key = "vessels", who(slide), who(stain.slide), stain.channel, settings, _digest(tissue)
    return Part(key, "Looking for vessels", 0.3 * _pixels(stain.slide), begin)


def edited_part(labels: NDArray[Any], slide: Slide, mark: Hashable) -> Part:
    """Take a drawn or edited mask for the vessels."""
    key = "edited", who(slide), mark
    steps: Callable[[Results], Steps] = lambda _: one_step(edited_vessel_mask, labels, slide)  # noqa: E731
    return Part(key, "Taking over the mask", 0.05 * _pixels(slide), steps)


def subareas_part(kind: str, slide: Slide, vessels: Part, tissue: RegionMask | None) -> Part:
    """Cut the tissue into subareas."""

    def begin(results: Results) -> Steps:
        if kind == EDGE:
            return one_step(core_and_periphery, slide, tissue)
        return distance_bands(results[vessels.key], tissue)

    key = "subareas", who(slide), kind, vessels.key if kind == BANDS else None, _digest(tissue)
    return Part(key, "Cutting the tissue into subareas", 0.3 * _pixels(slide), begin)


@dataclass(frozen=True, eq=False)
class Chosen:
    """What is to be measured."""

    images: Sequence[ComparedChannel]  # The real one and predictions, of one size
    # Of the vessels and of the nuclei, where there are layers of them
    stain: ComparedChannel | None
    nuclei: ComparedChannel | None
    tissue: RegionMask | None  # What is measured; None means everything
    # What is taken off: the median of blank glass there, nothing where None, or a grey level
    background: RegionMask | float | None

    @property
    def which(self) -> Hashable:
        """The images, for a key."""
        return tuple((who(image.slide), image.channel, image.name) for image in self.images)

    @property
    def probes(self) -> list[ProbeImage]:
        """The images, for the analysis."""
        return [ProbeImage(image.name, image.slide, image.channel) for image in self.images]


def penetration_parts(chosen: Chosen, vessels: Part) -> dict[str, Part]:
    """All that is measured, each part after those that it needs.

    `vessels` gives a `VesselMask`, `table` a `VesselTable`, `background` the grey levels of blank glass by name of
    image (there is none where a level is stated), `probe` a `SlidePenetration`, `nuclei` a `CellDensity` (none where
    no layer shows them), and `tables` the tables of an evaluation by name.
    """
    background, levels = _background(chosen)
    parts = {"vessels": vessels, "table": _table_part(chosen, vessels), **background}
    parts["probe"] = _probe_part(chosen, vessels, background, levels)
    if chosen.nuclei is not None:
        parts["nuclei"] = _nuclei_part(chosen.nuclei, chosen.tissue)

    def begin(results: Results) -> Steps:
        found = {name: results[part.key] for name, part in parts.items() if name != "tables"}
        threshold = found["vessels"].threshold
        findings = VesselFindings(threshold, found["table"], found.get("nuclei"), found["probe"], levels(results))
        return one_step(penetration_tables, findings)

    key = "tables", *(part.key for part in parts.values())
    parts["tables"] = Part(key, "Writing tables", 0.01 * _pixels(chosen.images[0].slide), begin)
    return parts


def _background(chosen: Chosen) -> tuple[dict[str, Part], Callable[[Results], dict[str, float]]]:
    """The part that finds what is taken off each image, if it is to be found, and what gives it."""
    glass = chosen.background
    if isinstance(glass, float):
        stated = dict.fromkeys((image.name for image in chosen.images), glass)
        return {}, lambda _: stated
    key = "background", chosen.which, _digest(glass)
    weight = 0.02 * _pixels(chosen.images[0].slide) * len(chosen.images)
    part = Part(key, "Looking at the blank glass", weight, lambda _: one_step(glass_levels, chosen.probes, glass))
    return {"background": part}, lambda results: results[key]


def _table_part(chosen: Chosen, vessels: Part) -> Part:
    stain, tissue = chosen.stain, chosen.tissue
    slide, channel = (chosen.images[0].slide, None) if stain is None else (stain.slide, stain.channel)
    key = "table", who(slide), channel, vessels.key, _digest(tissue)
    return Part(
        key,
        "Measuring each vessel",
        0.5 * _pixels(slide),
        lambda results: measure_vessels(slide, channel, results[vessels.key], tissue),
    )


def _probe_part(
    chosen: Chosen, vessels: Part, background: dict[str, Part], levels: Callable[[Results], dict[str, float]]
) -> Part:
    taken_off = background["background"].key if background else chosen.background
    key = "penetration", chosen.which, vessels.key, taken_off, _digest(chosen.tissue)
    return Part(
        key,
        "Measuring distances from vessels",
        float(_pixels(chosen.images[0].slide) * (len(chosen.images) + 2)),
        lambda results: slide_penetration(
            results[vessels.key], chosen.probes, chosen.tissue, background=levels(results)
        ),
    )


def _nuclei_part(stain: ComparedChannel, tissue: RegionMask | None) -> Part:
    key = "nuclei", who(stain.slide), stain.channel, _digest(tissue)
    weight = 0.5 * _pixels(stain.slide)
    return Part(key, "Counting nuclei", weight, lambda _: cell_density(stain.slide, stain.channel, tissue))


def _digest(region: RegionMask | None) -> str | None:
    return None if region is None else region.digest


def _pixels(slide: Slide) -> int:
    return slide.shape[0] * slide.shape[1]
