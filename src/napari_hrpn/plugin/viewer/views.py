"""Views of a real probe and its prediction: real, predicted, side by side, overlay and difference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args
from weakref import WeakValueDictionary

import numpy as np
from napari.layers import Image
from napari.utils import Colormap
from qtpy.QtCore import QObject, Signal

from napari_hrpn.plugin.background import soon
from napari_hrpn.plugin.viewer.layer_coordinates import pixel_shape, placement
from napari_hrpn.plugin.viewer.open_slides import described, layer_name, prediction_facts, unwrapped
from napari_hrpn.plugin.viewer.predictions import finished_part, hatch_of, share_contrast
from napari_hrpn.plugin.viewer.pyramids import Plane
from napari_hrpn.plugin.viewer.slides_as_layers import level_data

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer
    from napari.utils.events import Event
    from numpy.typing import NDArray

    from napari_hrpn.slides import RegionMask

View: TypeAlias = Literal["real", "predicted", "side by side", "overlay", "difference"]
VIEWS: tuple[View, ...] = get_args(View)
_REFRESH_MS = 300
_COLORMAP = ((0.75, 0.9, 1.0), (0.1, 0.45, 1.0), (0.0, 0.0, 0.0), (1.0, 0.5, 0.0), (1.0, 0.95, 0.7))
"""Blue where the real probe is brighter, black where both are equal, orange where the prediction is."""
_views: WeakValueDictionary[int, ComparedView] = WeakValueDictionary()


class ComparedView(QObject):
    """The view that a viewer shows; `compared_view` returns that of a viewer, and `leave` releases it.

    `changed` is emitted when `shown` changes.
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
        """Show a view, if the layers that it needs exist."""
        if not can_show(view, real, predicted):
            return
        self._leave_view()
        if not self._before:
            self._before = {layer: layer.visible for layer in self._viewer.layers}
        self._compared = real, predicted
        if real is not None and predicted is not None and pixel_shape(real) == pixel_shape(predicted):
            share_contrast(predicted, real)
        self._set_visible(view, real, predicted)
        if view == "side by side":
            self._show_grid(real, predicted)
        if view == "difference" and real is not None and predicted is not None:
            self._add_difference(real, predicted)
        self.shown = view
        self.changed.emit()

    def end(self) -> None:
        """Restore the visibility of layers before the first view."""
        self._leave_view()
        for layer, was_visible in self._before.items():
            if layer in self._viewer.layers:
                layer.visible = was_visible
        self._before, self._compared, self.shown = {}, (None, None), None
        self.changed.emit()

    def leave(self) -> None:
        """Release the view of a widget; when no widget uses it any more, it ends."""
        self.users -= 1
        if self.users == 0:
            self._viewer.layers.events.removed.disconnect(self._note_removal)
            if self.shown is not None:
                self.end()

    def _set_visible(self, view: View, real: Image | None, predicted: Image | None) -> None:
        shown = {"real": (real,), "predicted": (predicted,), "difference": ()}.get(view, (real, predicted))
        hatch = None if predicted is None or view in ("real", "side by side") else hatch_of(self._viewer, predicted)
        for layer in self._viewer.layers:
            if isinstance(layer, Image):
                layer.visible = layer in shown or layer == hatch
            else:
                # each visible layer would take a cell of the grid
                layer.visible = self._before.get(layer, True) and view != "side by side"

    def _show_grid(self, real: Image | None, predicted: Image | None) -> None:
        grid = self._viewer.canvas.grid
        self._grid_before = grid.enabled, tuple(grid.shape), grid.stride
        # a negative stride reverses the grid: the real probe is always on the left
        is_first = self._viewer.layers.index(real) < self._viewer.layers.index(predicted)
        grid.stride = 1 if is_first else -1
        grid.shape, grid.enabled = (1, 2), True

    def _add_difference(self, real: Image, predicted: Image) -> None:
        selected = set(self._viewer.layers.selection)
        self._difference = self._viewer.add_image(**_difference_layer(real, predicted))
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
        # layers may be proxies, which are equal but not identical
        if event.value == self._difference or any(event.value == layer for layer in self._compared):
            self.end()


def can_show(view: View, real: Image | None, predicted: Image | None) -> bool:
    """Whether the layers of a view exist and fit."""
    if view == "real":
        return real is not None
    if view == "predicted":
        return predicted is not None
    return real is not None and predicted is not None and pixel_shape(real) == pixel_shape(predicted)


def compared_view(viewer: napari.Viewer) -> ComparedView:
    """Return the view of a viewer, which all its widgets share."""
    # napari gives each widget a proxy of its own
    key = id(unwrapped(viewer))
    found = _views.get(key)
    if found is None or found.users == 0:
        found = _views[key] = ComparedView(viewer)
    found.users += 1
    return found


class Difference(Plane):
    """Array of predicted minus real pixels of one level, which is computed when it is sliced."""

    def __init__(
        self,
        real: Any,  # noqa: ANN401
        predicted: Any,  # noqa: ANN401
        finished: RegionMask | None = None,
        downsample: tuple[float, float] = (1.0, 1.0),
    ) -> None:
        super().__init__((int(real.shape[0]), int(real.shape[1])), np.float32)
        self._real, self._predicted, self._finished, self._downsample = real, predicted, finished, downsample

    def __getitem__(self, key: Any) -> NDArray[np.float32]:  # noqa: ANN401
        key = key if isinstance(key, tuple) else (key, slice(None))
        predicted, real = (np.asarray(array[key], np.float32) for array in (self._predicted, self._real))
        difference: NDArray[np.float32] = predicted - real
        if self._finished is not None and not self._finished.mask.all():
            difference[~self._is_finished(self._finished, key).reshape(difference.shape)] = np.nan
        return difference

    def _is_finished(self, finished: RegionMask, key: Any) -> NDArray[np.bool_]:  # noqa: ANN401
        rows, columns = (
            # a pixel belongs to the cell of the mask that holds its centre
            np.atleast_1d(np.minimum((np.arange(size)[part] + 0.5) * pixel // square, cells - 1).astype(np.intp))
            for size, part, pixel, square, cells in zip(
                self.shape, key, self._downsample, finished.downsample, finished.mask.shape, strict=True
            )
        )
        return np.asarray(finished.mask[np.ix_(rows, columns)])


def _difference_layer(real: Image, predicted: Image) -> dict[str, Any]:
    """Arguments for a layer of predicted minus real, on all levels that both have."""
    of_real = {level.shape: level for level in _levels(real)}
    finished, (height, width) = finished_part(predicted), pixel_shape(predicted)
    levels = [
        Difference(of_real[level.shape], level, finished, (height / level.shape[0], width / level.shape[1]))
        for level in _levels(predicted)
        if level.shape in of_real
    ]
    reach = max(abs(float(limit)) for limit in real.contrast_limits)
    return {
        **level_data(levels),
        "cache": False,
        **placement(real),
        "name": layer_name("difference", f"{predicted.name} − {real.name}"),
        "rgb": False,
        "colormap": Colormap(_COLORMAP, name="predicted minus real"),
        "contrast_limits": (-reach, reach),
        "blending": "translucent",
        "metadata": described({"prediction": {**prediction_facts(predicted), "helper": "difference"}}),
    }


def _levels(layer: Image) -> list[Any]:
    return list(layer.data) if layer.multiscale else [layer.data]
