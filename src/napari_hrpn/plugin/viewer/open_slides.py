"""Slides and predictions that are open in the viewer, and the names of predictions.

``layer.metadata["napari-hrpn"]`` has plain facts for scripts, which `docs/napari.md` lists.
``layer.metadata["napari_hrpn"]`` has the objects that this package needs: "slide" and "channel" of a layer made from a
slide; "prediction", a dictionary, in the layer of a prediction: "path" of its folder, title of its "checkpoint" and
its "digest", "colour" in curves and tables, fingerprint of its "slide", whether it is "complete", where it is
"finished", the "report" of the run that made it, "calibrated" in the layer of a calibrated prediction, and "helper" in
a layer that only illustrates it, such as a hatch.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar

from napari_hrpn import __version__
from napari_hrpn.core.plain_text import NOT_IN_FILE_NAMES
from napari_hrpn.plugin.background import soon
from napari_hrpn.slides import Slide, slide_name
from napari_hrpn.slides.channel_roles import predicted_name

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    import napari
    from napari.components import ViewerModel
    from napari.layers import Image, Layer

KEY, FACTS = "napari_hrpn", "napari-hrpn"
_LONGEST_TITLE, _LONGEST_BYTES = 40, 60
_Thing = TypeVar("_Thing")


def described(about: Mapping[str, Any], **facts: Any) -> dict[str, Any]:  # noqa: ANN401 (texts, numbers and lists)
    """Metadata of a layer: what this package needs, and plain facts of it for scripts, with further ones."""
    prediction, slide = about.get("prediction", {}), about.get("slide")
    plain: dict[str, Any] = {"kind": "slide", "version": __version__}
    if slide is not None:
        names, index = list(slide.channel_names), about.get("channel")
        plain |= {"file": str(slide.source), "channel": names if index is None else names[index]}
        plain |= {"pixel_size_um": list(slide.pixel_size_um)} if slide.pixel_size_um else {}
    if prediction:
        kind = "calibrated" if "calibrated" in prediction else "prediction"
        plain |= {"kind": prediction.get("helper", kind), **_facts_in(prediction, "checkpoint", "digest", "complete")}
        plain |= {"file": prediction["path"]} if "path" in prediction else {}
    return {KEY: dict(about), FACTS: {**plain, **facts}}


def _facts_in(prediction: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: prediction[name] for name in names if name in prediction}


def slide_of(layer: Layer) -> Slide | None:
    """The slide that a layer was made from."""
    slide: Slide | None = _metadata(layer).get("slide")
    return slide


def channel_of(layer: Layer) -> int | None:
    """Index of the channel that a layer shows."""
    channel: int | None = _metadata(layer).get("channel")
    return channel


def is_prediction(layer: Layer) -> bool:
    """Whether a layer was made by a prediction."""
    return "prediction" in _metadata(layer)


def is_helper(layer: Layer) -> bool:
    """Whether a layer only illustrates a prediction, such as a hatch or a difference."""
    return "helper" in prediction_facts(layer)


def is_calibrated(layer: Layer) -> bool:
    """Whether a layer shows a calibrated prediction."""
    return "calibrated" in prediction_facts(layer)


def prediction_facts(layer: Layer) -> dict[str, Any]:
    """Metadata of the prediction that a layer shows."""
    return dict(_metadata(layer).get("prediction", {}))


def layer_colour(layer: Layer) -> str | None:
    """Colour of a prediction, for curves and tables."""
    return prediction_facts(layer).get("colour")


def predictions_in(viewer: ViewerModel) -> list[Image]:
    """The layers of predictions."""
    return [layer for layer in viewer.layers if is_prediction(layer) and not is_helper(layer)]


def slides_in(viewer: ViewerModel) -> list[Slide]:
    """The slides that are open."""
    found = (slide_of(layer) for layer in viewer.layers)
    return list({_which(slide): slide for slide in found if slide is not None}.values())


def active_slide_layer(viewer: ViewerModel) -> Image | None:
    """A layer of the slide that the user works on: the selected one, or the topmost that is visible."""
    layers = list(reversed(viewer.layers))
    candidates = [viewer.layers.selection.active, *(layer for layer in layers if layer.visible), *layers]
    return next((layer for layer in candidates if layer is not None and slide_of(layer) is not None), None)


def imaged_slides_in(viewer: ViewerModel) -> list[Slide]:
    """The slides that are open, without those that are predictions."""
    return [slide for slide in slides_in(viewer) if imaged_layers_of(viewer, slide)]


def layers_of(viewer: ViewerModel, slide: Slide) -> list[Image]:
    """The layers that show a slide."""
    return [layer for layer in viewer.layers if (shown := slide_of(layer)) is not None and is_same_slide(shown, slide)]


def imaged_layers_of(viewer: ViewerModel, slide: Slide) -> list[Image]:
    """The layers that show a slide and are no predictions."""
    return [layer for layer in layers_of(viewer, slide) if not is_prediction(layer)]


def is_same_slide(one: Slide, other: Slide) -> bool:
    """Whether two slides are the same plane of the same file."""
    return _which(one) == _which(other)


def slide_title(slide: Slide) -> str:
    """Name of a slide's file without its ending."""
    return slide_name(slide.source)


def slide_label(slide: Slide) -> str:
    """Name of a slide, with image and plane if the file has several."""
    indices = [("image", slide.series or None), ("z", slide.z), ("t", slide.t)]
    plane = ", ".join(f"{name} {index}" for name, index in indices if index is not None)
    return f"{slide_title(slide)} ({plane})" if plane else slide_title(slide)


def replace_slide(layer: Layer, slide: Slide) -> None:
    """Give a layer the same slide from another source, such as a cache."""
    layer.metadata.update(described({**_metadata(layer), "slide": slide}))


def give_pixel_size(viewer: ViewerModel, slide: Slide, size_um: tuple[float, float]) -> None:
    """Set the pixel size of a slide for all widgets; the layers stay where they are."""
    sized = slide.with_pixel_size(size_um)
    for layer in layers_of(viewer, slide):
        replace_slide(layer, sized)


def make_room(viewer: napari.Viewer, slide: Slide) -> None:
    """Hide the slides that are open already, with a notification, and fit the new one into the view.

    A scale bar is shown with the first slide that has a pixel size.
    """
    from napari.utils.notifications import show_info

    if slide.pixel_size_um is not None and all(other.pixel_size_um is None for other in slides_in(viewer)):
        viewer.canvas.overlays.scale_bar.visible = True
    titles = [slide_label(other) for other in imaged_slides_in(viewer)]
    hidden = [layer for layer in viewer.layers if layer.visible and _metadata(layer).keys() & {"slide", "prediction"}]
    for layer in hidden:
        layer.visible = False
    if hidden:
        soon(viewer.window._qt_window, lambda: _fit(viewer, slide)).start()
    if hidden and titles:
        show_info(
            f"{slide_label(slide)} covers the slides that are open already, so the layers of {', '.join(titles)} are "
            "hidden: the eye icons in the layer list show them again."
        )


def bring_up(viewer: ViewerModel, slide: Slide) -> None:
    """Show a hidden slide in place of the visible ones."""
    raised = imaged_layers_of(viewer, slide)
    others = [layer for layer in viewer.layers if layer not in raised and (slide_of(layer) or is_prediction(layer))]
    if raised and not any(layer.visible for layer in raised) and any(layer.visible for layer in others):
        for layer in (*raised, *others):
            layer.visible = layer in raised


def unwrapped(thing: _Thing) -> _Thing:
    """Return the viewer or layer behind the proxy that napari gives to widgets."""
    original: _Thing = getattr(thing, "__wrapped__", thing)
    return original


def file_title(checkpoint: str) -> str:
    """Title of a checkpoint as part of a file name."""
    words = re.sub(NOT_IN_FILE_NAMES, "_", " ".join(checkpoint.split()))[:_LONGEST_TITLE]
    # file systems limit names by bytes, and a letter may take several
    return words.encode()[:_LONGEST_BYTES].decode(errors="ignore").strip(" .") or "untitled"


def layer_name(content: str, origin: str) -> str:
    """Name of a layer: its content, then the slide or layer it belongs to, since napari cuts off the end of a name."""
    return f"{content} · {origin}"


def prediction_name(folder: str, channel: str, checkpoint: str) -> str:
    """Name of the layer of a prediction, made of the channel, the title of the checkpoint and the slide."""
    if not checkpoint:
        return layer_name(channel, folder)
    slide, _, rest = folder.rpartition(".predicted")
    number = re.fullmatch(rf"-{re.escape(file_title(checkpoint))}-(\d+)", rest)
    again = "" if number is None else f" {number[1]}"
    channel = predicted_name(channel.removeprefix(predicted_name("")))
    return layer_name(f"{channel} ({_short_title(checkpoint)}){again}", slide or folder)


def _short_title(checkpoint: str) -> str:
    words = " ".join(checkpoint.split())
    return words if len(words) <= _LONGEST_TITLE else f"{words[: _LONGEST_TITLE - 1].rstrip()}…"


def _fit(viewer: napari.Viewer, slide: Slide) -> None:
    """Fit a slide into the view; napari does so for the first one only."""
    if layers := imaged_layers_of(viewer, slide):
        viewer.fit_to_view(layers=layers)


def _metadata(layer: Layer) -> dict[str, Any]:
    found = layer.metadata.get(KEY)
    return found if isinstance(found, dict) else {}


def _which(slide: Slide) -> Hashable:
    return slide.source, slide.series, slide.z, slide.t, slide.shape
