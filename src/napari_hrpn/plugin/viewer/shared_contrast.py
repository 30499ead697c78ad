"""One contrast for a real probe and its predictions, and a place for predictions that were opened from a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, ref

import numpy as np

from napari_hrpn.plugin.viewer.coordinates import pixel_shape, placement
from napari_hrpn.plugin.viewer.from_slides import slider_range
from napari_hrpn.plugin.viewer.slide_metadata import (
    channel_of,
    imaged_slides_in,
    is_helper,
    is_prediction,
    layers_of,
    prediction_facts,
    unwrapped,
)
from napari_hrpn.slides import guess_roles, slide_identity

if TYPE_CHECKING:
    import napari
    from napari.layers import Image

_shared: WeakKeyDictionary[Image, SharedContrast] = WeakKeyDictionary()


class SharedContrast:
    """Contrast of a prediction: that of the real probe, or of its own pixels, until the user sets it."""

    def __init__(self, layer: Image, real: Image | None) -> None:
        # whoever removes a layer need not know of this
        self._layer, self._real = ref(layer), None if real is None else ref(real)
        self._is_ours = True
        self._is_setting = False
        layer.events.contrast_limits.connect(self._note)
        if real is not None:
            real.events.contrast_limits.connect(self.follow)
            self.follow()

    def suggest(self, limits: tuple[float, float] | None) -> None:
        """Use limits where there is no real probe."""
        if limits is not None and self._real is None:
            self._set(limits)

    def follow(self, event: object = None) -> None:  # noqa: ARG002
        """Take over the contrast of the real probe."""
        real = None if self._real is None else self._real()
        if real is not None:
            self._set(tuple(real.contrast_limits))

    def _note(self, event: object = None) -> None:  # noqa: ARG002
        self._is_ours = self._is_ours and self._is_setting

    def _set(self, limits: tuple[float, ...]) -> None:
        layer = self._layer()
        if layer is None or not self._is_ours:
            return
        self._is_setting = True
        low, high = limits
        layer.contrast_limits_range = slider_range((low, high), np.dtype(layer.dtype))
        layer.contrast_limits = limits
        self._is_setting = False


def share_contrast(layer: Image, real: Image | None) -> SharedContrast:
    """Let a prediction follow the contrast of the real probe."""
    # a widget may have been handed proxies, which do not last
    layer, real = unwrapped(layer), unwrapped(real)
    _shared[layer] = SharedContrast(layer, real)
    return _shared[layer]


def join_reopened(viewer: napari.Viewer) -> None:
    """Put predictions that were opened from a file on their slide, and give them the contrast of the real probe."""
    predicted = [layer for layer in viewer.layers if is_prediction(layer) and not is_helper(layer)]
    waiting = [layer for layer in predicted if unwrapped(layer) not in _shared]
    if not waiting:
        return
    for slide in imaged_slides_in(viewer):
        if not isinstance(slide.source, Path) or not slide.source.exists():
            continue
        identity = slide_identity(slide)
        for layer in [one for one in waiting if prediction_facts(one).get("slide") == identity]:
            _join(layer, layers_of(viewer, slide), guess_roles(slide.channel_names).probe)


def _join(layer: Image, shown: list[Image], probe: int | None) -> None:
    if pixel_shape(shown[0]) != pixel_shape(layer):
        return
    real = next((one for one in shown if probe is not None and channel_of(one) == probe), None)
    for name, value in placement(shown[0]).items():
        setattr(layer, name, value)
    if real is not None:
        share_contrast(layer, real)
