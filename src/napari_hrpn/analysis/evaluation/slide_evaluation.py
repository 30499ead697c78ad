"""Evaluation of a slide: all statistics of a real channel and its predictions, in one scan of the pixels.

The rule: no part depends on another, so parts that an earlier run finished are not repeated.
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
"""Estimated duration of the work on coarse levels, of both scans, and of the work after them, relative to a scan."""


@dataclass(frozen=True)
class EvaluationPart:
    """A finished part of an evaluation.

    Attributes
    ----------
    name : str
        "quality", "penetration", "patches", or "pixels NAME" of a prediction.
    findings : SlideQuality, ComparedPixels, VesselFindings or PatchFindings
        Results of the part.
    """

    name: str
    findings: Findings


@dataclass(frozen=True)
class EvaluationReport:
    """Progress of an evaluation.

    Attributes
    ----------
    part : str
        Name of the step that runs.
    share : float
        Share of the work that is done, 0 to 1; skipped parts are not counted.
    finished : EvaluationPart or None
        Part that was just finished.
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
    """Measure the agreement of predictions with the real channel, and the distribution of the probe in the slide.

    The parts are pixel pairs in tissue, frame and regions (agreement, regression, co-localisation, IoU curve,
    distributions, block bootstrap), penetration from the vessels, patches, and the quality of the slide. After some
    work on coarse levels, each pixel of each channel is read once for all parts (floating-point pixels twice, first for
    their range). Apart from masks at coarse levels, memory does not grow with the slide.

    Parameters
    ----------
    comparison : SlideComparison
        Real channel, predictions, tissue and regions.
    settings : EvaluationSettings, optional
        Options of the statistics.
    skip : collection of str
        Names of parts to leave out, for example those that an earlier run finished.
    block_map : BlockMap
        Function that counts blocks, in threads or on workers; the numbers do not depend on it.

    Yields
    ------
    EvaluationReport
        Progress; the report after the end of a part contains that part.

    Returns
    -------
    tuple of EvaluationPart
        All parts that were not skipped. Without vessels or a pixel size there is no "penetration".

    Raises
    ------
    AgreementError, AnalysisError
        If pixels are not finite, or settings are out of range.
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
    """A step of an evaluation: its name, its estimated duration, and the work, which yields shares."""

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
    """Scan the pixels once for all parts."""
    channels = {channel.name: channel for part in parts for channel in part.channels}
    yield from shares(count_blocks(list(channels.values()), counters(), block_map))
