"""The dock widget "Predict QD": asks, starts, shows. What is computed, the engine computes, in another thread."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import napari.viewer
import numpy as np
from napari.layers import Shapes
from napari.utils.notifications import show_info
from qtpy.QtWidgets import QCheckBox, QGridLayout, QPushButton, QVBoxLayout, QWidget

from napari_hrpn.plugin.background import BackgroundRun, begin, once
from napari_hrpn.plugin.parts.docked_widget import DockedWidget, scrolling
from napari_hrpn.plugin.parts.folder_form import FolderForm
from napari_hrpn.plugin.parts.folders import folder_beside
from napari_hrpn.plugin.parts.form_rows import add_row, form_layout
from napari_hrpn.plugin.parts.quality_check import QualityLook, findings_tooltip, warnings_of, without_size
from napari_hrpn.plugin.parts.tone_label import PROBLEM, TEXT
from napari_hrpn.plugin.parts.user_error import UserError, is_for_the_user, sentence_of
from napari_hrpn.plugin.parts.view_buttons import ViewButtons
from napari_hrpn.plugin.parts.warning_label import WarningLabel
from napari_hrpn.plugin.parts.words import time_in_words
from napari_hrpn.plugin.predict.checkpoint_form import CheckpointForm
from napari_hrpn.plugin.predict.layer import PredictionLayer, empty_levels, title_of
from napari_hrpn.plugin.predict.progress import ProgressPanel, words_of_the_end
from napari_hrpn.plugin.predict.region import with_region
from napari_hrpn.plugin.predict.run import Job, Outcome, Progress, Readiness, find_readiness
from napari_hrpn.plugin.predict.running import RunningPrediction
from napari_hrpn.plugin.predict.settings_form import SettingsForm
from napari_hrpn.plugin.predict.slide_form import SLIDE_TOOLTIP, ChosenSlide, SlideForm
from napari_hrpn.plugin.predict.store_name import Output, find_output, store_name
from napari_hrpn.plugin.viewer import bring_up, newest_prediction, slide_label
from napari_hrpn.slides import SlideError

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_hrpn.models import Checkpoint
    from napari_hrpn.slides import Slide


class PredictWidget(DockedWidget):
    """Predicts the QD channel of an open slide."""

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
        self.replace_box = QCheckBox()
        self.predict_button = QPushButton("Predict")
        self.cancel_button = QPushButton("Cancel")
        self.progress_panel = ProgressPanel()
        self.view_buttons = ViewButtons(viewer, self._compared)
        self._said_for: object = None
        self._refused: Path | None = None
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

    def _compared(self) -> tuple[Image | None, Image | None]:
        """The real probe and the newest prediction of the chosen slide."""
        reference = self.slide_form.reference_layer()
        predicted = None if reference is None else newest_prediction(self._viewer, reference, self.layer)
        return self.slide_form.real_layer(), predicted

    def use_checkpoint(self, path: str | Path) -> None:
        """Predict with a checkpoint file from now on."""
        self.checkpoint_form.use(Path(path))

    def predict(self) -> None:
        """Start, or go on with, the prediction that the form describes."""
        if self.is_running:
            return
        try:
            chosen = self.slide_form.chosen()
            self._start(chosen, self._job_for(chosen))
        except (UserError, SlideError) as error:
            self._refuse(str(error))

    def cancel(self) -> None:
        """End the prediction; finished tiles are kept."""
        if self._running is not None:
            self._running.cancel()
            self.cancel_button.setEnabled(False)
            self._say("Stopping …")

    def shut_down(self) -> None:
        """End all that runs, before the widget goes away; finished tiles are kept."""
        self._looking.abandon()
        self.checkpoint_form.abandon()
        self._quality.abandon()
        self.slide_form.disconnect_viewer()
        self.view_buttons.shut_down()
        if self._running is not None:
            self._running.abandon()
            if self.parent() is None:
                show_info(words_of_the_end(self._running.progress, self._running.job.store.name))
            self._running = None

    def _lay_out(self) -> None:
        self.replace_box.setVisible(False)
        self.predict_button.setToolTip("Start, or go on from the tiles that are finished")
        self.cancel_button.setToolTip("Stop now; finished tiles are kept, and Predict goes on from them")
        places = QWidget()
        form = form_layout(places)
        add_row(form, "Checkpoint", self.checkpoint_form)
        add_row(form, "Output", self.output_form)
        contents = QWidget()
        rows = QVBoxLayout(contents)
        rows.setContentsMargins(0, 0, 0, 0)
        for part in (self.slide_form, self.quality_label, places, self.settings_form):
            rows.addWidget(part)
        rows.addStretch(1)
        buttons = QGridLayout()
        buttons.addWidget(self.predict_button, 0, 0)
        buttons.addWidget(self.cancel_button, 0, 1)
        layout = QVBoxLayout(self)
        layout.addWidget(scrolling(contents), 1)
        layout.addWidget(self.replace_box)
        layout.addLayout(buttons)
        layout.addWidget(self.progress_panel)
        layout.addWidget(self.view_buttons)

    def _connect(self) -> None:
        for form in (self.slide_form, self.checkpoint_form, self.settings_form):
            form.changed.connect(self._form_changed)
        self.output_form.changed.connect(self._form_changed)
        for form in (self.slide_form, self.checkpoint_form):
            form.refused.connect(self._refuse)
        self._quality.found.connect(self._show_quality)
        self.predict_button.clicked.connect(self.predict)
        self.cancel_button.clicked.connect(self.cancel)

    def _look_for_devices(self) -> BackgroundRun:
        return begin(once(find_readiness), self._take_readiness, self._tell_failure, is_polite=False)

    def _take_readiness(self, readiness: Readiness) -> None:
        self._is_ready = True
        self.settings_form.set_ready(readiness.devices, readiness.defaults)
        self._update_form()

    def _say(self, sentence: str, tone: str = TEXT) -> None:
        """Show a sentence, until something that it is about is changed."""
        self._said_for = self._asked_for()
        self.progress_panel.say(sentence, tone)

    def _refuse(self, sentence: str) -> None:
        self._say(sentence, PROBLEM)

    def _asked_for(self) -> object:
        """All that the user can change, to be compared."""
        slide = self.slide_form.current_slide()
        return (
            None if slide is None else (slide_label(slide), slide.source, slide.pixel_size_um),
            self.slide_form.size_edit.text(),
            tuple(self.slide_form.role_boxes[role].value for role in self.slide_form.role_boxes),
            self.checkpoint_form.path,
            self.settings_form.settings(),
            self.settings_form.region_box.value,
            self.output_form.chosen,
            sum(isinstance(layer, Shapes) for layer in self._viewer.layers),
        )

    def _form_changed(self) -> None:
        if not self.is_running and self.message and self._asked_for() != self._said_for:
            self.progress_panel.clear()
            self.progress_panel.say("")
        self._update_form()

    def _update_form(self) -> None:
        checkpoint = self.checkpoint_form.checkpoint
        if checkpoint is not None:
            self.slide_form.set_input_roles(checkpoint.card.input_roles)
        output = None
        try:
            chosen = self.slide_form.chosen()
            self._slide = chosen.slide
            folder = self.output_form.chosen or folder_beside(self._slide.source)
            # predictions are looked at only where there are any
            output = self._output(chosen) if (folder / store_name(self._slide)).exists() else None
        except (UserError, SlideError):
            self._slide = self.slide_form.current_slide()
        self._offer_replacing(output)
        self.output_form.propose(folder_beside(None if self._slide is None else self._slide.source))
        if self._is_ready:
            self._quality.look_at([] if self._slide is None else [(self._slide, self.slide_form.channels())])
        self._warn_of_sizes(checkpoint)
        self._show_quality()
        self.predict_button.setEnabled(self._is_ready and checkpoint is not None and not self.is_running)
        self.cancel_button.setEnabled(self.is_running)
        self.view_buttons.refresh()

    def _warn_of_sizes(self, checkpoint: Checkpoint | None) -> None:
        slide = self._slide
        sentences: tuple[str, ...] = ()
        if self._is_ready and checkpoint is not None and slide is not None:
            from napari_hrpn.inference import pixel_size_warnings

            sentences = pixel_size_warnings(slide, checkpoint)
        can_resample = bool(sentences) and slide is not None and slide.pixel_size_um is not None
        about = None if slide is None else (slide.source, slide.pixel_size_um, self.checkpoint_form.path)
        self.settings_form.offer_resampling(sentences, can_resample=can_resample, about=about)
        self._size_is_told = bool(sentences)

    def _show_quality(self) -> None:
        findings = () if self._slide is None else self._quality.findings(self._slide, self.slide_form.channels())
        findings = without_size(findings) if self._size_is_told else findings
        self.quality_label.warn(warnings_of(findings))
        self.slide_form.slide_box.setToolTip("\n".join([SLIDE_TOOLTIP, *findings_tooltip(findings)]))

    def _job_for(self, chosen: ChosenSlide) -> Job:
        settings, read, output = self.settings_form.settings(), self.checkpoint_form.chosen, self._output(chosen)
        if settings is None or read is None or output is None:
            raise UserError("There is no checkpoint to predict with yet: choose one, or wait until it is loaded.")
        kind = self.settings_form.region_box.value
        replaced = output.replaceable if self.replace_box.isChecked() else None
        return Job(
            slide=chosen.slide,
            roles=chosen.roles,
            checkpoint=read.path,
            store=replaced or output.path,
            request=output.request,
            settings=with_region(settings, self._viewer, kind, chosen.reference),
            overwrite=replaced is not None,
        )

    def _output(self, chosen: ChosenSlide) -> Output | None:
        """Where the prediction goes; None as long as that is not known."""
        settings, read = self.settings_form.settings(), self.checkpoint_form.chosen
        if settings is None or read is None:
            return None
        folder = self.output_form.chosen or folder_beside(chosen.slide.source)
        channels = [chosen.roles[role] for role in read.checkpoint.card.input_roles]
        output = find_output(folder, chosen.slide, read, channels, settings)
        if output.path == self._refused:
            output = replace(output, replaceable=output.path)
        return output

    def _offer_replacing(self, output: Output | None) -> None:
        replaceable = None if output is None or self.is_running else output.replaceable
        if replaceable is None:
            self.replace_box.setChecked(False)
        else:
            self.replace_box.setText(f"Replace {replaceable.name}, made with other settings")
            self.replace_box.setToolTip(f"{replaceable}\nis deleted when you press Predict; else it is kept")
        self.replace_box.setVisible(replaceable is not None)

    def _start(self, chosen: ChosenSlide, job: Job) -> None:
        checkpoint = self.checkpoint_form.checkpoint
        assert checkpoint is not None
        card, is_integer = checkpoint.card, job.settings.output == "probe"
        bring_up(self._viewer, job.slide)
        levels = empty_levels(job.slide.shape, np.dtype(card.dtype if is_integer else "float32"))
        title = title_of(job.store, job.request, card)
        self._shown = PredictionLayer(self._viewer, levels, chosen.reference, chosen.real, title=title, store=job.store)
        self.progress_panel.start()
        self._running = RunningPrediction(self._viewer, job, self._shown, levels)
        self._say(f"Reading {chosen.title} and the network …")
        self._running.begun.connect(self._tell_beginning)
        self._running.progressed.connect(self._show_progress)
        self._running.ended.connect(self._tell_outcome)
        self._running.failed.connect(self._tell_failure)
        self._refused = None
        self._update_form()

    def _tell_beginning(self) -> None:
        if self.cancel_button.isEnabled():
            self._say("Computing the first tile; what is in view comes first.")

    def _show_progress(self, progress: Progress) -> None:
        self.progress_panel.show_progress(progress)
        if self.cancel_button.isEnabled():
            going_on = f"Going on: {progress.earlier} of {progress.total} tiles were done before."
            self._say(going_on if progress.earlier else "Predicting; what is in view comes first.")

    def _tell_outcome(self, outcome: Outcome) -> None:
        report, running = outcome.report, self._running
        self._ended()
        if report.finished == report.total:
            self._say(f"Done in {time_in_words(report.seconds)}: {report.path}")
        elif running is not None:
            self._say(words_of_the_end(running.progress, running.job.store.name))

    def _tell_failure(self, error: BaseException) -> None:
        sentence = sentence_of(error)
        running = self._running
        if running is not None:
            is_in_the_way = is_for_the_user(error) and not running.has_begun
            self._refused = running.job.store if is_in_the_way and running.job.store.exists() else None
            self._ended()
        self._refuse(sentence)

    def _ended(self) -> None:
        self._running = None
        self.progress_panel.stop()
        self._looking = self._look_for_devices()
        self._update_form()
