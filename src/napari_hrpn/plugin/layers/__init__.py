"""Slides and regions as napari's layers: the one translator between the science and the viewer."""

from napari_hrpn.plugin.layers.foreign_layers import slide_from_layers
from napari_hrpn.plugin.layers.from_slides import LayerData, channel_colormaps, slide_layers, slider_range, widen_slider
from napari_hrpn.plugin.layers.live_layer import LiveLayer, LiveLevels, Plane, live_layer_data
from napari_hrpn.plugin.layers.places import camera_centre, pixel_shape, placement, shapes_box, visible_box
from napari_hrpn.plugin.layers.shown_slides import (
    KEY,
    channel_of,
    imaged_slides_in,
    is_prediction,
    is_same_slide,
    layers_of,
    replace_slide,
    slide_label,
    slide_of,
    slide_title,
    slides_in,
)

__all__ = [
    "KEY",
    "LayerData",
    "LiveLayer",
    "LiveLevels",
    "Plane",
    "camera_centre",
    "channel_colormaps",
    "channel_of",
    "imaged_slides_in",
    "is_prediction",
    "is_same_slide",
    "layers_of",
    "live_layer_data",
    "pixel_shape",
    "placement",
    "replace_slide",
    "shapes_box",
    "slide_from_layers",
    "slide_label",
    "slide_layers",
    "slide_of",
    "slide_title",
    "slider_range",
    "slides_in",
    "visible_box",
    "widen_slider",
]
