"""What the widget computes off the GUI thread: vessels, the probe around them, densities, subareas.

Nothing of Qt or napari is touched here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_hrpn.plugin.parts.tasks import Part, Steps, one_step, who

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_hrpn.analysis import ProbeImage, VesselSettings
    from napari_hrpn.plugin.parts.selection import ComparedChannel
    from napari_hrpn.slides import RegionMask, Slide

BANDS, EDGE = "bands", "edge"


def vessels_part(slide: Slide, stain: ComparedChannel, tissue: RegionMask | None, settings: VesselSettings) -> Part:
    """Find vessels by their stain."""

    def _begin(_: Mapping[Hashable, Any]) -> Steps:
        # napari imports these for the first Labels layer, in the GUI thread, where they take half a second
        import pandas  # noqa: F401
        import skimage.color.colorconv  # noqa: F401

        from napari_hrpn.analysis import vessel_mask

        return vessel_mask(stain.slide, stain.channel, tissue, settings)

    key = "vessels", who(slide), who(stain.slide), stain.channel, settings, _digest(tissue)
    return Part(key, "Looking for vessels", 0.3 * _pixels(stain.slide), _begin)


def edited_part(labels: NDArray[Any], slide: Slide, mark: Hashable) -> Part:
    """Take a drawn or edited mask for the vessels."""

    def _begin(_: Mapping[Hashable, Any]) -> Steps:
        from napari_hrpn.analysis import edited_vessel_mask

        return one_step(edited_vessel_mask, labels, slide)

    return Part(("edited", who(slide), mark), "Taking over the mask", 0.05 * _pixels(slide), _begin)


@dataclass(frozen=True, eq=False)
class PenetrationParts:
    """All that the widget measures, in parts."""

    vessels: Part  # Its result is a `VesselMask`
    table: Part  # Each vessel and their density, a `VesselTable`
    background: Part | float  # What is taken off: the grey levels of blank glass by name of image, or one for all
    probe: Part  # How far the probe got, a `SlidePenetration` of all images
    nuclei: Part | None  # A `CellDensity`; None where no layer shows nuclei
    tables: Part  # The tables of an evaluation by name, each a list of rows

    @property
    def in_order(self) -> list[Part]:
        """Each after those that it needs."""
        parts = (self.vessels, self.table, self.background, self.probe, self.nuclei, self.tables)
        return [part for part in parts if isinstance(part, Part)]


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
    def slide(self) -> Slide:
        """The real slide."""
        return self.images[0].slide

    @property
    def which(self) -> Hashable:
        """The images, for a key."""
        return tuple((who(image.slide), image.channel, image.name) for image in self.images)

    @property
    def probes(self) -> list[ProbeImage]:
        """The images, for the analysis."""
        from napari_hrpn.analysis import ProbeImage

        return [ProbeImage(image.name, image.slide, image.channel) for image in self.images]

    def levels(self, results: Mapping[Hashable, Any], background: Part | float) -> dict[str, float]:
        """What is taken off each image."""
        if isinstance(background, Part):
            levels: dict[str, float] = results[background.key]
            return levels
        return dict.fromkeys((image.name for image in self.images), background)


def penetration_parts(chosen: Chosen, vessels: Part) -> PenetrationParts:
    """What there is to compute."""
    background = chosen.background if isinstance(chosen.background, float) else _background_part(chosen)
    table, probe = _table_part(chosen, vessels), _probe_part(chosen, vessels, background)
    nuclei = None if chosen.nuclei is None else _nuclei_part(chosen.nuclei, chosen.tissue)

    def _begin(results: Mapping[Hashable, Any]) -> Steps:
        from napari_hrpn.analysis import VesselFindings
        from napari_hrpn.reports import penetration_tables

        cells = None if nuclei is None else results[nuclei.key]
        levels = chosen.levels(results, background)
        threshold = results[vessels.key].threshold
        return one_step(
            penetration_tables, VesselFindings(threshold, results[table.key], cells, results[probe.key], levels)
        )

    key = "tables", table.key, probe.key, None if nuclei is None else nuclei.key
    tables = Part(key, "Writing tables", 0.01 * _pixels(chosen.slide), _begin)
    return PenetrationParts(vessels, table, background, probe, nuclei, tables)


def _table_part(chosen: Chosen, vessels: Part) -> Part:
    stain = chosen.stain
    slide, channel = (chosen.slide, None) if stain is None else (stain.slide, stain.channel)

    def _begin(results: Mapping[Hashable, Any]) -> Steps:
        from napari_hrpn.analysis import measure_vessels

        return measure_vessels(slide, channel, results[vessels.key], chosen.tissue)

    key = "table", who(slide), channel, vessels.key, _digest(chosen.tissue)
    return Part(key, "Measuring each vessel", 0.5 * _pixels(slide), _begin)


def _background_part(chosen: Chosen) -> Part:
    glass = None if isinstance(chosen.background, float) else chosen.background

    def _begin(_: Mapping[Hashable, Any]) -> Steps:
        from napari_hrpn.analysis import glass_levels

        return one_step(glass_levels, chosen.probes, glass)

    key = "background", chosen.which, _digest(glass)
    weight = 0.02 * _pixels(chosen.slide) * len(chosen.images)
    return Part(key, "Looking at the blank glass", weight, _begin)


def _probe_part(chosen: Chosen, vessels: Part, background: Part | float) -> Part:
    def _begin(results: Mapping[Hashable, Any]) -> Steps:
        from napari_hrpn.analysis import slide_penetration

        levels = chosen.levels(results, background)
        return slide_penetration(results[vessels.key], chosen.probes, chosen.tissue, background=levels)

    taken_off = background.key if isinstance(background, Part) else background
    key = "penetration", chosen.which, vessels.key, taken_off, _digest(chosen.tissue)
    weight = float(_pixels(chosen.slide) * (len(chosen.images) + 2))
    return Part(key, "Measuring distances from vessels", weight, _begin)


def _nuclei_part(stain: ComparedChannel, tissue: RegionMask | None) -> Part:
    def _begin(_: Mapping[Hashable, Any]) -> Steps:
        from napari_hrpn.analysis import cell_density

        return cell_density(stain.slide, stain.channel, tissue)

    key = "nuclei", who(stain.slide), stain.channel, _digest(tissue)
    return Part(key, "Counting nuclei", 0.5 * _pixels(stain.slide), _begin)


def subareas_part(kind: str, slide: Slide, vessels: Part, tissue: RegionMask | None) -> Part:
    """Cut the tissue into subareas."""

    def _begin(results: Mapping[Hashable, Any]) -> Steps:
        from napari_hrpn.analysis import core_and_periphery, distance_bands

        if kind == EDGE:
            return one_step(core_and_periphery, slide, tissue)
        return distance_bands(results[vessels.key], tissue)

    key = "subareas", who(slide), kind, vessels.key if kind == BANDS else None, _digest(tissue)
    return Part(key, "Cutting the tissue into subareas", 0.3 * _pixels(slide), _begin)


def _digest(region: RegionMask | None) -> str | None:
    return None if region is None else region.digest


def _pixels(slide: Slide) -> int:
    return slide.shape[0] * slide.shape[1]
