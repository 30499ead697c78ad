"""The layer of a prediction: lies on the slide from the start, fills tile by tile, shows the real probe's contrast."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.plugin.layers import KEY, LiveLayer, LiveLevels, Plane, live_layer_data, placement, slider_range
from napari_hrpn.slides.pyramid_blocks import level_shapes

if TYPE_CHECKING:
    from pathlib import Path

    import napari
    from napari.layers import Image
    from numpy.typing import DTypeLike

    from napari_hrpn.plugin.prediction.run import Outcome

# apart from blue nuclei, green vessels and the red real probe, also for those who see red and green alike
COLORMAP = "magenta"


def empty_levels(shape: tuple[int, int], dtype: DTypeLike) -> LiveLevels:
    """Levels of a prediction whose store need not exist yet.

    Parameters
    ----------
    shape : tuple of int
        Height and width of the slide.
    dtype : dtype
        Type of the predicted pixels.

    Returns
    -------
    LiveLevels
        All zero, of the shapes that the store will have.
    """
    return LiveLevels([Plane((height, width), dtype) for _, height, width in level_shapes((1, *shape))])


class PredictionLayer:
    """Adds a prediction to the viewer and keeps it up with its store; lives in the GUI thread.

    Parameters
    ----------
    viewer : napari.Viewer
        Where it is shown.
    levels : LiveLevels
        What it shows.
    reference : napari.layers.Image
        Layer of the slide, which it lies on.
    real : napari.layers.Image or None
        Layer of the real probe, whose contrast it takes.
    name : str
        Name of the layer.
    store : pathlib.Path
        Where the prediction is.
    checkpoint_title : str
        What it is made with.
    """

    def __init__(
        self,
        viewer: napari.Viewer,
        levels: LiveLevels,
        reference: Image,
        real: Image | None,
        *,
        name: str,
        store: Path,
        checkpoint_title: str,
    ) -> None:
        self._viewer = viewer
        self.store = store
        facts = {"path": str(store), "checkpoint": checkpoint_title, "complete": False}
        self.layer: Image = viewer.add_image(
            **live_layer_data(levels),
            **placement(reference),
            name=name,
            rgb=False,
            colormap=COLORMAP,
            blending="additive",
            contrast_limits=(0.0, 1.0),
            metadata={KEY: {"prediction": facts}},
        )
        self._live = LiveLayer(self.layer)
        self._contrast = _Contrast(self.layer, real)

    def shows(self, store: Path) -> bool:
        """Whether it is still in the viewer and shows a store.

        Parameters
        ----------
        store : pathlib.Path
            Folder of a prediction.

        Returns
        -------
        bool
            False once the user has removed it.
        """
        return self.store == store and self.layer in self._viewer.layers

    def show_again(self, levels: LiveLevels) -> None:
        """Show other levels of the same store, for a run that goes on.

        Parameters
        ----------
        levels : LiveLevels
            Of the same shapes.
        """
        self.layer.data = live_layer_data(levels)["data"]

    def updated(self, contrast: tuple[float, float] | None) -> None:
        """Show what the levels have got.

        Parameters
        ----------
        contrast : tuple of float or None
            Percentiles of what is finished.
        """
        self._contrast.suggest(contrast)
        self._live.updated()

    def finish(self, outcome: Outcome) -> None:
        """Keep what is to be known of the prediction with the layer.

        Parameters
        ----------
        outcome : Outcome
            What the run left.
        """
        facts = self.layer.metadata[KEY]["prediction"]
        facts = {**facts, "complete": outcome.report.complete, "report": outcome.report}
        opened = {} if outcome.slide is None else {"slide": outcome.slide, "channel": 0}
        self.layer.metadata = {**self.layer.metadata, KEY: {"prediction": facts, **opened}}
        self._live.updated()

    def remove(self) -> None:
        """Take the layer away."""
        if self.layer in self._viewer.layers:
            self._viewer.layers.remove(self.layer)


class _Contrast:
    """Contrast of a prediction: the real channel's, or that of its own pixels, until the user sets it."""

    def __init__(self, layer: Image, real: Image | None) -> None:
        self._layer, self._real = layer, real
        self._is_ours = True
        self._is_setting = False
        layer.events.contrast_limits.connect(self._note)
        if real is not None:
            real.events.contrast_limits.connect(self._follow)
            self._follow()

    def suggest(self, limits: tuple[float, float] | None) -> None:
        if limits is not None and self._real is None:
            self._set(limits)

    def _follow(self, event: object = None) -> None:  # noqa: ARG002
        if self._real is not None:
            self._set(tuple(self._real.contrast_limits))

    def _note(self, event: object = None) -> None:  # noqa: ARG002
        self._is_ours = self._is_ours and self._is_setting

    def _set(self, limits: tuple[float, ...]) -> None:
        if not self._is_ours:
            return
        self._is_setting = True
        low, high = limits
        self._layer.contrast_limits_range = slider_range((low, high), np.dtype(self._layer.dtype))
        self._layer.contrast_limits = limits
        self._is_setting = False
