"""Another plane of a stack in the layers of a slide."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_hrpn.plugin.viewer.slide_metadata import channel_of, layers_of, replace_slide
from napari_hrpn.slides import open_slide

if TYPE_CHECKING:
    import napari

    from napari_hrpn.slides import Slide


def show_plane(viewer: napari.Viewer, slide: Slide, z: int | None, t: int | None) -> Slide:
    """Show another plane of a slide in its layers."""
    plane = open_slide(slide.source, series=slide.series, z=z, t=t)
    if slide.pixel_size_is_given and slide.pixel_size_um is not None:
        plane = plane.with_pixel_size(slide.pixel_size_um)
    for layer in layers_of(viewer, slide):
        channel = channel_of(layer)
        if channel is not None:
            levels = [level[channel] for level in plane.levels]
            layer.data = levels if layer.multiscale else levels[0]
            replace_slide(layer, plane)
    return plane


def give_pixel_size(viewer: napari.Viewer, slide: Slide, size_um: tuple[float, float]) -> Slide:
    """Let all that works on a slide know its pixel size; the layers stay where they are."""
    sized = slide.with_pixel_size(size_um)
    for layer in layers_of(viewer, slide):
        replace_slide(layer, sized)
    return sized
