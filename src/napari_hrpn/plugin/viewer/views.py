"""Views of a real probe and its prediction: each hides the other images, and brings them back at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias, get_args
from weakref import WeakValueDictionary

from napari.layers import Image
from qtpy.QtCore import QObject, Signal

from napari_hrpn.plugin.parts.debounce import soon
from napari_hrpn.plugin.viewer.coordinates import pixel_shape
from napari_hrpn.plugin.viewer.difference import difference_layer
from napari_hrpn.plugin.viewer.shared_contrast import share_contrast
from napari_hrpn.plugin.viewer.slide_metadata import prediction_facts, unwrapped
from napari_hrpn.plugin.viewer.unfinished import hatch_of

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer
    from napari.utils.events import Event

View: TypeAlias = Literal["real", "predicted", "side by side", "overlay", "difference"]
VIEWS: tuple[View, ...] = get_args(View)
_REFRESH_MS = 300
_views: WeakValueDictionary[int, ComparedView] = WeakValueDictionary()


class ComparedView(QObject):
    """The view that a viewer shows; use `compared_view` to get the one of a viewer, and `leave` it in the end.

    `changed` says that `shown` is another one now.
    """

    changed = Signal()

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self.users = 0
        self.shown: View | None = None
        self._before: dict[Layer, bool] = {}
        self._grid_before: tuple[bool, tuple[int, int], int] | None = None
        self._compared: tuple[Image | None, Image | None] = (None, None)
        self._difference: Image | None = None
        self._refresh = soon(self, self._refresh_difference, _REFRESH_MS)
        viewer.layers.events.removed.connect(self._note_removal)

    def show(self, view: View, real: Image | None, predicted: Image | None) -> None:
        """Show a view; nothing happens where a layer that it needs is missing."""
        if not can_show(view, real, predicted):
            return
        self._leave_view()
        if not self._before:
            self._before = {layer: layer.visible for layer in self._viewer.layers}
        self._compared = real, predicted
        if real is not None and predicted is not None and pixel_shape(real) == pixel_shape(predicted):
            share_contrast(predicted, real)
        self._set_visible(view, real, predicted)
        self.shown = view
        self.changed.emit()

    def end(self) -> None:
        """Bring back what was visible before the first view."""
        self._leave_view()
        for layer, was_visible in self._before.items():
            if layer in self._viewer.layers:
                layer.visible = was_visible
        self._before, self._compared, self.shown = {}, (None, None), None
        self.changed.emit()

    def leave(self) -> None:
        """Say that a widget needs it no more; with the last one it ends."""
        self.users -= 1
        if self.users == 0:
            self._viewer.layers.events.removed.disconnect(self._note_removal)
            if self.shown is not None:
                self.end()

    def _set_visible(self, view: View, real: Image | None, predicted: Image | None) -> None:
        wanted = {"real": (real,), "predicted": (predicted,), "difference": ()}.get(view, (real, predicted))
        hatch = None if predicted is None or view in ("real", "side by side") else hatch_of(self._viewer, predicted)
        for layer in self._viewer.layers:
            if isinstance(layer, Image):
                layer.visible = layer in wanted or layer == hatch
            else:
                # drawn layers would take places of the grid
                layer.visible = self._before.get(layer, True) and view != "side by side"
        if view == "side by side":
            grid = self._viewer.canvas.grid
            self._grid_before = grid.enabled, tuple(grid.shape), grid.stride
            # the real probe is to the left, wherever it is in the list
            order = [self._viewer.layers.index(layer) for layer in wanted if layer is not None]
            grid.stride = -1 if order[0] > order[1] else 1
            grid.shape, grid.enabled = (1, 2), True
        if view == "difference" and real is not None and predicted is not None:
            selected = set(self._viewer.layers.selection)
            self._difference = self._viewer.add_image(**difference_layer(real, predicted))
            self._viewer.layers.selection = selected
            predicted.events.set_data.connect(self._note_news)

    def _leave_view(self) -> None:
        if self._grid_before is not None:
            grid = self._viewer.canvas.grid
            grid.enabled, grid.shape, grid.stride = self._grid_before
            self._grid_before = None
        difference, self._difference = self._difference, None
        self._refresh.stop()
        if difference is not None:
            predicted = self._compared[1]
            if predicted is not None:
                predicted.events.set_data.disconnect(self._note_news)
            if difference in self._viewer.layers:
                self._viewer.layers.remove(difference)

    def _note_news(self, event: Event) -> None:
        if not prediction_facts(event.source).get("complete", True) and not self._refresh.isActive():
            self._refresh.start()

    def _refresh_difference(self) -> None:
        if self._difference is not None:
            self._difference.refresh(extent=False)

    def _note_removal(self, event: Event) -> None:
        # layers may be proxies, which are equal but not the same
        if event.value == self._difference or any(event.value == layer for layer in self._compared):
            self.end()


def can_show(view: View, real: Image | None, predicted: Image | None) -> bool:
    """Whether there is what a view needs."""
    if view == "real":
        return real is not None
    if view == "predicted":
        return predicted is not None
    return real is not None and predicted is not None and pixel_shape(real) == pixel_shape(predicted)


def compared_view(viewer: napari.Viewer) -> ComparedView:
    """The view of a viewer, which all its widgets share."""
    # napari gives each widget a wrapper of its own
    key = id(unwrapped(viewer))
    found = _views.get(key)
    if found is None or found.users == 0:
        found = _views[key] = ComparedView(viewer)
    found.users += 1
    return found
