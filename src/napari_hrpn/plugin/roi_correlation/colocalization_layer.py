"""Co-localisation as one colour layer: real in red or magenta, predicted in green, yellow or white where they agree.

Only the part in view is computed. A single layer keeps the colours of other layers from mixing with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels, Shapes
from qtpy.QtCore import QObject

from napari_hrpn.plugin.background import soon
from napari_hrpn.plugin.parts.preferences import preferred
from napari_hrpn.plugin.viewer import layer_name, placement

if TYPE_CHECKING:
    import dask.array as da
    import napari
    from napari.layers import Image

    from napari_hrpn.analysis import RoiImages
    from napari_hrpn.plugin.parts.selection import ComparedChannel

_CONTRAST_MS = 150
_MAGENTA = "magenta and green"


class ColocalizationLayer(QObject):
    """The co-localisation layer, which follows the contrast of the real layer."""

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._real: Image | None = None
        self.layer: Image | None = None
        self._is_magenta = False
        self._levels: list[tuple[da.Array, da.Array]] = []
        # the slider of the contrast moves in many small steps
        self._soon = soon(self, self._update, _CONTRAST_MS)

    @property
    def words(self) -> str:
        """Meaning of the colours."""
        real, both = ("Magenta", "white") if self._is_magenta else ("Red", "yellow")
        return f"{real}: only real, green: only predicted, {both}: both, at the contrast of the real layer."

    def show(self, images: RoiImages, which: int, real: ComparedChannel, predicted: ComparedChannel) -> None:
        """Show a prediction with the real channel, in a new layer or in the existing one."""
        if self.layer is not None and (self.layer not in self._viewer.layers or self._real is not real.layer):
            self.shut_down()
        self._levels = [(level.arrays[0], level.arrays[1 + which]) for level in images.levels]
        self._is_magenta = preferred("overlay_colours") == _MAGENTA
        name = layer_name("co-localisation", f"{real.name} × {predicted.name}")
        if self.layer is not None:
            self.layer.name = name
            self._update()
            return
        self._real = real.layer
        self._real.events.contrast_limits.connect(self._contrast_changed)
        self.layer = add_below_regions(
            self._viewer,
            self._pictures(),
            multiscale=len(self._levels) > 1,
            **placement(real.layer),
            name=name,
            rgb=True,
            blending="translucent",
        )

    def shut_down(self) -> None:
        """Disconnect from the contrast; the layer stays."""
        self._soon.stop()
        if self._real is not None:
            self._real.events.contrast_limits.disconnect(self._contrast_changed)
        self._real = self.layer = None

    def _contrast_changed(self, event: object = None) -> None:  # noqa: ARG002
        self._soon.start()

    def _update(self) -> None:
        if self.layer is not None and self.layer in self._viewer.layers:
            self.layer.data = self._pictures()

    def _pictures(self) -> Any:  # noqa: ANN401 (an array, or a list of them)
        assert self._real is not None
        low, high = map(float, self._real.contrast_limits)
        pictures = [_two_colours(real, predicted, low, high, self._is_magenta) for real, predicted in self._levels]
        return pictures if len(pictures) > 1 else pictures[0]


def add_below_regions(viewer: napari.Viewer, data: Any, **attributes: Any) -> Image:  # noqa: ANN401 (as napari has it)
    """Add an image below the regions; the layer that the user edits stays selected."""
    layers, active = viewer.layers, viewer.layers.selection.active
    layer: Image = viewer.add_image(data, **attributes)
    above = [index for index, other in enumerate(layers) if isinstance(other, Shapes | Labels)]
    if above:
        layers.move(layers.index(layer), above[0])
    layers.selection.active = active
    return layer


def _two_colours(real: da.Array, predicted: da.Array, low: float, high: float, is_magenta: bool) -> da.Array:
    """A colour picture of two channels at one contrast."""
    import dask.array as da

    factor = np.float32(255 / max(high - low, 1e-9))

    def bright(block: np.ndarray) -> np.ndarray:
        scaled = (block.astype(np.float32) - np.float32(low)) * factor
        return np.asarray(np.clip(scaled, 0, 255), np.uint8)

    channels = da.core.unify_chunks(real, "yx", predicted, "yx")[1]
    red, green = (channel.map_blocks(bright, dtype=np.uint8, meta=np.empty((0, 0), np.uint8)) for channel in channels)
    return da.stack([red, green, red if is_magenta else da.zeros_like(red)], axis=-1).rechunk({2: 3})
