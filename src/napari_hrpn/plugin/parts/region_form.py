"""Where is measured: in the tissue, in the whole frame, or in regions that somebody drew."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QWidget

from napari_hrpn.plugin.parts.choice_box import ChoiceBox
from napari_hrpn.plugin.parts.shared_choice import shared_choice
from napari_hrpn.plugin.parts.tasks import who
from napari_hrpn.plugin.viewer import KEY
from napari_hrpn.plugin.viewer.drawn_regions import drawn_regions
from napari_hrpn.plugin.viewer.layer_watcher import RegionLayers

if TYPE_CHECKING:
    from collections.abc import Hashable

    import napari
    from napari.layers import Layer

    from napari_hrpn.plugin.parts.compared_region import Wanted
    from napari_hrpn.plugin.parts.selection import ComparedChannel
    from napari_hrpn.plugin.parts.tissue_mask import Tissue

TISSUE, FRAME = "tissue", "frame"
_EDIT = "Show the tissue as a Labels layer; what you paint or erase there is used"


class RegionForm(QWidget):
    """Asks for a region; `changed` says that another one was chosen or that it was edited.

    The tissue is offered while it is known or looked for, and is what is chosen unless somebody chooses otherwise.
    """

    changed = Signal()

    def __init__(self, viewer: napari.Viewer, tissue: Tissue, tooltip: str, *, has_drawn: bool) -> None:
        super().__init__()
        self._viewer, self._tissue = viewer, tissue
        self._edits: Counter[int] = Counter()
        self._numbers: WeakKeyDictionary[Layer, int] = WeakKeyDictionary()
        self._layers = RegionLayers(viewer)
        self._has_drawn = has_drawn
        self._choice = shared_choice(viewer)
        self.box = ChoiceBox(tooltip)
        self.edit_button = QPushButton("Edit tissue")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.box, 1)
        layout.addWidget(self.edit_button)
        self._offer()
        self._layers.listed.connect(self._offer)
        self._layers.edited.connect(self._note_edit)
        self._tissue.changed.connect(self._offer)
        for signal in (self.box.activated, self.box.changed):
            signal.connect(self._note_choice)
        self._choice.changed.connect(self._offer)
        self.edit_button.clicked.connect(self._tissue.show_layer)

    @property
    def value(self) -> str | Layer:
        """`TISSUE`, `FRAME`, or a layer with regions."""
        value: str | Layer = self.box.value
        return value

    @property
    def title(self) -> str:
        """What the region is called."""
        return str(self.box.currentText())

    @property
    def key(self) -> Hashable:
        """Another one for other pixels of a slide."""
        value = self.value
        if value == TISSUE:
            mask = self._tissue.mask
            return TISSUE, None if mask is None else mask.digest
        if value == FRAME:
            return FRAME
        return who(value), self._edits[self._number(value)], self._edits[0]

    @property
    def is_waiting(self) -> bool:
        """Whether the tissue is wanted and still being looked for."""
        return self.value == TISSUE and self._tissue.mask is None

    @property
    def is_settled(self) -> bool:
        """Whether it offers all that is there."""
        return self._layers.is_settled

    def wanted(self, real: ComparedChannel) -> Wanted:
        """What is chosen, in pixels of the real slide."""
        value = self.value
        if value == FRAME:
            return None
        return self._tissue.mask if value == TISSUE else drawn_regions(value, real.slide, real.layer, self._viewer)

    def shut_down(self) -> None:
        """Follow the viewer no more."""
        self._layers.stop()
        with contextlib.suppress(RuntimeError, TypeError):
            self._choice.changed.disconnect(self._offer)

    def _offer(self) -> None:
        has_mask = self._tissue.mask is not None
        choices: list[tuple[str, Any]] = [("Tissue", TISSUE)] if has_mask or self._tissue.is_busy else []
        choices.append(("Whole frame", FRAME))
        choices += [(f"ROI: {name}", layer) for name, layer in self._drawn_layers()]
        chosen = self._choice.region
        before = self.value
        was_blocked = self.box.blockSignals(True)
        is_there = any(value is chosen or value == chosen for _, value in choices)
        self.box.offer(choices, chosen if is_there else TISSUE, keep=False)
        self.box.blockSignals(was_blocked)
        if self.value is not before:
            self.changed.emit()
        self.edit_button.setEnabled(has_mask and self._tissue.layer is None)
        self.edit_button.setToolTip(_EDIT if has_mask else self._tissue.problem or _EDIT)

    def _drawn_layers(self) -> list[tuple[str, Layer]]:
        """Those of other people: what has our mark is a result."""
        return [
            (name, layer) for name, layer in self._layers.choices() if self._has_drawn and KEY not in layer.metadata
        ]

    def _note_choice(self, _: object = None) -> None:
        self._choice.choose_region(self.value)
        self.changed.emit()

    def _note_edit(self, layer: Layer | None) -> None:
        # 0 stands for all: something was moved
        self._edits[0 if layer is None else self._number(layer)] += 1
        if layer is None or layer is self.value:
            self.changed.emit()

    def _number(self, layer: Layer) -> int:
        return self._numbers.setdefault(layer, len(self._numbers) + 1)
