"""Evaluation of a slide: all statistics of a real channel and its predictions, in one scan of both.

The rule: a part depends on no other, so what an earlier run finished need not be done again.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from napari_hrpn.analysis.evaluation.patches import PatchesPart, PatchFindings
from napari_hrpn.analysis.evaluation.pixels import ComparedPixels, PixelsPart
from napari_hrpn.analysis.evaluation.slide_comparison import CountedPart, shares
from napari_hrpn.analysis.evaluation.vessels import VesselFindings, VesselsPart, why_no_penetration
from napari_hrpn.analysis.quality.slide_quality import SlideQuality, slide_quality
from napari_hrpn.analysis.scan.block_scan import count_blocks, count_in_threads
from napari_hrpn.core import relayed
from napari_hrpn.settings import EvaluationSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Sequence

    from napari_hrpn.analysis.evaluation.slide_comparison import SlideComparison
    from napari_hrpn.analysis.scan.block_scan import BlockCounter, BlockMap

    Findings = SlideQuality | ComparedPixels | VesselFindings | PatchFindings
    Part = CountedPart[Findings]

_QUALITY = "quality"
_COARSE, _RANGE, _PIXELS, _NUMBERS = 0.3, 0.5, 1.0, 0.4
"""About what looking at coarse levels, the two passes over pixels, and all after them take, relative to a pass."""


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
    comparison: SlideComparison,
    settings: EvaluationSettings | None = None,
    skip: Collection[str] = (),
    block_map: BlockMap = count_in_threads,
) -> Generator[EvaluationReport, None, tuple[EvaluationPart, ...]]:
    """Measure how good predictions of a slide are, and what the probe does in it.

    Pixel pairs in tissue, frame and regions (agreement, regression, co-localisation, IoU curve, distributions, block
    bootstrap), penetration from the vessels, patches, and the quality of the slide. After a look at coarse levels,
    each pixel of each channel is read once for all of them (those of floating point a second time, for their range);
    memory does not grow with the slide but for masks at coarse levels.

    Parameters
    ----------
    comparison : SlideComparison
        Real channel, predictions, tissue and regions.
    settings : EvaluationSettings, optional
        How.
    skip : collection of str
        Names of parts that are known already.
    block_map : BlockMap
        Where the pixels are looked at; the numbers are the same wherever that is.

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
    steps = _steps(comparison, settings or EvaluationSettings(), skip, block_map)
    total, before, finished = sum(step.cost for step in steps), 0.0, []
    for step in steps:
        findings = yield from relayed(step.begin(), partial(_report, step, before, total))
        before += step.cost
        if findings is not None:
            finished.append(EvaluationPart(step.name, findings))
        yield EvaluationReport(step.name, before / total, None if findings is None else finished[-1])
    return tuple(finished)


@dataclass(frozen=True)
class _Step:
    """A piece of the evaluation: what it is called, what it costs, and the work, which yields shares."""

    name: str
    cost: float
    begin: Callable[[], Generator[float, None, Findings | None]]


def _report(step: _Step, before: float, total: float, share: float) -> EvaluationReport:
    return EvaluationReport(step.name, (before + share * step.cost) / total)


def _steps(
    comparison: SlideComparison, settings: EvaluationSettings, skip: Collection[str], block_map: BlockMap
) -> list[_Step]:
    parts: list[Part] = [PixelsPart(comparison, prediction, settings) for prediction in comparison.predictions]
    parts += [] if why_no_penetration(comparison) else [VesselsPart(comparison, settings)]
    parts += [PatchesPart(comparison, settings)]
    parts = [part for part in parts if part.name not in skip]
    quality = _Step(_QUALITY, _COARSE, lambda: shares(slide_quality(comparison.real.slide, comparison.roles)))
    steps = [] if _QUALITY in skip else [quality]
    steps += [_Step(f"{part.name}, coarse", _COARSE, part.begin) for part in parts]
    ranges = [counter for part in parts for counter in part.ranges()]
    if ranges:
        steps.append(_Step("range of the pixels", _RANGE, lambda: _counted(parts, lambda: ranges, block_map)))
    if parts:
        steps.append(_Step("all pixels", _PIXELS, lambda: _counted(parts, lambda: _counters(parts), block_map)))
    return steps + [_Step(part.name, _NUMBERS, part.finish) for part in parts]


def _counters(parts: Sequence[Part]) -> list[BlockCounter[Any]]:
    return [counter for part in parts for counter in part.counters()]


def _counted(
    parts: Sequence[Part], counters: Callable[[], Sequence[BlockCounter[Any]]], block_map: BlockMap
) -> Generator[float, None, None]:
    """One pass over the pixels for all parts."""
    channels = {channel.name: channel for part in parts for channel in part.channels}
    yield from shares(count_blocks(list(channels.values()), counters(), block_map))
