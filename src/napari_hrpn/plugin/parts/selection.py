"""Selection of a real channel and its predictions from any image layers; no pixels are read."""

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
    is_calibrated,
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
"""Plot colours of predictions whose record has none: Okabe and Ito's, which colour-blind readers can tell apart."""
_GANDA_COLOUR = _COLOURS[1]
_CHOICES: dict[int, _SharedChoice] = {}


@dataclass(frozen=True, eq=False)
class ComparedChannel:
    """One channel of a slide, shown by a layer, that is compared with others."""

    slide: Slide
    channel: int  # index in the slide
    name: str
    layer: Image
    # tiles of an unfinished prediction that were finished when it was chosen; only these are measured, and of several
    # predictions only those that all have
    tiles: FinishedTiles | None = None

    @property
    def key(self) -> Hashable:
        """Key under which its results are remembered; it does not keep the slide in memory."""
        return weakref.ref(self.slide), self.channel


@dataclass(frozen=True, eq=False)
class Pair:
    """A real channel and one or more predictions of it, all of one size in pixels."""

    real: ComparedChannel
    predictions: tuple[ComparedChannel, ...]  # in the order of the layer list


def in_common(channels: Sequence[ComparedChannel]) -> list[ComparedChannel]:
    """Restrict predictions that are compared with each other to the tiles that all of them have."""
    common = in_all(channel.tiles for channel in channels)
    if common is None:
        return list(channels)
    return [
        channel
        if channel.tiles is not None and channel.tiles.digest == common.digest
        else replace(channel, slide=replace(channel.slide, read_finished=lambda: common))
        for channel in channels
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
            # a running prediction has a record of its finished tiles, which is read when it is measured
            slide = replace(slide, read_finished=partial(finished_tiles, Path(store)))
    tiles = slide.finished
    if tiles is not None:
        # all measurements use these tiles, even if more are finished meanwhile
        slide = replace(slide, read_finished=lambda: tiles)
    return ComparedChannel(slide, channel, layer.name, layer, tiles)


def looks_predicted(layer: Image) -> bool:
    """Whether a layer shows a prediction, by its metadata or its names."""
    if is_prediction(layer) or _is_of_several(layer):
        return is_prediction(layer)
    return any(_PREDICTED_WORDS.search(name) for name in _names(layer))


def stained_slide(real: ComparedChannel, viewer: napari.Viewer) -> tuple[Slide, int]:
    """Return a slide with its other stains and the index of the channel; the stains may be in separate layers."""
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
        # images of the same size that do not lie on this one
        return real.slide, real.channel


def is_incomplete(layer: Image) -> bool:
    """Whether a prediction lacks tiles."""
    return not prediction_facts(layer).get("complete", True)


def unfinished_words(channel: ComparedChannel) -> str:
    """Sentence about the part of an unfinished prediction that is measured; empty for others."""
    if channel.tiles is not None:
        return f"{channel.name!r}: {channel.tiles.words}."
    return f"{channel.name!r} is not complete." if is_unrecorded(channel) else ""


def is_unrecorded(channel: ComparedChannel) -> bool:
    """Whether a prediction is not complete and has no record of its finished tiles."""
    return is_incomplete(channel.layer) and channel.slide.read_finished is None


def guess_real(layers: Sequence[Image]) -> Image | None:
    """The layer that most likely shows the real probe."""
    imaged = [layer for layer in layers if not looks_predicted(layer)]
    sizes = {pixel_shape(layer) for layer in layers if looks_predicted(layer)}
    probes = _probes(imaged)
    # a layer that is neither one channel of several nor named like a stain may show the probe; the first one counts
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
    """Whether the name of a layer is that of a nuclei or vessels stain."""
    roles = guess_roles([layer.name])
    return roles.nuclei is not None or roles.vessels is not None


def stands_for_real(candidates: Sequence[Image], predictions: Sequence[Image]) -> Image | None:
    """Choose a layer that stands for a slide that has predictions but no real probe."""
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
    # a calibrated prediction is compared if the user wants it: its regions would be left out of all others
    predicted = [layer for layer in same_size if looks_predicted(layer) and not is_calibrated(layer)]
    slide = slide_of(real)
    title = real.name if slide is None else slide_title(slide)
    of_this_slide = [layer for layer in predicted if any(name.startswith(title) for name in _names(layer))]
    if predicted:
        return of_this_slide or predicted
    # if there are only two loose images of one size, the other one must be the prediction
    return same_size if len(same_size) == 1 and slide_of(same_size[0]) is None else []


def _names(layer: Image) -> tuple[str, ...]:
    """Name of a layer, and of the file that it shows."""
    slide, store = slide_of(layer), prediction_facts(layer).get("path")
    files = (*(() if slide is None else (slide.source.name,)), *(() if store is None else (Path(store).name,)))
    return layer.name, *files


class _SharedChoice(QObject):
    """Choices of the user in any measuring widget of a viewer; no guess overrides them.

    `changed` is emitted when a choice changes.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.is_real_chosen = False
        self._real: weakref.ref[Image] | None = None
        self._region: str | weakref.ref[Layer] | None = None
        self.ticks: WeakKeyDictionary[Image, bool] = WeakKeyDictionary()
        self._colours: WeakKeyDictionary[Image, str] = WeakKeyDictionary()
        # the report bars of all measuring widgets, whose choices a report combines
        self.reporting: WeakSet[Any] = WeakSet()

    @property
    def real(self) -> Image | None:
        """The chosen real layer; None if none was chosen, or "none"."""
        return None if self._real is None else self._real()

    @property
    def region(self) -> str | Layer | None:
        """The chosen region; None if none was chosen."""
        return self._region() if isinstance(self._region, weakref.ref) else self._region

    def colour_of(self, layer: Image) -> str:
        """Colour of a prediction in plots: that of its record, else a free one, kept as long as its layer exists."""
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
        """Choose the real layer, or none."""
        self.is_real_chosen, self._real = True, None if layer is None else weakref.ref(layer)
        self.changed.emit()

    def tick(self, ticks: dict[Image, bool]) -> None:
        """Tick predictions, or clear their ticks."""
        self.ticks.update(ticks)
        self.changed.emit()

    def choose_region(self, region: str | Layer) -> None:
        """Choose a region."""
        self._region = region if isinstance(region, str) else weakref.ref(region)
        self.changed.emit()


def shared_choice(viewer: napari.Viewer) -> _SharedChoice:
    """Return the choices of a viewer, which all its widgets share."""
    # napari gives plugins proxies of the viewer, with one list of layers behind all of them
    layers = getattr(viewer.layers, "__wrapped__", viewer.layers)
    key = id(layers)
    if key not in _CHOICES:
        _CHOICES[key] = _SharedChoice()
        weakref.finalize(layers, _CHOICES.pop, key, None)
    return _CHOICES[key]
