"""The evaluation of a slide: everything that is measured of a real channel and its predictions, part by part.

The rule: a part depends on no other, so what an earlier run finished need not be done again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_hrpn.analysis.evaluation.patches import PatchFindings, patch_findings
from napari_hrpn.analysis.evaluation.pixels import ComparedPixels, compared_pixels, shares
from napari_hrpn.analysis.evaluation.settings import EvaluationSettings
from napari_hrpn.analysis.evaluation.vessels import VesselFindings, vessel_findings, why_no_penetration
from napari_hrpn.analysis.quality import SlideQuality, slide_quality

if TYPE_CHECKING:
    from collections.abc import Collection, Generator

    from napari_hrpn.analysis.evaluation.settings import SlideComparison

    Findings = SlideQuality | ComparedPixels | VesselFindings | PatchFindings

QUALITY, PENETRATION, PATCHES = "quality", "penetration", "patches"
QUALITY_COST = 0.2
"""In passes over the pixels of a slide, as that of a prediction is 1."""


@dataclass(frozen=True)
class EvaluationPart:
    """A finished part of an evaluation.

    Attributes
    ----------
    name : str
        "quality", "penetration", "patches", or "pixels NAME" of a prediction.
    findings : SlideQuality, ComparedPixels, VesselFindings or PatchFindings
        What was found.
    """

    name: str
    findings: Findings


@dataclass(frozen=True)
class EvaluationReport:
    """How far an evaluation is.

    Attributes
    ----------
    part : str
        What is being measured.
    share : float
        Of all that is to be done, 0 to 1; parts that were skipped count as done.
    finished : EvaluationPart or None
        A part that has just come to its end.
    """

    part: str
    share: float
    finished: EvaluationPart | None = None


def evaluate_slide(
    comparison: SlideComparison, settings: EvaluationSettings | None = None, skip: Collection[str] = ()
) -> Generator[EvaluationReport, None, tuple[EvaluationPart, ...]]:
    """Measure how good predictions of a slide are, and what the probe does in it.

    Pixel pairs in tissue, frame and regions (agreement, regression, co-localisation, IoU curve, distributions, block
    bootstrap), penetration from the vessels, patches, and the quality of the slide. Each prediction costs one pass
    over its pixels and the real ones for pairs, one over both for penetration and one over its own for patches;
    memory does not grow with the slide but for masks at coarse levels.

    Parameters
    ----------
    comparison : SlideComparison
        Real channel, predictions, tissue and regions.
    settings : EvaluationSettings, optional
        How.
    skip : collection of str
        Names of parts that are known already.

    Yields
    ------
    EvaluationReport
        As it goes, with each part when it is finished.

    Returns
    -------
    tuple of EvaluationPart
        All parts that were not skipped. Without vessels or a pixel size there is no "penetration".

    Raises
    ------
    AgreementError, AnalysisError
        If pixels are not finite, or numbers make no sense.
    SlideError
        If a slide cannot be read.
    """
    settings = settings or EvaluationSettings()
    costs = part_costs(comparison)
    total, before, parts = sum(costs.values()), 0.0, []
    for name, cost in costs.items():
        if name not in skip:
            work = _begun(name, comparison, settings)
            try:
                while True:
                    try:
                        share = next(work)
                    except StopIteration as end:
                        parts.append(EvaluationPart(name, end.value))
                        break
                    yield EvaluationReport(name, (before + share * cost) / total)
            finally:
                work.close()
        before += cost
        yield EvaluationReport(name, before / total, None if name in skip else parts[-1])
    return tuple(parts)


def part_costs(comparison: SlideComparison) -> dict[str, float]:
    """Parts of an evaluation in their order, and about what each takes.

    Parameters
    ----------
    comparison : SlideComparison
        What is compared.

    Returns
    -------
    dict of str to float
        Passes over the pixels of a slide.
    """
    number = len(comparison.predictions)
    costs = {QUALITY: QUALITY_COST}
    costs |= {pixels_part(prediction.name): 1.0 for prediction in comparison.predictions}
    if not why_no_penetration(comparison):
        costs[PENETRATION] = 1.0 + 0.5 * number
    return {**costs, PATCHES: 0.4 * (1 + number)}


def pixels_part(prediction: str) -> str:
    """Name of the part that compares a prediction pixel by pixel.

    Parameters
    ----------
    prediction : str
        Its name.

    Returns
    -------
    str
        Of the part.
    """
    return f"pixels {prediction}"


def _begun(name: str, comparison: SlideComparison, settings: EvaluationSettings) -> Generator[float, None, Findings]:
    if name == QUALITY:
        return shares(slide_quality(comparison.real.slide, comparison.roles), 0.0, 1.0)
    if name == PENETRATION:
        return vessel_findings(comparison, settings)
    if name == PATCHES:
        return patch_findings(comparison, settings)
    prediction = next(one for one in comparison.predictions if pixels_part(one.name) == name)
    return compared_pixels(comparison, prediction, settings)
