"""Vessel statistics of an evaluation: penetration of the real and the predicted probe, vessels and cells."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_hrpn.analysis.evaluation.slide_comparison import shares
from napari_hrpn.analysis.tissue.cell_density import CellDensity, cell_density
from napari_hrpn.analysis.tissue.slide_penetration import PenetrationCounter, SlidePenetration, glass_levels
from napari_hrpn.analysis.tissue.vessel_mask import VesselMask, vessel_mask
from napari_hrpn.analysis.tissue.vessels import VesselTable, measure_vessels

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    import dask.array as da

    from napari_hrpn.analysis.evaluation.slide_comparison import SlideComparison
    from napari_hrpn.settings import EvaluationSettings

_PENETRATION = "penetration"


@dataclass(frozen=True, eq=False)
class VesselFindings:
    """Penetration of a probe from the vessels of a slide, in the real image and in its predictions.

    Attributes
    ----------
    vessel_threshold : float
        Grey level of the smoothed vessel stain above which a pixel is vessel; NaN if vessels were drawn.
    vessels : VesselTable
        Table of the vessels, and their density.
    cells : CellDensity or None
        Density of the nuclei; None without a channel of nuclei.
    penetration : SlidePenetration
        Profiles of the real image, under the name "real", and of each prediction.
    background : dict of str to float
        Grey level that was subtracted, by image; empty if none was.
    background_from : {"stated", "glass", "none"}
        Origin of the background: stated by the user, median of blank glass, or none because there is too little glass.
    """

    vessel_threshold: float
    vessels: VesselTable
    cells: CellDensity | None
    penetration: SlidePenetration
    background: dict[str, float]
    background_from: str = "none"


def why_no_penetration(comparison: SlideComparison) -> str:
    """Reason why penetration from the vessels cannot be measured.

    Parameters
    ----------
    comparison : SlideComparison
        Slide, predictions and roles of the channels.

    Returns
    -------
    str
        The reason, for a user; empty if penetration can be measured.
    """
    slide = comparison.real.slide
    if comparison.roles.vessels is None and comparison.vessels is None:
        return f"no channel of {slide.source.name} is known to show vessels: choose it"
    if slide.pixel_size_um is None:
        return f"{slide.source.name} has no pixel size"
    return ""


class VesselsPart:
    """Part of an evaluation that measures vessels, cells and the probe around the vessels."""

    name = _PENETRATION

    def __init__(self, comparison: SlideComparison, settings: EvaluationSettings) -> None:
        self._comparison, self._settings = comparison, settings
        self._images = [replace(comparison.real, name="real"), *comparison.predictions]
        self._mask: VesselMask | None = None
        self._counter: PenetrationCounter | None = None

    @property
    def channels(self) -> list[da.Array]:
        """Channels of the real probe and of its predictions."""
        return [image.slide.levels[0][image.channel] for image in self._images]

    def begin(self) -> Generator[float, None, None]:
        """Find the vessels by their stain, unless a user drew them."""
        channel = self._comparison.roles.vessels
        if self._comparison.vessels is not None:
            self._mask = self._comparison.vessels
            return
        assert channel is not None
        steps = vessel_mask(self._comparison.real.slide, channel, self._comparison.tissue, self._settings.vessels)
        self._mask = yield from shares(steps)

    def ranges(self) -> Sequence[PenetrationCounter]:
        """Return no counters: sums over distances need no range of grey levels."""
        return []

    def counters(self) -> Sequence[PenetrationCounter]:
        """Return the counter of the probe by distance from the vessels."""
        assert self._mask is not None
        tissue, settings = self._comparison.tissue, self._settings.penetration
        self._counter = PenetrationCounter(self._mask, self._images, tissue, settings, self._comparison.finished)
        return [self._counter]

    def finish(self) -> Generator[float, None, VesselFindings]:
        """Measure each vessel, count the cells, and compute the profiles."""
        slide, roles, tissue = self._comparison.real.slide, self._comparison.roles, self._comparison.tissue
        assert self._mask is not None
        assert self._counter is not None
        table = yield from shares(measure_vessels(slide, roles.vessels, self._mask, tissue), 0.0, 0.6)
        cells = None
        if roles.nuclei is not None:
            cells = yield from shares(cell_density(slide, roles.nuclei, tissue), 0.6, 0.95)
        background, origin = self._background()
        penetration = self._counter.penetration(background)
        return VesselFindings(self._mask.threshold, table, cells, penetration, background, origin)

    def _background(self) -> tuple[dict[str, float], str]:
        stated = self._settings.background
        if stated is not None:
            return {image.name: float(stated) for image in self._images}, "stated"
        glass = glass_levels(self._images, self._comparison.glass, self._comparison.finished)
        return glass, "glass" if glass else "none"
