"""Form for choosing the real channel and its predictions among the layers of the viewer."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakSet

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QListWidget, QListWidgetItem, QVBoxLayout, QWidget

from napari_hrpn.plugin.background import soon
from napari_hrpn.plugin.parts.forms import combo_box, offer, titled_rows
from napari_hrpn.plugin.parts.messages import ToneLabel
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
    shared_choice,
    stands_for_real,
    unfinished_words,
)
from napari_hrpn.plugin.parts.viewer_tools import ViewButtons
from napari_hrpn.plugin.viewer import pixel_shape, slide_from_layers, slide_of
from napari_hrpn.slides import SlideError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import napari
    from napari.layers import Image

    from napari_hrpn.slides import Slide

_NONE = "– none –"
_NO_PROBE = "No layer shows the imaged probe, so there is nothing to compare with: choose it under Real."
_ALONE = (
    "No layer shows the imaged probe: choose it under Real. Distributions and Penetration show the prediction alone."
)
_NO_IMAGE = "There is no single-channel image: open a slide and its prediction."
_LIST_ROWS = 3
_ICON_PX = 12
_LAYER = Qt.ItemDataRole.UserRole


class PairForm(QWidget):
    """Form for a real layer and predicted layers of its size; `changed` is emitted when the choice is another one."""

    changed = Signal()

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        # the real channel may be there without any prediction, and predictions without a real channel
        self.real: ComparedChannel | None = None
        self.predictions: tuple[ComparedChannel, ...] = ()
        # the same object as long as real channel and predictions stay the same
        self.pair: Pair | None = None
        # the real channel; if there is none, another one that lies on the predictions
        self.place: ComparedChannel | None = None
        # why there is no pair, in one sentence
        self.problem: str | None = None
        self._joined: tuple[list[ComparedChannel], tuple[ComparedChannel, ...]] = [], ()
        self._followed: WeakSet[Image] = WeakSet()
        self._channels: WeakKeyDictionary[Image, tuple[ComparedChannel, Slide | None]] = WeakKeyDictionary()
        self._choice = shared_choice(viewer)
        self.real_box = combo_box("Layer that shows the imaged probe")
        self.predicted_list = _PredictionList()
        self.note_label = ToneLabel()
        self.views = ViewButtons(viewer, self._shown_layers)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(titled_rows({"Real": self.real_box, "Predicted": self.predicted_list}))
        layout.addWidget(self.views)
        layout.addWidget(self.note_label)
        self._soon = soon(self, self.refresh)
        self.real_box.changed.connect(self._choose_real)
        self._choice.changed.connect(self._refresh_soon)
        self.predicted_list.itemChanged.connect(self._note_tick)
        for event in self._list_events():
            event.connect(self._refresh_soon)
        self.refresh()

    @property
    def is_settled(self) -> bool:
        """Whether all open layers are offered."""
        return not self._soon.isActive()

    def colour_of(self, channel: ComparedChannel) -> str:
        """Colour of a prediction in plots, the same in all dock widgets as long as its layer exists."""
        return self._choice.colour_of(channel.layer)

    def choose(self, real: Image, predictions: Sequence[Image]) -> None:
        """Choose as a user does."""
        self._choice.tick({layer: layer in predictions for layer in self._candidates()})
        self._choose_real(real)

    def look_again(self) -> None:
        """Use the tiles of unfinished predictions that have been finished since."""
        for prediction in self.predictions:
            if prediction.tiles is not None or is_incomplete(prediction.layer):
                tiles = compared_channel(prediction.layer).tiles, prediction.tiles
                now, before = (getattr(finished, "digest", None) for finished in tiles)
                if now != before:
                    self._channels.pop(prediction.layer, None)
                    self.refresh()

    def shut_down(self) -> None:
        """Disconnect from the viewer before the widget is deleted; a second call does nothing."""
        self._soon.stop()
        self.views.shut_down()
        with contextlib.suppress(RuntimeError, TypeError):
            self._choice.changed.disconnect(self._refresh_soon)
        for event in self._list_events():
            event.disconnect(self._refresh_soon)
        for layer in self._followed:
            layer.events.data.disconnect(self._forget)
            layer.events.metadata.disconnect(self._forget)

    def refresh(self) -> None:
        """Offer the layers that are open now."""
        candidates = self._candidates()
        for layer in candidates:
            # napari connects a callback only once
            layer.events.data.connect(self._forget)
            layer.events.metadata.connect(self._forget)
            self._followed.add(layer)
        chosen = self._choice.real
        is_chosen = self._choice.is_real_chosen and (chosen is None or chosen in candidates)
        layers: list[tuple[str, Image | None]] = [(layer.name, layer) for layer in candidates]
        offer(
            self.real_box, [*layers, (_NONE, None)] if layers else [], chosen if is_chosen else guess_real(candidates)
        )
        self._list_predictions(candidates)
        before = self.real, self.predictions, self.place, self.problem
        self._find(candidates)
        notes = [self.problem, *map(unfinished_words, self.predictions)]
        self.note_label.say(" ".join(filter(None, notes)))
        self.views.refresh()
        # channels are compared by identity: `channel` makes each of them once
        if (self.real, self.predictions, self.place, self.problem) != before:
            self.pair = Pair(self.real, self.predictions) if self.real is not None and self.predictions else None
            self.changed.emit()

    def _list_events(self) -> list[Any]:
        events = self._viewer.layers.events
        return [events.inserted, events.removed, events.renamed]

    def _refresh_soon(self, event: object = None) -> None:  # noqa: ARG002
        # a step of the user often adds or removes several layers
        self._soon.start()

    def _choose_real(self, layer: Image | None) -> None:
        self._choice.choose_real(layer)
        self.refresh()

    def _note_tick(self, item: QListWidgetItem) -> None:
        # the form is refreshed later: the list must not be refilled while it emits this signal
        self._choice.tick({item.data(_LAYER): item.checkState() == Qt.CheckState.Checked})

    def _candidates(self) -> list[Image]:
        return [layer for layer in self._viewer.layers if is_single_channel(layer)]

    def _forget(self, event: Any) -> None:  # noqa: ANN401 (napari's event)
        # a complete prediction becomes a slide, and new pixels make a new image
        self._channels.pop(event.source, None)
        self._soon.start()

    def _list_predictions(self, candidates: Sequence[Image]) -> None:
        real = self.real_box.value
        others = [layer for layer in candidates if layer is not real]
        predicted = [layer for layer in others if looks_predicted(layer)]
        guessed = predicted if real is None else guess_predictions(real, others)
        ticked = [layer for layer in predicted if self._choice.ticks.get(layer)]
        first = real or next(iter([*ticked, *predicted]), None)
        size = None if first is None else pixel_shape(first)
        others.sort(key=lambda layer: (pixel_shape(layer) != size, not looks_predicted(layer)))
        was_blocked = self.predicted_list.blockSignals(True)
        self.predicted_list.clear()
        for layer in others:
            fits = pixel_shape(layer) == size
            is_ticked = fits and self._choice.ticks.get(layer, layer in guessed)
            colour = self._choice.colour_of(layer) if is_ticked else None
            self.predicted_list.add_layer(layer, fits=fits, colour=colour)
        self.predicted_list.blockSignals(was_blocked)

    def _find(self, candidates: Sequence[Image]) -> None:
        """Make the channels of the chosen layers, or find out what is missing."""
        layer = self.real_box.value
        ticked = sorted(self.predicted_list.ticked(), key=self._viewer.layers.index)
        self.real = self.place = self.problem = None
        self.predictions = ()
        try:
            if layer is not None:
                self.real = self.place = self.channel(layer)
                self.problem = None if ticked else _why_none_is_ticked(layer, candidates)
                self.predictions = self._together(ticked)
            elif candidates:
                self.problem = _ALONE if ticked else _NO_PROBE
                self.predictions = self._together(ticked)
                by_layer = {channel.layer: channel for channel in self.predictions}
                place = stands_for_real(candidates, ticked)
                self.place = by_layer.get(place) or (None if place is None else self.channel(place))
            else:
                self.problem = self._why_no_image()
        except SlideError as error:
            self.problem = str(error)

    def _together(self, layers: Sequence[Image]) -> tuple[ComparedChannel, ...]:
        """Channels of predictions with their common tiles; the same objects as long as the layers are the same."""
        channels = [self.channel(layer) for layer in layers]
        if channels != self._joined[0]:
            self._joined = channels, tuple(in_common(channels))
        return self._joined[1]

    def _why_no_image(self) -> str:
        from napari.layers import Image

        unfit = next((layer for layer in self._viewer.layers if isinstance(layer, Image)), None)
        if unfit is not None:
            try:
                slide_from_layers([unfit], [unfit.name])
            except SlideError as error:
                return str(error)
        return _NO_IMAGE

    def channel(self, layer: Image) -> ComparedChannel:
        """The channel that a layer shows; the same object as long as it does not change."""
        slide = slide_of(layer)
        channel, source = self._channels.get(layer, (None, None))
        if channel is None or (slide is not None and slide is not source):
            channel = compared_channel(layer)
        elif channel.name != layer.name:
            channel = replace(channel, name=layer.name)
        self._channels[layer] = channel, slide
        return channel

    def _shown_layers(self) -> tuple[Image | None, Image | None]:
        """The real layer and the first prediction."""
        first = next(iter(self.predictions), None)
        return None if self.real is None else self.real.layer, None if first is None else first.layer


def _why_none_is_ticked(real: Image, candidates: Sequence[Image]) -> str:
    height, width = pixel_shape(real)
    if any(pixel_shape(layer) == (height, width) for layer in candidates if layer is not real):
        return f"No prediction of {real.name!r} is ticked: tick at least one."
    return f"No other layer has the {width} x {height} px of {real.name!r}: open or make its prediction."


class _PredictionList(QListWidget):
    """Checkable list of layers that may be predictions of a real one, each with the colour of its curve."""

    def __init__(self) -> None:
        super().__init__()
        self.setToolTip(
            "Predicted layers to compare with the real one: tick one or more.\nTheir curves have the colours shown here"
        )
        row_px = max(self.fontMetrics().height() + 6, 18)
        self.setFixedHeight(_LIST_ROWS * row_px + 6)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)

    def add_layer(self, layer: Image, *, fits: bool, colour: str | None) -> None:
        """Add a layer, which is ticked if it has a colour."""
        item = QListWidgetItem(layer.name)
        item.setData(_LAYER, layer)
        item.setCheckState(Qt.CheckState.Unchecked if colour is None else Qt.CheckState.Checked)
        item.setToolTip(layer.name)
        if not fits:
            height, width = pixel_shape(layer)
            item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsEnabled)
            item.setToolTip(f"{layer.name} has {width} x {height} px, not the size of the real layer")
        icon = QPixmap(_ICON_PX, _ICON_PX)
        icon.fill(QColor(colour or "transparent"))
        item.setIcon(QIcon(icon))
        self.addItem(item)

    def ticked(self) -> list[Image]:
        """Layers that are ticked, in the order of the list."""
        items = [self.item(row) for row in range(self.count())]
        return [item.data(_LAYER) for item in items if item is not None and item.checkState() == Qt.CheckState.Checked]
