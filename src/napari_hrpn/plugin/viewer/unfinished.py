"""Hatched picture over the part of a prediction that is not predicted yet; it is as small as the coarsest level."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.plugin.viewer.coordinates import coarse_placement, pixel_shape
from napari_hrpn.plugin.viewer.slide_metadata import KEY, prediction_facts

if TYPE_CHECKING:
    import napari
    from napari.layers import Image, Layer
    from numpy.typing import NDArray

    from napari_hrpn.slides import RegionMask

_STRIPE_PX = 8
_GREY = (150, 150, 150)
_MOST_REPEATS, _LARGEST_PX = 16, 1024
_STRIPE_ALPHA, _GROUND_ALPHA = 110, 40


def _hatched(finished: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """A picture of what is not finished."""
    height, width = finished.shape
    is_stripe = np.add.outer(np.arange(height), np.arange(width)) % _STRIPE_PX < _STRIPE_PX // 2
    picture = np.empty((*finished.shape, 4), np.uint8)
    picture[..., :3] = _GREY
    picture[..., 3] = np.where(finished, 0, np.where(is_stripe, _STRIPE_ALPHA, _GROUND_ALPHA))
    return picture


def hatch_layer(viewer: napari.Viewer, predicted: Image, finished: RegionMask) -> Image:
    """Add the hatch of a prediction to the viewer."""
    shown, downsample = _fine_enough(finished, pixel_shape(predicted))
    selected = set(viewer.layers.selection)
    layer: Image = viewer.add_image(
        _hatched(shown),
        **coarse_placement(predicted, downsample),
        name=f"{predicted.name}, not yet predicted",
        rgb=True,
        blending="translucent_no_depth",
        metadata={KEY: {"prediction": {**prediction_facts(predicted), "helper": "hatch"}}},
    )
    viewer.layers.selection = selected
    return layer


def show_news(hatch: Image, predicted: Image, finished: RegionMask) -> None:
    """Let a hatch show what is finished now."""
    hatch.data = _hatched(_fine_enough(finished, pixel_shape(predicted))[0])


def _fine_enough(finished: RegionMask, shape: tuple[int, int]) -> tuple[NDArray[np.bool_], tuple[float, float]]:
    """A mask whose pixels are small enough for stripes, cut to the slide, and their size."""
    repeats = max(1, min(_MOST_REPEATS, _LARGEST_PX // max(finished.mask.shape)))
    down, across = (square / repeats for square in finished.downsample)
    whole = finished.mask.repeat(repeats, axis=0).repeat(repeats, axis=1)
    return whole[: round(shape[0] / down) or 1, : round(shape[1] / across) or 1], (down, across)


def hatch_of(viewer: napari.Viewer, predicted: Layer) -> Image | None:
    """The hatch of a prediction."""
    path = prediction_facts(predicted).get("path")
    found = ((prediction_facts(layer), layer) for layer in viewer.layers)
    return next((one for facts, one in found if facts.get("helper") == "hatch" and facts.get("path") == path), None)


def remove_hatch(viewer: napari.Viewer, predicted: Layer) -> None:
    """Take the hatch of a prediction away, if there is one."""
    hatch: Any = hatch_of(viewer, predicted)
    if hatch is not None:
        viewer.layers.remove(hatch)
