"""A report of what is chosen in a widget, into a folder of its own; knows nothing of Qt.

The rule: nothing that is there is ever written over; the same report goes on where it was stopped.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_hrpn.analysis import EvaluationSettings
from napari_hrpn.plugin.parts.user_error import UserError
from napari_hrpn.slides import slide_name

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from napari_hrpn.analysis import ProbeImage, Roi, VesselMask
    from napari_hrpn.reports import EvaluationRequest, WritingReport, WrittenEvaluation
    from napari_hrpn.slides import Annotation, RegionMask

_PARTS_OF_SHARE = 1000


@dataclass(frozen=True, eq=False)
class ReportChoices:
    """What a widget has chosen beside slides and regions; what it leaves out is as `napari-hrpn evaluate` has it."""

    settings: EvaluationSettings | None = None  # How the slide is evaluated
    vessels_channel: int | None = None  # Channel of the vessels
    # Gives the vessels that somebody drew; called off the GUI thread
    vessels: Callable[[], VesselMask] | None = None
    is_whole_frame: bool = False  # Whether everything is measured rather than the tissue


def together(others: Sequence[ReportChoices], own: ReportChoices) -> ReportChoices:
    """The choices of a widget, and where it leaves something open those of others."""
    default = EvaluationSettings()
    settings, every = default, [*others, own]
    for one in every:
        told = {key: value for key, value in vars(one.settings or default).items() if value != getattr(default, key)}
        settings = replace(settings, **told)
    channel, vessels = own.vessels_channel, own.vessels
    for one in others:
        channel, vessels = one.vessels_channel if channel is None else channel, vessels or one.vessels
    return replace(own, settings=settings, vessels_channel=channel, vessels=vessels)


@dataclass(frozen=True, eq=False)
class Reported:
    """What goes into a report."""

    real: ProbeImage  # The slide, with the stains that are known, and its channel of the probe
    predictions: tuple[ProbeImage, ...]  # Called as their layers
    title: str  # Of the slide; its folder is called so
    # As the user left them
    tissue: RegionMask | None
    glass: RegionMask | None
    tissue_words: str  # How the tissue was found; empty where the nuclei of the slide told
    rois: tuple[Roi, ...]
    # Whether this package opened the slide, so that a prediction can say if it is of another one
    is_from_file: bool
    choices: ReportChoices = field(default_factory=ReportChoices)  # What else was chosen


@dataclass(frozen=True)
class ReportStep:
    """How far a report is."""

    # In parts of the whole
    done: int
    total: int = _PARTS_OF_SHARE


@dataclass(frozen=True)
class WrittenReport:
    """A report that is complete."""

    # Where it is
    folder: Path
    page: Path
    words: str  # What to tell the user


def report_steps(reported: Reported, parent: Path) -> Generator[ReportStep, None, WrittenReport]:
    """Write a report, or go on with one that was stopped. It takes time: not for the GUI thread."""
    from napari_hrpn.reports import other_slide_words, own_folder, write_evaluation

    yield ReportStep(0)
    order = report_order(reported)
    try:
        folder = own_folder(order, parent, reported.title)
        with closing(write_evaluation(order, folder)) as steps:
            written = yield from _followed(steps)
    except OSError as error:
        what = error.strerror or str(error)
        raise UserError(
            f"No report can be written in {parent} ({what}): make room, or choose another folder."
        ) from error
    predictions = reported.predictions if reported.is_from_file else ()
    warnings = [other_slide_words(one.slide, reported.real.slide) for one in predictions]
    said = f"Report written: {folder}" if written.new else f"This very report is there already: {folder}"
    return WrittenReport(folder, written.page, "\n".join([said, *filter(None, warnings)]))


def report_order(reported: Reported) -> EvaluationRequest:
    """What is asked of `write_evaluation`, as ``napari-hrpn evaluate`` asks it."""
    from napari_hrpn.analysis import SlideComparison
    from napari_hrpn.reports import EvaluationRequest, check_on_slide, nuclei_words, prediction_names, roles_around

    slide, channel = reported.real.slide, reported.real.channel
    choices, named = reported.choices, {"probe": channel}
    if choices.vessels_channel not in (None, channel):
        named["vessels"] = choices.vessels_channel
    roles = roles_around(slide, named)
    rois = tuple(_outline(roi) for roi in reported.rois)
    check_on_slide(rois, slide, "the layer")
    names = prediction_names([one.slide.source for one in reported.predictions], slide.source)
    predictions = reported.predictions
    if len(set(names)) == len(names):
        predictions = tuple(replace(one, name=name) for one, name in zip(predictions, names, strict=True))
    vessels = None if choices.vessels is None else choices.vessels()
    comparison = SlideComparison(reported.real, predictions, roles, reported.tissue, reported.glass, rois, vessels)
    words = reported.tissue_words
    if not words:
        words = "from the nuclei" if roles.nuclei is None else nuclei_words(slide, roles.nuclei)
    return EvaluationRequest(comparison, slide_name(slide.source), words, choices.settings or EvaluationSettings())


def _followed(
    steps: Generator[WritingReport, None, WrittenEvaluation],
) -> Generator[ReportStep, None, WrittenEvaluation]:
    while True:
        try:
            report = next(steps)
        except StopIteration as end:
            written: WrittenEvaluation = end.value
            return written
        yield ReportStep(round(_PARTS_OF_SHARE * report.share))


def _outline(roi: Roi) -> Annotation:
    from napari_hrpn.analysis import LabelledRoi, label_outline, outlined

    return label_outline(roi) if isinstance(roi, LabelledRoi) else outlined(roi)
