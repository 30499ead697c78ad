"""Labels layer of true positives, false negatives and false positives, and the counts of the pixels in view.

Labels are computed when napari shows them, from pixels that are read once; pixels in view are counted in a thread.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QObject, Signal

from napari_hrpn.core import Box
from napari_hrpn.plugin.background import NewestTask, once, soon
from napari_hrpn.plugin.threshold_miou.overlap import BOTH, PREDICTED_ONLY, REAL_ONLY, Window
from napari_hrpn.plugin.viewer import KEY, placement, visible_box
from napari_hrpn.slides import SlideError

if TYPE_CHECKING:
    import napari
    from numpy.typing import DTypeLike, NDArray

    from napari_hrpn.analysis import PairCounts
    from napari_hrpn.plugin.threshold_miou.overlap import Overview

NAME = "TP / FN / FP"
COLOURS: dict[int | None, str] = {BOTH: "#f0e442", REAL_ONLY: "#d55e00", PREDICTED_ONLY: "#cc79a7"}
"""Okabe and Ito's yellow, vermilion (the real probe is red) and purple (a prediction is magenta): colour-blind readers
can distinguish them, and they differ from blue nuclei and green vessels."""
MEANINGS = {BOTH: "TP: both", REAL_ONLY: "FN: real only", PREDICTED_ONLY: "FP: predicted only"}
_OPACITY = 0.7
_LOOK_MS = 100
_CHUNK_PX = 256
"""napari reads windows in multiples of these chunks, so a small move of the view reads nothing new."""


@dataclass(frozen=True, eq=False)
class View:
    """Counts of the pixels in view."""

    overview: Overview
    window: Window
    counts: tuple[PairCounts, ...]  # one for each prediction, of the pixels in view and in the region


class OverlapLabels:
    """Labels of a prediction at a threshold, on all levels of a pair."""

    def __init__(self, overview: Overview) -> None:
        self.overview = overview
        self.prediction, self.threshold = 0, math.inf
        coarsest = len(overview.levels) - 1
        # napari keeps a reference to the coarsest level, so this array is changed in place
        self._coarsest = np.zeros(overview.levels.shape(coarsest), np.uint8)
        self.levels: tuple[Any, ...] = (*(_Level(self, level) for level in range(coarsest)), self._coarsest)

    def use(self, prediction: int, threshold: float) -> None:
        """Show another prediction or threshold."""
        self.prediction, self.threshold = prediction, threshold
        self._coarsest[:] = self.of(self.overview.levels.whole(len(self.levels) - 1))

    def of(self, window: Window) -> NDArray[np.uint8]:
        """Labels of a window; all 0 if it cannot be read: counting the pixels in view reports that error."""
        try:
            return self.read(window)
        except SlideError:
            return np.zeros((window.box.height, window.box.width), np.uint8)

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Labels of a window; raises an error if it cannot be read."""
        return self.overview.levels.labels(window, self.prediction, self.threshold)


class _Level:
    """One level as the two-dimensional array that napari shows."""

    ndim = 2
    dtype = np.dtype(np.uint8)
    chunks = (_CHUNK_PX, _CHUNK_PX)

    def __init__(self, labels: OverlapLabels, level: int) -> None:
        self._labels, self._level = labels, level
        self.shape = labels.overview.levels.shape(level)
        self.size = math.prod(self.shape)

    def __getitem__(self, key: Any) -> NDArray[np.uint8]:  # noqa: ANN401 (slices, as napari gives them)
        parts = (*np.index_exp[key], slice(None))[:2]
        rows, columns = (range(size)[part] for part, size in zip(parts, self.shape, strict=True))
        box = Box(rows.start, max(rows.start, rows.stop), columns.start, max(columns.start, columns.stop))
        return self._labels.of(Window(self._level, box))[:: rows.step, :: columns.step]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        whole = self._labels.overview.levels.whole(self._level)
        return np.array(self._labels.read(whole), dtype=dtype, copy=copy)


class Overlay(QObject):
    """Shows where a prediction and the real image reach a threshold.

    `looked` is emitted when `view` has changed, `removed` when the user has removed the layer, `failed` with an error
    of reading pixels.
    """

    looked = Signal()
    removed = Signal()
    failed = Signal(object)

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._labels: OverlapLabels | None = None
        self._count = NewestTask()
        self._seen: tuple[int, list[list[int]]] | None = None
        self.layer: Labels | None = None
        self.view: View | None = None
        self._soon = soon(self, self._look, _LOOK_MS)
        camera = viewer.scene.camera.events
        self._moves = camera.center, camera.zoom, camera.angles, viewer.canvas.events.size
        for event in self._moves:
            event.connect(self._look_soon)
        viewer.layers.events.removed.connect(self._note_removal)

    @property
    def is_looking(self) -> bool:
        """Whether the pixels in view are being counted, or will be soon."""
        return self._count.is_busy or bool(self._soon.isActive())

    def show(self, overview: Overview, prediction: int, threshold: float) -> None:
        """Show a pair in a region."""
        self.view = None
        self._count.abandon()
        if self._labels is not None and self._labels.overview.pair is overview.pair:
            self._labels.overview = overview
        else:
            self.hide()
            self._labels = OverlapLabels(overview)
            self._add(self._labels)
        self.use(prediction, threshold)
        self._look_soon()

    def use(self, prediction: int, threshold: float) -> None:
        """Show another prediction or threshold, from pixels that were read before."""
        if self._labels is not None and self.layer is not None:
            self._labels.use(prediction, threshold)
            self.layer.refresh(extent=False, highlight=False)

    def hide(self) -> None:
        """Remove the layer."""
        self._soon.stop()
        self._count.abandon()
        layer, self.layer, self._labels, self.view = self.layer, None, None, None
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)

    def shut_down(self) -> None:
        """Remove the layer and disconnect from the viewer; a second call does nothing."""
        for event in self._moves:
            event.disconnect(self._look_soon)
        self._viewer.layers.events.removed.disconnect(self._note_removal)
        self.hide()

    def _add(self, labels: OverlapLabels) -> None:
        from napari.utils.colormaps import DirectLabelColormap

        colours: dict[int | None, str] = {None: "transparent", 0: "transparent", **COLOURS}
        selected = set(self._viewer.layers.selection)
        several = len(labels.levels) > 1
        layer = Labels(
            list(labels.levels) if several else labels.levels[0],
            multiscale=several,
            **placement(labels.overview.pair.real.layer),
            name=NAME,
            opacity=_OPACITY,
            colormap=DirectLabelColormap(color_dict=colours),
            features={"index": list(MEANINGS), "overlap": list(MEANINGS.values())},
            metadata={KEY: {"overlap": True}},
            cache=False,
        )
        layer.editable = False
        self.layer = layer
        self._viewer.add_layer(layer)
        # the selection stays, so that the user can continue to draw a region
        if selected:
            self._viewer.layers.selection = selected
        layer.events.visible.connect(self._look_soon)
        layer.events.set_data.connect(self._note_drawing)

    def _note_removal(self, event: object = None) -> None:  # noqa: ARG002
        if self.layer is not None and self.layer not in self._viewer.layers:
            self.hide()
            self.removed.emit()

    def _note_drawing(self, event: object = None) -> None:  # noqa: ARG002
        # napari chooses the level when it draws, which may be after the view was counted
        if self.layer is not None and _shown_by(self.layer) != self._seen:
            self._look_soon()

    def _look_soon(self, event: object = None) -> None:  # noqa: ARG002
        if self.layer is not None:
            self._soon.start()

    def _look(self) -> None:
        """Count the pixels that are in view now."""
        self._count.abandon()
        window = self._visible()
        if window is None or self._labels is None:
            self._take(None)
        else:
            self._count.do(once(_counted, self._labels.overview, window), self._take, self.failed.emit)

    def _visible(self) -> Window | None:
        layer, labels = self.layer, self._labels
        if layer is None or labels is None or not layer.visible or self._viewer.dims.ndisplay != 2:
            return None
        self._seen = _shown_by(layer)
        box = visible_box(self._viewer, labels.overview.pair.real.layer)
        return labels.overview.levels.window(self._seen[0], box) if box.area else None

    def _take(self, view: View | None) -> None:
        self.view = view
        self.looked.emit()


def _shown_by(layer: Labels) -> tuple[int, list[list[int]]]:
    """Level that napari shows, and corners of the displayed part."""
    return int(layer.data_level), np.asarray(layer.corner_pixels).tolist()


def _counted(overview: Overview, window: Window) -> View:
    return View(
        overview, window, tuple(overview.levels.counts(window, k) for k in range(len(overview.pair.predictions)))
    )
