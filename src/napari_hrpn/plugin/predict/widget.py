"""Dock widget "Predict QD": predicts the probe channel of an open slide and shows its tiles as they are finished."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import napari.viewer
from magicgui.widgets import CheckBox, PushButton
from napari.layers import Shapes
from napari.utils.notifications import show_info
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_hrpn.plugin.background import NewestTask, once
from napari_hrpn.plugin.parts.docked_widget import DockedWidget, scrolling
from napari_hrpn.plugin.parts.forms import FolderField, field_row, form_rows
from napari_hrpn.plugin.parts.keys import BY_TURNS
from napari_hrpn.plugin.parts.messages import (
    PROBLEM,
    TEXT,
    ToneLabel,
    UserError,
    is_for_the_user,
    sentence_of,
    time_in_words,
)
from napari_hrpn.plugin.parts.options_form import find_devices
from napari_hrpn.plugin.parts.quality_check import QualityLook, findings_tooltip, warnings_of, without_size
from napari_hrpn.plugin.parts.runs import ProgressPanel
from napari_hrpn.plugin.parts.saving import folder_beside
from napari_hrpn.plugin.parts.viewer_tools import ViewButtons
from napari_hrpn.plugin.predict.fields import CheckpointField, SettingsForm
from napari_hrpn.plugin.predict.fit_label import FitLabel
from napari_hrpn.plugin.predict.job import Job, PredictionProgress, find_job, store_name, with_region
from napari_hrpn.plugin.predict.running import RunningPrediction, words_of_the_end
from napari_hrpn.plugin.predict.slide_form import SLIDE_TOOLTIP, ChosenSlide, SlideForm
from napari_hrpn.plugin.viewer import bring_up, newest_prediction, slide_label, slide_title
from napari_hrpn.settings.networks import SYNTHETIC
from napari_hrpn.slides import SlideError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari.layers import Image

    from napari_hrpn.inference import Device, PredictionReport
    from napari_hrpn.plugin.predict.job import ReadCheckpoint
    from napari_hrpn.slides import Slide

# the slides of File > Open Sample, which are no files, are called so
_PHANTOM = "phantom-"


class PredictWidget(DockedWidget):
    """Predicts the QD channel of an open slide."""

    # napari passes the viewer because of this annotation
    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._running: RunningPrediction | None = None
        self._is_ready = False
        self._slide: Slide | None = None
        self._are_sizes_compared = False
        self._quality = QualityLook()
        self._said_for: object = None
        self._refused: Path | None = None
        self.layer: Image | None = None
        """The layer of the last prediction."""
        self.slide_form = SlideForm(viewer)
        self.quality_label = ToneLabel()
        self.checkpoint_form = CheckpointField()
        self.fit_label = FitLabel()
        self.output_form = FolderField("Output", "Folder of predictions:", "Choose another folder for predictions")
        self.settings_form = SettingsForm()
        self.replace_box = CheckBox(visible=False)
        self.predict_button = PushButton(
            text="Predict", tooltip="Start, or resume from the finished tiles", enabled=False
        )
        self.cancel_button = PushButton(
            text="Cancel", tooltip="Stop now; finished tiles are kept, and Predict resumes from them", enabled=False
        )
        self.progress_panel = ProgressPanel("Predict QD", "Finished tiles of the region")
        self.view_buttons = ViewButtons(viewer, self._compared)
        self._lay_out()
        self._connect()
        self._looking = NewestTask()
        self._look_for_devices()
        self.checkpoint_form.read()

    @property
    def is_running(self) -> bool:
        """Whether a prediction is being made."""
        return self._running is not None

    @property
    def message(self) -> str:
        """The last message to the user."""
        return self.progress_panel.message

    def keyed(self) -> Mapping[str, Callable[[], object]]:
        """What the keys do."""
        return {BY_TURNS: self.view_buttons.take_turns}

    def use_checkpoint(self, path: str | Path) -> None:
        """Predict with a checkpoint file from now on."""
        self.checkpoint_form.use(Path(path))

    def predict(self) -> None:
        """Start, or resume, the prediction that the form describes."""
        if self.is_running:
            return
        try:
            chosen = self.slide_form.chosen()
            job = self._job(chosen)
            if job is None:
                raise UserError("There is no checkpoint to predict with yet: choose one, or wait until it is loaded.")
            region = self.settings_form.region_box.value
            settings = with_region(job.settings, self._viewer, region, chosen.reference)
            self._start(
                replace(job.replacing() if self.replace_box.value else job, settings=settings), chosen.reference
            )
        except (UserError, SlideError) as error:
            self._refuse(str(error))

    def cancel(self) -> None:
        """Stop the prediction; finished tiles are kept."""
        if self._running is not None:
            self._running.cancel()
            self.cancel_button.enabled = False
            self._say("Stopping …")

    def end(self) -> None:
        """Stop all threads before the widget is deleted; finished tiles are kept."""
        self._looking.abandon()
        self.checkpoint_form.abandon()
        self._quality.abandon()
        self.fit_label.abandon()
        self.slide_form.disconnect_viewer()
        self.view_buttons.shut_down()
        if self._running is not None:
            self._running.abandon()
            self.progress_panel.activity.end()
            if self.parent() is None:
                show_info(words_of_the_end(self._running.progress, self._running.job.store.name))
            self._running = None

    def _lay_out(self) -> None:
        checkpoints = form_rows([self.checkpoint_form.row, self.checkpoint_form.ensemble_row])
        files = form_rows([self.output_form])
        contents = QWidget()
        rows = QVBoxLayout(contents)
        rows.setContentsMargins(0, 0, 0, 0)
        parts = (
            *(self.slide_form.rows.native, self.quality_label, checkpoints.native, self.checkpoint_form.others_label),
            self.fit_label,
            *(files.native, self.settings_form.native),
        )
        for part in parts:
            rows.addWidget(part)
        rows.addStretch(1)
        buttons = field_row("", [self.predict_button, self.cancel_button])
        layout = QVBoxLayout(self)
        layout.addWidget(scrolling(contents), 1)
        for part in (self.replace_box.native, buttons.native, self.progress_panel, self.view_buttons):
            layout.addWidget(part)

    def _connect(self) -> None:
        for form in (self.slide_form, self.checkpoint_form, self.settings_form, self.output_form):
            form.changed.connect(self._form_changed)
        for form in (self.slide_form, self.checkpoint_form):
            form.refused.connect(self._refuse)
        self._quality.found.connect(self._show_quality)
        self.predict_button.changed.connect(self.predict)
        self.cancel_button.changed.connect(self.cancel)

    def _look_for_devices(self) -> None:
        self._looking.do(once(find_devices), self._take_devices, self._show_failure, is_polite=False)

    def _take_devices(self, devices: tuple[Device, ...]) -> None:
        self._is_ready = True
        self.settings_form.set_ready(devices)
        self._update_form()

    def _compared(self) -> tuple[Image | None, Image | None]:
        """The real probe and the newest prediction of the chosen slide."""
        reference = self.slide_form.reference_layer()
        predicted = None if reference is None else newest_prediction(self._viewer, reference, self.layer)
        return self.slide_form.real_layer(), predicted

    def _say(self, sentence: str, tone: str = TEXT) -> None:
        """Show a sentence until the user changes the form."""
        self._said_for = self._asked_for()
        self.progress_panel.say(sentence, tone)

    def _refuse(self, sentence: str) -> None:
        self._say(sentence, PROBLEM)

    def _asked_for(self) -> object:
        """State of the form, to detect changes by the user."""
        slide, read = self.slide_form.current_slide(), self.checkpoint_form.chosen
        return (
            slide and (slide_label(slide), slide.source, slide.pixel_size_um),
            self.slide_form.size_field.value,
            tuple(box.value for box in self.slide_form.role_boxes.values()),
            read and (read.path, read.others),
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
        read = self.checkpoint_form.chosen
        if read is not None:
            self.slide_form.set_roles(read.checkpoint.card.stains, read.checkpoint.card.target)
            self.settings_form.offer_comparison(read.members)
        self._suggest_for_phantoms()
        job = None
        try:
            chosen = self.slide_form.chosen()
            self._slide = chosen.slide
            folder = self.output_form.chosen or folder_beside(self._slide.source)
            # predictions in the folder are read only if there is at least one of this slide
            if not self.is_running and (folder / store_name(self._slide)).exists():
                job = self._job(chosen)
        except (UserError, SlideError):
            self._slide = self.slide_form.current_slide()
        self._offer_replacing(None if job is None else job.replaceable)
        self.output_form.propose(folder_beside(None if self._slide is None else self._slide.source))
        if self._is_ready:
            self._quality.look_at([] if self._slide is None else [(self._slide, self.slide_form.channels())])
        self._warn_of_sizes(read)
        self._show_quality()
        self.fit_label.look_at(self._slide if self._is_ready else None, read, self.slide_form.channels())
        self.predict_button.enabled = self._is_ready and read is not None and not self.is_running
        self.cancel_button.enabled = self.is_running
        self.view_buttons.refresh()

    def _suggest_for_phantoms(self) -> None:
        """The bundled network for synthetic tumours predicts these; for a user's own slide, the user chooses."""
        slide = self.slide_form.current_slide()
        if slide is not None and slide.source.name.startswith(_PHANTOM) and not Path(str(slide.source)).exists():
            self.checkpoint_form.suggest(SYNTHETIC)

    def _warn_of_sizes(self, read: ReadCheckpoint | None) -> None:
        slide = self._slide
        sentences: tuple[str, ...] = ()
        if self._is_ready and read is not None and slide is not None:
            from napari_hrpn.inference import pixel_size_warnings

            sentences = pixel_size_warnings(slide, read.checkpoint)
        can_resample = bool(sentences) and slide is not None and slide.pixel_size_um is not None
        about = slide and (slide.source, slide.pixel_size_um, read and read.path)
        self.settings_form.offer_resampling(sentences, can_resample=can_resample, about=about)
        self._are_sizes_compared = bool(sentences)

    def _show_quality(self) -> None:
        findings = () if self._slide is None else self._quality.findings(self._slide, self.slide_form.channels())
        findings = without_size(findings) if self._are_sizes_compared else findings
        self.quality_label.warn(warnings_of(findings))
        self.slide_form.slide_box.tooltip = "\n".join([SLIDE_TOOLTIP, *findings_tooltip(findings)])

    def _job(self, chosen: ChosenSlide) -> Job | None:
        """Make the job without its region; None while checkpoint or processors are not known."""
        settings, read = self.settings_form.settings(), self.checkpoint_form.chosen
        if settings is None or read is None:
            return None
        folder = self.output_form.chosen or folder_beside(chosen.slide.source)
        job = find_job(folder, chosen.slide, chosen.roles, read, settings)
        return replace(job, replaceable=job.store) if job.store == self._refused else job

    def _offer_replacing(self, replaceable: Path | None) -> None:
        if replaceable is None:
            self.replace_box.value = False
        else:
            self.replace_box.text = f"Replace {replaceable.name}, made with other settings"
            self.replace_box.tooltip = f"{replaceable}\nis deleted when you press Predict; if not ticked, it is kept"
        self.replace_box.visible = replaceable is not None

    def _start(self, job: Job, reference: Image) -> None:
        bring_up(self._viewer, job.slide)
        self.progress_panel.start()
        self._running = running = RunningPrediction(self._viewer, job, reference, self.slide_form.real_layer())
        self.layer = running.layer
        self._say(f"Reading {slide_title(job.slide)} and the network …")
        running.begun.connect(self._show_beginning)
        running.progressed.connect(self._show_progress)
        running.ended.connect(self._show_end)
        running.failed.connect(self._show_failure)
        self._refused = None
        self._update_form()

    def _show_beginning(self) -> None:
        if self.cancel_button.enabled:
            self._say("Computing the first tile; tiles in view come first.")

    def _show_progress(self, progress: PredictionProgress) -> None:
        numbers = f"{progress.predicted_px / 1e6:,.1f} Mpx done"
        if progress.seconds_left is not None and progress.finished < progress.total:
            numbers += f", {time_in_words(progress.seconds_left)} left"
        words = f"{progress.finished} of {progress.total} tiles, %p %"
        self.progress_panel.show_progress(progress.finished, progress.total, words, numbers)
        if self.cancel_button.enabled:
            resumed = f"Resumed: {progress.earlier} of {progress.total} tiles were done before."
            self._say(resumed if progress.earlier else "Predicting; tiles in view come first.")

    def _show_end(self, report: PredictionReport) -> None:
        running = self._running
        self._ended()
        if report.finished == report.total:
            unlike = "" if report.unlike is None else f"\n{report.unlike.sentence}"
            self._say(f"Done in {time_in_words(report.seconds)}: {report.path}{unlike}")
        elif running is not None:
            self._say(words_of_the_end(running.progress, running.job.store.name))

    def _show_failure(self, error: BaseException) -> None:
        sentence = sentence_of(error)
        running = self._running
        if running is not None:
            is_in_the_way = is_for_the_user(error) and not running.has_begun
            self._refused = running.job.store if is_in_the_way and running.job.store.exists() else None
            self._ended()
        self._refuse(sentence)

    def _ended(self) -> None:
        self._running = None
        panel = self.progress_panel
        panel.activity.end()
        if panel.bar.maximum() == 0:
            panel.clear()
        # the time left is removed from the numbers
        panel.numbers_label.setText(panel.numbers_label.text().split(", ")[0])
        self._look_for_devices()
        self._update_form()
