"""Follows the layer whose shapes or labels are the regions: what moves, what there is in the end, what is picked.

The layer's data are never replaced, so what napari keeps of them stays as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels, Shapes
from qtpy.QtCore import QObject, Signal

from napari_hrpn.plugin.background import NewestTask, once
from napari_hrpn.plugin.layers.on_slide import labels_on_slide
from napari_hrpn.plugin.layers.region_layers import MOVES, SHAPE_EDITS, LabelEdits
from napari_hrpn.plugin.refusal import sentence_of
from napari_hrpn.plugin.roi_correlation.listed_rois import ListedRoi, RoiList, label_rois, shape_rois
from napari_hrpn.plugin.soon import soon
from napari_hrpn.slides import SlideError

if TYPE_CHECKING:
    import napari
    from napari.layers import Image
    from numpy.typing import NDArray


SETTLE_MS = 250


class RoiLayer(QObject):
    """Gives out the regions of a layer.

    `dragged` carries the region that moves, while it moves; `listed` says that `rois` and `note` are others now, for
    a while at least; `picked` carries the index of a region that was selected in the viewer.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    """

    dragged = Signal(object)
    listed = Signal()
    picked = Signal(int)

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._layer: Shapes | Labels | None = None
        self._image: Image | None = None
        self._list = RoiList()
        self._vertices: list[NDArray[Any]] = []
        self._search = NewestTask()
        self._connected: list[tuple[Any, Any]] = []
        self._is_picking = False
        self._edits: LabelEdits | None = None
        self._settled = soon(self, self.refresh)

    @property
    def layer(self) -> Shapes | Labels | None:
        """What is followed."""
        return self._layer

    @property
    def rois(self) -> tuple[ListedRoi, ...]:
        """Its regions."""
        return self._list.rois

    @property
    def note(self) -> str:
        """What is left out and why."""
        return self._list.note

    @property
    def is_busy(self) -> bool:
        """Whether its regions are going to be others in a moment."""
        is_painted = self._edits is not None and not self._edits.is_settled
        return self._search.is_busy or is_painted or bool(self._settled.isActive())

    def follow(self, layer: Shapes | Labels | None, image: Image | None) -> None:
        """Follow another layer.

        Parameters
        ----------
        layer : napari.layers.Shapes or napari.layers.Labels or None
            Whose regions.
        image : napari.layers.Image or None
            In whose pixels.
        """
        if layer is self._layer and image is self._image:
            return
        self._leave()
        self._layer, self._image = layer, image
        if layer is not None and image is not None:
            self._listen(layer, image)
        self.refresh()

    def refresh(self) -> None:
        """Look what there is now."""
        self._settled.stop()
        self._search.abandon()
        layer, image = self._layer, self._image
        if layer is None or image is None:
            self._take(RoiList())
        elif isinstance(layer, Shapes):
            self._vertices = [np.array(vertices) for vertices in layer.data]
            self._take(shape_rois(layer, image, self._viewer))
        else:
            self._search_labels(layer, image)

    def pick(self, index: int) -> None:
        """Select a region in the viewer.

        Parameters
        ----------
        index : int
            Of a listed region.
        """
        self._is_picking = True
        if isinstance(self._layer, Shapes):
            if set(self._layer.selected_data) != {index} and index < len(self._layer.data):
                self._layer.selected_data = {index}
        elif self._layer is not None:
            self._layer.selected_label = index
        self._is_picking = False

    def shut_down(self) -> None:
        """Follow no more."""
        self._leave()
        self._layer = self._image = None

    def _listen(self, layer: Shapes | Labels, image: Image) -> None:
        if isinstance(layer, Shapes):
            pairs = [(getattr(layer.events, name), self._edited) for name in SHAPE_EDITS]
            pairs.append((layer.selected_data.events.items_changed, self._selected))
        else:
            self._edits = LabelEdits(layer)
            self._edits.edited.connect(self.refresh)
            pairs = [(getattr(layer.events, name), self._edited) for name in MOVES]
            pairs.append((layer.events.selected_label, self._selected))
        pairs += [(getattr(image.events, name), self._edited) for name in MOVES]
        for event, callback in pairs:
            event.connect(callback)
        if isinstance(layer, Shapes):
            # this one alone comes with every move of the mouse; first, for napari's own drawing takes longer than ours
            layer.events.set_data.connect(self._moved, position="first")
            pairs.append((layer.events.set_data, self._moved))
        self._connected = pairs

    def _leave(self) -> None:
        self._settled.stop()
        self._search.abandon()
        for event, callback in self._connected:
            event.disconnect(callback)
        self._connected = []
        if self._edits is not None:
            self._edits.stop()
            self._edits = None

    def _edited(self, event: Any) -> None:  # noqa: ANN401 (napari's event)
        # a drag begins, or a shape is about to be deleted: nothing has changed yet
        if str(getattr(event, "action", "")).lower().endswith("ing"):
            return
        self._settled.start(0)

    def _moved(self, event: object = None) -> None:  # noqa: ARG002
        layer, image = self._layer, self._image
        if not isinstance(layer, Shapes) or image is None:
            return
        now = layer.data
        moved = {
            index
            for index, vertices in enumerate(now)
            if index >= len(self._vertices) or not np.array_equal(vertices, self._vertices[index])
        }
        if not moved:
            return
        self._vertices = [np.array(vertices) for vertices in now]
        found = shape_rois(layer, image, self._viewer, moved).rois
        if found:
            self.dragged.emit(found[0])
        # if the mouse rests, exact numbers come without its being released
        self._settled.start(SETTLE_MS)

    def _selected(self, event: object = None) -> None:  # noqa: ARG002
        if self._is_picking:
            return
        if isinstance(self._layer, Shapes):
            if self._layer.selected_data:
                active = self._layer.selected_data.active
                self.picked.emit(int(active if active is not None else min(self._layer.selected_data)))
        elif self._layer is not None:
            self.picked.emit(int(self._layer.selected_label))

    def _search_labels(self, layer: Labels, image: Image) -> None:
        try:
            found = labels_on_slide(layer, image, self._viewer)
        except SlideError as error:
            self._take(RoiList((), str(error)))
            return
        self._search.do(once(label_rois, found), self._take, lambda error: self._take(RoiList((), sentence_of(error))))

    def _take(self, found: RoiList) -> None:
        self._list = found
        self.listed.emit()
