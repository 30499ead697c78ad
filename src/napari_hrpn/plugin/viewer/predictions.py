"""Layers of predictions: the contrast of the real probe, hatches where nothing is predicted yet or little is known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, ref

import numpy as np

from napari_hrpn.plugin.background import soon
from napari_hrpn.plugin.viewer.layer_coordinates import coarse_placement, pixel_shape, placement
from napari_hrpn.plugin.viewer.open_slides import (
    channel_of,
    described,
    imaged_slides_in,
    is_calibrated,
    layer_name,
    layers_of,
    prediction_facts,
    predictions_in,
    slide_of,
    unwrapped,
)
from napari_hrpn.plugin.viewer.slides_as_layers import UNCERTAINTY, slider_range
from napari_hrpn.slides import RegionMask, guess_roles, slide_identity

if TYPE_CHECKING:
    import napari
    from napari.components import ViewerModel
    from napari.layers import Image
    from numpy.typing import NDArray

    from napari_hrpn.slides import Slide

_STRIPE_PX = 8
_MOST_REPEATS, _LARGEST_PX = 16, 1024
NOT_YET, UNLIKE_TRAINING = "not yet predicted", "unlike training"
# colour of each hatch, opacity of its stripes, and of the ground between them
_HATCHES = {NOT_YET: ((150, 150, 150), 110, 40), UNLIKE_TRAINING: ((240, 130, 30), 170, 0)}
_shared: WeakKeyDictionary[Image, _SharedContrast] = WeakKeyDictionary()
# hatches that each prediction was given, of which the user may have removed some
_given: WeakKeyDictionary[Image, set[str]] = WeakKeyDictionary()


class _SharedContrast:
    """Contrast of a prediction: that of the real probe, or of the predicted pixels, until the user changes it."""

    def __init__(self, layer: Image, real: Image | None) -> None:
        # weak references do not keep a removed layer in memory
        self._layer, self._real = ref(layer), None if real is None else ref(real)
        self._is_ours = True
        self._is_setting = False
        layer.events.contrast_limits.connect(self._note)
        if real is not None:
            real.events.contrast_limits.connect(self._follow)
            self._follow()

    def suggest(self, limits: tuple[float, float] | None) -> None:
        """Use limits if there is no real probe."""
        if limits is not None and self._real is None:
            self._set(limits)

    def _follow(self, event: object = None) -> None:  # noqa: ARG002
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


def share_contrast(layer: Image, real: Image | None) -> _SharedContrast:
    """Give a prediction the contrast of the real probe, and follow its changes."""
    # napari gives widgets short-lived proxies, which a weak reference would lose
    layer, real = unwrapped(layer), unwrapped(real)
    _shared[layer] = _SharedContrast(layer, real)
    return _shared[layer]


def newest_prediction(viewer: ViewerModel, reference: Image, preferred: Image | None = None) -> Image | None:
    """Find the newest prediction of the slide that a layer shows, or the preferred one if it is such a prediction."""
    found = [
        layer
        for layer in predictions_in(viewer)
        if pixel_shape(layer) == pixel_shape(reference) and not is_calibrated(layer)
    ]
    slide = slide_of(reference)
    identity = None if slide is None else _identity(slide)
    if identity is not None:
        found = [layer for layer in found if prediction_facts(layer).get("slide") == identity]
    if preferred in found or identity is None:
        return preferred if preferred in found else None
    return next(reversed(found), None)


def settle_soon(viewer: napari.Viewer) -> None:
    """Place predictions that are being opened on their slides, as soon as they are in the viewer."""
    soon(viewer.window._qt_window, lambda: _settle(viewer)).start()


def _settle(viewer: napari.Viewer) -> None:
    predicted = predictions_in(viewer)
    waiting = [layer for layer in predicted if unwrapped(layer) not in _shared]
    for slide in imaged_slides_in(viewer) if waiting else ():
        identity = _identity(slide)
        for layer in waiting:
            if identity is not None and prediction_facts(layer).get("slide") == identity:
                shown = layers_of(viewer, slide)
                _join(layer, shown, guess_roles(slide.channel_names).probe)
                if (uncertain := uncertainty_of(viewer, layer)) is not None:
                    _place(uncertain, shown)
    for layer in predicted:
        finished = finished_part(layer)
        if finished is not None and hatch_of(viewer, layer) is None:
            add_hatch(viewer, layer, finished)
        like = prediction_facts(layer).get("like training")
        if like is not None and hatch_of(viewer, layer, UNLIKE_TRAINING) is None:
            add_hatch(viewer, layer, like, UNLIKE_TRAINING)


def _join(layer: Image, shown: list[Image], probe: int | None) -> None:
    """Place a prediction that was opened from a file on its slide."""
    if not _place(layer, shown):
        return
    real = next((one for one in shown if probe is not None and channel_of(one) == probe), None)
    if real is not None:
        share_contrast(layer, real)


def _place(layer: Image, shown: list[Image]) -> bool:
    """Place a layer on a slide of its size; returns whether it has that size."""
    fits = pixel_shape(shown[0]) == pixel_shape(layer)
    for name, value in placement(shown[0]).items() if fits else ():
        setattr(layer, name, value)
    return fits


def _identity(slide: Slide) -> str | None:
    """Fingerprint of a slide's file; None if there is no such file."""
    return slide_identity(slide) if isinstance(slide.source, Path) and slide.source.exists() else None


def finished_part(layer: Image) -> RegionMask | None:
    """Where a prediction is finished; None if all of it is, or if it is not known."""
    facts = prediction_facts(layer)
    return None if facts.get("complete") else facts.get("finished")


def hatch_of(viewer: ViewerModel, predicted: Image, kind: str = NOT_YET) -> Image | None:
    """A hatch of a prediction."""
    return _helper_of(viewer, predicted, kind)


def uncertainty_of(viewer: ViewerModel, predicted: Image) -> Image | None:
    """The layer of the uncertainty of a prediction by an ensemble."""
    return _helper_of(viewer, predicted, UNCERTAINTY)


def _helper_of(viewer: ViewerModel, predicted: Image, kind: str) -> Image | None:
    path = prediction_facts(predicted).get("path")
    found = ((prediction_facts(layer), layer) for layer in viewer.layers)
    return next((one for facts, one in found if facts.get("helper") == kind and facts.get("path") == path), None)


def add_hatch(viewer: ViewerModel, predicted: Image, clear: RegionMask, kind: str = NOT_YET) -> None:
    """Add a layer that hatches what is not clear, unless the user has removed it; its image is small."""
    if kind in _given.get(unwrapped(predicted), ()) and hatch_of(viewer, predicted, kind) is None:
        return
    remove_hatch(viewer, predicted, kind)
    _given.setdefault(unwrapped(predicted), set()).add(kind)
    shown, downsample = _fine_enough(clear, pixel_shape(predicted))
    selected = set(viewer.layers.selection)
    viewer.add_image(
        _hatched(shown, kind),
        **coarse_placement(predicted, downsample),
        name=layer_name(kind, predicted.name),
        rgb=True,
        blending="translucent_no_depth",
        metadata=described({"prediction": {**prediction_facts(predicted), "helper": kind}}),
    )
    viewer.layers.selection = selected


def update_hatch(viewer: ViewerModel, predicted: Image, clear: RegionMask, kind: str = NOT_YET) -> None:
    """Update a hatch; if the user has removed it, nothing is added."""
    hatch = hatch_of(viewer, predicted, kind)
    if hatch is not None:
        hatch.data = _hatched(_fine_enough(clear, pixel_shape(predicted))[0], kind)


def remove_hatch(viewer: ViewerModel, predicted: Image, kind: str = NOT_YET) -> None:
    """Remove a hatch of a prediction, if there is one; it may be added again."""
    _given.get(unwrapped(predicted), set()).discard(kind)
    hatch = hatch_of(viewer, predicted, kind)
    if hatch is not None:
        viewer.layers.remove(hatch)


def _fine_enough(clear: RegionMask, shape: tuple[int, int]) -> tuple[NDArray[np.bool_], tuple[float, float]]:
    """A mask whose pixels are small enough for stripes, cut to the slide, and their size."""
    repeats = max(1, min(_MOST_REPEATS, _LARGEST_PX // max(clear.mask.shape)))
    down, across = (square / repeats for square in clear.downsample)
    whole = clear.mask.repeat(repeats, axis=0).repeat(repeats, axis=1)
    return whole[: round(shape[0] / down) or 1, : round(shape[1] / across) or 1], (down, across)


def _hatched(clear: NDArray[np.bool_], kind: str) -> NDArray[np.uint8]:
    """Draw a hatch of what is not clear as an image with transparency."""
    (height, width), (colour, stripe, ground) = clear.shape, _HATCHES[kind]
    is_stripe = np.add.outer(np.arange(height), np.arange(width)) % _STRIPE_PX < _STRIPE_PX // 2
    picture = np.empty((height, width, 4), np.uint8)
    picture[..., :3] = colour
    picture[..., 3] = np.where(clear, 0, np.where(is_stripe, stripe, ground))
    return picture
