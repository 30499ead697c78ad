"""Vessel masks and subareas as Labels layers; a mask that the user has edited replaces the one that was found."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from napari.layers import Labels
from napari.utils import DirectLabelColormap
from qtpy.QtCore import QObject, Signal

from napari_hrpn.core import Box
from napari_hrpn.plugin.parts.measure_bar import who
from napari_hrpn.plugin.parts.messages import UserError
from napari_hrpn.plugin.viewer import KEY, coarse_placement, layer_name
from napari_hrpn.plugin.viewer.layer_coordinates import labels_on_slide
from napari_hrpn.plugin.viewer.layer_watcher import RegionLayers

if TYPE_CHECKING:
    from collections.abc import Hashable

    import napari
    from napari.layers import Layer

    from napari_hrpn.analysis import Subareas, VesselMask
    from napari_hrpn.plugin.parts.selection import ComparedChannel

_VESSELS, _SUBAREAS = "vessels_of", "subareas_of"
_VESSEL_COLOUR = "#ff9f40"
_SUBAREA_COLOURS = ("#56b4e9", "#009e73", "#f0e442", "#cc79a7")
_OPACITY = 0.5


class MaskLayers(QObject):
    """Labels layers of a viewer that hold vessels.

    `listed` is emitted when the choice of layers has changed, `edited` carries a layer that the user has changed.
    """

    listed = Signal()
    edited = Signal(object)

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._edits: WeakKeyDictionary[Layer, int] = WeakKeyDictionary()
        self._layers = RegionLayers(viewer)
        self._layers.listed.connect(self.listed)
        self._layers.edited.connect(self._note_edit)

    @property
    def is_settled(self) -> bool:
        """Whether all layers of masks are listed."""
        return self._layers.is_settled

    def choices(self) -> list[tuple[str, Labels]]:
        """Names and Labels layers that may hold vessels."""
        return [
            (name, layer)
            for name, layer in self._layers.choices()
            if isinstance(layer, Labels) and (KEY not in layer.metadata or _VESSELS in layer.metadata[KEY])
        ]

    def mark(self, layer: Labels) -> Hashable:
        """Key of a layer, which changes with every edit."""
        return who(layer), self._edits.get(layer, 0)

    def is_edited(self, layer: Labels) -> bool:
        """Whether the user has changed a mask since it was found."""
        return self._edits.get(layer, 0) > 0

    def was_found_on(self, layer: Labels, real: ComparedChannel) -> bool:
        """Whether a mask was found on a slide, even if it was edited since."""
        facts = layer.metadata.get(KEY)
        return isinstance(facts, dict) and facts.get(_VESSELS) == who(real.slide)

    def drawn(self, layer: Labels, real: ComparedChannel) -> Any:  # noqa: ANN401 (an array of any kind)
        """Return the labels of a layer, which must cover a slide exactly."""
        region = labels_on_slide(layer, real.layer, self._viewer)
        corners = np.array([(0, 0), (0, 1), (1, 0)])
        of_slide = (corners * real.slide.shape - 0.5) @ region.matrix.T + region.offset
        if np.abs(of_slide - (corners * region.labels.shape - 0.5)).max() > 1:
            raise UserError(
                f"The labels {layer.name!r} do not cover {real.name!r} from corner to corner, expected a mask of the "
                "whole slide: press Find vessels, and edit the layer that appears."
            )
        return region.labels

    def show_vessels(self, vessels: VesselMask, real: ComparedChannel) -> Labels:
        """Show a mask that was found: in the layer of the former one, unless the user has edited that."""
        pixels = vessels.mask.astype(np.uint8)
        layer = self._found_layer(real)
        if layer is not None and layer.data.shape == pixels.shape:
            layer.data = pixels
            self._layers.accept(layer)
        else:
            layer = self._viewer.add_labels(
                pixels,
                **coarse_placement(real.layer, vessels.downsample),
                name=layer_name("vessels", real.name),
                opacity=_OPACITY,
                colormap=DirectLabelColormap(color_dict={0: "transparent", None: _VESSEL_COLOUR}),
                metadata={KEY: {_VESSELS: who(real.slide)}},
            )
        return layer

    def show_subareas(self, subareas: Subareas, real: ComparedChannel) -> Labels:
        """Show subareas in their own layer; an existing one gets the new labels."""
        colours: dict[int | None, str] = dict(enumerate(_SUBAREA_COLOURS[: len(subareas.names)], start=1))
        look = {
            **coarse_placement(real.layer, subareas.downsample),
            "name": layer_name("subareas", real.name),
            "features": {"index": [0, *colours], "subarea": ["none", *subareas.names]},
            "colormap": DirectLabelColormap(color_dict=colours | {0: "transparent", None: "transparent"}),
            "metadata": {KEY: {_SUBAREAS: who(real.slide)}},
        }
        layer = next((one for one in self._viewer.layers if _SUBAREAS in one.metadata.get(KEY, {})), None)
        if layer is None:
            active = self._viewer.layers.selection.active
            layer = self._viewer.add_labels(subareas.labels, opacity=_OPACITY, **look)
            # the selected layer, perhaps the vessels, stays selected
            self._viewer.layers.selection.active = active
        else:
            # changing a layer is faster than adding one
            layer.data = subareas.labels
            for name, value in look.items():
                setattr(layer, name, value)
        layer.editable = False
        return layer

    def shut_down(self) -> None:
        """Disconnect from the viewer."""
        self._layers.stop()

    def _found_layer(self, real: ComparedChannel) -> Labels | None:
        """Layer of the mask that was found last on a slide; None if the user has edited it."""
        unedited = (
            layer for _, layer in self.choices() if self.was_found_on(layer, real) and not self.is_edited(layer)
        )
        return next(unedited, None)

    def _note_edit(self, layer: Layer | None) -> None:
        if isinstance(layer, Labels):
            self._edits[layer] = self._edits.get(layer, 0) + 1
            self.edited.emit(layer)


def vessel_at(vessels: VesselMask, pixel: tuple[int, int]) -> int | None:
    """Number of the vessel at a pixel of the slide; None if there is none."""
    row, column = (
        min(int((index + 0.5) / factor), size - 1)
        for index, factor, size in zip(pixel, vessels.downsample, vessels.mask.shape, strict=True)
    )
    label = int(vessels.objects.painted(slice(row, row + 1), slice(column, column + 1))[0, 0])
    return label or None


def box_of(vessels: VesselMask, label: int) -> Box:
    """Box around a vessel, with a margin of one pixel of the mask."""
    objects = vessels.objects
    runs = np.flatnonzero(objects.part == label - 1)
    dy, dx = vessels.downsample
    return Box(
        math.floor((int(objects.row[runs].min()) - 1) * dy),
        math.ceil((int(objects.row[runs].max()) + 2) * dy),
        math.floor((int(objects.start[runs].min()) - 1) * dx),
        math.ceil((int(objects.stop[runs].max()) + 1) * dx),
    )
