"""Setup of a training: slides, settings and folder, and its expected time and memory."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_hrpn.plugin.background import NewestTask, soon
from napari_hrpn.plugin.parts.forms import FolderField, form_rows
from napari_hrpn.plugin.parts.messages import UserError, breakable, sentence_of, time_in_words
from napari_hrpn.plugin.parts.quality_check import QualityLook, warnings_of_slides, without_size
from napari_hrpn.plugin.parts.saving import folder_beside
from napari_hrpn.plugin.train.job import FINISHED, RunFolderState, TrainingJob
from napari_hrpn.plugin.train.run import PatchCounts, Prospect, TrainingReadiness, look_ahead
from napari_hrpn.plugin.train.settings_form import TrainingForm
from napari_hrpn.plugin.train.slides_table import SlidesTable

if TYPE_CHECKING:
    import napari

    from napari_hrpn.training import RunRequest

LOOK_AHEAD_MS = 600
_GIGABYTE = 1e9
_FINISHED_WORDS = "This training is finished: ask for more epochs, or press Reset to begin another."


class TrainingSetup(QWidget):
    """Slides, settings and folder; `prospect_label`, which says what is to be expected, is for the owner to place.

    `placed` carries the `RunFolderState` of a run, `warned` the warnings about it, `judged` those about how the
    slides were imaged, and `said` sentences from the table.
    """

    placed = Signal(object)
    warned = Signal(object)
    judged = Signal(object)
    said = Signal(str)

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self._drawn: Path | None = None
        self._loaded: RunRequest | None = None
        self._is_fresh = False
        self._is_ready = False
        self._is_paused = True
        self._is_checked = False
        self._quality = QualityLook()
        self._looking = NewestTask()
        self._place: RunFolderState | None = None
        self.slides_table = SlidesTable(viewer)
        self.training_form = TrainingForm()
        self.folder_form = FolderField(
            "Run folder",
            "Checkpoint, history, and all it takes to go on, are kept in",
            "Choose another folder for the run: a new or empty one, or that of this very run",
            unknown="A folder beside the first slide",
        )
        self.prospect_label = QLabel()
        self.prospect_label.setWordWrap(True)
        self._lay_out()
        self._soon = soon(self, self._look_ahead, LOOK_AHEAD_MS)
        for form in (self.slides_table, self.training_form, self.folder_form):
            form.changed.connect(self.look_ahead_soon)
        self.slides_table.changed.connect(self._look_at_quality)
        self.slides_table.said.connect(self.said)
        self._quality.found.connect(self._show_quality)

    def set_ready(self, readiness: TrainingReadiness) -> None:
        """Fill in what was found out in the background."""
        self._is_ready, self._is_paused = True, False
        self.training_form.set_ready(readiness)
        self._look_at_quality()
        self.look_ahead_soon()

    def job(self) -> TrainingJob:
        """What is asked for."""
        settings = self.training_form.settings()
        if settings is None:
            raise UserError("The recipes are not loaded yet: wait a moment.")
        self.slides_table.set_roles(settings.channels, settings.target)
        if not (self.slides_table.has_rows or self.slides_table.is_reading):
            raise UserError("Add slides to train on: open ones, or files.")
        entries, regions = self.slides_table.entries(), self.slides_table.drawn()
        loaded = self._loaded
        validate = loaded.validate if loaded and loaded.entries == entries and not any(regions) else None
        return TrainingJob(
            entries=entries,
            regions=regions,
            settings=settings,
            drawn=self._drawn_folder(),
            beside=folder_beside(entries[0].path),
            folder=self.folder_form.chosen,
            is_fresh=self._is_fresh,
            validate=validate,
            is_checked=self._is_checked,
        )

    def load(self, request: RunRequest, folder: Path) -> None:
        """Show what a run was asked for, so that it can go on."""
        self._loaded, self._is_fresh = request, False
        self.training_form.value = request.settings
        self.slides_table.set_roles(request.settings.channels, request.settings.target)
        self.slides_table.set_entries(request.entries)
        self.folder_form.choose(folder)

    def begin_in(self, folder: Path) -> None:
        """Stay with the folder of a run that has begun."""
        self._is_fresh = False
        self.folder_form.choose(folder)

    def reset(self) -> None:
        """Propose a folder in which there is no run."""
        self._is_fresh = True
        self.folder_form.choose(None)

    def pause(self) -> None:
        """Look ahead no more, and let nothing be changed, while a run goes on."""
        self._is_paused = True
        self._forget_look()
        self.setEnabled(False)

    def go_on(self) -> None:
        """Look ahead again, and let things be changed."""
        self._is_paused = False
        self.setEnabled(True)
        self.look_ahead_soon()

    def show_pace(self, seconds_left: float, seconds: float) -> None:
        """Say in place of what was expected how long a run will take, by its own pace."""
        self._show_words(f"By its pace so far this run takes {time_in_words(seconds_left + seconds)} in all.")

    def look_ahead_soon(self) -> None:
        """Find out what is to be expected, once the user pauses."""
        self._forget_look()
        if not self._is_paused:
            self._soon.start()

    def shut_down(self) -> None:
        """End all that runs, before the widget goes away."""
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
            self._show_words(str(error))
            self.slides_table.set_patch_counts(())
            self.warned.emit(())
            return
        self._show_words("Looking at the slides …")
        self._looking.do(partial(look_ahead, job), self._take_prospect, self._take_refusal, self._take_news)

    def _forget_look(self) -> None:
        self._is_checked = False
        self._soon.stop()
        self._looking.abandon()

    def _take_news(self, news: RunFolderState | PatchCounts) -> None:
        if isinstance(news, RunFolderState):
            self._take_place(news)
        else:
            self.slides_table.set_patch_counts(news.counts)

    def _take_place(self, place: RunFolderState) -> None:
        self._place = place
        self.folder_form.propose(place.folder)
        self.placed.emit(place)

    def _take_prospect(self, prospect: Prospect | None) -> None:
        if prospect is None:
            return
        self._is_checked = True
        is_over = self._place is not None and self._place.standing == FINISHED
        self._show_words(_FINISHED_WORDS if is_over else _prospect_in_words(prospect))
        self.warned.emit(prospect.warnings)

    def _take_refusal(self, error: BaseException) -> None:
        self.slides_table.set_patch_counts(())
        self.warned.emit(())
        self._show_words(sentence_of(error))

    def _look_at_quality(self) -> None:
        if self._is_ready:
            self._quality.look_at((row.slide, row.channels()) for row in self.slides_table.rows)
            self._show_quality()

    def _show_quality(self) -> None:
        told = []
        for row in self.slides_table.rows:
            findings = self._quality.findings(row.slide, row.channels())
            row.show_findings(findings)
            # what is to be expected of the training tells of all slides without a size together
            told.append((row.title, without_size(findings)))
        self.judged.emit(warnings_of_slides(told))

    def _show_words(self, words: str) -> None:
        self.prospect_label.setText(breakable(words))

    def _drawn_folder(self) -> Path:
        if self._drawn is None:
            self._drawn = Path(tempfile.mkdtemp(prefix="napari-hrpn-regions-"))
            weakref.finalize(self, shutil.rmtree, self._drawn, ignore_errors=True)
        return self._drawn

    def _lay_out(self) -> None:
        places = form_rows([self.folder_form]).native
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for widget in (self.slides_table, self.training_form.native, places):
            layout.addWidget(widget)
        layout.addStretch()


def _prospect_in_words(prospect: Prospect) -> str:
    """What is to be expected of a training."""
    disk = f", {_bytes(prospect.disk_bytes)} on disk for patches" if prospect.disk_bytes else ""
    return (
        f"{prospect.training_patches:,} patches to learn from and {prospect.validation_patches:,} to validate: "
        f"about {prospect.steps:,} steps per epoch, {time_in_words(prospect.seconds)}, "
        f"{_bytes(prospect.memory_bytes)} more memory{disk}. {prospect.split_note}"
    ).strip()


def _bytes(count: int) -> str:
    return f"{count / _GIGABYTE:.1f} GB" if count >= _GIGABYTE / 10 else f"{max(1, round(count / 1e6))} MB"
