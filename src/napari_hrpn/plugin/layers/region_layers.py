"""What the viewer has to train on: slides that are open, and layers with regions drawn on them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari.layers import Image, Labels, Layer, Shapes
from qtpy.QtCore import QObject, Signal

from napari_hrpn.plugin.layers.places import pixel_shape
from napari_hrpn.plugin.layers.shown_slides import is_prediction, layers_of, slide_of
from napari_hrpn.plugin.soon import soon

if TYPE_CHECKING:
    import napari
    from napari.utils.events import Event

    from napari_hrpn.slides import Slide

MOVES = ("scale", "translate", "rotate", "shear", "affine", "units")
EDITS = ("data", "paint", "labels_update", "features", *MOVES)


class RegionLayers(QObject):
    """Follows the layers of a viewer.

    `listed` says that layers came, went or have another name; `edited` carries the layer whose regions may be others
    now, or None where that may be so for all.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    """

    listed = Signal()
    edited = Signal(object)

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._followed: dict[Layer, tuple[str, ...]] = {}
        # several layers come and go in one step
        self._soon = soon(self, self._follow)
        events = viewer.layers.events
        for event in (events.inserted, events.removed, events.renamed):
            event.connect(self._layers_changed)
        self._follow()

    @property
    def is_settled(self) -> bool:
        """Whether all that came or went is listed."""
        return not self._soon.isActive()

    def stop(self) -> None:
        """Follow no more."""
        self._soon.stop()
        events = self._viewer.layers.events
        for event in (events.inserted, events.removed, events.renamed):
            event.disconnect(self._layers_changed)
        for layer in list(self._followed):
            self._leave(layer)

    def choices(self) -> list[tuple[str, Layer]]:
        """Names and layers of all shapes and labels."""
        return [(layer.name, layer) for layer in self._viewer.layers if isinstance(layer, Shapes | Labels)]

    def has(self, layer: Layer) -> bool:
        """Whether a layer is still there.

        Parameters
        ----------
        layer : napari.layers.Layer
            Any layer.

        Returns
        -------
        bool
            False once it was removed.
        """
        return layer in self._viewer.layers

    def foreign_images(self) -> list[Image]:
        """Images that were not opened by this package."""
        return [
            layer
            for layer in self._viewer.layers
            if isinstance(layer, Image) and slide_of(layer) is None and not is_prediction(layer)
        ]

    def showing(self, slide: Slide) -> Image | None:
        """A layer that shows a slide.

        Parameters
        ----------
        slide : Slide
            Opened from a file.

        Returns
        -------
        napari.layers.Image or None
            Of this package, else of another that opened the same file; None where the slide is not open.
        """
        own = (layer for layer in layers_of(self._viewer, slide) if not is_prediction(layer))
        foreign = (
            layer
            for layer in self.foreign_images()
            if layer.source.path is not None
            and Path(layer.source.path) == slide.source
            and pixel_shape(layer) == slide.shape
        )
        return next(own, None) or next(foreign, None)

    def _layers_changed(self, event: Event | None = None) -> None:  # noqa: ARG002
        self._soon.start()

    def _follow(self) -> None:
        there = list(self._viewer.layers)
        for layer in [layer for layer in self._followed if layer not in there]:
            self._leave(layer)
        for layer in there:
            if layer not in self._followed:
                names = EDITS if isinstance(layer, Shapes | Labels) else MOVES
                self._followed[layer] = tuple(name for name in names if hasattr(layer.events, name))
                for name in self._followed[layer]:
                    getattr(layer.events, name).connect(self._tell_edit)
        self.listed.emit()

    def _leave(self, layer: Layer) -> None:
        for name in self._followed.pop(layer):
            getattr(layer.events, name).disconnect(self._tell_edit)

    def _tell_edit(self, event: Event) -> None:
        self.edited.emit(event.source if isinstance(event.source, Shapes | Labels) else None)
