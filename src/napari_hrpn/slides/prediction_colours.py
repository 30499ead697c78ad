"""Colours of predictions in layers, plots and figures, and the record of a prediction."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_hrpn.slides.errors import SlideError
from napari_hrpn.slides.formats.ome_zarr_metadata import read_attributes
from napari_hrpn.slides.location import as_location
from napari_hrpn.slides.metadata import RECORD

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from napari_hrpn.slides.location import PlaceLike
    from napari_hrpn.slides.slide import Slide

PREDICTION_COLOURS = ("#cc00ff", "#2fd5e0", "#e0c53a", "#a8744a", "#8f5fa0")
"""Apart from each other for all kinds of colour vision, and from the red, green and blue of the stains."""


@dataclass(frozen=True)
class PredictionRecord:
    """What the metadata of a prediction say.

    Attributes
    ----------
    slide, checkpoint : str
        Fingerprints of what it was made from; empty where it does not say.
    title : str
        Title of the checkpoint; empty where it does not say.
    colour : str
        Such as "#cc00ff".
    complete : bool
        Whether the whole slide is predicted.
    request : dict
        All that decides its pixels.
    """

    slide: str
    checkpoint: str
    title: str
    colour: str
    complete: bool
    request: dict[str, Any]


def prediction_record(place: PlaceLike) -> PredictionRecord | None:
    """What a folder says about the prediction in it; no pixels are read.

    Parameters
    ----------
    place : str, pathlib.Path or UPath
        Folder or address of an OME-Zarr.

    Returns
    -------
    PredictionRecord or None
        None where there is no prediction of this package.
    """
    try:
        found = read_attributes(as_location(place))
    except SlideError:
        return None
    record = found.get(RECORD)
    request = record.get("request") if isinstance(record, dict) else None
    if not isinstance(record, dict) or not isinstance(request, dict):
        return None
    return PredictionRecord(
        slide=str(request.get("slide", "")),
        checkpoint=str(request.get("checkpoint", "")),
        title=str(record.get("title") or ""),
        colour=_written_colour(found) or prediction_colour(str(request.get("checkpoint", ""))),
        complete=record.get("complete") is True,
        request=request,
    )


def prediction_colour(checkpoint: str, taken: Iterable[str] = ()) -> str:
    """Colour of a prediction.

    Parameters
    ----------
    checkpoint : str
        Fingerprint of the checkpoint, which always gets the same colour where that is free.
    taken : iterable of str
        Colours of other predictions of the slide.

    Returns
    -------
    str
        One of `PREDICTION_COLOURS`: the next that is free, or the checkpoint's own where none is.
    """
    count, used = len(PREDICTION_COLOURS), set(taken)
    try:
        first = int(checkpoint, 16) % count
    except ValueError:
        first = 0
    turned = PREDICTION_COLOURS[first:] + PREDICTION_COLOURS[:first]
    return next((colour for colour in turned if colour not in used), turned[0])


def colour_in_folder(place: PlaceLike, request: Mapping[str, Any]) -> str:
    """Colour of a prediction that is there or is to be made.

    Parameters
    ----------
    place : str, pathlib.Path or UPath
        Its folder.
    request : mapping
        What decides its pixels, with the fingerprints of "slide" and "checkpoint".

    Returns
    -------
    str
        Its own where it has one, else one that no other prediction of the slide in the same folder has.
    """
    place = as_location(place)
    slide, checkpoint = str(request.get("slide", "")), str(request.get("checkpoint", ""))
    own = prediction_record(place)
    if own is not None and own.checkpoint == checkpoint:
        return own.colour
    beside = sorted(place.parent.glob("*.zarr")) if isinstance(place, Path) and place.parent.is_dir() else []
    records = (prediction_record(other) for other in beside if other != place)
    return prediction_colour(checkpoint, [one.colour for one in records if one is not None and one.slide == slide])


def distinct_colours(preferred: Sequence[str | None]) -> tuple[str, ...]:
    """Colours of predictions that are shown together.

    Parameters
    ----------
    preferred : sequence of str or None
        Colour that each has elsewhere; None for one that has none.

    Returns
    -------
    tuple of str
        The preferred ones, but for those that an earlier one has already; no two are the same where there are enough.
    """
    chosen = ["" if colour in preferred[:index] else colour or "" for index, colour in enumerate(preferred)]
    for index, colour in enumerate(chosen):
        chosen[index] = colour or prediction_colour("", chosen)
    return tuple(chosen)


def prediction_colours(slides: Sequence[Slide]) -> tuple[str, ...]:
    """Colours of predictions in one figure: those that they have as layers, as far as these differ.

    Parameters
    ----------
    slides : sequence of Slide
        The predictions.

    Returns
    -------
    tuple of str
        One for each.
    """
    records = [prediction_record(slide.source) for slide in slides]
    return distinct_colours([None if record is None else record.colour for record in records])


def _written_colour(attributes: Mapping[str, Any]) -> str | None:
    try:
        written = f"#{attributes['omero']['channels'][0]['color']}".lower()
    except (KeyError, IndexError, TypeError):
        return None
    return written if written in PREDICTION_COLOURS else None
