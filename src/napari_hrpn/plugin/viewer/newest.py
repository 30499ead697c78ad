"""What follows when a slide is opened beside others: the newest is seen, and predictions find their slide."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_hrpn.plugin.parts.debounce import soon
from napari_hrpn.plugin.viewer.coordinates import pixel_shape
from napari_hrpn.plugin.viewer.shared_contrast import join_reopened
from napari_hrpn.plugin.viewer.slide_metadata import (
    finished_part,
    imaged_slides_in,
    is_helper,
    is_prediction,
    layers_of,
    prediction_facts,
    slide_label,
    slide_of,
    slides_in,
)
from napari_hrpn.plugin.viewer.unfinished import hatch_layer, hatch_of
from napari_hrpn.slides import slide_identity

if TYPE_CHECKING:
    import napari
    from napari.layers import Image

    from napari_hrpn.slides import Slide


def make_room(viewer: napari.Viewer, slide: Slide) -> None:
    """Hide the slides that are open already, and say so, and look at all of the new one.

    A scale bar is shown with the first slide that has a pixel size.
    """
    from napari.utils.notifications import show_info

    open_already = slides_in(viewer)
    if slide.pixel_size_um is not None and all(other.pixel_size_um is None for other in open_already):
        viewer.canvas.overlays.scale_bar.visible = True
    titles = [slide_label(other) for other in imaged_slides_in(viewer)]
    ours = [layer for layer in viewer.layers if slide_of(layer) is not None or is_prediction(layer)]
    hidden = [layer for layer in ours if layer.visible]
    for layer in hidden:
        layer.visible = False
    if hidden:
        soon(viewer.window._qt_window, lambda: _fit(viewer, slide)).start()
    if hidden and titles:
        show_info(
            f"{slide_label(slide)} lies on the slides that are open already, so the layers of {', '.join(titles)} are "
            "hidden: the eyes in the layer list show them again."
        )


def _fit(viewer: napari.Viewer, slide: Slide) -> None:
    """Look at all of a slide, as napari does of its own accord with the first one alone."""
    if layers := [layer for layer in layers_of(viewer, slide) if not is_prediction(layer)]:
        viewer.fit_to_view(layers=layers)


def bring_up(viewer: napari.Viewer, slide: Slide) -> None:
    """Show a slide that is hidden, in place of another one that is seen where it lies."""
    own = [layer for layer in layers_of(viewer, slide) if not is_prediction(layer)]
    others = [layer for layer in viewer.layers if layer not in own and (slide_of(layer) or is_prediction(layer))]
    if not own or any(layer.visible for layer in own) or not any(layer.visible for layer in others):
        return
    for layer in (*own, *others):
        layer.visible = layer in own


def settle_soon(viewer: napari.Viewer) -> None:
    """Put predictions that are being opened on their slides, as soon as they are in the viewer."""
    soon(viewer.window._qt_window, lambda: _settle(viewer)).start()


def _settle(viewer: napari.Viewer) -> None:
    join_reopened(viewer)
    for layer in [one for one in viewer.layers if is_prediction(one) and not is_helper(one)]:
        finished = finished_part(layer)
        if finished is not None and hatch_of(viewer, layer) is None:
            hatch_layer(viewer, layer, finished)


def newest_prediction(viewer: napari.Viewer, reference: Image, preferred: Image | None = None) -> Image | None:
    """A prediction of a slide."""
    own = [layer for layer in viewer.layers if is_prediction(layer) and not is_helper(layer)]
    own = [layer for layer in own if pixel_shape(layer) == pixel_shape(reference)]
    slide = slide_of(reference)
    if slide is None or not isinstance(slide.source, Path) or not slide.source.exists():
        return preferred if preferred in own else None
    identity = slide_identity(slide)
    own = [layer for layer in own if prediction_facts(layer).get("slide") == identity]
    return preferred if preferred in own else next(reversed(own), None)
