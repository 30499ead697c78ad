"""The dock widget "Predict QD": asks, starts, shows. What is computed, the engine computes, in another thread."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import napari.viewer
import numpy as np
from qtpy.QtWidgets import QCheckBox, QGridLayout, QPushButton, QVBoxLayout, QWidget

from napari_hrpn.plugin.background import BackgroundRun, begin, once
from napari_hrpn.plugin.docked_widget import DockedWidget
from napari_hrpn.plugin.forms.folder_form import FolderForm
from napari_hrpn.plugin.forms.folders import folder_beside
from napari_hrpn.plugin.forms.form_rows import add_row, form_layout
from napari_hrpn.plugin.forms.warning_label import WarningLabel
from napari_hrpn.plugin.forms.words import time_in_words
from napari_hrpn.plugin.layers import shapes_box, visible_box
from napari_hrpn.plugin.prediction.checkpoint_form import CheckpointForm
from napari_hrpn.plugin.prediction.layer import PredictionLayer, empty_levels
from napari_hrpn.plugin.prediction.progress import ProgressPanel
from napari_hrpn.plugin.prediction.run import Job, Outcome, Progress, Readiness, find_readiness
from napari_hrpn.plugin.prediction.running import RunningPrediction
from napari_hrpn.plugin.prediction.settings_form import IN_SHAPES, IN_VIEW, SettingsForm
from napari_hrpn.plugin.prediction.slide_form import SLIDE_TOOLTIP, ChosenSlide, SlideForm
from napari_hrpn.plugin.prediction.store_name import store_name
from napari_hrpn.plugin.quality.quality_look import QualityLook
from napari_hrpn.plugin.quality.words import findings_tooltip, warnings_of, without_size
from napari_hrpn.plugin.refusal import Refusal, is_for_the_user, sentence_of
from napari_hrpn.slides import SlideError

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_hrpn.models import Checkpoint
    from napari_hrpn.slides import Slide
    from napari_hrpn.tiling import Box


class PredictWidget(DockedWidget):
    """Predicts the QD channel of an open slide.

    Parameters
    ----------
    viewer : napari.Viewer
        Where slides are open, and where the prediction appears.
    """

    # napari looks for this very annotation
    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._running: RunningPrediction | None = None
        self._shown: PredictionLayer | None = None
        self._is_ready = False
        self._slide: Slide | None = None
        self._size_is_told = False
        self._quality = QualityLook()
        self.slide_form = SlideForm(viewer)
        self.quality_label = WarningLabel()
        self.checkpoint_form = CheckpointForm()
        self.settings_form = SettingsForm()
        self.output_form = FolderForm(
            "Folder for predictions", "Predictions are written to", "Choose another folder for predictions"
        )
        self.replace_box = QCheckBox("Replace an existing prediction")
        self.predict_button = QPushButton("Predict")
        self.cancel_button = QPushButton("Cancel")
        self.progress_panel = ProgressPanel()
        self._lay_out()
        self._connect()
        self._looking = self._look_for_devices()
        self.checkpoint_form.read()

    @property
    def is_running(self) -> bool:
        """Whether a prediction is being made."""
        return self._running is not None

    @property
    def message(self) -> str:
        """The last thing that was said to the user."""
        return self.progress_panel.message

    @property
    def layer(self) -> Image | None:
        """The layer of the last prediction."""
        return None if self._shown is None else self._shown.layer

    def use_checkpoint(self, path: str | Path) -> None:
        """Predict with a checkpoint file from now on.

        Parameters
        ----------
        path : str or pathlib.Path
            The file.
        """
        self.checkpoint_form.use(Path(path))

    def predict(self) -> None:
        """Start, or go on with, the prediction that the form describes."""
        if self.is_running:
            return
        try:
            chosen = self.slide_form.chosen()
            self._start(chosen, self._job_for(chosen))
        except (Refusal, SlideError) as error:
            self.progress_panel.say(str(error))

    def cancel(self) -> None:
        """End the prediction after the tile that is being computed; finished tiles are kept."""
        if self._running is not None:
            self._running.cancel()
            self.cancel_button.setEnabled(False)
            self.progress_panel.say("Stopping after the tile that is being computed …")

    def shut_down(self) -> None:
        """End all that runs, before the widget goes away; finished tiles are kept."""
        self._looking.abandon()
        self.checkpoint_form.abandon()
        self._quality.abandon()
        self.slide_form.disconnect_viewer()
        if self._running is not None:
            self._running.abandon()
            self._running = None

    def _lay_out(self) -> None:
        self.replace_box.setToolTip("What is at the output now is deleted when you press Predict")
        self.replace_box.setVisible(False)
        self.predict_button.setToolTip("Start, or go on from the tiles that are finished")
        self.cancel_button.setToolTip("Stop after the tile that is being computed; finished tiles are kept")
        places = QWidget()
        form = form_layout(places)
        add_row(form, "Checkpoint", self.checkpoint_form)
        add_row(form, "Output", self.output_form)
        buttons = QGridLayout()
        buttons.addWidget(self.predict_button, 0, 0)
        buttons.addWidget(self.cancel_button, 0, 1)
        layout = QVBoxLayout(self)
        for part in (self.slide_form, self.quality_label, places, self.settings_form, self.replace_box):
            layout.addWidget(part)
        layout.addLayout(buttons)
        layout.addWidget(self.progress_panel)

    def _connect(self) -> None:
        for form in (self.slide_form, self.checkpoint_form, self.settings_form):
            form.changed.connect(self._update_form)
        self.checkpoint_form.refused.connect(self.progress_panel.say)
        self._quality.found.connect(self._show_quality)
        self.predict_button.clicked.connect(self.predict)
        self.cancel_button.clicked.connect(self.cancel)

    def _look_for_devices(self) -> BackgroundRun:
        return begin(once(find_readiness), self._take_readiness, self._tell_failure, is_polite=False)

    def _take_readiness(self, readiness: Readiness) -> None:
        self._is_ready = True
        self.settings_form.set_ready(readiness.devices, readiness.defaults)
        self._update_form()

    def _update_form(self) -> None:
        checkpoint = self.checkpoint_form.checkpoint
        if checkpoint is not None:
            self.slide_form.set_input_roles(checkpoint.card.input_roles)
        try:
            self._slide = self.slide_form.chosen().slide
        except (Refusal, SlideError):
            self._slide = self.slide_form.current_slide()
        self.output_form.propose(folder_beside(None if self._slide is None else self._slide.source))
        if self._is_ready:
            self._quality.look_at([] if self._slide is None else [(self._slide, self.slide_form.channels())])
        self._warn_of_sizes(checkpoint)
        self._show_quality()
        self.predict_button.setEnabled(self._is_ready and checkpoint is not None and not self.is_running)
        self.cancel_button.setEnabled(self.is_running)

    def _warn_of_sizes(self, checkpoint: Checkpoint | None) -> None:
        slide = self._slide
        sentences: tuple[str, ...] = ()
        if self._is_ready and checkpoint is not None and slide is not None:
            from napari_hrpn.inference import pixel_size_warnings

            sentences = pixel_size_warnings(slide, checkpoint)
        can_resample = bool(sentences) and slide is not None and slide.pixel_size_um is not None
        self.settings_form.offer_resampling(sentences, can_resample=can_resample)
        self._size_is_told = bool(sentences)

    def _show_quality(self) -> None:
        findings = () if self._slide is None else self._quality.findings(self._slide, self.slide_form.channels())
        findings = without_size(findings) if self._size_is_told else findings
        self.quality_label.warn(warnings_of(findings))
        self.slide_form.slide_box.setToolTip("\n".join([SLIDE_TOOLTIP, *findings_tooltip(findings)]))

    def _job_for(self, chosen: ChosenSlide) -> Job:
        settings, checkpoint = self.settings_form.settings(), self.checkpoint_form.path
        if settings is None or checkpoint is None:
            raise Refusal("There is no checkpoint to predict with yet: choose one, or wait until it is loaded.")
        return Job(
            slide=chosen.slide,
            roles=chosen.roles,
            checkpoint=checkpoint,
            store=(self.output_form.chosen or folder_beside(chosen.slide.source)) / store_name(chosen.slide),
            settings=replace(settings, region=self._region(chosen.reference)),
            overwrite=not self.replace_box.isHidden() and self.replace_box.isChecked(),
        )

    def _region(self, reference: Image) -> Box | None:
        kind = self.settings_form.region_box.value
        if kind == IN_VIEW:
            box = visible_box(self._viewer, reference)
            if not box.area:
                raise Refusal("The slide is not in view: move to it, or predict the whole slide.")
            return box
        if kind == IN_SHAPES:
            return self._box_of_shapes(reference)
        return None

    def _box_of_shapes(self, reference: Image) -> Box:
        from napari.layers import Shapes

        layers = [layer for layer in self._viewer.layers if isinstance(layer, Shapes)]
        active = self._viewer.layers.selection.active
        shapes = active if isinstance(active, Shapes) else next(iter(reversed(layers)), None)
        if shapes is None:
            raise Refusal("There is no shapes layer: add one, draw around the region, and select the shape.")
        box = shapes_box(shapes, reference)
        if box is None:
            raise Refusal(f"No shape of {shapes.name!r} lies on the slide: draw one around the region to predict.")
        return box

    def _start(self, chosen: ChosenSlide, job: Job) -> None:
        checkpoint = self.checkpoint_form.checkpoint
        assert checkpoint is not None
        is_integer = job.settings.output == "probe"
        levels = empty_levels(job.slide.shape, np.dtype(checkpoint.card.dtype if is_integer else "float32"))
        is_new = self._shown is None or not self._shown.shows(job.store)
        if self._shown is not None and not is_new:
            self._shown.show_again(levels)
        else:
            self._shown = PredictionLayer(
                self._viewer,
                levels,
                chosen.reference,
                chosen.real,
                name=f"{chosen.title} predicted QD",
                store=job.store,
                checkpoint_title=checkpoint.card.title,
            )
        self.progress_panel.start()
        self.progress_panel.say("Preparing the network …")
        self._running = RunningPrediction(self._viewer, job, self._shown, levels, is_new=is_new)
        self._running.progressed.connect(self._show_progress)
        self._running.ended.connect(self._tell_outcome)
        self._running.failed.connect(self._tell_failure)
        self.replace_box.setVisible(False)
        self._update_form()

    def _show_progress(self, progress: Progress) -> None:
        self.progress_panel.show_progress(progress)
        if self.cancel_button.isEnabled():
            going_on = f"Going on: {progress.earlier} of {progress.total} tiles were done before."
            self.progress_panel.say(going_on if progress.earlier else "Predicting; what is in view comes first.")

    def _tell_outcome(self, outcome: Outcome) -> None:
        report = outcome.report
        if report.finished == report.total:
            self.progress_panel.say(f"Done in {time_in_words(report.seconds)}: {report.path}")
        else:
            self.progress_panel.say(
                f"Stopped: {report.finished} of {report.total} tiles are done and kept. Predict goes on from them."
            )
        self._ended()

    def _tell_failure(self, error: BaseException) -> None:
        self.progress_panel.say(sentence_of(error))
        if self._running is not None:
            is_in_the_way = is_for_the_user(error) and not self._running.has_begun
            self.replace_box.setChecked(False)
            self.replace_box.setVisible(is_in_the_way and self._running.job.store.exists())
            self._ended()

    def _ended(self) -> None:
        self._running = None
        self.progress_panel.stop()
        self._looking = self._look_for_devices()
        self._update_form()
