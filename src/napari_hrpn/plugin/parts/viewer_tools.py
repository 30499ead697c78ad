"""Viewer tools: buttons for views, mouse position and clicks, moving the view to a box, and a frame around it.

The frame is a Vectors layer, so that no widget mistakes it for a drawn region.
"""

from __future__ import annotations

import contextlib
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QSizePolicy, QWidget

from napari_hrpn.plugin.parts.keys import BY_TURNS, KeyHint
from napari_hrpn.plugin.viewer import pixel_shape, placement
from napari_hrpn.plugin.viewer.views import VIEWS, ComparedView, View, can_show, compared_view

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    import napari
    from napari.layers import Image, Vectors
    from numpy.typing import NDArray

    from napari_hrpn.core import Box

_TOOLTIPS: dict[View, str] = {
    "real": "Show the real probe alone",
    "predicted": "Show the prediction alone",
    "side by side": "Show the real probe to the left of the prediction; both move together",
    "overlay": "Show the real probe and the prediction on top of each other, without the other stains",
    "difference": "Show predicted minus real: orange where the prediction is brighter, blue where the real probe is",
}
_BY_TURNS: tuple[View, View] = ("real", "predicted")
_AGAIN = "\nPress again to bring back what was visible before"


class ViewButtons(QWidget):
    """Buttons for the views of a real probe and a prediction."""

    def __init__(self, viewer: napari.Viewer, chosen: Callable[[], tuple[Image | None, Image | None]]) -> None:
        super().__init__()
        self._chosen = chosen
        self._view: ComparedView | None = compared_view(viewer)
        self.buttons: dict[View, QPushButton] = {}
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(2)
        for view in VIEWS:
            button = QPushButton(view.capitalize())
            button.setCheckable(True)
            button.setToolTip(_TOOLTIPS[view] + _AGAIN)
            button.setMinimumWidth(10)
            button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            button.clicked.connect(lambda checked, view=view: self._press(view, checked))
            self.buttons[view] = button
            row.addWidget(button)
        for view in _BY_TURNS:
            KeyHint(self.buttons[view], BY_TURNS)
        self._view.changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Enable the views whose layers exist."""
        if self._view is None:
            return
        real, predicted = self._chosen()
        for view, button in self.buttons.items():
            button.setChecked(view == self._view.shown)
            button.setEnabled(button.isChecked() or can_show(view, real, predicted))

    def take_turns(self) -> None:
        """Show the real probe alone; if it is shown alone already, the prediction."""
        real, predicted = _BY_TURNS
        shown = None if self._view is None else self._view.shown
        self.buttons[predicted if shown == real else real].click()

    def shut_down(self) -> None:
        """Restore the visibility of layers before the widget is deleted; a second call does nothing."""
        view, self._view = self._view, None
        if view is not None:
            # at the end of the program, Qt may have deleted it already
            with contextlib.suppress(RuntimeError):
                view.changed.disconnect(self.refresh)
                view.leave()

    def _press(self, view: View, checked: bool) -> None:
        if self._view is None:
            return
        if checked:
            self._view.show(view, *self._chosen())
        else:
            self._view.end()
        self.refresh()


_FRAME_COLOUR = "#ffe14d"
_SHARE_OF_VIEW = 0.35
_FURTHEST_CLICK_PX = 4


class ViewerMouse(QObject):
    """Follows the mouse in the viewer.

    `moved` and `clicked` carry a point in world coordinates; a drag is no click, and `clicked` is not emitted while
    the user draws or paints.
    """

    moved = Signal(object)
    clicked = Signal(object)

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._callbacks = self._emit_move, self._emit_click
        viewer.mouse_move_callbacks.append(self._callbacks[0])
        viewer.mouse_drag_callbacks.append(self._callbacks[1])

    def stop(self) -> None:
        """Disconnect from the mouse; a second call does nothing."""
        lists = self._viewer.mouse_move_callbacks, self._viewer.mouse_drag_callbacks
        for callbacks, callback in zip(lists, self._callbacks, strict=True):
            if callback in callbacks:
                callbacks.remove(callback)

    def _emit_move(self, viewer: object, event: Any) -> None:  # noqa: ANN401, ARG002 (napari's event)
        self.moved.emit(np.array(event.position))

    def _emit_click(self, viewer: object, event: Any) -> Generator[None, None, None]:  # noqa: ANN401, ARG002
        begin, position, is_left = _canvas_point(event), np.array(event.position), event.button == 1
        yield
        while event.type == "mouse_move":
            yield
        if is_left and np.hypot(*(_canvas_point(event) - begin)) <= _FURTHEST_CLICK_PX and not self._is_drawing():
            self.clicked.emit(position)

    def _is_drawing(self) -> bool:
        active = self._viewer.layers.selection.active
        return active is not None and str(getattr(active, "mode", "pan_zoom")) not in ("pan_zoom", "transform")


def _canvas_point(event: Any) -> NDArray[np.float64]:  # noqa: ANN401 (napari's event)
    return np.array((0, 0) if event.pos is None else event.pos, float)


class Frame:
    """A frame around a box of a slide."""

    def __init__(self, viewer: napari.Viewer, name: str) -> None:
        self._viewer, self._name = viewer, name
        self._layer: Vectors | None = None
        self._around: weakref.ref[Image] | None = None

    @property
    def layer(self) -> Vectors | None:
        """The layer of the frame; None once the user has deleted it."""
        return self._layer if self._layer is not None and self._layer in self._viewer.layers else None

    def show(self, box: Box, layer: Image) -> None:
        """Frame a box."""
        shown = self.layer
        if shown is not None and self._around is not None and self._around() is layer:
            shown.data, shown.edge_width, shown.visible = _sides(box), _width(box), True
            return
        self.remove()
        active = self._viewer.layers.selection.active
        self._around = weakref.ref(layer)
        self._layer = self._viewer.add_vectors(
            _sides(box),
            **placement(layer),
            name=self._name,
            edge_color=_FRAME_COLOUR,
            edge_width=_width(box),
            vector_style="line",
        )
        # napari selects a new layer: the user's layer is selected again
        self._viewer.layers.selection.active = active

    def hide(self) -> None:
        """Hide the frame; its layer stays, so that the layer list does not jump."""
        if self.layer is not None:
            self.layer.visible = False

    def remove(self) -> None:
        """Remove the layer of the frame."""
        if self.layer is not None:
            self._viewer.layers.remove(self.layer)
        self._layer = None


def pixel_at(layer: Image, position: NDArray[np.float64]) -> tuple[int, int] | None:
    """Return the pixel of a layer at a point in world coordinates; None outside of it."""
    row, column = (int(np.floor(index + 0.5)) for index in np.asarray(layer.world_to_data(position))[-2:])
    height, width = pixel_shape(layer)
    return (row, column) if 0 <= row < height and 0 <= column < width else None


def go_to(viewer: napari.Viewer, layer: Image, box: Box) -> None:
    """Centre the view on a box of a slide, and zoom if the box would be very small or large."""
    corners = np.array([np.asarray(layer.data_to_world(corner))[-2:] for corner in _corners(box)])
    if viewer.layers.units is not None:
        # napari draws all layers in one unit of length, which `data_to_world` ignores
        pairs = zip(layer.units[-2:], viewer.layers.units[-2:], strict=True)
        corners *= [float((1 * unit).to(shown).magnitude) for unit, shown in pairs]
    camera = viewer.scene.camera
    camera.center = (*np.asarray(camera.center)[:-2], *corners.mean(axis=0))
    zoom = _SHARE_OF_VIEW * min(viewer.canvas.size) / max(1e-9, float(np.ptp(corners, axis=0).max()))
    if not zoom / 3 <= camera.zoom <= 2 * zoom:
        camera.zoom = zoom


def _width(box: Box) -> float:
    return max(1.0, max(box.height, box.width) / 40)


def _corners(box: Box) -> NDArray[np.float64]:
    """Corners of a box in order; a pixel reaches half a pixel around its coordinates."""
    return np.array([(box.y0, box.x0), (box.y0, box.x1), (box.y1, box.x1), (box.y1, box.x0)]) - 0.5


def _sides(box: Box) -> NDArray[np.float64]:
    """Start and direction of each side, as napari draws vectors."""
    corners = _corners(box)
    return np.stack([corners, np.roll(corners, -1, axis=0) - corners], axis=1)
