"""The layer of a prediction: lies on the slide from the start, fills tile by tile, shows the real probe's contrast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_hrpn.plugin.viewer import (
    KEY,
    LiveLayer,
    LiveLevels,
    Plane,
    hatch_layer,
    is_helper,
    is_prediction,
    live_layer_data,
    pixel_shape,
    placement,
    prediction_facts,
    prediction_name,
    remove_hatch,
    share_contrast,
    show_news,
)
from napari_hrpn.slides import colour_in_folder, slide_name
from napari_hrpn.slides.writers.ome_zarr_writer import level_shapes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import napari
    from napari.layers import Image
    from numpy.typing import DTypeLike

    from napari_hrpn.models import ModelCard
    from napari_hrpn.plugin.predict.run import Outcome


def empty_levels(shape: tuple[int, int], dtype: DTypeLike) -> LiveLevels:
    """Levels of a prediction whose store need not exist yet."""
    return LiveLevels([Plane((height, width), dtype) for _, height, width in level_shapes((1, *shape))])


@dataclass(frozen=True)
class _Title:
    """What a prediction is called, and how it looks."""

    name: str  # Name of its layer
    checkpoint: str  # Title of the checkpoint
    colour: str
    slide: str  # Fingerprint of the slide


def title_of(store: Path, request: Mapping[str, Any], card: ModelCard) -> _Title:
    """What to call a prediction."""
    name = prediction_name(slide_name(store), f"predicted {card.target}", card.title)
    return _Title(name, card.title, colour_in_folder(store, request), request["slide"])


class PredictionLayer:
    """Shows a prediction in the viewer and keeps it up with its store; lives in the GUI thread.

    A layer that shows the same store already is used again.
    """

    def __init__(
        self,
        viewer: napari.Viewer,
        levels: LiveLevels,
        reference: Image,
        real: Image | None,
        *,
        title: _Title,
        store: Path,
    ) -> None:
        self._viewer = viewer
        self._levels = levels
        self.store = store
        found = _layer_of(viewer, store, levels)
        self.is_new = found is None
        facts = {
            "path": str(store),
            "checkpoint": title.checkpoint,
            "colour": title.colour,
            "slide": title.slide,
            "complete": False,
            "finished": levels.loaded,
        }
        if found is None:
            self.layer: Image = self._added(reference, title, facts)
        else:
            self.layer = found
            found.data = live_layer_data(levels)["data"]
            found.metadata = {**found.metadata, KEY: {"prediction": facts}}
        remove_hatch(viewer, self.layer)
        self._hatch = hatch_layer(viewer, self.layer, levels.loaded)
        self._live = LiveLayer(self.layer)
        self._contrast = share_contrast(self.layer, real)

    def updated(self, contrast: tuple[float, float] | None) -> None:
        """Show what the levels have got."""
        self._contrast.suggest(contrast)
        self._live.updated()
        if self._hatch in self._viewer.layers:
            show_news(self._hatch, self.layer, self._levels.loaded)

    def finish(self, outcome: Outcome) -> None:
        """Keep what is to be known of the prediction with the layer."""
        facts = prediction_facts(self.layer)
        facts = {**facts, "complete": outcome.report.complete, "report": outcome.report}
        opened = {} if outcome.slide is None else {"slide": outcome.slide, "channel": 0}
        self.layer.metadata = {**self.layer.metadata, KEY: {"prediction": facts, **opened}}
        self._live.updated()
        if outcome.report.complete:
            remove_hatch(self._viewer, self.layer)

    def remove(self) -> None:
        """Take the layer away."""
        remove_hatch(self._viewer, self.layer)
        if self.layer in self._viewer.layers:
            self._viewer.layers.remove(self.layer)

    def _added(self, reference: Image, title: _Title, facts: dict[str, object]) -> Image:
        for other in self._viewer.layers:
            # one on the other they would add up to white
            if is_prediction(other):
                other.visible = False
        layer: Image = self._viewer.add_image(
            **live_layer_data(self._levels),
            **placement(reference),
            name=title.name,
            rgb=False,
            colormap=title.colour,
            blending="additive",
            contrast_limits=(0.0, 1.0),
            metadata={KEY: {"prediction": facts}},
        )
        return layer


def _layer_of(viewer: napari.Viewer, store: Path, levels: LiveLevels) -> Image | None:
    """A layer that shows a store already."""
    for layer in viewer.layers:
        is_it = prediction_facts(layer).get("path") == str(store) and not is_helper(layer)
        if is_it and pixel_shape(layer) == levels.planes[0].shape and layer.multiscale == (len(levels.levels) > 1):
            return layer
    return None
