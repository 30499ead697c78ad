"""Which real channel is compared with which predictions; follows what is open in the viewer."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_hrpn.plugin.background import soon
from napari_hrpn.plugin.parts.choice_box import ChoiceBox
from napari_hrpn.plugin.parts.form_rows import add_row, form_layout
from napari_hrpn.plugin.parts.messages import ToneLabel
from napari_hrpn.plugin.parts.prediction_list import LAYER, PredictionList
from napari_hrpn.plugin.parts.selection import (
    ComparedChannel,
    Pair,
    compared_channel,
    guess_predictions,
    guess_real,
    in_common,
    is_incomplete,
    is_single_channel,
    looks_predicted,
    stands_for_real,
    unfinished_words,
)
from napari_hrpn.plugin.parts.shared_choice import shared_choice
from napari_hrpn.plugin.parts.view_buttons import ViewButtons
from napari_hrpn.plugin.viewer import pixel_shape, slide_from_layers, slide_of
from napari_hrpn.slides import SlideError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import napari
    from napari.layers import Image, Layer
    from qtpy.QtWidgets import QListWidgetItem

    from napari_hrpn.slides import Slide

_NONE = "– none –"
_NO_PROBE = "No layer shows the probe as it was imaged, so there is nothing to compare with: choose it under Real."
_ALONE = (
    "No layer shows the probe as it was imaged: choose it under Real. Distributions and Penetration show the "
    "prediction alone."
)
_NO_IMAGE = "There is no image of one channel: open a slide and its prediction."


class PairForm(QWidget):
    """Asks for a real layer and for predicted ones of its size.

    `changed` says that `pair`, `real` or `problem` are others now.
    """

    changed = Signal()

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._real: ComparedChannel | None = None
        self._pair: Pair | None = None
        self._alone: tuple[ComparedChannel, ...] = ()
        self._place: ComparedChannel | None = None
        self._apart: list[ComparedChannel] = []
        self._joined: tuple[ComparedChannel, ...] = ()
        self._problem: str | None = None
        self._followed: dict[Image, tuple[str, ...]] = {}
        self._wrapped: WeakKeyDictionary[Image, tuple[ComparedChannel, Slide | None]] = WeakKeyDictionary()
        self._choice = shared_choice(viewer)
        self.real_box = ChoiceBox("Layer that shows the probe as it was imaged")
        self.predicted_list = PredictionList()
        self.note_label = ToneLabel()
        self.views = ViewButtons(viewer, self._shown_layers)
        self._lay_out()
        self._soon = soon(self, self.refresh)
        self._connect()
        self.refresh()

    @property
    def pair(self) -> Pair | None:
        """What is to be compared; None where there is a problem."""
        return self._pair

    @property
    def real(self) -> ComparedChannel | None:
        """The real channel, which may be there without any prediction; None where there is none to measure."""
        return self._real

    @property
    def predictions(self) -> tuple[ComparedChannel, ...]:
        """What is ticked, with a real channel or alone."""
        return self._alone if self._pair is None else self._pair.predictions

    @property
    def place(self) -> ComparedChannel | None:
        """The real channel; where there is none, another one that lies where the predictions do."""
        return self._place

    @property
    def problem(self) -> str | None:
        """Why there is no pair, in one sentence."""
        return self._problem

    @property
    def is_settled(self) -> bool:
        """Whether it offers all that is open."""
        return not self._soon.isActive()

    def colour_of(self, channel: ComparedChannel) -> str:
        """Colour of a prediction in plots, the same in all panels as long as its layer is there."""
        return self._choice.colour_of(channel.layer)

    def choose(self, real: Image, predictions: Sequence[Image]) -> None:
        """Choose as a user does."""
        self._choice.tick({layer: layer in predictions for layer in self._candidates()})
        self._choice.choose_real(real)
        self.refresh()

    def look_again(self) -> None:
        """Take the tiles of unfinished predictions that are there now."""
        for one in self.predictions:
            if one.tiles is not None or is_incomplete(one.layer):
                now, before = (
                    None if tiles is None else tiles.digest for tiles in (compared_channel(one.layer).tiles, one.tiles)
                )
                if now != before:
                    self._wrapped.pop(one.layer, None)
                    self.refresh()

    def shut_down(self) -> None:
        """Listen to the viewer no more, before the widget goes away; called again, it does nothing."""
        self._soon.stop()
        self.views.shut_down()
        with contextlib.suppress(RuntimeError, TypeError):
            self._choice.changed.disconnect(self._refresh_soon)
        events = self._viewer.layers.events
        for event in (events.inserted, events.removed, events.renamed):
            event.disconnect(self._refresh_soon)
        for layer in list(self._followed):
            self._leave(layer)

    def refresh(self) -> None:
        """Offer what is open now."""
        candidates = self._candidates()
        self._follow(candidates)
        chosen = self._choice.real
        is_chosen = self._choice.is_real_chosen and (chosen is None or chosen in candidates)
        was_blocked = self.real_box.blockSignals(True)
        self.real_box.offer(
            [(layer.name, layer) for layer in candidates] + ([(_NONE, None)] if candidates else []),
            chosen if is_chosen else guess_real(candidates),
            keep=False,
        )
        self.real_box.blockSignals(was_blocked)
        self._list_predictions(candidates)
        self._update()

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        rows = QWidget()
        form = form_layout(rows)
        add_row(form, "Real", self.real_box)
        add_row(form, "Predicted", self.predicted_list)
        for widget in (rows, self.views, self.note_label):
            layout.addWidget(widget)

    def _connect(self) -> None:
        self.real_box.changed.connect(self._note_choice)
        self._choice.changed.connect(self._refresh_soon)
        self.predicted_list.itemChanged.connect(self._note_tick)
        events = self._viewer.layers.events
        # several layers come and go in one step
        for event in (events.inserted, events.removed, events.renamed):
            event.connect(self._refresh_soon)

    def _refresh_soon(self, event: object = None) -> None:  # noqa: ARG002
        self._soon.start()

    def _note_choice(self) -> None:
        self._choice.choose_real(self.real_box.value)
        self.refresh()

    def _note_tick(self, item: QListWidgetItem) -> None:
        # shown later: the list must not be filled anew while it tells of a tick
        self._choice.tick({item.data(LAYER): item.checkState() == Qt.CheckState.Checked})

    def _candidates(self) -> list[Image]:
        return [layer for layer in self._viewer.layers if is_single_channel(layer)]

    def _follow(self, candidates: Sequence[Image]) -> None:
        for layer in [layer for layer in self._followed if layer not in candidates]:
            self._leave(layer)
        for layer in candidates:
            if layer not in self._followed:
                self._followed[layer] = ("data", "metadata")
                for name in self._followed[layer]:
                    getattr(layer.events, name).connect(self._forget)

    def _leave(self, layer: Layer) -> None:
        for name in self._followed.pop(layer):
            getattr(layer.events, name).disconnect(self._forget)

    def _forget(self, event: Any) -> None:  # noqa: ANN401 (napari's event)
        # a prediction that is complete becomes a slide, and other pixels are another image
        self._wrapped.pop(event.source, None)
        self._soon.start()

    def _list_predictions(self, candidates: Sequence[Image]) -> None:
        real = self.real_box.value
        others = [layer for layer in candidates if layer is not real]
        predicted = [layer for layer in others if looks_predicted(layer)]
        guessed = predicted if real is None else guess_predictions(real, others)
        ticked = [layer for layer in predicted if self._choice.ticks.get(layer)]
        first = real or next(iter([*ticked, *predicted]), None)
        own_size = None if first is None else pixel_shape(first)
        others.sort(key=lambda layer: (pixel_shape(layer) != own_size, not looks_predicted(layer)))
        was_blocked = self.predicted_list.blockSignals(True)
        self.predicted_list.clear()
        for layer in others:
            fits = pixel_shape(layer) == own_size
            is_ticked = fits and self._choice.ticks.get(layer, layer in guessed)
            colour = self._choice.colour_of(layer) if is_ticked else None
            self.predicted_list.add_layer(layer, fits=fits, colour=colour)
        self.predicted_list.blockSignals(was_blocked)

    def _update(self) -> None:
        before = self._pair, self._real, self._place, self._alone, self._problem
        self._pair = self._real = self._place = self._problem = None
        self._alone = ()
        try:
            self._find()
        except SlideError as error:
            self._problem = str(error)
        found = self.pair
        if found is not None and _is_same(found, before[0]):
            self._pair = before[0]
        self._show_note()
        self.views.refresh()
        # channels are compared by identity: each is made once
        if (self._pair, self._real, self._place, self._alone, self._problem) != before:
            self.changed.emit()

    def _find(self) -> None:
        """Set the pair, or what there is of it, and raise what is missing."""
        layer = self.real_box.value
        if layer is not None:
            self._real = self._place = self._channel(layer)
            self._pair = Pair(self._real, self._found_predictions(layer))
            return
        if not self._candidates():
            raise SlideError(self._no_image())
        ticked = sorted(self.predicted_list.ticked(), key=self._viewer.layers.index)
        self._alone = self._together([self._channel(one) for one in ticked])
        place = stands_for_real(self._candidates(), ticked)
        joined = {one.layer: one for one in self._alone}
        self._place = None if place is None else joined.get(place) or self._channel(place)
        raise SlideError(_ALONE if ticked else _NO_PROBE)

    def _found_predictions(self, real: Image) -> tuple[ComparedChannel, ...]:
        ticked = sorted(self.predicted_list.ticked(), key=self._viewer.layers.index)
        if not ticked:
            height, width = pixel_shape(real)
            others = [layer for layer in self._candidates() if layer is not real]
            if any(pixel_shape(layer) == (height, width) for layer in others):
                raise SlideError(f"No prediction of {real.name!r} is ticked: tick one at least.")
            there = f"There is no other layer of the {width} x {height} px of {real.name!r}"
            raise SlideError(f"{there}: open or make its prediction.")
        return self._together([self._channel(layer) for layer in ticked])

    def _together(self, channels: list[ComparedChannel]) -> tuple[ComparedChannel, ...]:
        """What of the channels is compared, the same objects for the same ones."""
        if channels != self._apart:
            self._apart, self._joined = channels, tuple(in_common(channels))
        return self._joined

    def _no_image(self) -> str:
        from napari.layers import Image

        unfit = next((layer for layer in self._viewer.layers if isinstance(layer, Image)), None)
        if unfit is not None:
            try:
                slide_from_layers([unfit], [unfit.name])
            except SlideError as error:
                return str(error)
        return _NO_IMAGE

    def _channel(self, layer: Image) -> ComparedChannel:
        own = slide_of(layer)
        known, source = self._wrapped.get(layer, (None, None))
        if known is None or (own is not None and own is not source):
            known = compared_channel(layer)
        elif known.name != layer.name:
            known = replace(known, name=layer.name)
        self._wrapped[layer] = known, own
        return known

    def _shown_layers(self) -> tuple[Image | None, Image | None]:
        """The real layer and the first prediction."""
        predicted = next(iter(self.predictions), None)
        return None if self._real is None else self._real.layer, None if predicted is None else predicted.layer

    def _show_note(self) -> None:
        told = [self._problem, *(unfinished_words(one) for one in self.predictions)]
        self.note_label.say(" ".join(filter(None, told)))


def _is_same(one: Pair, other: Pair | None) -> bool:
    if other is None:
        return False
    channels, others = ((pair.real, *pair.predictions) for pair in (one, other))
    return len(channels) == len(others) and all(a is b for a, b in zip(channels, others, strict=True))
