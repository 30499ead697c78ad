"""What an evaluation needs to know beside the slides: names, roles, regions, a folder; for whoever orders one.

The rule: nothing is asked and nothing is told here; a word for the user is returned or raised.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from napari_hrpn.analysis import roi_bounds
from napari_hrpn.analysis.evaluation.slide_comparison import TAKEN_NAMES
from napari_hrpn.core.plain_text import printable
from napari_hrpn.reports.drawing import file_name
from napari_hrpn.reports.evaluation import evaluation_request
from napari_hrpn.reports.folder import EvaluationFolder, ReportError
from napari_hrpn.reports.provenance import prediction_record
from napari_hrpn.slides import ChannelRoles, guess_roles, slide_identity, slide_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from napari_hrpn.reports.evaluation import EvaluationRequest
    from napari_hrpn.slides import Annotation, Location, Slide


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
        if any(part.start >= part.stop for part in roi_bounds(roi, slide.shape)):
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
    return next(path for path in numbered if EvaluationFolder(path).is_free_for(request))
