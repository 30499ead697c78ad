"""Layers from slides, one per channel with its colour and position in µm; and slides from any layers."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np

from napari_hrpn.analysis import calibrated
from napari_hrpn.plugin.viewer.layer_coordinates import pixel_shape
from napari_hrpn.plugin.viewer.open_slides import (
    KEY,
    described,
    layer_name,
    prediction_name,
    slide_of,
    slide_title,
)
from napari_hrpn.settings.prediction import CELL_PX
from napari_hrpn.slides import (
    RegionMask,
    Slide,
    SlideError,
    coarser_levels,
    contrast_limits,
    guess_roles,
    prediction_record,
)
from napari_hrpn.slides.channel_roles import is_one_prediction, sd_channel, unlike_channel
from napari_hrpn.slides.lazy_pixels import accepted_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Image, Layer
    from napari.utils.events import Event
    from numpy.typing import NDArray

    from napari_hrpn.analysis import Calibration
    from napari_hrpn.plugin.viewer.pyramids import LiveLevels

LayerData = tuple[Any, dict[str, Any], str]

_ROLE_COLORMAPS = {"nuclei": "bop blue", "vessels": "green", "probe": "red"}
_OTHER_COLORMAPS = ("cyan", "magenta", "yellow", "bop orange", "bop purple", "gray")
_PHOTOGRAPH = ("red", "green", "blue")
_TRANSMITTED_LIGHT = {"bf", "brightfield", "dia", "dic", "mono", "phase", "pol", "td", "tl", "trans", "transmitted"}
_LARGEST_FLAT = 1024
_CHUNK_PX = 512
UNCERTAINTY, CALIBRATED = "uncertainty", "calibrated"


def slide_layers(
    slide: Slide,
    *,
    title: str | None = None,
    visible: bool = True,
    limits: Sequence[tuple[float, float]] | None = None,
    live: Sequence[LiveLevels] | None = None,
) -> list[LayerData]:
    """Convert a slide to napari layers: one per channel, or a single colour layer for brightfield."""
    title = slide_title(slide) if title is None else title
    shared = {**scaled(slide), "visible": visible}
    if slide.is_brightfield and len(slide.channel_names) == 3 and live is None:
        colours = level_data([level.transpose(1, 2, 0).rechunk({2: 3}) for level in slide.levels])
        about = {"name": title, "rgb": True, "metadata": described({"slide": slide, "channel": None})}
        return [(colours.pop("data"), {**colours, **shared, **about}, "image")]
    limits = contrast_limits(slide) if limits is None else limits
    colormaps = channel_colormaps(slide.channel_names)
    layers: list[LayerData] = []
    for channel, name in enumerate(slide.channel_names):
        levels = [level[channel] for level in slide.levels]
        data = level_data(levels) if live is None else live[channel].layer_data()
        about = {
            "name": layer_name(name, title),
            "rgb": False,
            "blending": "additive",
            "colormap": colormaps[channel],
            "contrast_limits": limits[channel],
            "metadata": described({"slide": slide, "channel": channel}),
        }
        layers.append((data.pop("data"), {**data, **shared, **about}, "image"))
    if is_one_prediction(slide):
        layers[0][1].update(_prediction_attributes(slide, title))
    shown = layers[0][1]["metadata"][KEY]
    if "prediction" not in shown:
        return layers
    if (uncertain := sd_channel(slide)) is not None:
        layers[uncertain][1].update(uncertainty_attributes(layers[0][1]["name"], shown["prediction"]))
    # the distance from the training is shown as a hatch, which is added once the layers are in a viewer
    return layers[: unlike_channel(slide)]


def scaled(slide: Slide, factors: Sequence[float] = (1.0, 1.0)) -> dict[str, Any]:
    """Scale, units and names of the axes of a layer whose pixels are so many times as large as those of a slide."""
    height, width = slide.pixel_size_um or (1.0, 1.0)
    return {
        "scale": (factors[0] * height, factors[1] * width),
        "units": ("pixel", "pixel") if slide.pixel_size_um is None else ("um", "um"),
        "axis_labels": ("y", "x"),
    }


def uncertainty_attributes(prediction: str, facts: dict[str, Any]) -> dict[str, Any]:
    """Attributes of the layer that shows how much the members of an ensemble differ; it is hidden at first."""
    return {
        "name": layer_name(UNCERTAINTY, prediction),
        # perceptually uniform, and not additive: mixed with the stains, its colours would have no meaning
        "colormap": "viridis",
        "blending": "translucent_no_depth",
        "visible": False,
        "metadata": described({"prediction": {**facts, "helper": UNCERTAINTY}}),
    }


def calibrated_layer(prediction: Slide, calibration: Calibration, *, title: str | None = None) -> LayerData:
    """Convert a calibrated prediction to a layer, whose pixels are computed when they are shown."""
    (data, attributes, kind), *_ = slide_layers(calibrated(prediction, calibration), title=title)
    shown = attributes["metadata"][KEY]
    # without "path", by which the layer of the prediction itself is found
    facts = {name: fact for name, fact in shown.get("prediction", {}).items() if name not in ("path", "finished")}
    about = described({**shown, "prediction": {**facts, "calibrated": True}})
    return data, {**attributes, "name": layer_name(CALIBRATED, attributes["name"]), "metadata": about}, kind


def _prediction_attributes(slide: Slide, title: str) -> dict[str, Any]:
    """Additional attributes for the layer of a slide that is a prediction; none for other slides."""
    record = prediction_record(slide.source)
    if record is None:
        return {}
    facts = {
        "path": str(slide.source),
        "checkpoint": record.title,
        "digest": record.checkpoint,
        "colour": record.colour,
        "slide": record.slide,
        "complete": record.complete,
    }
    if (tiles := slide.finished) is not None:
        facts["finished"] = RegionMask(tiles.cells, (CELL_PX, CELL_PX))
    if (channel := unlike_channel(slide)) is not None:
        last = len(slide.levels) - 1
        facts["like training"] = like_training(slide.levels[last][channel].compute(), slide.downsample(last))
    return {
        "name": prediction_name(title, slide.channel_names[0], record.title),
        "colormap": record.colour,
        "metadata": described({"slide": slide, "channel": 0, "prediction": facts}),
    }


def like_training(distances: NDArray[np.generic], downsample: tuple[float, float]) -> RegionMask:
    """Where a coarse level of the distances from the training has none that its own slides do not have."""
    return RegionMask(np.asarray(distances) <= 1, downsample)


def level_data(levels: Sequence[Any]) -> dict[str, Any]:
    """Levels of one channel as arguments for napari; a single level is no pyramid."""
    is_pyramid = len(levels) > 1
    return {"data": list(levels) if is_pyramid else levels[0], "multiscale": is_pyramid}


def channel_colormaps(channel_names: Sequence[str]) -> tuple[str, ...]:
    """Choose napari colormaps by the roles of the channels."""
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
    """Range of the contrast slider of a layer."""
    low, high = (float(limit) for limit in limits)
    if np.issubdtype(dtype, np.integer):
        info = np.iinfo(dtype)
        if info.bits == 8:
            return float(info.min), float(info.max)
        reach = 2.0 ** np.ceil(np.log2(max(2 * high, 2)))
        return max(float(info.min), min(0.0, 2 * low)), float(max(high, min(reach - 1, info.max)))
    return min(0.0, 2 * low), max(2 * high, high + (high - low))


def widen_slider(event: Event) -> None:
    """Give an inserted layer of this package the range of `slider_range`; for ``viewer.layers.events.inserted``."""
    layer = event.value
    if slide_of(layer) is not None and not layer.rgb:
        layer.contrast_limits_range = slider_range(tuple(layer.contrast_limits), np.dtype(layer.dtype))


def slide_from_layers(layers: Sequence[Layer], names: Sequence[str] | None = None) -> Slide:
    """Make one slide of single-channel layers of any origin; `names` replaces the names of the layers."""
    if not layers:
        raise SlideError("There are 0 layers, expected one for each channel: choose layers.")
    for layer in layers:
        _check_kind(layer)
    for layer in layers[1:]:
        _check_place(layers[0], layer)
    source = Path(layers[0].source.path or layers[0].name)
    levels = _common_levels(layers, source)
    computed = coarser_levels(levels[-1]) if max(levels[-1].shape[1:]) > _LARGEST_FLAT else ()
    return Slide(
        levels=(*levels, *computed),
        channel_names=tuple(names or [layer.name for layer in layers]),
        pixel_size_um=pixel_size_um(layers[0]),
        source=source,
        stored_levels=len(levels),
    )


def pixel_size_um(layer: Layer) -> tuple[float, float] | None:
    """Height and width of a full-resolution pixel of a layer; None if its unit is no length."""
    sizes = []
    for scale, unit in zip(layer.scale[-2:], layer.units[-2:], strict=True):
        length = 1 * unit
        if not length.check("[length]"):
            return None
        sizes.append(abs(float(scale)) * float(length.to("um").magnitude))
    return sizes[0], sizes[1]


def _check_kind(layer: Layer) -> None:
    from napari.layers import Image

    if not isinstance(layer, Image):
        kind = type(layer).__name__.lower()
        raise SlideError(f"The layer {layer.name!r} holds {kind}, expected an image: choose an image layer.")
    if layer.rgb:
        raise SlideError(
            f"The layer {layer.name!r} is a colour image, expected a single channel: split it with Layers > Split RGB."
        )
    if layer.ndim != 2:
        raise SlideError(
            f"The layer {layer.name!r} has {layer.ndim} dimensions, expected 2: open its file with napari-hrpn, or "
            "split it with Layers > Split Stack."
        )


def _check_place(first: Image, other: Image) -> None:
    height, width = pixel_shape(first)
    if (height, width) != pixel_shape(other):
        sizes = [(layer.name, *pixel_shape(layer)) for layer in (first, other)]
        found = " and ".join(f"{name!r} has {columns} x {rows} px" for name, rows, columns in sizes)
        raise SlideError(f"The layers differ in size ({found}), expected one size: choose layers of one slide.")
    for corner in ((0, 0), (height, 0), (0, width)):
        distance = np.subtract(other.world_to_data(first.data_to_world(corner))[-2:], corner)
        if np.abs(distance).max() > 0.5:
            raise SlideError(
                f"The layers {first.name!r} and {other.name!r} do not lie on each other, expected channels of one "
                "slide: give them the same scale and position."
            )


def _common_levels(layers: Sequence[Image], source: Path) -> list[da.Array]:
    """Stack the levels of layers as (c, y, x), down to the last one that all have in the same size."""
    pyramids = [list(layer.data) if layer.multiscale else [layer.data] for layer in layers]
    levels = []
    for arrays in zip(*pyramids, strict=False):
        if len({array.shape for array in arrays}) > 1:
            break
        levels.append(da.stack([_lazy(array, source) for array in arrays]))
    return levels


def _lazy(array: Any, source: Path) -> da.Array:  # noqa: ANN401 (of NumPy, dask or zarr)
    if not isinstance(array, da.Array):
        chunks = getattr(array, "chunks", None) or (_CHUNK_PX, _CHUNK_PX)
        # the name replaces dask's hash of the pixels, which takes long; the array exists as long as its layer
        array = da.from_array(array, chunks=chunks, name=f"layer-{id(array)}")
    return array.astype(accepted_dtype(array.dtype, source))
