"""The one translator between slides and napari: layers from slides, slides from layers, places from what is in view."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.slides import Slide, contrast_limits, guess_roles
from napari_hrpn.tiling import Box

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    import napari.components
    import napari.layers

    LayerData = tuple[Any, dict[str, Any], str]

KEY = "napari_hrpn"
ROLE_COLORMAPS = {"nuclei": "bop blue", "vessels": "green", "probe": "red"}
OTHER_COLORMAPS = ("cyan", "magenta", "yellow", "bop orange", "bop purple", "gray")
# what slides are called after their name, so that the layers are not called after the file format as well
SUFFIXES = (".ome.tif", ".ome.tiff", ".ome.zarr", ".tif", ".tiff", ".ndpi", ".svs", ".qptiff", ".nd2", ".czi", ".zarr")


def slide_layers(slide: Slide, *, title: str | None = None, visible: bool = True) -> list[LayerData]:
    """A slide as napari layers: one per channel, or a single colour layer for brightfield.

    Parameters
    ----------
    slide : Slide
        What to show.
    title : str, optional
        Beginning of the layers' names; the name of the file without its ending where left out.
    visible : bool
        Whether the layers are shown at once.

    Returns
    -------
    list of (data, attributes, "image")
        Lazy multiscale data (y, x), additive, coloured by what the channel shows, in µm where the slide says its
        pixel size. Contrast is that of `contrast_limits`, for which a few blocks are read.

    Raises
    ------
    SlideError
        If the pixels for the contrast cannot be read.
    """
    title = slide_title(slide) if title is None else title
    shared = {**_place(slide), "visible": visible}
    if slide.is_brightfield and len(slide.channel_names) == 3:
        data = [level.transpose(1, 2, 0).rechunk({2: 3}) for level in slide.levels]
        return [(*_image(data, shared | {"name": title, "rgb": True, "metadata": _metadata(slide, None)}), "image")]
    colormaps = channel_colormaps(slide.channel_names)
    return [
        (
            *_image(
                [level[channel] for level in slide.levels],
                shared
                | {
                    "name": f"{title} {name}",
                    "rgb": False,
                    "blending": "additive",
                    "colormap": colormaps[channel],
                    "contrast_limits": limits,
                    "metadata": _metadata(slide, channel),
                },
            ),
            "image",
        )
        for channel, (name, limits) in enumerate(zip(slide.channel_names, contrast_limits(slide), strict=True))
    ]


def slide_title(slide: Slide) -> str:
    """Name of a slide's file without its ending.

    Parameters
    ----------
    slide : Slide
        The slide.

    Returns
    -------
    str
        Such as "tumour 3" for ``tumour 3.ome.tif``.
    """
    name = slide.source.name
    ending = next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), "")
    return name[: len(name) - len(ending)] or name


def channel_colormaps(channel_names: Sequence[str]) -> tuple[str, ...]:
    """Names of napari colormaps by what channels show.

    Parameters
    ----------
    channel_names : sequence of str
        Names in the order of the channels.

    Returns
    -------
    tuple of str
        Blue for nuclei, green for vessels, red for the probe, other colours in turn; gray for a lone channel
        that shows none of them.
    """
    roles = guess_roles(channel_names)
    by_index = {getattr(roles, role): colormap for role, colormap in ROLE_COLORMAPS.items()}
    others = [index for index in range(len(channel_names)) if index not in by_index]
    cycle = ("gray",) if len(channel_names) == 1 else OTHER_COLORMAPS
    by_index |= {index: cycle[n % len(cycle)] for n, index in enumerate(others)}
    return tuple(by_index[index] for index in range(len(channel_names)))


def slider_range(limits: tuple[float, float], dtype: np.dtype) -> tuple[float, float]:
    """How far the contrast slider of a layer reaches.

    Parameters
    ----------
    limits : tuple of float
        The contrast limits that are set.
    dtype : numpy.dtype
        Type of a pixel.

    Returns
    -------
    tuple of float
        From 0, or lower where the limits are, to the first power of two above twice the upper limit, so that a
        12-bit image in 16 bits still can be set by hand; the whole type for 8 bits.
    """
    low, high = (float(limit) for limit in limits)
    if np.issubdtype(dtype, np.integer):
        info = np.iinfo(dtype)
        if info.bits == 8:
            return float(info.min), float(info.max)
        wanted = 2.0 ** np.ceil(np.log2(max(2 * high, 2)))
        return max(float(info.min), min(0.0, 2 * low)), float(max(high, min(wanted - 1, info.max)))
    return min(0.0, 2 * low), max(2 * high, high + (high - low))


def widen_slider(event: Any) -> None:
    """Give an inserted layer of ours the range of `slider_range`: for ``viewer.layers.events.inserted``.

    Parameters
    ----------
    event : napari.utils.events.Event
        Its value is the layer.
    """
    layer = event.value
    if slide_of(layer) is not None and not layer.rgb:
        layer.contrast_limits_range = slider_range(tuple(layer.contrast_limits), np.dtype(layer.dtype))


def slide_of(layer: napari.layers.Layer) -> Slide | None:
    """The slide that a layer was made from.

    Parameters
    ----------
    layer : napari.layers.Layer
        Any layer.

    Returns
    -------
    Slide or None
        None for a layer that was not made by `slide_layers`.
    """
    slide = _own_metadata(layer).get("slide")
    return slide if isinstance(slide, Slide) else None


def channel_of(layer: napari.layers.Layer) -> int | None:
    """Index of the channel that a layer shows.

    Parameters
    ----------
    layer : napari.layers.Layer
        Any layer.

    Returns
    -------
    int or None
        None for a layer that was not made by `slide_layers`, or that shows a whole colour image.
    """
    channel = _own_metadata(layer).get("channel")
    return channel if isinstance(channel, int) else None


def is_same_slide(one: Slide, other: Slide) -> bool:
    """Whether two slides are the same plane of the same file.

    Parameters
    ----------
    one, other : Slide
        The slides.

    Returns
    -------
    bool
        True also where one has its coarse levels from a cache and the other has not.
    """
    return _which(one) == _which(other)


def slides_in(viewer: napari.components.ViewerModel) -> list[Slide]:
    """The slides that are open.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.

    Returns
    -------
    list of Slide
        Each once, in the order of the layers.
    """
    found = (slide_of(layer) for layer in viewer.layers)
    return list({_which(slide): slide for slide in found if slide is not None}.values())


def layers_of(viewer: napari.components.ViewerModel, slide: Slide) -> list[napari.layers.Image]:
    """The layers that show a slide.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    slide : Slide
        The slide.

    Returns
    -------
    list of napari.layers.Image
        In the order of the layer list.
    """
    return [
        layer
        for layer in viewer.layers
        if (shown := slide_of(layer)) is not None and is_same_slide(shown, slide)
    ]


def placement(layer: napari.layers.Layer) -> dict[str, Any]:
    """What to give to a new layer of the same size so that it lies exactly on a layer.

    Parameters
    ----------
    layer : napari.layers.Layer
        The layer to lie on.

    Returns
    -------
    dict
        Arguments of ``viewer.add_image`` and its like: scale, translate, rotate, shear, affine, units, axis_labels.
    """
    return {
        "scale": np.array(layer.scale),
        "translate": np.array(layer.translate),
        "rotate": np.array(layer.rotate),
        "shear": np.array(layer.shear),
        "affine": np.array(layer.affine.affine_matrix),
        "units": tuple(layer.units),
        "axis_labels": tuple(layer.axis_labels),
    }


def visible_box(viewer: napari.components.ViewerModel, layer: napari.layers.Image) -> Box:
    """The full-resolution pixels of a layer that are in view.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer; where it shows three dimensions, everything counts as in view.
    layer : napari.layers.Image
        A two-dimensional layer.

    Returns
    -------
    Box
        The smallest rectangle of pixels that holds them, under any transform of the layer; its area is 0 where the
        layer is out of view.
    """
    height, width = pixel_shape(layer)
    if viewer.dims.ndisplay != 2:
        return Box(0, height, 0, width)
    half = np.asarray(viewer.canvas.size) / (2 * viewer.scene.camera.zoom)
    signs = ((-1, -1), (-1, 1), (1, -1), (1, 1))
    corners = [layer.world_to_data(_world_point(viewer, half * sign)) for sign in signs]
    return _box_around(corners, (height, width))


def camera_centre(viewer: napari.components.ViewerModel, layer: napari.layers.Image) -> tuple[float, float]:
    """The point of a layer that is in the middle of the view.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    layer : napari.layers.Image
        A two-dimensional layer.

    Returns
    -------
    tuple of float
        Row and column in full-resolution pixels; it may lie beside the image.
    """
    y, x = layer.world_to_data(_world_point(viewer, np.zeros(2)))[-2:]
    return float(y), float(x)


def shapes_box(shapes_layer: napari.layers.Shapes, image_layer: napari.layers.Image) -> Box | None:
    """The pixels of an image under shapes.

    Parameters
    ----------
    shapes_layer : napari.layers.Shapes
        The selected shapes count; all where none is selected.
    image_layer : napari.layers.Image
        A two-dimensional layer, under any transform.

    Returns
    -------
    Box or None
        The smallest rectangle of full-resolution pixels around them; None where they do not meet the image.
    """
    chosen = sorted(shapes_layer.selected_data) or range(len(shapes_layer.data))
    corners = [
        image_layer.world_to_data(shapes_layer.data_to_world(vertex))
        for index in chosen
        for vertex in shapes_layer.data[index]
    ]
    box = _box_around(corners, pixel_shape(image_layer)) if corners else None
    return box if box is not None and box.area else None


def pixel_shape(layer: napari.layers.Image) -> tuple[int, int]:
    """Height and width of the finest level of a layer.

    Parameters
    ----------
    layer : napari.layers.Image
        An image layer, multiscale or not.

    Returns
    -------
    tuple of int
        In pixels, without the colours of an rgb layer.
    """
    finest = layer.data[0] if layer.multiscale else layer.data
    height, width = finest.shape[-3:-1] if layer.rgb else finest.shape[-2:]
    return int(height), int(width)


def _image(levels: Sequence[Any], attributes: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    several = len(levels) > 1
    return (list(levels) if several else levels[0]), attributes | {"multiscale": several}


def _place(slide: Slide) -> dict[str, Any]:
    known = slide.pixel_size_um is not None
    return {
        "scale": slide.pixel_size_um or (1.0, 1.0),
        "units": ("um", "um") if known else ("pixel", "pixel"),
        "axis_labels": ("y", "x"),
    }


def _metadata(slide: Slide, channel: int | None) -> dict[str, Any]:
    return {KEY: {"slide": slide, "channel": channel}}


def _own_metadata(layer: napari.layers.Layer) -> dict[str, Any]:
    own = layer.metadata.get(KEY)
    return own if isinstance(own, dict) else {}


def _which(slide: Slide) -> Hashable:
    return Path(slide.source), slide.series, slide.z, slide.t, slide.shape


def _world_point(viewer: napari.components.ViewerModel, offset: np.ndarray) -> np.ndarray:
    """Point of the world beside the middle of the view, in all dimensions of the viewer."""
    point = np.array(viewer.dims.point, dtype=float)
    point[list(viewer.dims.displayed)] = np.asarray(viewer.scene.camera.center)[-2:] + offset
    return point


def _box_around(points: Iterable[np.ndarray], shape: tuple[int, int]) -> Box:
    corners = np.array([np.asarray(point)[-2:] for point in points])
    # a pixel reaches half a pixel to all sides of its coordinates; the tiny step forgives rounding
    low = np.floor(corners.min(axis=0) + 0.5 + 1e-6).astype(int)
    high = np.maximum(np.ceil(corners.max(axis=0) + 0.5 - 1e-6).astype(int), low + 1)
    (y0, x0), (y1, x1) = np.clip(low, 0, shape), np.clip(high, 0, shape)
    return Box(int(y0), int(y1), int(x0), int(x1))
