"""Slides and regions as napari's layers: the one translator between the science and the viewer."""

from napari_hrpn.plugin.viewer.coordinates import (
    camera_centre,
    coarse_placement,
    pixel_shape,
    placement,
    shapes_box,
    visible_box,
)
from napari_hrpn.plugin.viewer.from_slides import LayerData, channel_colormaps, slide_layers, slider_range, widen_slider
from napari_hrpn.plugin.viewer.live_layer import LiveLayer, LiveLevels, Plane, live_layer_data
from napari_hrpn.plugin.viewer.newest import bring_up, make_room, newest_prediction, settle_soon
from napari_hrpn.plugin.viewer.planes import give_pixel_size, show_plane
from napari_hrpn.plugin.viewer.prediction_names import file_title, prediction_name, short_title
from napari_hrpn.plugin.viewer.shared_contrast import SharedContrast, join_reopened, share_contrast
from napari_hrpn.plugin.viewer.slide_from_layers import slide_from_layers
from napari_hrpn.plugin.viewer.slide_metadata import (
    KEY,
    channel_of,
    finished_part,
    imaged_slides_in,
    is_helper,
    is_prediction,
    is_same_slide,
    layer_colour,
    layers_of,
    prediction_facts,
    replace_slide,
    slide_label,
    slide_of,
    slide_title,
    slides_in,
)
from napari_hrpn.plugin.viewer.unfinished import hatch_layer, hatch_of, remove_hatch, show_news

__all__ = [
    "KEY",
    "LayerData",
    "LiveLayer",
    "LiveLevels",
    "Plane",
    "SharedContrast",
    "bring_up",
    "camera_centre",
    "channel_colormaps",
    "channel_of",
    "coarse_placement",
    "file_title",
    "finished_part",
    "give_pixel_size",
    "hatch_layer",
    "hatch_of",
    "imaged_slides_in",
    "is_helper",
    "is_prediction",
    "is_same_slide",
    "join_reopened",
    "layer_colour",
    "layers_of",
    "live_layer_data",
    "make_room",
    "newest_prediction",
    "pixel_shape",
    "placement",
    "prediction_facts",
    "prediction_name",
    "remove_hatch",
    "replace_slide",
    "settle_soon",
    "shapes_box",
    "share_contrast",
    "short_title",
    "show_news",
    "show_plane",
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
