"""Request of an evaluation: names, roles, regions and folder, for the command and the widgets.

Nothing is printed here: a sentence for the user is returned or raised.
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
    """Put together what is to be evaluated.

    Parameters
    ----------
    real : ProbeImage
        The slide with the imaged probe.
    predictions : sequence of ProbeImage
        Its predictions.
    roles : ChannelRoles
        What the channels of the slide show.
    settings : EvaluationSettings
        How the slide is evaluated.
    are_named : bool
        Whether predictions keep their names; else they are called after their files where that tells them apart.
    rois : sequence of Annotation
        Regions of interest, in full-resolution pixels of the slide.
    rois_from : str
        Where these come from, for a sentence.
    tissue, glass : RegionMask, optional
        Where the tissue is, and where there is certainly none.
    tissue_words : str
        How the tissue was found; from the nuclei where empty.
    finds_tissue : bool
        Whether the glass, and the tissue where it is not given, are found from the nuclei now.
    vessels : VesselMask, optional
        The vessels, where somebody drew them.
    tumour : str
        The unit of a cohort; the slide's name where empty.
    files : mapping of str to pathlib.Path, optional
        Other files that decide the numbers, by what they are.

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
    named = tuple(predictions) if are_named else _named_apart(predictions, slide.source)
    # sizes are compared before any time is spent on the tissue
    comparison = SlideComparison(real, named, roles, tissue, glass, tuple(rois), vessels)
    check_on_slide(rois, slide, rois_from)
    words = "from the nuclei"
    if roles.nuclei is not None:
        words = nuclei_words(slide, roles.nuclei)
        if finds_tissue:
            found = tissue_mask(slide, roles.nuclei)
            glass = RegionMask(~found.mask, found.downsample)
            comparison = replace(comparison, tissue=found if tissue is None else tissue, glass=glass)
    elif finds_tissue:
        words = f"no channel of {slide.source.name} is known to show nuclei, and no mask was given"
    unit = tumour or slide_name(slide.source)
    return EvaluationRequest(comparison, unit, tissue_words or words, settings, dict(files or {}))


def _named_apart(predictions: Sequence[ProbeImage], real: Location) -> tuple[ProbeImage, ...]:
    """Predictions called after their files; as they are called where these names are not different."""
    names = prediction_names([prediction.slide.source for prediction in predictions], real)
    if len(set(names)) == len(names):
        return tuple(replace(prediction, name=name) for prediction, name in zip(predictions, names, strict=True))
    if not all(prediction.name for prediction in predictions):
        files = " and ".join(slide_name(prediction.slide.source) for prediction in predictions)
        msg = f"the predictions {files} cannot be told apart by their names; give each one with --name."
        raise ReportError(msg)
    return tuple(predictions)


def prediction_names(predicted: Sequence[Location], real: Location) -> list[str]:
    """What tells predictions of a slide apart.

    Parameters
    ----------
    predicted : sequence of (pathlib.Path or UPath)
        The predictions.
    real : pathlib.Path or UPath
        The slide, whose name says nothing about a prediction of it.

    Returns
    -------
    list of str
        One for each: the rest of the file's name; of several in folders that this program named, the titles of their
        checkpoints; that of its folder where files are called the same. Some are equal where folders are called the
        same too.
    """
    own = [slide_name(path) for path in predicted]
    rest = [name.removeprefix(slide_name(real)).strip(" ._-") or name for name in own]
    # evaluations of several slides are put together by these names
    titled = [_title(path, name) for path, name in zip(predicted, rest, strict=True)] if len(rest) > 1 else rest
    files = {file_name(name).casefold() for name in titled}
    if len(files) == len(titled) and not files.intersection(TAKEN_NAMES):
        return titled
    return rest if len(set(rest)) == len(rest) else [path.absolute().parent.name for path in predicted]


def _title(place: Location, name: str) -> str:
    """The title of its checkpoint, where a prediction is called as this program calls it."""
    record = prediction_record(place) if name.split("-")[0] == "predicted" else None
    return name if record is None else printable(record["title"]).strip() or name


def roles_around(slide: Slide, named: Mapping[str, int]) -> ChannelRoles:
    """Roles of the channels: those that somebody named, and the others by their names.

    Parameters
    ----------
    slide : Slide
        The slide with the probe.
    named : mapping of str to int
        Channels by role, each once.

    Returns
    -------
    ChannelRoles
        No channel has two roles.
    """
    guessed = vars(guess_roles(slide.channel_names))
    free = {role: index for role, index in guessed.items() if index not in named.values()}
    return ChannelRoles(**{**free, **named})


def nuclei_words(slide: Slide, nuclei: int) -> str:
    """How the tissue was found, where the nuclei tell it.

    Parameters
    ----------
    slide : Slide
        The slide.
    nuclei : int
        Its channel of the nuclei.

    Returns
    -------
    str
        For `EvaluationRequest`.
    """
    return f"from the nuclei, channel {slide.channel_names[nuclei]}"


def other_slide_words(prediction: Slide, real: Slide) -> str:
    """A warning, where a prediction says that it was made from another slide.

    Parameters
    ----------
    prediction, real : Slide
        The slides.

    Returns
    -------
    str
        One sentence; empty where it was made from this slide or does not say.
    """
    record = prediction_record(prediction.source)
    if record is None or record.get("slide") in (None, slide_identity(real)):
        return ""
    return (
        f"{prediction.source.name} was predicted from another slide than {real.source.name}, or from it before it "
        "was copied or changed; compare them only if you know that they show the same."
    )


def check_on_slide(rois: Sequence[Annotation], slide: Slide, where: str) -> None:
    """Refuse regions that are beside the slide.

    Parameters
    ----------
    rois : sequence of Annotation
        In full-resolution pixels of the slide.
    slide : Slide
        The slide.
    where : str
        Where they come from.

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


def own_folder(order: EvaluationRequest, parent: Path, title: str) -> Path:
    """A folder in which an evaluation touches nothing of anybody's.

    Parameters
    ----------
    order : EvaluationRequest
        What is asked for.
    parent : pathlib.Path
        In which the folder is.
    title : str
        What to call it.

    Returns
    -------
    pathlib.Path
        The one that holds this very evaluation, whole or in part; else one that is new, numbered where the name is
        taken.
    """
    request, name = evaluation_request(order), file_name(title)
    numbered = (parent / (name if number == 1 else f"{name}-{number}") for number in itertools.count(1))
    return next(path for path in numbered if ReportFolder(path).is_free_for(request))
