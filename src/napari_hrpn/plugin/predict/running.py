"""Running prediction: its thread, its layer in the viewer, and its progress."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal

from napari_hrpn.plugin.background import BackgroundRun
from napari_hrpn.plugin.predict.job import PredictionProgress, predict
from napari_hrpn.plugin.viewer import (
    UNLIKE_TRAINING,
    LiveLevels,
    Plane,
    add_hatch,
    camera_centre,
    described,
    is_prediction,
    like_training,
    pixel_shape,
    placement,
    prediction_facts,
    prediction_name,
    predictions_in,
    redrawing,
    remove_hatch,
    share_contrast,
    slider_range,
    uncertainty_attributes,
    uncertainty_of,
    update_hatch,
)
from napari_hrpn.slides import colour_in_folder, slide_name
from napari_hrpn.slides.channel_roles import predicted_name
from napari_hrpn.slides.writers.ome_zarr_writer import level_shapes

if TYPE_CHECKING:
    import napari
    from napari.layers import Image

    from napari_hrpn.inference import PredictionReport
    from napari_hrpn.plugin.predict.job import Job
    from napari_hrpn.slides import RegionMask, Slide

_LOOK_MS = 200


@dataclass
class _Focus:
    """The point in the middle of the view; any thread may call it, only the GUI thread sets it."""

    point: tuple[float, float] | None = None  # row and column in full-resolution pixels
    was_asked: bool = False  # whether it was called, which the engine does before its first tile

    def __call__(self) -> tuple[float, float] | None:
        """Return the point."""
        self.was_asked = True
        return self.point


class RunningPrediction(QObject):
    """Runs a job and shows its tiles in a layer as they are finished; used in the GUI thread.

    `begun` is emitted when the first tile is computed, `progressed` with `PredictionProgress`, `ended` with the
    `PredictionReport`, `failed` with an exception. After one of the last two, nothing runs any more.
    """

    begun = Signal()
    progressed = Signal(object)
    ended = Signal(object)
    failed = Signal(object)

    def __init__(self, viewer: napari.Viewer, job: Job, reference: Image, real: Image | None) -> None:
        super().__init__()
        self.job = job
        self.progress: PredictionProgress | None = None
        self._viewer = viewer
        card, shapes = job.read.checkpoint.card, level_shapes((1, *job.slide.shape))
        dtype = np.dtype(card.dtype if job.settings.output == "probe" else "float32")
        self._channels = [
            LiveLevels([Plane((height, width), dtype, channel) for _, height, width in shapes])
            for channel in range(1 + job.read.has_sd + job.settings.unlike)
        ]
        self._levels = self._channels[0]
        found = self._layer_of_store()
        self._is_new = found is None
        self.layer: Image = self._new_layer(reference) if found is None else self._again(found)
        self.uncertainty = self._uncertainty_layer(reference) if job.read.has_sd else None
        add_hatch(viewer, self.layer, self._levels.loaded)
        if job.settings.unlike:
            add_hatch(viewer, self.layer, self._like_training(), UNLIKE_TRAINING)
        self._redraw = redrawing(self.layer)
        self._contrast = share_contrast(self.layer, real)
        self._focus = _Focus()
        viewer.scene.camera.events.center.connect(self._follow_camera)
        self._follow_camera()
        self._run = BackgroundRun(partial(predict, job, self._channels, self._focus))
        self._run.yielded.connect(self._show)
        self._run.returned.connect(self._end)
        self._run.failed.connect(self._fail)
        self._run.start()
        self._first_tile = QTimer(self)
        self._first_tile.timeout.connect(self._look_for_first_tile)
        self._first_tile.start(_LOOK_MS)

    @property
    def has_begun(self) -> bool:
        """Whether this run has finished a tile."""
        return self.progress is not None and self.progress.finished > self.progress.earlier

    def cancel(self) -> None:
        """Stop after the current tile."""
        self._run.cancel()

    def abandon(self) -> None:
        """Stop after the current tile, and emit no signal any more."""
        self._run.abandon()
        self._stop_following()

    def _layer_of_store(self) -> Image | None:
        """A layer that shows the same store already."""
        for layer in predictions_in(self._viewer):
            is_of_store = prediction_facts(layer).get("path") == str(self.job.store)
            fits = pixel_shape(layer) == self.job.slide.shape and layer.multiscale == (len(self._levels.levels) > 1)
            if is_of_store and fits:
                return layer
        return None

    def _new_layer(self, reference: Image) -> Image:
        for other in self._viewer.layers:
            # additive layers on each other would turn white
            if is_prediction(other):
                other.visible = False
        facts, card = self._facts(), self.job.read.checkpoint.card
        layer: Image = self._viewer.add_image(
            **self._levels.layer_data(),
            **placement(reference),
            name=prediction_name(slide_name(self.job.store), predicted_name(card.target), card.title),
            rgb=False,
            colormap=facts["colour"],
            blending="additive",
            contrast_limits=(0.0, 1.0),
            metadata=self._described(facts),
        )
        return layer

    def _uncertainty_layer(self, reference: Image) -> Image:
        found = uncertainty_of(self._viewer, self.layer)
        data = self._channels[1].layer_data()
        if found is not None:
            found.data = data["data"]
            return found
        selected = set(self._viewer.layers.selection)
        about = uncertainty_attributes(self.layer.name, self._facts())
        layer: Image = self._viewer.add_image(
            **data, **placement(reference), **about, rgb=False, contrast_limits=(0.0, 1.0)
        )
        self._viewer.layers.selection = selected
        return layer

    def _again(self, layer: Image) -> Image:
        layer.data = self._levels.layer_data()["data"]
        layer.metadata = {**layer.metadata, **self._described(self._facts())}
        return layer

    def _described(self, facts: dict[str, object], **opened: object) -> dict[str, object]:
        size = self.job.slide.pixel_size_um
        sized = {} if size is None else {"pixel_size_um": list(size)}
        channel = predicted_name(self.job.read.checkpoint.card.target)
        return described({"prediction": facts, **opened}, channel=channel, **sized)

    def _facts(self) -> dict[str, object]:
        return {
            "path": str(self.job.store),
            "checkpoint": self.job.read.checkpoint.card.title,
            "digest": self.job.request["checkpoint"],
            "colour": colour_in_folder(self.job.store, self.job.request),
            "slide": self.job.request["slide"],
            "complete": False,
            "finished": self._levels.loaded,
        }

    def _like_training(self) -> RegionMask:
        return like_training(self._channels[-1].levels[-1], self._levels.loaded.downsample)

    def _follow_camera(self, event: object = None) -> None:  # noqa: ARG002
        self._focus.point = camera_centre(self._viewer, self.layer)

    def _stop_following(self) -> None:
        self._first_tile.stop()
        self._viewer.scene.camera.events.center.disconnect(self._follow_camera)

    def _look_for_first_tile(self) -> None:
        """Emit `begun` when the engine calls the focus for its first tile; its first report follows after that tile."""
        if self._focus.was_asked:
            self._first_tile.stop()
            self.begun.emit()

    def _show(self, progress: PredictionProgress) -> None:
        self.progress = progress
        if self.has_begun:
            self._first_tile.stop()
        self._contrast.suggest(progress.contrast[0])
        self._redraw()
        if self.uncertainty is not None:
            _show_values(self.uncertainty, progress.contrast[1])
        update_hatch(self._viewer, self.layer, self._levels.loaded)
        if self.job.settings.unlike:
            update_hatch(self._viewer, self.layer, self._like_training(), UNLIKE_TRAINING)
        self.progressed.emit(progress)

    def _end(self, outcome: tuple[PredictionReport, Slide | None]) -> None:
        report, slide = outcome
        self._stop_following()
        facts = {**prediction_facts(self.layer), "complete": report.complete, "report": report}
        opened = {} if slide is None else {"slide": slide, "channel": 0}
        self.layer.metadata = {**self.layer.metadata, **self._described(facts, **opened)}
        self._draw_all()
        if report.complete:
            remove_hatch(self._viewer, self.layer)
        self.ended.emit(report)

    def _fail(self, error: BaseException) -> None:
        self._stop_following()
        if self._is_new and not self.has_begun:
            remove_hatch(self._viewer, self.layer)
            remove_hatch(self._viewer, self.layer, UNLIKE_TRAINING)
            for layer in (self.layer, self.uncertainty):
                if layer is not None and layer in self._viewer.layers:
                    self._viewer.layers.remove(layer)
        else:
            self._draw_all()
        self.failed.emit(error)

    def _draw_all(self) -> None:
        # redrawn now: this object is deleted next, and its throttled redraw with it
        self._redraw.cancel()
        self.layer.refresh(extent=False)
        if self.uncertainty is not None:
            self.uncertainty.refresh(extent=False)


def _show_values(layer: Image, limits: tuple[float, float] | None) -> None:
    """Draw new pixels of a layer whose contrast is that of its pixels."""
    if limits is not None:
        layer.contrast_limits_range = slider_range(limits, np.dtype(layer.dtype))
        layer.contrast_limits = limits
    layer.refresh(extent=False)


def words_of_the_end(progress: PredictionProgress | None, store: str) -> str:
    """Message about a prediction that was stopped."""
    if progress is None:
        return f"Stopped before the first tile of {store}."
    done = f"{progress.finished} of {progress.total} tiles"
    return f"Stopped: {done} are done and kept in {store}. Predict resumes from them."
