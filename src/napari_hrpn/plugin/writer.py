"""Writers of image layers as OME-Zarr or OME-TIFF with a pyramid, and of Shapes layers as GeoJSON for QuPath."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask.array as da

if TYPE_CHECKING:
    from collections.abc import Sequence

    import napari.layers

    from napari_hrpn.plugin.viewer import LayerData
    from napari_hrpn.slides import Slide


def write_image(path: str, data: object, attributes: dict[str, Any]) -> list[str]:
    """Write one image layer."""
    return write_images(path, [(data, attributes, "image")])


def write_images(path: str, layer_data: Sequence[LayerData]) -> list[str]:
    """Write image layers as the channels of one slide."""
    from napari.layers import Layer
    from napari.utils import progress

    from napari_hrpn.slides import SlideError, write_ome_tiff, write_ome_zarr

    # napari reads no pixels of an invisible layer
    layers = [Layer.create(data, attributes | {"visible": False}, kind) for data, attributes, kind in layer_data]
    slide = _slide(layers)
    if path.lower().endswith(".zarr"):
        reports = write_ome_zarr(slide, path)
    elif path.lower().endswith((".ome.tif", ".ome.tiff")):
        reports = write_ome_tiff(slide, path, overwrite=True)
    else:
        raise SlideError(f"{Path(path).name} ends neither in .ome.zarr nor in .ome.tif: choose one of these endings.")
    with progress(desc=f"Writing {Path(path).name}") as bar:
        for report in reports:
            bar.total = report.total
            bar.update(report.done - bar.n)
    return [path]


def write_shapes(path: str, layer_data: Sequence[LayerData]) -> list[str]:
    """Write Shapes layers as GeoJSON; objects that were read from a file keep what it says of them."""
    from napari import current_viewer
    from napari.layers import Layer
    from napari.utils.notifications import show_warning

    from napari_hrpn.plugin.viewer.annotation_layers import write_layers

    viewer = current_viewer()
    # napari passes copies of the layers with the metadata of the layers themselves
    shown = {} if viewer is None else {id(layer.metadata): layer for layer in viewer.layers}
    layers: list[Any] = [
        shown.get(id(attributes.get("metadata"))) or Layer.create(data, attributes, kind)
        for data, attributes, kind in layer_data
    ]
    if lines := write_layers(layers, path, viewer):
        what = "a path or line" if lines == 1 else f"{lines} paths or lines"
        names = " and ".join(layer.name for layer in layers)
        show_warning(f"{Path(path).name} is without {what} of {names}: they have no area.")
    return [path]


def _slide(layers: Sequence[napari.layers.Layer]) -> Slide:
    from napari_hrpn.plugin.viewer import channel_of, is_same_slide, slide_from_layers, slide_of

    slides = [slide_of(layer) for layer in layers]
    first = slides[0]
    if first is None or any(slide is None or not is_same_slide(first, slide) for slide in slides):
        return slide_from_layers(layers)
    channels = [channel for layer in layers if (channel := channel_of(layer)) is not None]
    return _with_channels(first, channels) if channels else first


def _with_channels(slide: Slide, channels: Sequence[int]) -> Slide:
    return replace(
        slide,
        levels=tuple(da.stack([level[channel] for channel in channels]) for level in slide.levels),
        channel_names=tuple(slide.channel_names[channel] for channel in channels),
    )
