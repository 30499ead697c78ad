"""What is chosen at the head of the measuring panels: one choice for all panels of a viewer, remembered with it."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakSet

from qtpy.QtCore import QObject, Signal

from napari_hrpn.plugin.viewer import layer_colour
from napari_hrpn.settings.networks import GANDA

if TYPE_CHECKING:
    import napari
    from napari.layers import Image, Layer

_COLOURS = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#d55e00")
"""Of predictions whose record names none, in plots; Okabe and Ito's, for people of all kinds of colour vision."""

_CHOICES: dict[int, _SharedChoice] = {}


class _SharedChoice(QObject):
    """What the user has said, which no guess overrules.

    `changed` says that a panel has another choice.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.is_real_chosen = False
        self._real: weakref.ref[Image] | None = None
        self.ticks: WeakKeyDictionary[Image, bool] = WeakKeyDictionary()
        self._colours: WeakKeyDictionary[Image, str] = WeakKeyDictionary()
        self._region: str | weakref.ref[Layer] | None = None
        # what writes a report of what is chosen in one of the panels
        self.reporting: WeakSet[Any] = WeakSet()

    @property
    def real(self) -> Image | None:
        """The real layer that was chosen; None where none was, or "none"."""
        return None if self._real is None else self._real()

    @property
    def region(self) -> str | Layer | None:
        """The region that was chosen; None where none was."""
        return self._region() if isinstance(self._region, weakref.ref) else self._region

    def colour_of(self, layer: Image) -> str:
        """Colour of a prediction in plots: that of its record, else one of its own while its layer is there."""
        own = layer_colour(layer)
        if own is not None:
            return own
        if layer not in self._colours:
            taken = set(self._colours.values())
            free = [colour for colour in _COLOURS if colour not in taken]
            wanted = _COLOURS[1] if GANDA.name in layer.name.casefold() else None
            first = next((colour for colour in free if colour != _COLOURS[1]), None)
            self._colours[layer] = wanted if wanted in free else first or next(iter(free), _COLOURS[0])
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
