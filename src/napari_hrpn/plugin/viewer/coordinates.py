"""Where layers lie and which of their pixels are meant: napari's world against full-resolution pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.core import Box

if TYPE_CHECKING:
    from collections.abc import Iterable

    import napari.components
    import napari.layers


def placement(layer: napari.layers.Layer) -> dict[str, Any]:
    """What to give to a new layer of the same size so that it lies exactly on a layer."""
    return {
        "scale": np.array(layer.scale),
        "translate": np.array(layer.translate),
        "rotate": np.array(layer.rotate),
        "shear": np.array(layer.shear),
        "affine": np.array(layer.affine.affine_matrix),
        "units": tuple(layer.units),
        "axis_labels": tuple(layer.axis_labels),
    }


def coarse_placement(layer: napari.layers.Image, downsample: tuple[float, float]) -> dict[str, Any]:
    """What to give to a new layer of coarser pixels so that it lies on a layer."""
    place = placement(layer)
    factor = np.asarray(downsample, float)
    corner, down, across = (np.asarray(layer.data_to_world(point)) for point in ((0, 0), (1, 0), (0, 1)))
    # napari moves by the translation before it applies the affine
    own = np.linalg.inv(place["affine"][:2, :2]) @ np.stack([down - corner, across - corner], axis=1)
    place["scale"] = place["scale"] * factor
    place["translate"] = place["translate"] + own @ ((factor - 1) / 2)
    return place


def visible_box(viewer: napari.components.ViewerModel, layer: napari.layers.Image) -> Box:
    """The full-resolution pixels of a layer that are in view."""
    height, width = pixel_shape(layer)
    if viewer.dims.ndisplay != 2:
        return Box(0, height, 0, width)
    half = np.asarray(viewer.canvas.size) / (2 * viewer.scene.camera.zoom)
    signs = ((-1, -1), (-1, 1), (1, -1), (1, 1))
    corners = [layer.world_to_data(_world_point(viewer, half * sign)) for sign in signs]
    return _box_around(corners, (height, width))


def camera_centre(viewer: napari.components.ViewerModel, layer: napari.layers.Image) -> tuple[float, float]:
    """The point of a layer that is in the middle of the view."""
    y, x = layer.world_to_data(_world_point(viewer, np.zeros(2)))[-2:]
    return float(y), float(x)


def shapes_box(shapes_layer: napari.layers.Shapes, image_layer: napari.layers.Image) -> Box | None:
    """The pixels of an image under shapes."""
    chosen = sorted(shapes_layer.selected_data) or range(len(shapes_layer.data))
    corners = [
        image_layer.world_to_data(shapes_layer.data_to_world(vertex))
        for index in chosen
        for vertex in shapes_layer.data[index]
    ]
    box = _box_around(corners, pixel_shape(image_layer)) if corners else None
    return box if box is not None and box.area else None


def pixel_shape(layer: napari.layers.Image) -> tuple[int, int]:
    """Height and width of the finest level of a layer."""
    finest = layer.data[0] if layer.multiscale else layer.data
    height, width = finest.shape[-3:-1] if layer.rgb else finest.shape[-2:]
    return int(height), int(width)


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
