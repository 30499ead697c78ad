"""Which layers show which slide: what is written into a layer's metadata, and read from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from napari_hrpn.slides import Slide, slide_name

if TYPE_CHECKING:
    from collections.abc import Hashable

    import napari.components
    import napari.layers

    from napari_hrpn.slides import RegionMask

KEY = "napari_hrpn"
_Thing = TypeVar("_Thing")


def slide_title(slide: Slide) -> str:
    """Name of a slide's file without its ending."""
    return slide_name(slide.source)


def slide_label(slide: Slide) -> str:
    """Name of a slide, with the image and plane where they are not the first."""
    places = [("image", slide.series or None), ("z", slide.z), ("t", slide.t)]
    where = ", ".join(f"{name} {index}" for name, index in places if index is not None)
    return f"{slide_title(slide)} ({where})" if where else slide_title(slide)


def slide_of(layer: napari.layers.Layer) -> Slide | None:
    """The slide that a layer was made from."""
    slide = _own_metadata(layer).get("slide")
    return slide if isinstance(slide, Slide) else None


def channel_of(layer: napari.layers.Layer) -> int | None:
    """Index of the channel that a layer shows."""
    channel = _own_metadata(layer).get("channel")
    return channel if isinstance(channel, int) else None


def is_prediction(layer: napari.layers.Layer) -> bool:
    """Whether a layer was made by a prediction."""
    return "prediction" in _own_metadata(layer)


def prediction_facts(layer: napari.layers.Layer) -> dict[str, Any]:
    """What is known of the prediction that a layer shows."""
    facts = _own_metadata(layer).get("prediction")
    return dict(facts) if isinstance(facts, dict) else {}


def finished_part(layer: napari.layers.Layer) -> RegionMask | None:
    """Where a prediction is finished."""
    facts = prediction_facts(layer)
    return None if facts.get("complete") else facts.get("finished")


def is_helper(layer: napari.layers.Layer) -> bool:
    """Whether a layer only helps to look at a prediction, as a hatch or a difference does."""
    return "helper" in prediction_facts(layer)


def layer_colour(layer: napari.layers.Layer) -> str | None:
    """Colour of a prediction, for curves and tables."""
    return prediction_facts(layer).get("colour")


def is_same_slide(one: Slide, other: Slide) -> bool:
    """Whether two slides are the same plane of the same file."""
    return _which(one) == _which(other)


def slides_in(viewer: napari.components.ViewerModel) -> list[Slide]:
    """The slides that are open."""
    found = (slide_of(layer) for layer in viewer.layers)
    return list({_which(slide): slide for slide in found if slide is not None}.values())


def imaged_slides_in(viewer: napari.components.ViewerModel) -> list[Slide]:
    """The slides that are open, without those that are predictions."""
    return [slide for slide in slides_in(viewer) if not all(is_prediction(layer) for layer in layers_of(viewer, slide))]


def layers_of(viewer: napari.components.ViewerModel, slide: Slide) -> list[napari.layers.Image]:
    """The layers that show a slide."""
    return [layer for layer in viewer.layers if (shown := slide_of(layer)) is not None and is_same_slide(shown, slide)]


def unwrapped(thing: _Thing) -> _Thing:
    """What is behind the proxy through which napari lets widgets see viewers and layers."""
    found: _Thing = getattr(thing, "__wrapped__", thing)
    return found


def replace_slide(layer: napari.layers.Layer, slide: Slide) -> None:
    """Let a layer stand for the same slide from another source, such as a cache."""
    layer.metadata[KEY] = {**_own_metadata(layer), "slide": slide}


def _own_metadata(layer: napari.layers.Layer) -> dict[str, Any]:
    own = layer.metadata.get(KEY)
    return own if isinstance(own, dict) else {}


def _which(slide: Slide) -> Hashable:
    return slide.source, slide.series, slide.z, slide.t, slide.shape
