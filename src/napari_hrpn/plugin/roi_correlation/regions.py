"""Regions of interest in the user's Shapes and Labels layers: listed, moved, picked, deleted and restored.

The data of layers are never replaced, so that their colours, names and undo history stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels, Shapes
from qtpy.QtCore import QObject, Signal

from napari_hrpn.plugin.background import NewestTask, once, soon
from napari_hrpn.plugin.parts.messages import sentence_of
from napari_hrpn.plugin.viewer.layer_coordinates import labels_on_slide, shapes_on_slide
from napari_hrpn.slides import Annotation, SlideError, included, label_regions

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    import napari
    import pandas as pd
    from napari.layers import Image, Layer
    from numpy.typing import NDArray

    from napari_hrpn.plugin.viewer.layer_watcher import RegionLayers
    from napari_hrpn.slides import LabelRegion

SETTLE_MS = 250


@dataclass(frozen=True, eq=False)
class ListedRoi:
    """A region and its layer."""

    index: int  # number of the shape in its layer, or value of the label
    roi: Annotation | LabelRegion  # in full-resolution pixels of the real slide
    layer: Layer | None = None
    names_layer: bool = False  # whether its name includes that of its layer, if several layers are listed

    @property
    def name(self) -> str:
        """Name of the region."""
        return f"{self.layer.name}: {self.roi.name}" if self.layer is not None and self.names_layer else self.roi.name

    @property
    def digest(self) -> str:
        """Hash of its outline."""
        return self.roi.digest

    def is_at(self, other: ListedRoi | None) -> bool:
        """Whether another region is the same shape or label of the same layer."""
        return other is not None and (self.layer, self.index) == (other.layer, other.index)


@dataclass(frozen=True, eq=False)
class _RoiList:
    """The regions of a layer."""

    rois: tuple[ListedRoi, ...] = ()  # in the order of the layer
    note: str = ""  # which shapes were left out and why; empty if none
    excluded: tuple[Annotation, ...] = ()  # outlines that are excluded from all regions


def shape_rois(
    layer: Shapes,
    image: Image,
    viewer: napari.Viewer,
    only: Container[int] | None = None,
    excluded: Sequence[Annotation] = (),
    *,
    names_layer: bool = False,
) -> _RoiList:
    """List the regions of a Shapes layer, or only some of its shapes."""
    drawn, lines = shapes_on_slide(layer, image, viewer, only)
    excluded = (*excluded, *(region.outlined() for region in drawn.values() if region.kind == "exclude"))
    kept = {index: region for index, region in drawn.items() if region.kind == "include"}
    regions = zip(kept, included([*kept.values(), *excluded]), strict=True)
    rois = tuple(ListedRoi(index, roi, layer, names_layer) for index, roi in regions)
    return _RoiList(rois, _left_out(len(lines), len(excluded)), excluded)


def label_rois(layer: Labels, drawn: LabelRegion, *, names_layer: bool = False) -> _RoiList:
    """List the regions of labels, one for each value but 0; any thread may call it: it does not use the layer."""
    regions = label_regions(drawn)
    return _RoiList(tuple(ListedRoi(value, roi, layer, names_layer) for value, roi in regions.items()))


def _left_out(lines: int, excluding: int) -> str:
    words = []
    if lines:
        words.append(f"Left out: {lines} {'path or line has' if lines == 1 else 'paths or lines have'} no area.")
    if excluding:
        shapes = "shape is" if excluding == 1 else "shapes are"
        words.append(f"{excluding} {shapes} excluded from the others of the layer.")
    return " ".join(words)


def name_last(layer: Shapes, added: pd.DataFrame) -> None:
    """Set names and other features of the shapes that were added last, as far as their layer has these columns."""
    features, defaults = layer.features.copy(), layer.feature_defaults.iloc[0].to_dict()
    for column in added.columns.intersection(features.columns):
        features.iloc[-len(added) :, features.columns.get_loc(column)] = added[column].to_numpy()
    layer.features = features
    # napari would use the last features as defaults for the next shape
    layer.feature_defaults = defaults


class FollowedRegions(QObject):
    """Lists the regions of one or several layers, and follows their changes.

    `dragged` carries a region while it moves; `listed` is emitted when `rois` and `note` have changed; `picked` carries
    a region that was selected in the viewer; `deleted` carries the number of regions that can be restored.
    """

    dragged = Signal(object)
    listed = Signal()
    picked = Signal(object)
    deleted = Signal(int)

    def __init__(self, viewer: napari.Viewer, region_layers: RegionLayers) -> None:
        super().__init__()
        self._viewer = viewer
        self.layers: tuple[Shapes | Labels, ...] = ()
        self._image: Image | None = None
        self._lists: dict[Shapes | Labels, _RoiList] = {}
        self._vertices: dict[Shapes, list[NDArray[Any]]] = {}
        self._search = NewestTask()
        self._connected: list[tuple[Any, Any]] = []
        self._is_picking = False
        self._deleted: _DeletedShapes | None = None
        self._settled = soon(self, self.refresh)
        region_layers.edited.connect(self._note_edit)

    @property
    def rois(self) -> tuple[ListedRoi, ...]:
        """All regions, in the order of the layers."""
        return tuple(roi for layer in self.layers for roi in self._list_of(layer).rois)

    @property
    def note(self) -> str:
        """Which shapes are left out and why."""
        return " ".join(filter(None, (self._list_of(layer).note for layer in self.layers)))

    @property
    def is_busy(self) -> bool:
        """Whether the list of regions is about to change."""
        return self._search.is_busy or bool(self._settled.isActive())

    def follow(self, layers: Sequence[Shapes | Labels], image: Image | None) -> None:
        """Follow other layers, in pixels of an image."""
        if tuple(layers) == self.layers and image is self._image:
            return
        for layer in self.layers:
            if isinstance(layer, Shapes) and layer not in self._viewer.layers and len(layer.data):
                self._keep(layer, ())
        self.leave()
        self.layers, self._image, self._lists = tuple(layers), image, {}
        for layer in self.layers if image is not None else ():
            self._listen(layer)
        self.refresh()

    def refresh(self) -> None:
        """List the current regions; labels are read in a thread."""
        self._settled.stop()
        self._search.abandon()
        image, labels = self._image, {}
        self._vertices = {}
        for layer in self.layers if image is not None else ():
            try:
                if isinstance(layer, Shapes):
                    self._vertices[layer] = [np.array(vertices) for vertices in layer.data]
                    self._lists[layer] = shape_rois(layer, image, self._viewer, names_layer=self._has_several)
                else:
                    labels[layer] = labels_on_slide(layer, image, self._viewer)
            except SlideError as error:
                self._lists[layer] = _RoiList((), str(error))
        if labels:
            self._search.do(once(_search, labels, self._has_several), self._take, self._refuse_labels)
        else:
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
        """Restore the regions that were deleted last."""
        deleted, self._deleted = self._deleted, None
        if deleted is not None:
            deleted.bring_back(self._viewer)
        self.deleted.emit(0)

    def leave(self) -> None:
        """Disconnect from the layers."""
        self._settled.stop()
        self._search.abandon()
        for event, callback in self._connected:
            event.disconnect(callback)
        self._connected, self.layers, self._image = [], (), None

    @property
    def _has_several(self) -> bool:
        return len(self.layers) > 1

    def _list_of(self, layer: Shapes | Labels) -> _RoiList:
        return self._lists.get(layer, _RoiList())

    def _listen(self, layer: Shapes | Labels) -> None:
        selected = partial(self._note_selection, layer)
        pairs: list[tuple[Any, Any]]
        if isinstance(layer, Labels):
            pairs = [(layer.events.selected_label, selected)]
        else:
            pairs = [(layer.selected_data.events.items_changed, selected), (layer.events.data, self._note_removing)]
            # only `set_data` is emitted with every move of the mouse; this callback is called before those of napari,
            # which draw the layer and take longer
            layer.events.set_data.connect(self._note_move, position="first")
            self._connected.append((layer.events.set_data, self._note_move))
        for event, callback in pairs:
            event.connect(callback)
        self._connected += pairs

    def _note_edit(self, layer: Layer | None) -> None:
        # None means that an image was moved, perhaps the real one
        if layer is None or layer in self.layers:
            self._settled.start(0)

    def _note_removing(self, event: Any) -> None:  # noqa: ANN401 (napari's event)
        if str(getattr(event, "action", "")).lower().endswith("removing"):
            self._keep(event.source, event.data_indices)

    def _keep(self, layer: Shapes, indices: Sequence[int]) -> None:
        self._deleted = _DeletedShapes.of(layer, indices)
        self.deleted.emit(self._deleted.count)

    def _note_move(self, event: Any) -> None:  # noqa: ANN401 (napari's event)
        layer, image = event.source, self._image
        if image is None:
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
        excluded = self._list_of(layer).excluded
        dragged = shape_rois(layer, image, self._viewer, moved, excluded, names_layer=self._has_several).rois
        if dragged:
            self.dragged.emit(dragged[0])
        # if the mouse rests with its button pressed, exact numbers are measured
        self._settled.start(SETTLE_MS)

    def _note_selection(self, layer: Shapes | Labels, event: object = None) -> None:  # noqa: ARG002
        if self._is_picking:
            return
        if isinstance(layer, Labels):
            index = layer.selected_label
        else:
            chosen = layer.selected_data
            index = (min(chosen) if chosen.active is None else int(chosen.active)) if chosen else None
        found = next((one for one in self.rois if one.layer is layer and one.index == index), None)
        if found is not None:
            self.picked.emit(found)

    def _take(self, found: Mapping[Labels, _RoiList]) -> None:
        self._lists.update(found)
        self.listed.emit()

    def _refuse_labels(self, error: BaseException) -> None:
        self._take({layer: _RoiList((), sentence_of(error)) for layer in self.layers if isinstance(layer, Labels)})


def _search(labels: Mapping[Labels, LabelRegion], names_layer: bool) -> dict[Labels, _RoiList]:
    """Find the regions of labels, in a thread: the layers are only keys here."""
    lists = {}
    for layer, drawn in labels.items():
        try:
            lists[layer] = label_rois(layer, drawn, names_layer=names_layer)
        except SlideError as error:
            lists[layer] = _RoiList((), str(error))
    return lists


@dataclass(frozen=True, eq=False)
class _DeletedShapes:
    """Shapes that were deleted last, with their names and colours: napari cannot undo a deletion."""

    layer: Shapes
    shapes: dict[str, Any]  # arguments of `Shapes.add`; empty if the layer itself was deleted
    features: pd.DataFrame  # one row per shape

    @classmethod
    def of(cls, layer: Shapes, indices: Sequence[int]) -> _DeletedShapes:
        kept = sorted(int(index) for index in indices)
        shapes = {
            "data": [np.array(layer.data[index]) for index in kept],
            "shape_type": [layer.shape_type[index] for index in kept],
            "edge_width": [layer.edge_width[index] for index in kept],
            "edge_color": np.array(layer.edge_color[kept]),
            "face_color": np.array(layer.face_color[kept]),
        }
        return cls(layer, shapes if kept else {}, layer.features.iloc[kept].copy())

    @property
    def count(self) -> int:
        return len(self.features) or len(self.layer.data)

    def bring_back(self, viewer: napari.Viewer) -> None:
        """Add the shapes to their layer again, as its last ones; a deleted layer itself is added again."""
        layer = self.layer
        if layer not in viewer.layers:
            viewer.add_layer(layer)
        if not self.shapes:
            return
        layer.add(**self.shapes)
        name_last(layer, self.features)
