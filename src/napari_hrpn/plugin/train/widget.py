"""Dock widget "Train HRPN": trains a network on annotated slides."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari.viewer
from napari.utils.notifications import show_info
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QTabWidget, QVBoxLayout

from napari_hrpn.plugin.background import NewestTask, once
from napari_hrpn.plugin.parts.docked_widget import DockedWidget, scrolling
from napari_hrpn.plugin.parts.messages import PROBLEM, UserError, sentence_of, time_in_words
from napari_hrpn.plugin.parts.plot import PlotTheme
from napari_hrpn.plugin.parts.runs import push_button
from napari_hrpn.plugin.train.job import UNFINISHED, RunFolderState, find_training_devices, load_run, train
from napari_hrpn.plugin.train.page import TrainingPage, TrainingProgress
from napari_hrpn.plugin.train.setup import TrainingSetup

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_hrpn.inference import Device
    from napari_hrpn.training import RunRequest, TrainingResult

SETUP_TAB, PAGE_TAB = 0, 1


class TrainWidget(DockedWidget):
    """Trains a network on annotated slides."""

    least_width_px = 480

    # napari passes the viewer because of this annotation
    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._is_ready = False
        self._run = NewestTask()
        self._reading = NewestTask()
        self.progress = TrainingProgress()
        self.setup = TrainingSetup(viewer, self.progress)
        self.page = TrainingPage()
        self.tabs = QTabWidget()
        self.train_button = push_button("Train", "Start, or resume from the last saved batch", self.train)
        self.stop_button = push_button("Stop", "Stop after this batch; everything is kept", self.stop)
        self.reset_button = push_button("Reset", "Begin another training; the last one stays in its folder", self.reset)
        self.load_button = push_button(
            "Load run …", "Show an earlier training: stopped, killed or finished", self._ask_for_run
        )
        self._lay_out()
        self._connect()
        self._theme = PlotTheme(self, viewer, [self.page.curves])
        self._looking = NewestTask()
        self._look_for_devices()
        self._update_buttons()

    @property
    def is_running(self) -> bool:
        """Whether a network is being trained."""
        return self._run.is_busy

    @property
    def message(self) -> str:
        """The last message to the user."""
        return self.progress.message

    def train(self) -> None:
        """Start, or resume, the training that the form describes."""
        if self.is_running or not self._is_ready:
            return
        try:
            job = self.setup.job()
        except (ValueError, UserError) as error:
            self.progress.say(str(error), PROBLEM)
            return
        self.setup.pause()
        self.progress.start()
        self.progress.say("Checking the slides …")
        self._run.do(partial(train, job), self._show_outcome, self._end_with_failure, self._show_news)
        self._update_buttons()

    def stop(self) -> None:
        """Stop the training after the current batch; everything is kept."""
        if self.is_running:
            self._run.cancel()
            self.stop_button.setEnabled(False)
            self.progress.say("Stopping after this batch …")

    def reset(self) -> None:
        """Clear the last run, which stays on disk, and propose another folder."""
        if self.is_running:
            return
        self.page.clear()
        self.progress.clear()
        self.progress.say("")
        self.tabs.setCurrentIndex(SETUP_TAB)
        self.setup.use_folder(None)
        self._update_buttons()

    def load(self, folder: str | Path) -> None:
        """Show an earlier run, so that it can be resumed."""
        if self.is_running or not self._is_ready:
            return
        self._reading.do(once(load_run, Path(folder)), self._take_run, self._show_failure)

    def end(self) -> None:
        """Stop all threads before the widget is deleted; the training is kept."""
        self._looking.abandon()
        self._reading.abandon()
        self.setup.shut_down()
        self._theme.stop()
        self.progress.activity.end()
        if self.is_running:
            self._run.abandon()
            if self.parent() is None and self.page.folder is not None:
                show_info(f"The training was stopped and is kept in {self.page.folder}: resume it with Load run ….")

    def _lay_out(self) -> None:
        self.tabs.addTab(scrolling(self.setup), "Slides and settings")
        self.tabs.addTab(scrolling(self.page), "Progress")
        buttons = QHBoxLayout()
        for button in (self.train_button, self.stop_button, self.reset_button, self.load_button):
            buttons.addWidget(button)
        layout = QVBoxLayout(self)
        layout.addWidget(self.tabs, 1)
        # below the tabs, these stay in view on small screens
        layout.addWidget(self.setup.prospect_label)
        layout.addLayout(buttons)
        layout.addWidget(self.progress)

    def _connect(self) -> None:
        self.tabs.currentChanged.connect(lambda tab: self.setup.prospect_label.setVisible(tab == SETUP_TAB))
        self.page.chosen.connect(self._use_for_prediction)
        self.setup.placed.connect(self._take_place)

    def _look_for_devices(self) -> None:
        self._looking.do(once(find_training_devices), self._take_devices, self._show_failure, is_polite=False)

    def _take_devices(self, found: tuple[tuple[Device, ...], Mapping[str, int]]) -> None:
        self._is_ready = True
        self.setup.set_ready(*found)
        self._update_buttons()

    def _take_place(self, place: RunFolderState) -> None:
        self.train_button.setText("Continue" if place.standing == UNFINISHED else "Train")

    def _update_buttons(self) -> None:
        is_idle = self._is_ready and not self.is_running
        for button in (self.train_button, self.reset_button, self.load_button):
            button.setEnabled(is_idle)
        self.stop_button.setEnabled(self.is_running)

    def _show_news(self, news: Any) -> None:  # noqa: ANN401 (what `train` yields)
        from napari_hrpn.training import CutReport, EpochReport, StepReport

        if isinstance(news, RunFolderState):
            self.setup.use_folder(news.folder)
            self.page.begin(news)
            self.tabs.setCurrentIndex(PAGE_TAB)
            resumed = f"Resumed after epoch {len(news.history)}." if news.history else "Resumed."
            self._say_unless_stopping(resumed if news.standing == UNFINISHED else "Looking for patches …")
        elif isinstance(news, CutReport):
            self.progress.show_cutting(news)
        elif isinstance(news, StepReport):
            self.progress.show_step(news)
            self.page.show_step(news)
            self.setup.show_pace(news.seconds_left, news.seconds)
            self._say_unless_stopping("Training; the checkpoint is that of the best epoch so far.")
        elif isinstance(news, EpochReport):
            self.progress.show_epoch(news)
            self.page.show_epoch(news, self.setup.training_form.fields["channels"].value)
        else:
            self.progress.warning_label.warn(news)

    def _say_unless_stopping(self, sentence: str) -> None:
        if self.stop_button.isEnabled():
            self.progress.say(sentence)

    def _show_outcome(self, outcome: tuple[TrainingResult, str]) -> None:
        result, card = outcome
        self.page.show_outcome(result, card)
        self.progress.show_epochs(len(result.history), self.setup.training_form.fields["epochs"].value)
        self._ended()
        self.train_button.setText("Train" if result.complete else "Continue")
        self.progress.say(_ending(result))

    def _take_run(self, loaded: tuple[RunRequest, TrainingResult, str]) -> None:
        request, result, card = loaded
        self.page.clear()
        self.page.show_outcome(result, card)
        self.progress.clear()
        self.progress.show_epochs(len(result.history), request.settings.epochs)
        self.progress.say(f"Loaded. {_ending(result)}")
        self.setup.load(request, result.folder)

    def _show_failure(self, error: BaseException) -> None:
        self.progress.say(sentence_of(error), PROBLEM)

    def _end_with_failure(self, error: BaseException) -> None:
        self._show_failure(error)
        self._ended()

    def _ended(self) -> None:
        self.progress.stop()
        self.setup.go_on()
        self._look_for_devices()
        self._update_buttons()

    def _ask_for_run(self) -> None:
        shown = self.setup.folder_form.shown
        folder = QFileDialog.getExistingDirectory(self, "Folder of a training", str(shown.parent if shown else ""))
        if folder:
            self.load(folder)

    def _use_for_prediction(self, checkpoint: Path) -> None:
        dock, widget = self._viewer.window.add_plugin_dock_widget("napari-hrpn", "Predict QD", tabify=True)
        dock.show()
        dock.raise_()
        widget.use_checkpoint(checkpoint)


def _ending(result: TrainingResult) -> str:
    """Describe how a run ended."""
    if result.reason:
        return result.reason[:1].upper() + result.reason[1:]
    epochs = len(result.history)
    best = f"; the best is epoch {result.best_epoch}" if result.best_epoch else ""
    if not result.complete:
        done = f"{epochs} {'epoch is' if epochs == 1 else 'epochs are'} finished" if epochs else "no epoch is finished"
        return f"Stopped: {done}{best}. Continue resumes from here."
    seconds = result.history[-1].seconds if epochs else 0.0
    return f"Done: {epochs} {'epoch' if epochs == 1 else 'epochs'} in {time_in_words(seconds)}{best}."
