"""Brings a region into the middle of the view."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.analysis import roi_extent

if TYPE_CHECKING:
    import napari
    from napari.layers import Image

    from napari_hrpn.analysis import Roi

HALF_A_PIXEL = 0.5
SHARE_OF_VIEW = 0.5
TINY = 1 / 8


def centre_on(viewer: napari.Viewer, image: Image, roi: Roi) -> None:
    """Centre the view on a region; the zoom changes where it would not fit, or be tiny.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    image : napari.layers.Image
        The real layer, in whose pixels the region is.
    roi : Annotation or LabelledRoi
        The region.
    """
    low, high = roi_extent(roi)
    factors = np.ones(2)
    if viewer.layers.units is not None:
        pairs = zip(image.units[-2:], viewer.layers.units[-2:], strict=True)
        factors = np.array([float((1 * own).to(shown).magnitude) for own, shown in pairs])

    def world(point: np.ndarray) -> np.ndarray:
        """Where napari shows a point of the slide."""
        return np.asarray(image.data_to_world(point - HALF_A_PIXEL))[-2:] * factors

    camera = viewer.scene.camera
    camera.center = (*np.asarray(camera.center)[:-2], *world((low + high) / 2))
    corners = np.array([world(np.array([y, x])) for y in (low[0], high[0]) for x in (low[1], high[1])])
    size = np.maximum(np.ptp(corners, axis=0), 1e-9)
    share = float((size * camera.zoom / np.asarray(viewer.canvas.size)).max())
    if share > 1 or share < TINY:
        camera.zoom = camera.zoom * SHARE_OF_VIEW / share
