"""Selection of a real channel and predictions of it, from layers whoever opened them; no pixels are read here."""

from __future__ import annotations

import re
import weakref
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakSet

from qtpy.QtCore import QObject, Signal

from napari_hrpn.plugin.viewer import (
    channel_of,
    is_helper,
    is_prediction,
    layer_colour,
    pixel_shape,
    prediction_facts,
    slide_from_layers,
    slide_of,
    slide_title,
)
from napari_hrpn.settings.networks import GANDA, NETWORKS
from napari_hrpn.slides import SlideError, finished_tiles, guess_roles, in_all

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    import napari
    from napari.layers import Image, Layer

    from napari_hrpn.slides import FinishedTiles, Slide

_PREDICTED_WORDS = re.compile("|".join(["predict", *NETWORKS]), re.IGNORECASE)
_COLOURS = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#d55e00")
"""Of predictions whose record names none, in plots; Okabe and Ito's, for people of all kinds of colour vision."""
_GANDA_COLOUR = _COLOURS[1]
_CHOICES: dict[int, _SharedChoice] = {}


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

    @property
    def key(self) -> Hashable:
        """What results of it are remembered by, which does not keep the slide in memory."""
        return weakref.ref(self.slide), self.channel


@dataclass(frozen=True, eq=False)
class Pair:
    """A real channel and one or more predictions of it, all of one size in pixels."""

    real: ComparedChannel
    predictions: tuple[ComparedChannel, ...]  # In the order of the layer list


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
    if is_prediction(layer) or _is_of_several(layer):
        return is_prediction(layer)
    return any(_PREDICTED_WORDS.search(name) for name in _names(layer))


def stained_slide(real: ComparedChannel, viewer: napari.Viewer) -> tuple[Slide, int]:
    """The slide of a channel with its other stains, which may be in layers that were not opened as one slide."""
    if slide_of(real.layer) is not None:
        return real.slide, real.channel
    loose = [
        layer
        for layer in viewer.layers
        if is_single_channel(layer)
        and pixel_shape(layer) == real.slide.shape
        and not looks_predicted(layer)
        and slide_of(layer) is None
        and layer is not real.layer
    ]
    layers = [real.layer, *loose]
    try:
        return slide_from_layers(layers, [layer.name for layer in layers]), 0
    except SlideError:
        # other images of this size, which lie elsewhere
        return real.slide, real.channel


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
    imaged = [layer for layer in layers if not looks_predicted(layer)]
    sizes = {pixel_shape(layer) for layer in layers if looks_predicted(layer)}
    probes = _probes(imaged)
    # layers that are no channel among others of a slide may be anything, and are taken in their order
    possible = [layer for layer in imaged if layer in probes or not (_is_of_several(layer) or _is_stain(layer))]
    return max(possible, key=lambda layer: (pixel_shape(layer) in sizes, layer in probes), default=None)


def _probes(layers: Sequence[Image]) -> list[Image]:
    loose = [layer for layer in layers if slide_of(layer) is None]
    named = guess_roles([layer.name for layer in loose]).probe
    found = [] if named is None else [loose[named]]
    for layer in layers:
        slide = slide_of(layer)
        if slide is not None and channel_of(layer) == guess_roles(slide.channel_names).probe is not None:
            found.append(layer)
    return found


def _is_of_several(layer: Image) -> bool:
    slide = slide_of(layer)
    return slide is not None and len(slide.channel_names) > 1


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
    if predicted:
        return of_this_slide or predicted
    # two loose images of one size: there is not much to guess
    return same_size if len(same_size) == 1 and slide_of(same_size[0]) is None else []


def _names(layer: Image) -> tuple[str, ...]:
    slide = slide_of(layer)
    return (layer.name,) if slide is None else (layer.name, slide.source.name)


class _SharedChoice(QObject):
    """What the user has chosen in any measuring panel of a viewer, which no guess overrules.

    `changed` says that something else is chosen.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.is_real_chosen = False
        self._real: weakref.ref[Image] | None = None
        self._region: str | weakref.ref[Layer] | None = None
        self.ticks: WeakKeyDictionary[Image, bool] = WeakKeyDictionary()
        self._colours: WeakKeyDictionary[Image, str] = WeakKeyDictionary()
        # what writes a report of what is chosen in one of the panels
        self.reporting: WeakSet[Any] = WeakSet()

    @property
    def real(self) -> Image | None:
        """The real layer; None where none was chosen, or "none"."""
        return None if self._real is None else self._real()

    @property
    def region(self) -> str | Layer | None:
        """Where is measured; None where nothing was chosen."""
        return self._region() if isinstance(self._region, weakref.ref) else self._region

    def colour_of(self, layer: Image) -> str:
        """Colour of a prediction in plots: that of its record, else one of its own while its layer is there."""
        recorded = layer_colour(layer)
        if recorded is not None:
            return recorded
        if layer not in self._colours:
            taken = set(self._colours.values())
            is_ganda = GANDA.name in layer.name.casefold()
            order = sorted(_COLOURS, key=lambda colour: (colour == _GANDA_COLOUR) != is_ganda)
            self._colours[layer] = next((colour for colour in order if colour not in taken), _COLOURS[0])
        return self._colours[layer]

    def choose_real(self, layer: Image | None) -> None:
        """Take a layer for the real one, or none."""
        self.is_real_chosen, self._real = True, None if layer is None else weakref.ref(layer)
        self.changed.emit()

    def tick(self, ticks: dict[Image, bool]) -> None:
        """Take predictions, and leave others out."""
        self.ticks.update(ticks)
        self.changed.emit()

    def choose_region(self, region: str | Layer) -> None:
        """Take a region."""
        self._region = region if isinstance(region, str) else weakref.ref(region)
        self.changed.emit()


def shared_choice(viewer: napari.Viewer) -> _SharedChoice:
    """The choice of a viewer."""
    # a plugin may be handed a proxy of the viewer; there is one list of layers behind all of them
    layers = getattr(viewer.layers, "__wrapped__", viewer.layers)
    key = id(layers)
    if key not in _CHOICES:
        _CHOICES[key] = _SharedChoice()
        weakref.finalize(layers, _CHOICES.pop, key, None)
    return _CHOICES[key]
