"""A slide with its predictions as further channels, such as for QuPath, which measures the channels of one image."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain, count
from typing import TYPE_CHECKING

import dask.array as da
import numpy as np

from napari_hrpn.slides.errors import SlideError, warn
from napari_hrpn.slides.fingerprint import slide_fingerprint, slide_identity
from napari_hrpn.slides.formats import slide_name
from napari_hrpn.slides.metadata import channel_colors
from napari_hrpn.slides.predictions import FINGERPRINT, prediction_colours, prediction_record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_hrpn.slides.slide import Slide

# two programs may round a pixel size differently
_SAME_SIZE = 1e-3
_OTHER_COLOUR = "FFFFFF"


def with_predictions(slide: Slide, predictions: Sequence[Slide]) -> tuple[Slide, tuple[str, ...]]:
    """Add the channels of predictions to those of their slide.

    Parameters
    ----------
    slide : Slide
        The slide.
    predictions : sequence of Slide
        Predictions of it, of the same height and width. Where one is not finished, its pixels are 0.

    Returns
    -------
    slide : Slide
        Slide with all channels, lazy, on the finest level alone. Pixels of different types become the smallest type
        that holds the values of all. Where two channels would have one name, that of a prediction gets the title of its
        checkpoint.
    colors : tuple of str
        Six hexadecimal digits per channel: by role, and for predictions those of their records.

    Raises
    ------
    SlideError
        If a prediction has another size or pixel size, or was made from another slide.
    """
    for prediction in predictions:
        _check(slide, prediction)
    names = list(slide.channel_names)
    for prediction in predictions:
        names += _free_names(prediction, names)
    dtype = np.result_type(*(one.dtype for one in (slide, *predictions)))
    finest = slide.levels[0]
    # in the chunks of the slide, so that none of them is decoded twice
    added = (one.levels[0].rechunk((1, *finest.chunks[1:])) for one in predictions)
    joined = da.concatenate([level.astype(dtype) for level in (finest, *added)])
    colors = list(channel_colors(slide.channel_names, is_brightfield=slide.is_brightfield))
    for prediction, colour in zip(predictions, prediction_colours(predictions), strict=True):
        colors += [colour.lstrip("#").upper(), *[_OTHER_COLOUR] * (len(prediction.channel_names) - 1)]
    whole = replace(slide, levels=(joined,), channel_names=tuple(names), stored_levels=1, is_brightfield=False)
    return whole, tuple(colors)


def _check(slide: Slide, prediction: Slide) -> None:
    names = prediction.source.name, slide.source.name
    if prediction.shape != slide.shape:
        sizes = [f"{one.shape[1]} x {one.shape[0]} px" for one in (prediction, slide)]
        raise SlideError(
            f"{names[0]} has {sizes[0]} and {names[1]} {sizes[1]}, expected one size: give a prediction of this slide."
        )
    sizes_um = [one for one in (prediction.pixel_size_um, slide.pixel_size_um) if one is not None]
    if len(sizes_um) == 2 and not np.allclose(sizes_um[0], sizes_um[1], rtol=_SAME_SIZE, atol=0):
        sizes = [f"{height:.4g} x {width:.4g} µm" for height, width in sizes_um]
        raise SlideError(
            f"{names[0]} has pixels of {sizes[0]} and {names[1]} of {sizes[1]}, expected one pixel size: give a "
            "prediction of this slide."
        )
    record = prediction_record(prediction.source)
    if record is None and slide_identity(prediction) == slide_identity(slide):
        raise SlideError(f"{names[0]} is the slide itself, expected a prediction of it: name a prediction.")
    if record is None:
        warn(f"{names[0]} has no record of a prediction: whether it belongs to {names[1]} is not known.")
    # a copy of the slide has another identity but the same pixels
    known = () if record is None else (record.slide, record.request.get(FINGERPRINT))
    if any(known) and slide_identity(slide) not in known and slide_fingerprint(slide) not in known:
        raise SlideError(
            f"{names[0]} was predicted from another slide than {names[1]}, or from it before it changed: give a "
            "prediction of this slide, or predict it again."
        )


def _free_names(prediction: Slide, taken: Sequence[str]) -> list[str]:
    """Names of the channels of a prediction that no other channel has."""
    record, source = prediction_record(prediction.source), slide_name(prediction.source)
    title = source if record is None or not record.title else record.title
    names: list[str] = []
    for name in prediction.channel_names:
        choices = chain([name, f"{name} ({title})"], (f"{name} ({title}, {number})" for number in count(2)))
        names.append(next(choice for choice in choices if choice not in {*taken, *names}))
    return names
