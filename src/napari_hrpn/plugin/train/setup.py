"""Setup page of a training: slides, settings and folder, and its expected time and memory."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_hrpn.core.options import options
from napari_hrpn.plugin.background import NewestTask, soon
from napari_hrpn.plugin.parts.checkpoint_choices import CheckpointChoices
from napari_hrpn.plugin.parts.forms import FolderField, form_rows
from napari_hrpn.plugin.parts.messages import UserError, breakable, sentence_of, time_in_words
from napari_hrpn.plugin.parts.quality_check import QualityLook, warnings_of_slides, without_size
from napari_hrpn.plugin.parts.remembered import RememberedForm
from napari_hrpn.plugin.parts.runs import ProcessorForm
from napari_hrpn.plugin.parts.saving import folder_beside
from napari_hrpn.plugin.train.job import RunFolderState, TrainingJob, look_ahead
from napari_hrpn.plugin.train.slides_table import SlidesTable
from napari_hrpn.settings import TrainingSettings, recipe_settings
from napari_hrpn.settings.networks import NETWORKS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import napari

    from napari_hrpn.inference import Device
    from napari_hrpn.plugin.train.page import TrainingProgress
    from napari_hrpn.training import RunRequest

LOOK_AHEAD_MS = 600
_FIELDS = ("model", "recipe", "start", "channels", "branches", "epochs", "batch", "max_minutes", "device")
_ADVANCED = (
    *("pixel_um", "patch_px", "learning_rate", "upsampling", "scaling", "gain", "offset", "minimum_overlap"),
    *("minimum_tissue", "seed", "precision", "freeze", "devices"),
)
# another recipe does not change these fields, which do not depend on it
_KEPT = ("channels", "start", "freeze", "branches", "max_minutes", "device", "seed", "devices")

_REMEMBERED = (
    *("model", "recipe", "epochs", "batch", "max_minutes", "pixel_um", "patch_px", "learning_rate", "upsampling"),
    *("scaling", "gain", "offset", "minimum_overlap", "minimum_tissue", "seed", "precision"),
)


class TrainingSetup(QWidget):
    """Slides, settings and folder of a training; the owner places `prospect_label`, with expected time and memory.

    Warnings and sentences are shown in `progress`; `placed` carries the `RunFolderState` of a run.
    """

    placed = Signal(object)

    def __init__(self, viewer: napari.Viewer, progress: TrainingProgress) -> None:
        super().__init__()
        self._progress = progress
        self._drawn: Path | None = None
        self._loaded: RunRequest | None = None
        self._is_fresh = False
        self._is_ready = False
        self._is_paused = True
        self._is_checked = False
        self._quality = QualityLook()
        self._looking = NewestTask()
        self.slides_table = SlidesTable(viewer)
        self.training_form = TrainingForm()
        self.folder_form = FolderField(
            "Run folder",
            "Folder of checkpoint, history and everything needed to resume:",
            "Choose another folder for the run: a new or empty one, or that of the same run",
            unknown="A folder beside the first slide",
        )
        self.prospect_label = QLabel()
        self.prospect_label.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for widget in (self.slides_table, self.training_form.native, form_rows([self.folder_form]).native):
            layout.addWidget(widget)
        layout.addStretch()
        self._soon = soon(self, self._look_ahead, LOOK_AHEAD_MS)
        for form in (self.slides_table, self.training_form, self.folder_form):
            form.changed.connect(self.look_ahead_soon)
        self.slides_table.changed.connect(self._look_at_quality)
        self.slides_table.said.connect(progress.say)
        self._quality.found.connect(self._show_quality)

    def set_ready(self, devices: tuple[Device, ...], most_devices: Mapping[str, int]) -> None:
        """Fill in the devices, which were found in the background."""
        self._is_ready, self._is_paused = True, False
        self.training_form.set_ready(devices)
        self.training_form.set_most_devices(most_devices)
        self._look_at_quality()
        self.look_ahead_soon()

    def job(self) -> TrainingJob:
        """Make the job that the form describes."""
        settings = self.training_form.settings()
        if settings is None:
            raise UserError("The recipes are not loaded yet: wait a moment.")
        self.slides_table.set_roles(settings.stains, settings.target)
        if not (self.slides_table.rows or self.slides_table.is_reading):
            raise UserError("Add slides to train on: open ones, or files.")
        entries, regions = self.slides_table.entries(), self.slides_table.drawn()
        loaded = self._loaded
        return TrainingJob(
            entries=entries,
            regions=regions,
            settings=settings,
            drawn=self._drawn_folder(),
            beside=folder_beside(entries[0].path),
            folder=self.folder_form.chosen,
            is_fresh=self._is_fresh,
            validate=loaded.validate if loaded and loaded.entries == entries and not any(regions) else None,
            is_checked=self._is_checked,
        )

    def load(self, request: RunRequest, folder: Path) -> None:
        """Show the request of a run, so that it can be resumed."""
        self._loaded = request
        self.training_form.value = request.settings
        self.slides_table.set_roles(request.settings.stains, request.settings.target)
        self.slides_table.set_entries(request.entries)
        self.use_folder(folder)

    def use_folder(self, folder: Path | None) -> None:
        """Use the folder of a run that has begun; with None, propose a new folder."""
        self._is_fresh = folder is None
        self.folder_form.choose(folder)

    def pause(self) -> None:
        """Disable the form and stop estimates during a run."""
        self._is_paused = True
        self._forget_look()
        self.setEnabled(False)

    def go_on(self) -> None:
        """Enable the form and estimates after a run."""
        self._is_paused = False
        self.setEnabled(True)
        self.look_ahead_soon()

    def show_pace(self, seconds_left: float, seconds: float) -> None:
        """Show the total time by the speed so far, in place of the estimate."""
        self._show_words(f"At its speed so far, this run takes {time_in_words(seconds_left + seconds)} in total.")

    def look_ahead_soon(self) -> None:
        """Estimate the training, once the user pauses."""
        self._forget_look()
        if not self._is_paused:
            self._soon.start()

    def shut_down(self) -> None:
        """Stop all threads before the widget is deleted."""
        self._is_paused = True
        self._forget_look()
        self._quality.abandon()
        self.slides_table.shut_down()

    def _look_ahead(self) -> None:
        if self.slides_table.is_reading:
            self._soon.start()
            return
        try:
            job = self.job()
        except (ValueError, UserError) as error:
            self._take_refusal(error)
            return
        self._show_words("Checking the slides …")
        self._looking.do(partial(look_ahead, job), self._take_prospect, self._take_refusal, self._take_news)

    def _forget_look(self) -> None:
        self._is_checked = False
        self._soon.stop()
        self._looking.abandon()

    def _take_news(self, news: RunFolderState | tuple[int | None, ...]) -> None:
        if isinstance(news, RunFolderState):
            self.folder_form.propose(news.folder)
            self.placed.emit(news)
        else:
            self.slides_table.set_patch_counts(news)

    def _take_prospect(self, prospect: tuple[str, tuple[str, ...]] | None) -> None:
        if prospect is not None:
            self._is_checked = True
            words, warnings = prospect
            self._show_words(words)
            self._progress.warning_label.warn(warnings)

    def _take_refusal(self, error: BaseException) -> None:
        self.slides_table.set_patch_counts(())
        self._progress.warning_label.warn(())
        self._show_words(sentence_of(error))

    def _look_at_quality(self) -> None:
        if self._is_ready:
            self._quality.look_at((row.slide, self.slides_table.channels(row)) for row in self.slides_table.rows)
            self._show_quality()

    def _show_quality(self) -> None:
        table = self.slides_table
        findings = [self._quality.findings(row.slide, table.channels(row)) for row in table.rows]
        table.show_findings(findings)
        # the check of the training warns once of all slides without a pixel size
        sized = [(row.title, without_size(of_row)) for row, of_row in zip(table.rows, findings, strict=True)]
        self._progress.quality_label.warn(warnings_of_slides(sized))

    def _show_words(self, words: str) -> None:
        self.prospect_label.setText(breakable(words))

    def _drawn_folder(self) -> Path:
        if self._drawn is None:
            self._drawn = Path(tempfile.mkdtemp(prefix="napari-hrpn-regions-"))
            weakref.finalize(self, shutil.rmtree, self._drawn, ignore_errors=True)
        return self._drawn


class TrainingForm(ProcessorForm):
    """Form for `TrainingSettings`; fields without a row have the values of the recipe."""

    def __init__(self) -> None:
        self._most_devices: Mapping[str, int] = {}
        self._starts = CheckpointChoices(options(TrainingSettings)["start"].automatic)
        super().__init__(
            TrainingSettings, _FIELDS, _ADVANCED, choices=["start"], buttons={"start": self._starts.button}
        )
        self.fields["start"].changed.disconnect()
        self.fields["start"].changed.connect(self._take_start)
        for name in ("model", "recipe"):
            # `changed` is emitted once, after the recipe has filled in all fields
            self.fields[name].changed.disconnect()
            self.fields[name].changed.connect(self._take_recipe)
        self.fields["device"].changed.connect(self._show_devices)
        # the recipe comes first: it fills in the other fields
        self.remembered = RememberedForm(self, "Train HRPN", _REMEMBERED)

    def set_most_devices(self, most_devices: Mapping[str, int]) -> None:
        """Set how many devices can train together, by the name of the first; the fastest device comes first."""
        self._most_devices = most_devices
        self._show_devices()

    def _take_recipe(self) -> None:
        network, name = NETWORKS[self.fields["model"].value], self.fields["recipe"].value
        # not every network has been published with a recipe
        recipe = recipe_settings(name if name in network.recipes else next(iter(network.recipes)), network.name)
        devices = min(self.fields["devices"].value, recipe.batch)
        self.show_options(replace(recipe, devices=devices), keep=_KEPT)

    def _take_start(self, start: str | None) -> None:
        """Let stages be frozen only where there is a start."""
        freeze = self.fields["freeze"]
        freeze.enabled = start is not None
        if start is None:
            freeze.native.clear()
        self.changed.emit(self)

    def _fill(self, settings: TrainingSettings, keep: Collection[str]) -> None:
        if "start" not in keep:
            self._starts.offer(self.fields["start"], settings.start)
        super()._fill(settings, keep)
        self._show_devices()
        devices = self.fields["devices"]
        if settings.devices > devices.max:
            # a run of another machine keeps its number of devices, which the user can lower
            self._limit_devices(settings.devices, settings.devices)
        devices.value = settings.devices
        self.fields["freeze"].enabled = self.fields["start"].value is not None
        for name in {option for network in NETWORKS.values() for option in network.options}:
            self.fields[name].enabled = name in NETWORKS[settings.model].options

    def _show_devices(self) -> None:
        chosen = self.fields["device"].value
        first = next(iter(self._most_devices), "") if chosen in (None, "auto") else chosen
        self._limit_devices(self._most_devices.get(first, 1), max(self._most_devices.values(), default=1))

    def _limit_devices(self, most: int, most_anywhere: int) -> None:
        """Limit the number of devices; the field is hidden if no more than one can train."""
        devices = self.fields["devices"]
        devices.max, devices.enabled, devices.visible = most, most > 1, most_anywhere > 1
