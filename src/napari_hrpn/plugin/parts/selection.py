"""A real channel and its predictions, from layers whoever opened them; pixels are not read here."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from napari_hrpn.plugin.viewer import (
    channel_of,
    is_helper,
    is_prediction,
    pixel_shape,
    prediction_facts,
    slide_from_layers,
    slide_of,
    slide_title,
)
from napari_hrpn.slides import finished_tiles, guess_roles, in_all

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Image, Layer

    from napari_hrpn.slides import FinishedTiles, Slide

_PREDICTED_WORDS = re.compile(r"predict|hrpn|ganda", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class ComparedChannel:
    """A channel that is compared."""

    slide: Slide
    channel: int  # Which of its channels
    name: str
    layer: Image
    # Tiles of an unfinished prediction that were there when it was looked at. The slide counts these alone; in a
    # pair, those that all predictions have
    tiles: FinishedTiles | None = None


@dataclass(frozen=True, eq=False)
class Pair:
    """A real channel and one or more predictions of it, all of one size in pixels."""

    real: ComparedChannel
    predictions: tuple[ComparedChannel, ...]  # What was predicted, in the order of the layer list


def in_common(channels: Sequence[ComparedChannel]) -> list[ComparedChannel]:
    """Predictions that are compared with each other, each with the tiles alone that all of them have."""
    common = in_all(one.tiles for one in channels)
    if common is None:
        return list(channels)
    return [
        one
        if one.tiles is not None and one.tiles.digest == common.digest
        else replace(one, slide=replace(one.slide, read_finished=lambda: common))
        for one in channels
    ]


def is_single_channel(layer: Layer) -> bool:
    """Whether a layer is a two-dimensional image of one channel."""
    from napari.layers import Image

    return isinstance(layer, Image) and layer.ndim == 2 and not layer.rgb and not is_helper(layer)


def compared_channel(layer: Image) -> ComparedChannel:
    """The channel that a layer shows."""
    slide, channel = slide_of(layer), channel_of(layer)
    if slide is None or channel is None:
        slide, channel = slide_from_layers([layer], [layer.name]), 0
        if is_incomplete(layer) and (store := prediction_facts(layer).get("path")):
            # the record of a prediction that is being made is read when it is measured
            slide = replace(slide, read_finished=partial(finished_tiles, Path(store)))
    tiles = slide.finished
    if tiles is not None:
        # all that is measured of it is of the same tiles, whatever comes meanwhile
        slide = replace(slide, read_finished=lambda: tiles)
    return ComparedChannel(slide, channel, layer.name, layer, tiles)


def looks_predicted(layer: Image) -> bool:
    """Whether a layer shows a prediction, as far as it and its names tell."""
    slide = slide_of(layer)
    if slide is not None and len(slide.channel_names) > 1:
        return is_prediction(layer)
    return is_prediction(layer) or bool(_PREDICTED_WORDS.search(f"{layer.name} {_source_name(layer)}"))


def loose_layers(layers: Sequence[Layer], size: tuple[int, int]) -> list[Image]:
    """Layers that may show stains of a slide that was not opened as one."""
    return [
        layer
        for layer in layers
        if is_single_channel(layer)
        and pixel_shape(layer) == size
        and not looks_predicted(layer)
        and slide_of(layer) is None
    ]


def is_incomplete(layer: Image) -> bool:
    """Whether a prediction still has, or was left with, tiles that are missing."""
    return not prediction_facts(layer).get("complete", True)


def unfinished_words(channel: ComparedChannel) -> str:
    """What of an unfinished prediction is measured."""
    if channel.tiles is not None:
        return f"{channel.name!r}: {channel.tiles.words}."
    return f"{channel.name!r} is not complete." if is_unrecorded(channel) else ""


def is_unrecorded(channel: ComparedChannel) -> bool:
    """Whether a prediction is not complete, and nothing tells which of its tiles are there."""
    return is_incomplete(channel.layer) and channel.slide.read_finished is None


def guess_real(layers: Sequence[Image]) -> Image | None:
    """The layer that most likely shows the real probe."""
    measured = [layer for layer in layers if not looks_predicted(layer)]
    sizes = {pixel_shape(layer) for layer in layers if looks_predicted(layer)}
    probes = _probes(measured)
    # several images that were opened apart may be anything, and are taken in their order
    own = [layer for layer in measured if layer in probes or (_is_apart(layer) and not _is_stain(layer))]
    return max(own, key=lambda layer: (pixel_shape(layer) in sizes, layer in probes), default=None)


def _probes(layers: Sequence[Image]) -> list[Image]:
    loose = [layer for layer in layers if slide_of(layer) is None]
    named = guess_roles([layer.name for layer in loose]).probe
    found = [] if named is None else [loose[named]]
    for layer in layers:
        slide = slide_of(layer)
        if slide is not None and channel_of(layer) == guess_roles(slide.channel_names).probe is not None:
            found.append(layer)
    return found


def _is_apart(layer: Image) -> bool:
    """Whether it is no channel among others of a slide."""
    slide = slide_of(layer)
    return slide is None or len(slide.channel_names) == 1


def _is_stain(layer: Image) -> bool:
    """Whether its name says that it shows nuclei or vessels."""
    roles = guess_roles([layer.name])
    return roles.nuclei is not None or roles.vessels is not None


def stands_for_real(candidates: Sequence[Image], predictions: Sequence[Image]) -> Image | None:
    """A layer that says where a slide is that has predictions and no real probe."""
    stains = [
        layer
        for layer in candidates
        if predictions and pixel_shape(layer) == pixel_shape(predictions[0]) and not looks_predicted(layer)
    ]
    first = [layer for layer in stains if predictions[0] in guess_predictions(layer, predictions)]
    return next(iter([*first, *predictions]), None)


def guess_predictions(real: Image, others: Sequence[Image]) -> list[Image]:
    """The layers that most likely show predictions of a channel."""
    same_size = [layer for layer in others if layer is not real and pixel_shape(layer) == pixel_shape(real)]
    predicted = [layer for layer in same_size if looks_predicted(layer)]
    slide = slide_of(real)
    title = real.name if slide is None else slide_title(slide)
    of_this_slide = [layer for layer in predicted if any(name.startswith(title) for name in _names(layer))]
    if of_this_slide or predicted:
        return of_this_slide or predicted
    # two loose images of one size: there is not much to guess
    return same_size if len(same_size) == 1 and slide_of(same_size[0]) is None else []


def _names(layer: Image) -> tuple[str, str]:
    return layer.name, _source_name(layer)


def _source_name(layer: Image) -> str:
    slide = slide_of(layer)
    return "" if slide is None else slide.source.name
