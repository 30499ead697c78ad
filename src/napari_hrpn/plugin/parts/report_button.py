"""Button "Write report …" with a progress bar and Cancel: a report of what is chosen, in a folder of its own.

Nothing that is there is ever written over; the same report goes on where it was stopped.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QFileDialog, QPushButton

from napari_hrpn.analysis import (
    EvaluationSettings,
    ProbeImage,
)
from napari_hrpn.core.progress import Progress, relayed
from napari_hrpn.plugin.parts.measure_bar import MeasureBar, Part
from napari_hrpn.plugin.parts.messages import UserError
from napari_hrpn.plugin.parts.saving import folder_beside
from napari_hrpn.plugin.parts.selection import is_unrecorded, shared_choice, stained_slide, unfinished_words
from napari_hrpn.plugin.viewer import slide_label, slide_of
from napari_hrpn.reports import (
    EvaluationRequest,
    evaluation_of,
    other_slide_words,
    own_folder,
    roles_around,
    write_evaluation,
)
from napari_hrpn.slides import SlideError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Hashable, Sequence

    import napari

    from napari_hrpn.analysis import VesselMask
    from napari_hrpn.plugin.parts.pair_form import PairForm
    from napari_hrpn.plugin.parts.selection import Pair
    from napari_hrpn.plugin.parts.tissue_mask import Tissue
    from napari_hrpn.slides import Region, RegionMask, Slide

_TOOLTIP = (
    "All numbers and figures of this slide and its predictions as one page, tables and pictures, in a folder of\n"
    "their own: tissue and frame, thresholds, distributions, patches, penetration; made in the background"
)
_WHERE = "Folder in which the report gets a folder of its own"
LOOKING_FOR_TISSUE = "Looking for the tissue …"
WHOLE_FRAME = "the whole frame is measured, as chosen in napari"
STOPPED = "Stopped; what is finished is kept: Write report goes on with it in the same folder."
_NO_PROGRAM = "No program is set for it on this computer: open {} yourself."


@dataclass(frozen=True, eq=False)
class ReportChoices:
    """What a widget has chosen beside slides and regions; what it leaves out is as `napari-hrpn evaluate` has it."""

    settings: EvaluationSettings = field(default_factory=EvaluationSettings)
    vessels_channel: int | None = None
    # Gives the vessels that somebody drew; called off the GUI thread
    vessels: Callable[[], VesselMask] | None = None
    is_whole_frame: bool = False  # Whether everything is measured rather than the tissue


def together(others: Sequence[ReportChoices], own: ReportChoices) -> ReportChoices:
    """The choices of a widget, and where it leaves something open those of others."""
    default = settings = EvaluationSettings()
    for one in (*others, own):
        chosen = {key: value for key, value in vars(one.settings).items() if value != getattr(default, key)}
        settings = replace(settings, **chosen)
    channels = (one.vessels_channel for one in (own, *others) if one.vessels_channel is not None)
    vessels = (one.vessels for one in (own, *others) if one.vessels is not None)
    return replace(own, settings=settings, vessels_channel=next(channels, None), vessels=next(vessels, None))


@dataclass(frozen=True, eq=False)
class Reported:
    """What goes into a report."""

    real: ProbeImage  # The slide, with the stains that are known, and its channel of the probe
    predictions: tuple[ProbeImage, ...]  # Called as their layers
    title: str  # Of the slide; its folder is called so
    # As the user left them
    tissue: RegionMask | None
    glass: RegionMask | None
    tissue_words: str  # How the tissue was found; empty where the nuclei of the slide show it
    rois: tuple[Region, ...]
    # Whether this package opened the slide, so that a prediction can say if it is of another one
    is_from_file: bool
    choices: ReportChoices


@dataclass(frozen=True)
class _WrittenReport:
    """A report that is complete."""

    folder: Path
    page: Path
    words: str  # For the user


def report_steps(reported: Reported, parent: Path) -> Generator[Progress, None, _WrittenReport]:
    """Write a report, or go on with one that was stopped. It takes time: not for the GUI thread."""
    yield Progress(0, 1)
    request = report_request(reported)
    try:
        folder = own_folder(request, parent, reported.title)
        written = yield from relayed(write_evaluation(request, folder), lambda report: Progress(report.share, 1))
    except OSError as error:
        what = error.strerror or str(error)
        raise UserError(
            f"No report can be written in {parent} ({what}): make room, or choose another folder."
        ) from error
    predictions = reported.predictions if reported.is_from_file else ()
    warnings = [other_slide_words(one.slide, reported.real.slide) for one in predictions]
    said = f"Report written: {folder}" if written.new else f"This very report is there already: {folder}"
    return _WrittenReport(folder, written.page, "\n".join([said, *filter(None, warnings)]))


def report_request(reported: Reported) -> EvaluationRequest:
    """What is asked of `write_evaluation`, as ``napari-hrpn evaluate`` asks it."""
    slide, channel, choices = reported.real.slide, reported.real.channel, reported.choices
    named = {"probe": channel}
    if choices.vessels_channel not in (None, channel):
        named["vessels"] = choices.vessels_channel
    return evaluation_of(
        reported.real,
        reported.predictions,
        roles_around(slide, named),
        choices.settings,
        rois=[roi.outlined() for roi in reported.rois],
        tissue=reported.tissue,
        glass=reported.glass,
        tissue_words=reported.tissue_words,
        vessels=None if choices.vessels is None else choices.vessels(),
    )


class ReportBar(MeasureBar):
    """Writes a report of the pair that is chosen, in a folder that the user is asked for."""

    def __init__(
        self,
        viewer: napari.Viewer,
        pair_form: PairForm,
        tissue: Tissue,
        rois: Callable[[], Sequence[Region]] = tuple,
        choices: Callable[[Slide], ReportChoices] = lambda _: ReportChoices(),
    ) -> None:
        super().__init__(_TOOLTIP)
        self._viewer, self._pair_form, self._tissue = viewer, pair_form, tissue
        self._rois, self._choices = rois, choices
        self.written: _WrittenReport | None = None
        self.measure_button.setText("Write report …")
        self.cancel_button.setToolTip("Stop soon; what is finished is kept, and the report goes on with it")
        self.bar.setToolTip("Share of the whole report")
        self.page_button, self.folder_button = QPushButton("Open page"), QPushButton("Open folder")
        self.page_button.setToolTip("Open the page in the browser")
        self.folder_button.setToolTip("Open the folder with page, tables and figures")
        for button, action in ((self.page_button, self._open_page), (self.folder_button, self._open_folder)):
            self.buttons.addWidget(button)
            button.clicked.connect(action)
        self.asked.connect(self.write)
        self.found.connect(self._take_written)
        self.ended.connect(self._show_buttons)
        self._show_buttons()
        shared_choice(viewer).reporting.add(self)

    def write(self) -> None:
        """Ask for a folder and write the report into a new one in it."""
        self._pair_form.look_again()
        try:
            real = self._pair().real
        except UserError as error:
            self.refuse(str(error))
            return
        self._tissue.look_at(real)
        chosen = QFileDialog.getExistingDirectory(self, _WHERE, str(folder_beside(real.slide.source)))
        if chosen:
            self._write_into(Path(chosen))

    def abandon(self) -> None:
        """End what runs and wait for nothing, for the widget is going away."""
        shared_choice(self._viewer).reporting.discard(self)
        super().abandon()

    def _pair(self) -> Pair:
        pair = self._pair_form.pair
        if pair is None:
            raise UserError(self._pair_form.problem or "There is no prediction to report on: open or make one.")
        for one in pair.predictions:
            # of one whose tiles are known, these are measured
            if is_unrecorded(one):
                raise UserError(
                    f"{one.name!r} is not complete: finish its prediction first, for a report of all of it."
                )
        return pair

    def _write_into(self, parent: Path) -> None:
        """Write, as soon as the tissue is known."""
        if self.is_running:
            return
        try:
            pair = self._pair()
            self._tissue.look_at(pair.real)
            if self._tissue.is_busy:
                self.say(LOOKING_FOR_TISSUE)
                self._tissue.when_known(lambda: self._write_into(parent))
                return
            reported = self._reported(pair)
        except (UserError, SlideError) as error:
            self.refuse(str(error))
            return
        self.written = None
        self.start([Part(object(), "Writing the report", 1.0, lambda _: report_steps(reported, parent))])
        self._show_buttons()

    def _reported(self, pair: Pair) -> Reported:
        tissue, real = self._tissue, pair.real
        slide, channel = stained_slide(real, self._viewer)
        bars = shared_choice(self._viewer).reporting
        choices = together([bar._choices(slide) for bar in bars if bar is not self], self._choices(slide))
        words = "edited by hand in napari" if tissue.is_edited else tissue.problem or ""
        return Reported(
            ProbeImage("real", slide, channel),
            tuple(ProbeImage(one.name, one.slide, one.channel) for one in pair.predictions),
            slide_label(slide),
            None if choices.is_whole_frame else tissue.mask,
            tissue.glass,
            WHOLE_FRAME if choices.is_whole_frame else words,
            tuple(self._rois()),
            slide_of(real.layer) is not None,
            choices,
        )

    def _take_written(self, key: Hashable) -> None:
        self.written = self.known(key)
        # it is not to be found again: what is in the folder may be another one by then
        self.results.clear()

    def _end(self, is_complete: bool) -> None:
        if is_complete and self.written is not None:
            unfinished = map(unfinished_words, self._pair_form.predictions)
            self.say("\n".join([self.written.words, *filter(None, unfinished)]))
        else:
            self.say(STOPPED)
        self._stopped(is_complete)

    def _show_buttons(self) -> None:
        for button in (self.page_button, self.folder_button):
            button.setVisible(self.written is not None)

    def _open_page(self) -> None:
        if self.written is not None:
            self._open(self.written.page)

    def _open_folder(self) -> None:
        if self.written is not None:
            self._open(self.written.folder)

    def _open(self, path: Path) -> None:
        if not path.exists():
            self.say(f"{path} is not there any more: write the report again.")
        elif not QDesktopServices.openUrl(QUrl.fromLocalFile(str(path))):
            self.say(_NO_PROGRAM.format(path))
