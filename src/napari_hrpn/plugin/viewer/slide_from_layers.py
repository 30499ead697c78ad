"""Slides from napari layers that somebody else opened; what cannot be one slide is told in a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import dask.array as da
import numpy as np

from napari_hrpn.plugin.viewer.coordinates import pixel_shape
from napari_hrpn.slides import Slide, SlideError, coarser_levels
from napari_hrpn.slides.guarded_array import accepted_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence

    import napari.layers
    import zarr

    AnyArray: TypeAlias = da.Array | np.ndarray[Any, Any] | zarr.Array[Any]

_LARGEST_FLAT = 1024
_CHUNK_PX = 512


def slide_from_layers(layers: Sequence[napari.layers.Layer], names: Sequence[str]) -> Slide:
    """One slide out of single-channel layers, whoever made them."""
    if not layers or len(layers) != len(names):
        raise SlideError(f"{len(layers)} layers came with {len(names)} names, expected one of each: choose layers.")
    for layer in layers:
        _check_kind(layer)
    for layer in layers[1:]:
        _check_place(layers[0], layer)
    source = Path(layers[0].source.path or layers[0].name)
    levels = _common_levels(layers, source)
    computed = coarser_levels(levels[-1]) if max(levels[-1].shape[1:]) > _LARGEST_FLAT else ()
    return Slide(
        levels=(*levels, *computed),
        channel_names=tuple(names),
        pixel_size_um=pixel_size_um(layers[0]),
        source=source,
        stored_levels=len(levels),
    )


def pixel_size_um(layer: napari.layers.Layer) -> tuple[float, float] | None:
    """Height and width of a full-resolution pixel of a layer."""
    sizes = []
    for scale, unit in zip(layer.scale[-2:], layer.units[-2:], strict=True):
        length = 1 * unit
        if not length.check("[length]"):
            return None
        sizes.append(abs(float(scale)) * float(length.to("um").magnitude))
    return sizes[0], sizes[1]


def _check_kind(layer: napari.layers.Layer) -> None:
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


def _check_place(first: napari.layers.Image, other: napari.layers.Image) -> None:
    if pixel_shape(first) != pixel_shape(other):
        told = " and ".join(
            f"{layer.name!r} has {width} x {height} px"
            for layer in (first, other)
            for height, width in [pixel_shape(layer)]
        )
        raise SlideError(f"The layers differ in size ({told}), expected one size: choose layers of one slide.")
    height, width = pixel_shape(first)
    for corner in ((0, 0), (height, 0), (0, width)):
        apart = np.subtract(other.world_to_data(first.data_to_world(corner))[-2:], corner)
        if np.abs(apart).max() > 0.5:
            raise SlideError(
                f"The layers {first.name!r} and {other.name!r} do not lie on each other, expected channels of one "
                "slide: give them the same scale and place."
            )


def _common_levels(layers: Sequence[napari.layers.Image], source: Path) -> list[da.Array]:
    """Levels (c, y, x) down to the last that all layers have in the same size."""
    pyramids = [list(layer.data) if layer.multiscale else [layer.data] for layer in layers]
    levels = []
    for arrays in zip(*pyramids, strict=False):
        if len({array.shape for array in arrays}) > 1:
            break
        levels.append(da.stack([_lazy(array, source) for array in arrays]))
    return levels


def _lazy(array: AnyArray, source: Path) -> da.Array:
    if not isinstance(array, da.Array):
        chunks = getattr(array, "chunks", None) or (_CHUNK_PX, _CHUNK_PX)
        # hashing the pixels takes long; the array lives as long as the layers, and the slide made of them again
        array = da.from_array(array, chunks=chunks, name=f"layer-{id(array)}")
    return array.astype(accepted_dtype(array.dtype, source))
