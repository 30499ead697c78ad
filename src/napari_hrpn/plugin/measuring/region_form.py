"""Where is measured: in the tissue, in the whole frame, or in regions that somebody drew."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QWidget

from napari_hrpn.plugin.forms.choice_box import ChoiceBox
from napari_hrpn.plugin.layers import KEY
from napari_hrpn.plugin.layers.drawn_regions import drawn_regions
from napari_hrpn.plugin.layers.region_layers import RegionLayers
from napari_hrpn.plugin.measuring.parts import who

if TYPE_CHECKING:
    from collections.abc import Hashable

    import napari
    from napari.layers import Layer

    from napari_hrpn.plugin.comparison import ComparedChannel, Tissue
    from napari_hrpn.plugin.layers.drawn_regions import Drawn

TISSUE, FRAME = "tissue", "frame"
PARTS = [("Tissue", TISSUE), ("Whole frame", FRAME)]


class RegionForm(QWidget):
    """Asks for a region; `changed` says that another one was chosen or that it was edited.

    Parameters
    ----------
    viewer : napari.Viewer
        Where regions are drawn.
    tissue : Tissue
        Of the real slide.
    tooltip : str
        What the region is for.
    has_drawn : bool
        Whether regions that somebody drew are offered too.
    """

    changed = Signal()

    def __init__(self, viewer: napari.Viewer, tissue: Tissue, tooltip: str, *, has_drawn: bool) -> None:
        super().__init__()
        self._viewer, self._tissue = viewer, tissue
        self._edits: Counter[int] = Counter()
        self._numbers: WeakKeyDictionary[Layer, int] = WeakKeyDictionary()
        self._layers = RegionLayers(viewer)
        self._has_drawn = has_drawn
        self.box = ChoiceBox(tooltip)
        self.edit_button = QPushButton("Edit tissue")
        self.edit_button.setToolTip("Show the tissue as a Labels layer; what you paint or erase there is used")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.box, 1)
        layout.addWidget(self.edit_button)
        self._offer()
        self._layers.listed.connect(self._offer)
        self._layers.edited.connect(self._note_edit)
        self.box.changed.connect(self.changed)
        self.edit_button.clicked.connect(self._tissue.show_layer)

    @property
    def value(self) -> str | Layer:
        """`TISSUE`, `FRAME`, or a layer with regions."""
        value: str | Layer = self.box.value
        return value

    def drawn(self, real: ComparedChannel) -> tuple[Drawn, Hashable]:
        """The drawn regions, all of the layer together, and a mark that changes with them.

        Parameters
        ----------
        real : ComparedChannel
            On which they lie.

        Returns
        -------
        tuple
            For `region_part`.

        Raises
        ------
        SlideError
            If no region lies on the slide, or a shape has no area.
        """
        layer = self.value
        mark = who(layer), self._edits[self._number(layer)], self._edits[0]
        return drawn_regions(layer, real.slide, real.layer, self._viewer), mark

    def shut_down(self) -> None:
        """Follow the viewer no more."""
        self._layers.stop()

    def _offer(self) -> None:
        drawn = [
            (name, layer) for name, layer in self._layers.choices() if self._has_drawn and KEY not in layer.metadata
        ]
        self.box.offer([*PARTS, *((f"In {name!r}", layer) for name, layer in drawn)], TISSUE)

    def _note_edit(self, layer: Layer | None) -> None:
        # 0 stands for all: something was moved
        self._edits[0 if layer is None else self._number(layer)] += 1
        if layer is None or layer is self.value:
            self.changed.emit()

    def _number(self, layer: Layer) -> int:
        return self._numbers.setdefault(layer, len(self._numbers) + 1)
