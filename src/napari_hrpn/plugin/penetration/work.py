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
    from collections.abc import Hashable, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_hrpn.analysis import VesselSettings
    from napari_hrpn.plugin.parts.selection import ComparedChannel
    from napari_hrpn.slides import RegionMask, Slide

    Results = Mapping[Hashable, Any]

BANDS, EDGE = "bands", "edge"


def vessels_part(slide: Slide, stain: ComparedChannel, tissue: RegionMask | None, settings: VesselSettings) -> Part:
    """Find vessels by their stain."""

    def _begin(_: Results) -> Steps:
        # napari imports these for the first Labels layer, in the GUI thread, where they take half a second
        import pandas  # noqa: F401
        import skimage.color.colorconv  # noqa: F401

        return vessel_mask(stain.slide, stain.channel, tissue, settings)

    key = "vessels", who(slide), who(stain.slide), stain.channel, settings, _digest(tissue)
    return Part(key, "Looking for vessels", 0.3 * _pixels(stain.slide), _begin)


def edited_part(labels: NDArray[Any], slide: Slide, mark: Hashable) -> Part:
    """Take a drawn or edited mask for the vessels."""
    weight = 0.05 * _pixels(slide)
    key = "edited", who(slide), mark
    return Part(key, "Taking over the mask", weight, lambda _: one_step(edited_vessel_mask, labels, slide))


def subareas_part(kind: str, slide: Slide, vessels: Part, tissue: RegionMask | None) -> Part:
    """Cut the tissue into subareas."""

    def _begin(results: Results) -> Steps:
        if kind == EDGE:
            return one_step(core_and_periphery, slide, tissue)
        return distance_bands(results[vessels.key], tissue)

    key = "subareas", who(slide), kind, vessels.key if kind == BANDS else None, _digest(tissue)
    return Part(key, "Cutting the tissue into subareas", 0.3 * _pixels(slide), _begin)


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

    `vessels` gives a `VesselMask`, `table` a `VesselTable`, `background` what is taken off by name of image, `probe` a
    `SlidePenetration`, `nuclei` a `CellDensity` (there is none where no layer shows them), and `tables` the tables of
    an evaluation by name.
    """
    background = _background_part(chosen)
    parts = {"vessels": vessels, "table": _table_part(chosen, vessels), "background": background}
    parts["probe"] = _probe_part(chosen, vessels, background)
    if chosen.nuclei is not None:
        parts["nuclei"] = _nuclei_part(chosen.nuclei, chosen.tissue)

    def _begin(results: Results) -> Steps:
        found = {name: results[part.key] for name, part in parts.items()}
        threshold, cells = found["vessels"].threshold, found.get("nuclei")
        return one_step(
            penetration_tables, VesselFindings(threshold, found["table"], cells, found["probe"], found["background"])
        )

    key = "tables", *(part.key for part in parts.values())
    return {**parts, "tables": Part(key, "Writing tables", 0.01 * _pixels(chosen.images[0].slide), _begin)}


def _background_part(chosen: Chosen) -> Part:
    words, background = "Looking at the blank glass", chosen.background
    if isinstance(background, float):
        names = [image.name for image in chosen.images]
        key: Hashable = "background", chosen.which, background
        return Part(key, words, 1.0, lambda _: one_step(dict.fromkeys, names, background))
    key = "background", chosen.which, _digest(background)
    weight = 0.02 * _pixels(chosen.images[0].slide) * len(chosen.images)
    return Part(key, words, weight, lambda _: one_step(glass_levels, chosen.probes, background))


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


def _probe_part(chosen: Chosen, vessels: Part, background: Part) -> Part:
    key = "penetration", chosen.which, vessels.key, background.key, _digest(chosen.tissue)
    return Part(
        key,
        "Measuring distances from vessels",
        float(_pixels(chosen.images[0].slide) * (len(chosen.images) + 2)),
        lambda results: slide_penetration(
            results[vessels.key], chosen.probes, chosen.tissue, background=results[background.key]
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
