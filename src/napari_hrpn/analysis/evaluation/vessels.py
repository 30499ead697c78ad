"""How far the real and the predicted probe got from the vessels, with the vessels and cells of the slide."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.analysis.cell_density import CellDensity, cell_density
from napari_hrpn.analysis.evaluation.pixels import shares
from napari_hrpn.analysis.intensity import tissue_percentiles
from napari_hrpn.analysis.slide_penetration import SlidePenetration, slide_penetration
from napari_hrpn.analysis.vessel_mask import vessel_mask
from napari_hrpn.analysis.vessels import VesselTable, measure_vessels

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_hrpn.analysis.evaluation.settings import EvaluationSettings, SlideComparison
    from napari_hrpn.slides import RegionMask

# less glass than this is holes in the tissue
LEAST_GLASS = 0.02
GLASS_PIXEL_UM = 8.0


@dataclass(frozen=True, eq=False)
class VesselFindings:
    """How far a probe got from the vessels of a slide, in the real image and in its predictions.

    Attributes
    ----------
    vessel_threshold : float
        Grey level of the smoothed vessel stain above which there is a vessel.
    vessels : VesselTable
        Each vessel, and their density.
    cells : CellDensity or None
        Of the nuclei; None without such a channel.
    penetration : SlidePenetration
        Profiles of the real image, called "real", and of each prediction.
    background : dict of str to float
        Grey level of blank glass by image, which was taken off; empty where there is too little glass.
    """

    vessel_threshold: float
    vessels: VesselTable
    cells: CellDensity | None
    penetration: SlidePenetration
    background: dict[str, float]


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
    if comparison.roles.vessels is None:
        return f"no channel of {slide.source.name} is known to show vessels: name it"
    if slide.pixel_size_um is None:
        return f"{slide.source.name} does not say how large its pixels are"
    return ""


def vessel_findings(
    comparison: SlideComparison, settings: EvaluationSettings
) -> Generator[float, None, VesselFindings]:
    """Find the vessels of a slide and measure the probe around them.

    Parameters
    ----------
    comparison : SlideComparison
        With a channel of vessels and a pixel size, see `why_no_penetration`.
    settings : EvaluationSettings
        How vessels are found, shells and distances.

    Yields
    ------
    float
        Share that is done, 0 to 1.

    Returns
    -------
    VesselFindings
        Vessels, densities and profiles.
    """
    slide, channel, tissue = comparison.real.slide, comparison.roles.vessels, comparison.tissue
    assert channel is not None
    mask = yield from shares(vessel_mask(slide, channel, tissue, settings.vessels), 0.0, 0.15)
    table = yield from shares(measure_vessels(slide, channel, mask, tissue), 0.15, 0.4)
    cells = None
    if comparison.roles.nuclei is not None:
        cells = yield from shares(cell_density(slide, comparison.roles.nuclei, tissue), 0.4, 0.5)
    images = [replace(comparison.real, name="real"), *comparison.predictions]
    background = _background(comparison)
    steps = slide_penetration(mask, images, tissue, settings.penetration, background)
    found = yield from shares(steps, 0.5, 1.0)
    return VesselFindings(mask.threshold, table, cells, found, background)


def _background(comparison: SlideComparison) -> dict[str, float]:
    glass: RegionMask | None = comparison.glass
    if glass is None or glass.fraction < LEAST_GLASS:
        return {}
    images = {"real": comparison.real, **{image.name: image for image in comparison.predictions}}
    grey = {
        name: tissue_percentiles(image.slide, [image.channel], glass, [50], GLASS_PIXEL_UM)[0, 0]
        for name, image in images.items()
    }
    return {name: float(level) for name, level in grey.items() if np.isfinite(level)}
