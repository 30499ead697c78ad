"""Follows the layers whose shapes or labels are the regions: what moves, what there is in the end, what is picked.

Their data are never replaced, so what napari keeps of them stays as it is.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels, Shapes
from qtpy.QtCore import QObject, Signal

from napari_hrpn.plugin.background import NewestTask, once, soon
from napari_hrpn.plugin.parts.user_error import sentence_of
from napari_hrpn.plugin.roi_correlation.deleted_shapes import DeletedShapes
from napari_hrpn.plugin.roi_correlation.listed_rois import ListedRoi, RoiList, label_rois, shape_rois
from napari_hrpn.plugin.viewer.layer_coordinates import LabelsOnSlide, labels_on_slide
from napari_hrpn.plugin.viewer.layer_watcher import MOVES, SHAPE_EDITS, LabelEdits
from napari_hrpn.slides import SlideError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import napari
    from napari.layers import Image
    from numpy.typing import NDArray

SETTLE_MS = 250


class RoiLayer(QObject):
    """Gives out the regions of one or several layers.

    `dragged` carries the region that moves, while it moves; `listed` says that `rois` and `note` are others now, for
    a while at least; `picked` carries a region that was selected in the viewer; `deleted` carries how many can
    be brought back.
    """

    dragged = Signal(object)
    listed = Signal()
    picked = Signal(object)
    deleted = Signal(int)

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._layers: tuple[Shapes | Labels, ...] = ()
        self._image: Image | None = None
        self._lists: dict[Shapes | Labels, RoiList] = {}
        self._vertices: dict[Shapes, list[NDArray[Any]]] = {}
        self._search = NewestTask()
        self._connected: list[tuple[Any, Any]] = []
        self._is_picking = False
        self._edits: list[LabelEdits] = []
        self._deleted: DeletedShapes | None = None
        self._settled = soon(self, self.refresh)

    @property
    def layers(self) -> tuple[Shapes | Labels, ...]:
        """What is followed."""
        return self._layers

    @property
    def rois(self) -> tuple[ListedRoi, ...]:
        """Their regions, named after their layer too where there are several."""
        several = len(self._layers) > 1
        return tuple(
            roi.of(layer, f"{layer.name}: " if several else "")
            for layer in self._layers
            for roi in self._lists.get(layer, RoiList()).rois
        )

    @property
    def note(self) -> str:
        """What is left out and why."""
        return " ".join(filter(None, (self._lists[layer].note for layer in self._layers if layer in self._lists)))

    @property
    def is_busy(self) -> bool:
        """Whether its regions are going to be others in a moment."""
        is_painted = any(not edits.is_settled for edits in self._edits)
        return self._search.is_busy or is_painted or bool(self._settled.isActive())

    def follow(self, layers: Sequence[Shapes | Labels], image: Image | None) -> None:
        """Follow other layers."""
        if tuple(layers) == self._layers and image is self._image:
            return
        for layer in self._layers:
            if isinstance(layer, Shapes) and layer not in self._viewer.layers and len(layer.data):
                self._keep(layer, ())
        self._leave()
        self._layers, self._image, self._lists = tuple(layers), image, {}
        if image is not None:
            self._listen(image)
        self.refresh()

    def refresh(self) -> None:
        """Look what there is now."""
        self._settled.stop()
        self._search.abandon()
        image = self._image
        self._vertices = {}
        for layer in self._layers if image is not None else ():
            if isinstance(layer, Shapes):
                self._vertices[layer] = [np.array(vertices) for vertices in layer.data]
                self._lists[layer] = shape_rois(layer, image, self._viewer)
        if image is not None and not self._search_labels(image):
            self.listed.emit()
        elif image is None:
            self._lists = {}
            self.listed.emit()

    def pick(self, listed: ListedRoi) -> None:
        """Select a region in the viewer."""
        self._is_picking = True
        layer, index = listed.layer, listed.index
        if isinstance(layer, Shapes):
            if set(layer.selected_data) != {index} and index < len(layer.data):
                layer.selected_data = {index}
        elif isinstance(layer, Labels):
            layer.selected_label = index
        self._is_picking = False

    def restore(self) -> None:
        """Bring back the regions that were deleted last."""
        deleted, self._deleted = self._deleted, None
        if deleted is not None:
            deleted.bring_back(self._viewer)
        self.deleted.emit(0)

    def shut_down(self) -> None:
        """Follow no more."""
        self._leave()
        self._layers, self._image = (), None

    def _listen(self, image: Image) -> None:
        pairs: list[tuple[Any, Any]] = [(getattr(image.events, name), self._edited) for name in MOVES]
        for layer in self._layers:
            selected = partial(self._selected, layer)
            if isinstance(layer, Shapes):
                pairs += [(getattr(layer.events, name), self._edited) for name in SHAPE_EDITS]
                pairs.append((layer.selected_data.events.items_changed, selected))
            else:
                self._edits.append(LabelEdits(layer))
                self._edits[-1].edited.connect(self.refresh)
                pairs += [(getattr(layer.events, name), self._edited) for name in MOVES]
                pairs.append((layer.events.selected_label, selected))
        for event, callback in pairs:
            event.connect(callback)
        for layer in self._layers:
            if isinstance(layer, Shapes):
                # this one alone comes with every move of the mouse; first, for napari's own drawing takes longer
                layer.events.set_data.connect(self._moved, position="first")
                pairs.append((layer.events.set_data, self._moved))
        self._connected = pairs

    def _leave(self) -> None:
        self._settled.stop()
        self._search.abandon()
        for event, callback in self._connected:
            event.disconnect(callback)
        for edits in self._edits:
            edits.stop()
        self._connected, self._edits = [], []

    def _edited(self, event: Any) -> None:  # noqa: ANN401 (napari's event)
        action = str(getattr(event, "action", "")).lower()
        if action.endswith("removing"):
            self._keep(event.source, event.data_indices)
        # a drag begins, or a shape is about to be deleted: nothing has changed yet
        if not action.endswith("ing"):
            self._settled.start(0)

    def _keep(self, layer: Shapes, indices: Sequence[int]) -> None:
        """Napari cannot undo this."""
        self._deleted = DeletedShapes.of(layer, indices)
        self.deleted.emit(self._deleted.count)

    def _moved(self, event: Any) -> None:  # noqa: ANN401 (napari's event)
        layer, image = event.source, self._image
        if not isinstance(layer, Shapes) or image is None:
            return
        now, before = layer.data, self._vertices.get(layer, [])
        moved = {
            index
            for index, vertices in enumerate(now)
            if index >= len(before) or not np.array_equal(vertices, before[index])
        }
        if not moved:
            return
        self._vertices[layer] = [np.array(vertices) for vertices in now]
        taken = self._lists.get(layer, RoiList()).taken
        found = shape_rois(layer, image, self._viewer, moved, taken).rois
        if found:
            self.dragged.emit(found[0].of(layer, f"{layer.name}: " if len(self._layers) > 1 else ""))
        # if the mouse rests, exact numbers come without its being released
        self._settled.start(SETTLE_MS)

    def _selected(self, layer: Shapes | Labels, event: object = None) -> None:  # noqa: ARG002
        if self._is_picking:
            return
        index = layer.selected_label if isinstance(layer, Labels) else _selected_shape(layer)
        found = next((one for one in self.rois if one.layer is layer and one.index == index), None)
        if found is not None:
            self.picked.emit(found)

    def _search_labels(self, image: Image) -> bool:
        """Whether labels are looked at, which takes a thread."""
        wanted: dict[Labels, LabelsOnSlide] = {}
        for layer in self._layers:
            if isinstance(layer, Labels):
                try:
                    wanted[layer] = labels_on_slide(layer, image, self._viewer)
                except SlideError as error:
                    self._lists[layer] = RoiList((), str(error))
        if wanted:
            self._search.do(once(_search, wanted), self._take, self._take_failure)
        return bool(wanted)

    def _take(self, found: Mapping[Labels, RoiList | ValueError]) -> None:
        for layer, rois in found.items():
            self._lists[layer] = rois if isinstance(rois, RoiList) else RoiList((), sentence_of(rois))
        self.listed.emit()

    def _take_failure(self, error: BaseException) -> None:
        self._take({layer: RoiList((), sentence_of(error)) for layer in self._layers if isinstance(layer, Labels)})


def _selected_shape(layer: Shapes) -> int | None:
    chosen = layer.selected_data
    if not chosen:
        return None
    return int(chosen.active if chosen.active is not None else min(chosen))


def _search(wanted: Mapping[Labels, LabelsOnSlide]) -> dict[Labels, RoiList | ValueError]:
    """Touches no layer: they are only names here."""
    found: dict[Labels, RoiList | ValueError] = {}
    for layer, labels in wanted.items():
        try:
            found[layer] = label_rois(labels)
        except ValueError as error:
            found[layer] = error
    return found
