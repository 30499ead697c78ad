"""Form for the region that is measured: the tissue, the whole frame, or drawn regions."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from magicgui.widgets import PushButton
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QWidget

from napari_hrpn.plugin.parts.forms import combo_box, offer
from napari_hrpn.plugin.parts.measure_bar import who
from napari_hrpn.plugin.parts.selection import shared_choice
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
_EDIT = "Show the tissue as a Labels layer; paint or erase there to change it"


class RegionForm(QWidget):
    """Form for a region; `changed` is emitted when another one is chosen or it is edited.

    The tissue is offered while it is known or searched for, and is the default.
    """

    changed = Signal()

    def __init__(self, viewer: napari.Viewer, tissue: Tissue, tooltip: str, *, has_drawn: bool) -> None:
        super().__init__()
        self._viewer, self._tissue, self._has_drawn = viewer, tissue, has_drawn
        self._edits: WeakKeyDictionary[Layer, int] = WeakKeyDictionary()
        self._moves = 0
        self._layers = RegionLayers(viewer)
        self._choice = shared_choice(viewer)
        self.box = combo_box(tooltip)
        self.edit_button = PushButton(text="Edit tissue")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.box.native, 1)
        layout.addWidget(self.edit_button.native)
        self._offer()
        for signal in (self._layers.listed, self._tissue.changed, self._choice.changed):
            signal.connect(self._offer)
        self._layers.edited.connect(self._note_edit)
        self.box.changed.connect(self._note_choice)
        # choosing the current region again makes it the user's choice, which no guess replaces
        self.box.native.activated.connect(self._note_choice)
        self.edit_button.changed.connect(self._tissue.show_layer)

    @property
    def value(self) -> str | Layer:
        """`TISSUE`, `FRAME`, or a layer with regions."""
        value: str | Layer = self.box.value
        return value

    @property
    def title(self) -> str:
        """Name of the region."""
        return str(self.box.current_choice)

    @property
    def key(self) -> Hashable:
        """Key for results: it differs for every other choice and after every edit."""
        value, mask = self.value, self._tissue.mask
        if isinstance(value, str):
            return value, None if value == FRAME or mask is None else mask.digest
        return who(value), self._edits.get(value, 0), self._moves

    @property
    def is_waiting(self) -> bool:
        """Whether the tissue is chosen and not known yet."""
        return self.value == TISSUE and self._tissue.mask is None

    @property
    def is_settled(self) -> bool:
        """Whether all layers with regions are offered."""
        return self._layers.is_settled

    def wanted(self, real: ComparedChannel) -> Wanted:
        """The chosen region in pixels of the real slide; None for the whole frame."""
        value = self.value
        if isinstance(value, str):
            return self._tissue.mask if value == TISSUE else None
        return drawn_regions(value, real.slide, real.layer, self._viewer)

    def shut_down(self) -> None:
        """Disconnect from the viewer."""
        self._layers.stop()
        with contextlib.suppress(RuntimeError, TypeError):
            self._choice.changed.disconnect(self._offer)

    def _offer(self) -> None:
        has_mask, before = self._tissue.mask is not None, self.value
        choices: list[tuple[str, Any]] = [("Tissue", TISSUE)] if has_mask or self._tissue.is_busy else []
        choices.append(("Whole frame", FRAME))
        # layers with our metadata are results, such as a vessel mask
        drawn = [choice for choice in self._layers.choices() if self._has_drawn and KEY not in choice[1].metadata]
        choices += [(f"ROI: {name}", layer) for name, layer in drawn]
        chosen = self._choice.region
        offer(self.box, choices, chosen if chosen in [value for _, value in choices] else TISSUE)
        self.edit_button.enabled = has_mask and self._tissue.layer is None
        self.edit_button.tooltip = _EDIT if has_mask else self._tissue.problem or _EDIT
        if self.value is not before:
            self.changed.emit()

    def _note_choice(self, _: object = None) -> None:
        self._choice.choose_region(self.value)
        self.changed.emit()

    def _note_edit(self, layer: Layer | None) -> None:
        if layer is None:
            self._moves += 1
        else:
            self._edits[layer] = self._edits.get(layer, 0) + 1
        if layer is None or layer is self.value:
            self.changed.emit()
