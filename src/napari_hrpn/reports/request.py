"""Request for an evaluation, made by the command and the widgets: names, roles, regions and output folder.

Nothing is printed here: sentences for the user are returned or raised.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

from napari_hrpn.analysis import SlideComparison, tissue_mask
from napari_hrpn.analysis.evaluation.slide_comparison import TAKEN_NAMES
from napari_hrpn.core.plain_text import printable
from napari_hrpn.reports.drawing import file_name
from napari_hrpn.reports.evaluation import EvaluationRequest, evaluation_request
from napari_hrpn.reports.evaluation_recipe import FROM_NUCLEI
from napari_hrpn.reports.folder import ReportError, ReportFolder
from napari_hrpn.reports.provenance import prediction_record
from napari_hrpn.slides import ChannelRoles, RegionMask, guess_roles, slide_identity, slide_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from napari_hrpn.analysis import EvaluationSettings, ProbeImage, VesselMask
    from napari_hrpn.slides import Annotation, Location, Slide


def evaluation_of(
    real: ProbeImage,
    predictions: Sequence[ProbeImage],
    roles: ChannelRoles,
    settings: EvaluationSettings,
    *,
    are_named: bool = False,
    rois: Sequence[Annotation] = (),
    rois_from: str = "the layer",
    tissue: RegionMask | None = None,
    glass: RegionMask | None = None,
    tissue_words: str = "",
    finds_tissue: bool = False,
    vessels: VesselMask | None = None,
    tumour: str = "",
    files: Mapping[str, Path] | None = None,
) -> EvaluationRequest:
    """Make the request for an evaluation.

    Parameters
    ----------
    real : ProbeImage
        The slide with the imaged probe.
    predictions : sequence of ProbeImage
        Its predictions.
    roles : ChannelRoles
        Channels of the slide by role.
    settings : EvaluationSettings
        How the slide is evaluated.
    are_named : bool
        Whether predictions keep their names; otherwise they are named after their files if these names differ.
    rois : sequence of Annotation
        Regions of interest, in full-resolution pixels of the slide.
    rois_from : str
        Source of the regions, for messages.
    tissue, glass : RegionMask, optional
        Mask of the tissue, and of areas that are certainly blank glass.
    tissue_words : str
        How the tissue was found; "from the nuclei" if empty.
    finds_tissue : bool
        Whether the glass, and the tissue if it is not given, are found from the nuclei now.
    vessels : VesselMask, optional
        Mask of the vessels, if it was drawn.
    tumour : str
        The unit of a cohort; the slide's name if empty.
    files : mapping of str to pathlib.Path, optional
        Other files that decide the numbers, by their purpose.

    Returns
    -------
    EvaluationRequest
        For `write_evaluation`.

    Raises
    ------
    ReportError
        If predictions cannot be told apart by their names, or a region lies outside of the slide.
    AgreementError
        If the slides differ in size.
    """
    slide = real.slide
    named = tuple(predictions) if are_named else _with_distinct_names(predictions, slide.source)
    # sizes are compared before any time is spent on the tissue
    comparison = SlideComparison(real, named, roles, tissue, glass, tuple(rois), vessels)
    check_on_slide(rois, slide, rois_from)
    how_found = FROM_NUCLEI
    if roles.nuclei is not None:
        how_found = nuclei_words(slide, roles.nuclei)
        if finds_tissue:
            nuclei_tissue = tissue_mask(slide, roles.nuclei)
            glass = RegionMask(~nuclei_tissue.mask, nuclei_tissue.downsample)
            comparison = replace(comparison, tissue=nuclei_tissue if tissue is None else tissue, glass=glass)
    elif finds_tissue:
        how_found = f"no channel of {slide.source.name} is known to show nuclei, and no mask was given"
    unit = tumour or slide_name(slide.source)
    return EvaluationRequest(comparison, unit, tissue_words or how_found, settings, dict(files or {}))


def _with_distinct_names(predictions: Sequence[ProbeImage], real: Location) -> tuple[ProbeImage, ...]:
    """Name predictions after their files; if these names are not distinct, predictions keep their own."""
    names = prediction_names([prediction.slide.source for prediction in predictions], real)
    if len(set(names)) == len(names):
        return tuple(replace(prediction, name=name) for prediction, name in zip(predictions, names, strict=True))
    if not all(prediction.name for prediction in predictions):
        files = " and ".join(slide_name(prediction.slide.source) for prediction in predictions)
        msg = f"the predictions {files} cannot be told apart by their names; give each one with --name."
        raise ReportError(msg)
    return tuple(predictions)


def prediction_names(predicted: Sequence[Location], real: Location) -> list[str]:
    """Names that distinguish predictions of a slide.

    Parameters
    ----------
    predicted : sequence of (pathlib.Path or UPath)
        The predictions.
    real : pathlib.Path or UPath
        The slide, whose name is left out of the names of its predictions.

    Returns
    -------
    list of str
        One for each: the rest of the file's name, or, of several predictions with names that this program gave, the
        titles of their checkpoints; or the name of the folder if files have equal names. If folders have equal names
        too, some names are equal.
    """
    names = [slide_name(path) for path in predicted]
    rest = [name.removeprefix(slide_name(real)).strip(" ._-") or name for name in names]
    # a cohort matches predictions of several slides by these names, so they should not depend on the slide
    # a single prediction needs no title to distinguish it
    titled = [_title(path, name) for path, name in zip(predicted, rest, strict=True)] if len(rest) > 1 else rest
    # names become file names, and some file systems ignore case
    files = {file_name(name).casefold() for name in titled}
    if len(files) == len(titled) and not files.intersection(TAKEN_NAMES):
        return titled
    return rest if len(set(rest)) == len(rest) else [path.absolute().parent.name for path in predicted]


def _title(path: Location, name: str) -> str:
    """Title of the checkpoint of a prediction with a name that this program gave; otherwise that name."""
    record = prediction_record(path) if name.split("-")[0] == "predicted" else None
    return name if record is None else printable(record["title"]).strip() or name


def roles_around(slide: Slide, named: Mapping[str, int]) -> ChannelRoles:
    """Roles of the channels: those that the user named, and the others guessed from the channels' names.

    Parameters
    ----------
    slide : Slide
        The slide with the probe.
    named : mapping of str to int
        Channels by role, each once.

    Returns
    -------
    ChannelRoles
        Roles with their channels; no channel has two roles.
    """
    guessed = vars(guess_roles(slide.channel_names))
    free = {role: index for role, index in guessed.items() if index not in named.values()}
    return ChannelRoles(**{**free, **named})


def nuclei_words(slide: Slide, nuclei: int) -> str:
    """Words on how the tissue was found, if it was found from the nuclei.

    Parameters
    ----------
    slide : Slide
        The slide.
    nuclei : int
        Channel of the nuclei.

    Returns
    -------
    str
        For `EvaluationRequest`.
    """
    return f"{FROM_NUCLEI}, channel {slide.channel_names[nuclei]}"


def other_slide_words(prediction: Slide, real: Slide) -> str:
    """Warning that a prediction was made from another slide, according to its record.

    Parameters
    ----------
    prediction, real : Slide
        The slides.

    Returns
    -------
    str
        One sentence; empty if the prediction was made from this slide, or has no record of it.
    """
    record = prediction_record(prediction.source)
    if record is None or record.get("slide") in (None, slide_identity(real)):
        return ""
    return (
        f"{prediction.source.name} was predicted from another slide than {real.source.name}, or from it before it "
        "was copied or changed; compare them only if you know that they show the same."
    )


def check_on_slide(rois: Sequence[Annotation], slide: Slide, where: str) -> None:
    """Refuse regions that lie outside of the slide.

    Parameters
    ----------
    rois : sequence of Annotation
        In full-resolution pixels of the slide.
    slide : Slide
        The slide.
    where : str
        Source of the regions, for the message.

    Raises
    ------
    ReportError
        If one has no pixel of the slide.
    """
    for index, roi in enumerate(rois, start=1):
        if not roi.bounds(slide.shape).area:
            height, width = slide.shape
            msg = (
                f"region {index} {f'({roi.name}) ' if roi.name else ''}of {where} lies outside of "
                f"{slide.source.name}, which is {width} x {height} px; check that it belongs to this slide."
            )
            raise ReportError(msg)


def own_folder(request: EvaluationRequest, parent: Path, title: str) -> Path:
    """Folder in which an evaluation replaces nothing else.

    Parameters
    ----------
    request : EvaluationRequest
        Request for the evaluation.
    parent : pathlib.Path
        Parent of the folder.
    title : str
        Name of the folder, before it is made a valid file name.

    Returns
    -------
    pathlib.Path
        The folder that holds this very evaluation, complete or not; otherwise a new one, numbered if the name is
        taken.
    """
    record, name = evaluation_request(request), file_name(title)
    numbered = (parent / (name if number == 1 else f"{name}-{number}") for number in itertools.count(1))
    return next(path for path in numbered if ReportFolder(path).is_free_for(record))
