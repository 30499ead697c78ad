"""Pixels of a slide that the user wants to have predicted."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari.layers import Shapes

from napari_hrpn.plugin.parts.user_error import UserError
from napari_hrpn.plugin.predict.settings_form import IN_SHAPES, IN_VIEW
from napari_hrpn.plugin.viewer import shapes_box, visible_box

if TYPE_CHECKING:
    import napari
    from napari.layers import Image

    from napari_hrpn.core import Box
    from napari_hrpn.inference import PredictionSettings

_SMALL_VIEW_PX, _SMALL_CORE_PX = 1024, 512
"""Of a small view, tiles of 512 px compute less beside it than those of 1,024 px."""


def with_region(settings: PredictionSettings, viewer: napari.Viewer, kind: str, reference: Image) -> PredictionSettings:
    """Settings with the part of a slide that is to be predicted."""
    box = _box(viewer, kind, reference)
    if box is not None and max(box.height, box.width) <= _SMALL_VIEW_PX:
        settings = replace(settings, largest_core=_SMALL_CORE_PX)
    return replace(settings, region=box)


def _box(viewer: napari.Viewer, kind: str, reference: Image) -> Box | None:
    if kind == IN_VIEW:
        box = visible_box(viewer, reference)
        if not box.area:
            raise UserError("The slide is not in view: move to it, or predict the whole slide.")
        return box
    return _box_of_shapes(viewer, reference) if kind == IN_SHAPES else None


def _box_of_shapes(viewer: napari.Viewer, reference: Image) -> Box:
    layers = [layer for layer in viewer.layers if isinstance(layer, Shapes)]
    active = viewer.layers.selection.active
    shapes = active if isinstance(active, Shapes) else next(iter(reversed(layers)), None)
    if shapes is None:
        raise UserError("There is no shapes layer: add one, draw around the region, and select the shape.")
    box = shapes_box(shapes, reference)
    if box is None:
        raise UserError(f"No shape of {shapes.name!r} lies on the slide: draw one around the region to predict.")
    return box
