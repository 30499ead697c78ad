"""The Labels layer of true positives, false negatives and false positives, and the numbers of what is in view.

It is drawn from what is in memory; what a moved view shows is read and counted in a thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QObject, Qt, Signal

from napari_hrpn.core import Box
from napari_hrpn.plugin.background import BackgroundRun, begin, once, soon
from napari_hrpn.plugin.threshold_miou.level_blocks import BOTH, PREDICTED_ONLY, REAL_ONLY, Window
from napari_hrpn.plugin.threshold_miou.overlap_levels import OverlapLevels
from napari_hrpn.plugin.viewer import KEY, placement, visible_box

if TYPE_CHECKING:
    import napari

    from napari_hrpn.analysis import PairCounts
    from napari_hrpn.plugin.threshold_miou.level_blocks import Block, CommonLevels
    from napari_hrpn.plugin.threshold_miou.overlap import Overview

NAME = "TP / FN / FP"
_OVERLAP = "overlap"
COLOURS: dict[int | None, str] = {BOTH: "#f0e442", REAL_ONLY: "#d55e00", PREDICTED_ONLY: "#cc79a7"}
"""Okabe and Ito's yellow, vermilion (the real probe is red) and purple (a prediction is magenta): told apart by people
of all kinds of colour vision, and unlike blue nuclei and green vessels."""
MEANINGS = {BOTH: "TP: both", REAL_ONLY: "FN: real only", PREDICTED_ONLY: "FP: predicted only"}
_OPACITY = 0.7
_LOOK_MS = 100


@dataclass(frozen=True, eq=False)
class View:
    """What is in view, counted."""

    overview: Overview
    window: Window  # Level, and pixels of it
    counts: tuple[PairCounts, ...]  # Of each prediction, of the pixels in the region


@dataclass(frozen=True, eq=False)
class _Look:
    overview: Overview
    block: Block | None
    view: View


class Overlay(QObject):
    """Shows where a prediction and the real image reach a threshold.

    `looked` says that `view` is another one, `removed` that the user has taken the layer away, `failed` carries what
    went wrong when pixels were read.
    """

    looked = Signal()
    removed = Signal()
    failed = Signal(object)
    _missed = Signal()

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._levels: OverlapLevels | None = None
        self._run: BackgroundRun | None = None
        self._is_wanted_again = False
        self._seen: tuple[int, list[list[int]]] | None = None
        self.layer: Labels | None = None
        self.view: View | None = None
        self._soon = soon(self, self._look, _LOOK_MS)
        # napari may ask from a thread of its own
        self._missed.connect(self._soon.start, Qt.ConnectionType.QueuedConnection)
        camera = viewer.scene.camera.events
        self._moves = camera.center, camera.zoom, camera.angles, viewer.canvas.events.size
        for event in self._moves:
            event.connect(self._look_soon)
        viewer.layers.events.removed.connect(self._note_removal)

    @property
    def is_looking(self) -> bool:
        """Whether what is in view is being read, or is going to be."""
        return self._run is not None or self._soon.isActive()

    def show(self, overview: Overview, prediction: int, threshold: float) -> None:
        """Show a pair in a region."""
        is_same_pair = self._levels is not None and self._levels.overview.pair is overview.pair
        self.view = None
        if self._levels is not None and is_same_pair and self.layer is not None:
            self._levels.replace(overview)
        else:
            self.hide()
            self._levels = OverlapLevels(overview, self._missed.emit)
            self._add()
        self.use(prediction, threshold)
        self._look_soon()

    def use(self, prediction: int, threshold: float) -> None:
        """Show another prediction or threshold; nothing is read for it."""
        if self._levels is not None and self.layer is not None:
            self._levels.use(prediction, threshold)
            self.layer.refresh(extent=False, highlight=False)

    def hide(self) -> None:
        """Take the layer away."""
        self._stop()
        layer, self.layer, self._levels, self.view = self.layer, None, None, None
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)

    def shut_down(self) -> None:
        """Take the layer away and listen no more; called again, it does nothing."""
        self._soon.stop()
        for event in self._moves:
            event.disconnect(self._look_soon)
        self._viewer.layers.events.removed.disconnect(self._note_removal)
        self.hide()

    def _add(self) -> None:
        from napari.utils.colormaps import DirectLabelColormap

        assert self._levels is not None
        levels = self._levels
        colours: dict[int | None, str] = {None: "transparent", 0: "transparent", **COLOURS}
        selected = set(self._viewer.layers.selection)
        layer = Labels(
            list(levels.levels) if len(levels.levels) > 1 else levels.levels[0],
            multiscale=len(levels.levels) > 1,
            **placement(levels.overview.pair.real.layer),
            name=NAME,
            opacity=_OPACITY,
            colormap=DirectLabelColormap(color_dict=colours),
            features={"index": list(MEANINGS), "overlap": list(MEANINGS.values())},
            metadata={KEY: {_OVERLAP: True}},
            cache=False,
        )
        layer.editable = False
        self.layer = layer
        self._viewer.add_layer(layer)
        # who is drawing a region goes on drawing
        if selected:
            self._viewer.layers.selection = selected
        layer.events.visible.connect(self._look_soon)
        layer.events.set_data.connect(self._note_drawing)

    def _note_removal(self, event: object = None) -> None:  # noqa: ARG002
        if self.layer is not None and self.layer not in self._viewer.layers:
            self.layer = None
            self.hide()
            self.removed.emit()

    def _note_drawing(self, event: object = None) -> None:  # noqa: ARG002
        # napari chooses the level when it draws, which may be later than the look at a view that has moved
        if self.layer is not None and self._shown_by(self.layer) != self._seen:
            self._look_soon()

    def _shown_by(self, layer: Labels) -> tuple[int, list[list[int]]]:
        """Level, and corners of the part of it that napari holds."""
        return int(layer.data_level), np.asarray(layer.corner_pixels).tolist()

    def _look_soon(self, event: object = None) -> None:  # noqa: ARG002
        if self.layer is not None:
            self._soon.start()

    def _stop(self) -> None:
        self._soon.stop()
        self._is_wanted_again = False
        if self._run is not None:
            self._run.abandon()
            self._run = None

    def _look(self) -> None:
        """Read and count what is in view now."""
        if self._run is not None:
            self._is_wanted_again = True
            return
        windows = self._windows()
        if windows is None or self._levels is None:
            self.view = None
            self.looked.emit()
            return
        wanted, visible = windows
        is_known = self._levels.known(wanted) is not None
        block = self._levels.known(visible) if is_known else None
        work = once(_looked, self._levels.overview, block, wanted, visible)
        self._run = begin(work, self._take, self._take_failure)

    def _windows(self) -> tuple[Window, Window] | None:
        """What napari asks for, and the part of it that is in view."""
        layer, levels = self.layer, self._levels
        if layer is None or levels is None or not layer.visible or self._viewer.dims.ndisplay != 2:
            return None
        self._seen = self._shown_by(layer)
        common = levels.overview.levels
        box = visible_box(self._viewer, levels.overview.pair.real.layer)
        if not box.area:
            return None
        level = int(layer.data_level) if layer.multiscale else 0
        visible = common.window(level, box)
        (y0, x0), (y1, x1) = np.asarray(layer.corner_pixels)[:, -2:]
        asked = Window(level, Box(int(y0), int(y1) + 1, int(x0), int(x1) + 1)) if layer.multiscale else visible
        return _around(common, asked, visible), visible

    def _take(self, look: _Look) -> None:
        self._run = None
        if self._levels is not None and look.overview is self._levels.overview:
            if look.block is not None:
                self._levels.block = look.block
                if self.layer is not None:
                    self.layer.refresh(extent=False, thumbnail=False, highlight=False)
            self.view = look.view
            self.looked.emit()
        else:
            self._is_wanted_again = True
        self._go_on()

    def _take_failure(self, error: BaseException) -> None:
        self._run = None
        self.failed.emit(error)
        self._go_on()

    def _go_on(self) -> None:
        if self._is_wanted_again:
            self._is_wanted_again = False
            self._look()


def _around(levels: CommonLevels, one: Window, other: Window) -> Window:
    a, b = one.box, other.box
    box = Box(min(a.y0, b.y0), max(a.y1, b.y1), min(a.x0, b.x0), max(a.x1, b.x1))
    return Window(one.level, box.intersection(levels.whole(one.level).box))


def _looked(overview: Overview, block: Block | None, wanted: Window, visible: Window) -> _Look:
    read = overview.levels.read(wanted, overview.region) if block is None else None
    seen = block if read is None else read.cut(visible.box)
    assert seen is not None
    counts = tuple(seen.counts(index) for index in range(len(overview.pair.predictions)))
    return _Look(overview, read, View(overview, visible, counts))
