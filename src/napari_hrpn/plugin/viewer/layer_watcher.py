"""Watcher of layers with drawn regions: it reports which layers exist, and when the user edits them."""

from __future__ import annotations

import contextlib
import zlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Image, Labels, Layer, Shapes
from qtpy.QtCore import QObject, Signal

from napari_hrpn.plugin.background import soon
from napari_hrpn.plugin.viewer.layer_coordinates import pixel_shape
from napari_hrpn.plugin.viewer.open_slides import imaged_layers_of, is_prediction, slide_of

if TYPE_CHECKING:
    from collections.abc import Hashable

    import napari
    from napari.utils.events import Event, EventEmitter

    from napari_hrpn.slides import Slide

_MOVES = ("scale", "translate", "rotate", "shear", "affine", "units")
_SHAPE_EDITS = ("data", "features", *_MOVES)
_PIXEL_EVENTS = ("data", "paint", "labels_update", "set_data")
"""Events of napari when labels are painted, filled or erased; undo emits only the last one, which has other causes
too."""
PAINTING_MS = 60
MOST_COMPARED_BYTES = 256 << 20


class _LabelEdits(QObject):
    """Watches the pixels of a Labels layer.

    `edited` is emitted when they have changed: by a brush, by undo and redo, by new data, or in place with
    ``layer.refresh()``. A change of colour or opacity is no edit.
    """

    edited = Signal()

    def __init__(self, layer: Labels) -> None:
        super().__init__()
        self._layer = layer
        self._painted = 0
        self._known = self._fingerprint()
        # a brush sends many events, some of them before the pixels are changed
        self._soon = soon(self, self._compare, PAINTING_MS)
        for name in _PIXEL_EVENTS:
            getattr(layer.events, name).connect(self._note)

    @property
    def is_settled(self) -> bool:
        """Whether all changes have been compared."""
        return not self._soon.isActive()

    def accept(self) -> None:
        """Accept the pixels as they are: their last change was no edit of the user."""
        self._soon.stop()
        self._known = self._fingerprint()

    def stop(self) -> None:
        """Disconnect from the layer."""
        self._soon.stop()
        for name in _PIXEL_EVENTS:
            getattr(self._layer.events, name).disconnect(self._note)

    def _note(self, event: Event) -> None:
        self._painted += event.type != "set_data"
        self._soon.start()

    def _compare(self) -> None:
        before, self._known = self._known, self._fingerprint()
        if self._known != before:
            self.edited.emit()

    def _fingerprint(self) -> Hashable:
        """Checksum of the pixels; for arrays that are not in memory or too large, the number of napari's edits."""
        data = self._layer.data
        if isinstance(data, np.ndarray) and data.nbytes <= MOST_COMPARED_BYTES:
            return data.shape, data.dtype.str, zlib.crc32(np.ascontiguousarray(data).data)
        # undo moves a step from one list to the other; napari has no event for it
        steps = (len(getattr(self._layer, name, ())) for name in ("_undo_history", "_redo_history"))
        return self._painted, *steps


class RegionLayers(QObject):
    """Watches the layers of a viewer.

    `listed` is emitted when layers were added, removed or renamed; `edited` carries the layer whose regions may have
    changed, or None if all may have.
    """

    listed = Signal()
    edited = Signal(object)

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        events = viewer.layers.events
        self._list_events = events.inserted, events.removed, events.renamed
        self._followed: list[Layer] = []
        self._edits: dict[Layer, _LabelEdits] = {}
        # a step of the user often adds or removes several layers
        self._soon = soon(self, self._follow)
        for emitter in self._list_events:
            emitter.connect(self._layers_changed)
        self._follow()

    @property
    def is_settled(self) -> bool:
        """Whether all changes have been reported."""
        return not self._soon.isActive() and all(edits.is_settled for edits in self._edits.values())

    def stop(self) -> None:
        """Disconnect from the viewer and its layers."""
        # when Python exits before the window is gone, Qt may have deleted the timer
        with contextlib.suppress(RuntimeError):
            self._soon.stop()
        for emitter in self._list_events:
            emitter.disconnect(self._layers_changed)
        for layer in list(self._followed):
            self._leave(layer)

    def accept(self, layer: Labels) -> None:
        """Accept the pixels of a layer as they are, without reporting an edit."""
        if layer in self._edits:
            self._edits[layer].accept()

    def choices(self) -> list[tuple[str, Layer]]:
        """Names and layers of all shapes and labels."""
        return [(layer.name, layer) for layer in self._viewer.layers if isinstance(layer, Shapes | Labels)]

    def has(self, layer: Layer) -> bool:
        """Whether a layer is still in the viewer."""
        return layer in self._viewer.layers

    def foreign_images(self) -> list[Image]:
        """Images that were not opened by this package."""
        return [
            layer
            for layer in self._viewer.layers
            if isinstance(layer, Image) and slide_of(layer) is None and not is_prediction(layer)
        ]

    def showing(self, slide: Slide) -> Image | None:
        """A layer that shows a slide."""
        opened = iter(imaged_layers_of(self._viewer, slide))
        foreign = (
            layer
            for layer in self.foreign_images()
            if layer.source.path is not None
            and Path(layer.source.path) == slide.source
            and pixel_shape(layer) == slide.shape
        )
        return next(opened, None) or next(foreign, None)

    def _layers_changed(self, event: Event | None = None) -> None:  # noqa: ARG002
        self._soon.start()

    def _follow(self) -> None:
        layers = list(self._viewer.layers)
        for layer in [layer for layer in self._followed if layer not in layers]:
            self._leave(layer)
        for layer in [layer for layer in layers if layer not in self._followed]:
            self._join(layer)
        self.listed.emit()

    def _join(self, layer: Layer) -> None:
        self._followed.append(layer)
        for emitter in _edit_events(layer):
            emitter.connect(self._report_edit)
        if isinstance(layer, Labels):
            self._edits[layer] = edits = _LabelEdits(layer)
            edits.edited.connect(partial(self.edited.emit, layer))

    def _leave(self, layer: Layer) -> None:
        self._followed.remove(layer)
        for emitter in _edit_events(layer):
            emitter.disconnect(self._report_edit)
        if layer in self._edits:
            self._edits.pop(layer).stop()

    def _report_edit(self, event: Event) -> None:
        self.edited.emit(event.source if isinstance(event.source, Shapes | Labels) else None)


def _edit_events(layer: Layer) -> list[EventEmitter]:
    """Events of napari after which the regions of a layer, or its place, may have changed."""
    names = _SHAPE_EDITS if isinstance(layer, Shapes) else _MOVES
    return [getattr(layer.events, name) for name in names if hasattr(layer.events, name)]
