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
    """How far a probe got from the vessels of a slide, in the real image and in its predictions.

    Attributes
    ----------
    vessel_threshold : float
        Grey level of the smoothed vessel stain above which there is a vessel; NaN where vessels were drawn.
    vessels : VesselTable
        Each vessel, and their density.
    cells : CellDensity or None
        Of the nuclei; None without such a channel.
    penetration : SlidePenetration
        Profiles of the real image, called "real", and of each prediction.
    background : dict of str to float
        Grey level by image that was taken off; empty where there is none.
    background_from : {"stated", "glass", "none"}
        Where it is from: somebody stated it, it is the median of blank glass, or there is too little glass.
    """

    vessel_threshold: float
    vessels: VesselTable
    cells: CellDensity | None
    penetration: SlidePenetration
    background: dict[str, float]
    background_from: str = "none"


def why_no_penetration(comparison: SlideComparison) -> str:
    """Why the distance from the vessels cannot be measured.

    Parameters
    ----------
    comparison : SlideComparison
        What is compared.

    Returns
    -------
    str
        A sentence; empty where it can.
    """
    slide = comparison.real.slide
    if comparison.roles.vessels is None and comparison.vessels is None:
        return f"no channel of {slide.source.name} is known to show vessels: name it"
    if slide.pixel_size_um is None:
        return f"{slide.source.name} does not say how large its pixels are"
    return ""


class VesselsPart:
    """The vessels of a slide and the probe around them."""

    name = _PENETRATION

    def __init__(self, comparison: SlideComparison, settings: EvaluationSettings) -> None:
        self._comparison, self._settings = comparison, settings
        self._images = [replace(comparison.real, name="real"), *comparison.predictions]
        self._mask: VesselMask | None = None
        self._counter: PenetrationCounter | None = None

    @property
    def channels(self) -> list[da.Array]:
        """The real probe and its predictions."""
        return [image.slide.levels[0][image.channel] for image in self._images]

    def begin(self) -> Generator[float, None, None]:
        """Find the vessels."""
        channel = self._comparison.roles.vessels
        if self._comparison.vessels is not None:
            self._mask = self._comparison.vessels
            return
        assert channel is not None
        steps = vessel_mask(self._comparison.real.slide, channel, self._comparison.tissue, self._settings.vessels)
        self._mask = yield from shares(steps)

    def ranges(self) -> Sequence[PenetrationCounter]:
        """None is needed."""
        return []

    def counters(self) -> Sequence[PenetrationCounter]:
        """The probe by distance from the vessels."""
        assert self._mask is not None
        tissue, settings = self._comparison.tissue, self._settings.penetration
        self._counter = PenetrationCounter(self._mask, self._images, tissue, settings, self._comparison.finished)
        return [self._counter]

    def finish(self) -> Generator[float, None, VesselFindings]:
        """Each vessel, the cells, and the profiles."""
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
