"""Layers made from slides: one per channel, coloured by what it shows, where it lies in micrometres."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.plugin.viewer.live_layer import live_layer_data
from napari_hrpn.plugin.viewer.prediction_names import prediction_name
from napari_hrpn.plugin.viewer.slide_metadata import KEY, slide_of, slide_title
from napari_hrpn.slides import RegionMask, Slide, contrast_limits, guess_roles, prediction_record
from napari_hrpn.slides.finished_tiles import SQUARE_PX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.utils.events import Event

    from napari_hrpn.plugin.viewer.live_layer import LiveLevels

LayerData = tuple[Any, dict[str, Any], str]


_ROLE_COLORMAPS = {"nuclei": "bop blue", "vessels": "green", "probe": "red"}
_OTHER_COLORMAPS = ("cyan", "magenta", "yellow", "bop orange", "bop purple", "gray")
_PHOTOGRAPH = ("red", "green", "blue")
_TRANSMITTED_LIGHT = {"bf", "brightfield", "dia", "dic", "mono", "phase", "pol", "td", "tl", "trans", "transmitted"}


def slide_layers(
    slide: Slide,
    *,
    title: str | None = None,
    visible: bool = True,
    limits: Sequence[tuple[float, float]] | None = None,
    live: Sequence[LiveLevels] | None = None,
) -> list[LayerData]:
    """A slide as napari layers: one per channel, or a single colour layer for brightfield."""
    title = slide_title(slide) if title is None else title
    if slide.is_brightfield and len(slide.channel_names) == 3 and live is None:
        return [_colour_layer(slide, title, visible)]
    limits = contrast_limits(slide) if limits is None else limits
    colormaps = channel_colormaps(slide.channel_names)
    layers: list[LayerData] = []
    for channel, name in enumerate(slide.channel_names):
        data = _lazy_data(slide, channel) if live is None else live_layer_data(live[channel])
        attributes = {
            "name": f"{title} {name}",
            "rgb": False,
            "blending": "additive",
            "colormap": colormaps[channel],
            "contrast_limits": limits[channel],
            "metadata": _metadata(slide, channel),
            "visible": visible,
        }
        layers.append((data.pop("data"), {**data, **_place(slide), **attributes}, "image"))
    return _as_prediction(slide, title, layers) if len(layers) == 1 else layers


def _as_prediction(slide: Slide, title: str, layers: list[LayerData]) -> list[LayerData]:
    """Layers of a slide of one channel, marked as a prediction if it is one."""
    record = prediction_record(slide.source)
    if record is None:
        return layers
    ((data, attributes, kind),) = layers
    facts = {
        "path": str(slide.source),
        "checkpoint": record.title,
        "colour": record.colour,
        "slide": record.slide,
        "complete": record.complete,
    }
    if (tiles := slide.finished) is not None:
        facts["finished"] = RegionMask(tiles.cells, (SQUARE_PX, SQUARE_PX))
    changes = {
        "name": prediction_name(title, slide.channel_names[0], record.title),
        "colormap": record.colour,
        "metadata": {KEY: {**attributes["metadata"][KEY], "prediction": facts}},
    }
    return [(data, {**attributes, **changes}, kind)]


def channel_colormaps(channel_names: Sequence[str]) -> tuple[str, ...]:
    """Names of napari colormaps by what channels show."""
    if tuple(name.lower() for name in channel_names) == _PHOTOGRAPH:
        return _PHOTOGRAPH
    roles = guess_roles(channel_names)
    found = {getattr(roles, role): colormap for role, colormap in _ROLE_COLORMAPS.items()}
    cycle = itertools.cycle(_OTHER_COLORMAPS)
    for index, name in enumerate(channel_names):
        if index not in found:
            words = set(re.split(r"[^a-z]+", name.lower()))
            is_gray = len(channel_names) == 1 or bool(words & _TRANSMITTED_LIGHT)
            found[index] = "gray" if is_gray else next(cycle)
    return tuple(found[index] for index in range(len(channel_names)))


def slider_range(limits: tuple[float, float], dtype: np.dtype) -> tuple[float, float]:
    """How far the contrast slider of a layer reaches."""
    low, high = (float(limit) for limit in limits)
    if np.issubdtype(dtype, np.integer):
        info = np.iinfo(dtype)
        if info.bits == 8:
            return float(info.min), float(info.max)
        wanted = 2.0 ** np.ceil(np.log2(max(2 * high, 2)))
        return max(float(info.min), min(0.0, 2 * low)), float(max(high, min(wanted - 1, info.max)))
    return min(0.0, 2 * low), max(2 * high, high + (high - low))


def widen_slider(event: Event) -> None:
    """Give an inserted layer of ours the range of `slider_range`: for ``viewer.layers.events.inserted``."""
    layer = event.value
    if slide_of(layer) is not None and not layer.rgb:
        layer.contrast_limits_range = slider_range(tuple(layer.contrast_limits), np.dtype(layer.dtype))


def _lazy_data(slide: Slide, channel: int) -> dict[str, Any]:
    levels = [level[channel] for level in slide.levels]
    return _of_levels(levels)


def _of_levels(levels: list[Any]) -> dict[str, Any]:
    several = len(levels) > 1
    return {"data": levels if several else levels[0], "multiscale": several}


def _colour_layer(slide: Slide, title: str, visible: bool) -> LayerData:
    data = _of_levels([level.transpose(1, 2, 0).rechunk({2: 3}) for level in slide.levels])
    attributes = {"name": title, "rgb": True, "metadata": _metadata(slide, None), "visible": visible}
    return data.pop("data"), {**data, **_place(slide), **attributes}, "image"


def _place(slide: Slide) -> dict[str, Any]:
    known = slide.pixel_size_um is not None
    return {
        "scale": slide.pixel_size_um or (1.0, 1.0),
        "units": ("um", "um") if known else ("pixel", "pixel"),
        "axis_labels": ("y", "x"),
    }


def _metadata(slide: Slide, channel: int | None) -> dict[str, Any]:
    return {KEY: {"slide": slide, "channel": channel}}
