"""Real in red, predicted in green, yellow where they agree: one colour layer, computed only where it is looked at.

It is one layer so that whatever else is shown does not mix with its colours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels, Shapes
from qtpy.QtCore import QObject

from napari_hrpn.plugin.background import soon
from napari_hrpn.plugin.viewer import placement

if TYPE_CHECKING:
    import dask.array as da
    import napari
    from napari.layers import Image

    from napari_hrpn.analysis import RoiImages
    from napari_hrpn.plugin.parts.selection import ComparedChannel

_CONTRAST_MS = 150
_TITLE = "co-localisation"


class ColocalizationLayer(QObject):
    """The layer, at the contrast of the real one, which it follows."""

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._real: Image | None = None
        self._images: RoiImages | None = None
        self._which = 0
        self.layer: Image | None = None
        # the slider of the contrast moves in many small steps
        self._soon = soon(self, self._update, _CONTRAST_MS)

    def show(self, images: RoiImages, which: int, real: ComparedChannel, predicted: ComparedChannel) -> Image:
        """Show a prediction with the real channel, in a new layer or in the one that is there."""
        if self.layer is not None and (self.layer not in self._viewer.layers or self._real is not real.layer):
            self.shut_down()
        self._images, self._which = images, which
        name = f"{_TITLE} {real.name} × {predicted.name}"
        if self.layer is not None:
            self.layer.name = name
            self._update()
            return self.layer
        self._real = real.layer
        self._real.events.contrast_limits.connect(self._contrast_changed)
        active = self._viewer.layers.selection.active
        self.layer = self._viewer.add_image(
            **self._data(), **placement(real.layer), name=name, rgb=True, blending="translucent"
        )
        self._lay_under_regions(self.layer)
        self._viewer.layers.selection.active = active
        return self.layer

    def shut_down(self) -> None:
        """Follow the contrast no more; the layer stays."""
        self._soon.stop()
        if self._real is not None:
            self._real.events.contrast_limits.disconnect(self._contrast_changed)
        self._real = self._images = self.layer = None

    def _lay_under_regions(self, layer: Image) -> None:
        """Regions stay in sight, and in the hand of who drags them."""
        layers = self._viewer.layers
        above = [index for index, other in enumerate(layers) if isinstance(other, Shapes | Labels)]
        if above:
            layers.move(layers.index(layer), above[0])

    def _contrast_changed(self, event: object = None) -> None:  # noqa: ARG002
        self._soon.start()

    def _update(self) -> None:
        if self.layer is not None and self.layer in self._viewer.layers:
            self.layer.data = self._data()["data"]

    def _data(self) -> dict[str, Any]:
        assert self._images is not None
        assert self._real is not None
        low, high = self._real.contrast_limits
        levels = [
            _red_and_green(level.arrays[0], level.arrays[1 + self._which], (float(low), float(high)))
            for level in self._images.levels
        ]
        several = len(levels) > 1
        return {"data": levels if several else levels[0], "multiscale": several}


def _red_and_green(real: da.Array, predicted: da.Array, limits: tuple[float, float]) -> da.Array:
    """A colour picture of two channels at one contrast."""
    import dask.array as da

    red, green = (_bright(channel, limits) for channel in da.core.unify_chunks(real, "yx", predicted, "yx")[1])
    return da.stack([red, green, da.zeros_like(red)], axis=-1).rechunk({2: 3})


def _bright(channel: da.Array, limits: tuple[float, float]) -> da.Array:
    low, high = limits
    factor = np.float32(255 / max(high - low, 1e-9))

    def scaled(block: np.ndarray) -> np.ndarray:
        bright: np.ndarray = np.clip((block.astype(np.float32) - np.float32(low)) * factor, 0, 255).astype(np.uint8)
        return bright

    return channel.map_blocks(scaled, dtype=np.uint8, meta=np.empty((0, 0), np.uint8))
