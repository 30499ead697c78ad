"""Button "Write report …" with a progress bar and Cancel: a report of the chosen pair, in a folder of its own.

Existing files are never overwritten; a report that was stopped is resumed.
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
    "Write all numbers and figures of this slide and its predictions as one page, tables and pictures, into a new\n"
    "folder: tissue and frame, thresholds, distributions, patches, penetration; it is made in the background"
)
_WHERE = "Folder in which the report gets its own folder"
LOOKING_FOR_TISSUE = "Looking for the tissue …"
WHOLE_FRAME = "the whole frame is measured, as chosen in napari"
STOPPED = "Stopped; finished parts are kept: Write report resumes it in the same folder."
_NO_PROGRAM = "This computer has no program that opens {}: open it yourself."


@dataclass(frozen=True, eq=False)
class ReportChoices:
    """Choices of a widget beside slides and regions; the defaults are those of `napari-hrpn evaluate`."""

    settings: EvaluationSettings = field(default_factory=EvaluationSettings)
    vessels_channel: int | None = None
    # makes the mask of drawn vessels; called off the GUI thread
    vessels: Callable[[], VesselMask] | None = None
    is_whole_frame: bool = False  # whether the whole frame is measured rather than the tissue


def together(others: Sequence[ReportChoices], first: ReportChoices) -> ReportChoices:
    """Combine the choices of widgets; those of the first widget win."""
    default = settings = EvaluationSettings()
    for choices in (*others, first):
        chosen = {key: value for key, value in vars(choices.settings).items() if value != getattr(default, key)}
        settings = replace(settings, **chosen)
    channels = (choices.vessels_channel for choices in (first, *others) if choices.vessels_channel is not None)
    vessels = (choices.vessels for choices in (first, *others) if choices.vessels is not None)
    return replace(first, settings=settings, vessels_channel=next(channels, None), vessels=next(vessels, None))


@dataclass(frozen=True, eq=False)
class Reported:
    """Content of a report."""

    real: ProbeImage  # the slide, with the known stains, and its probe channel
    predictions: tuple[ProbeImage, ...]  # named like their layers
    title: str  # name of the slide and of the folder
    # tissue and glass, as edited by the user
    tissue: RegionMask | None
    glass: RegionMask | None
    tissue_words: str  # how the tissue was found; empty if by the nuclei of the slide
    rois: tuple[Region, ...]
    # whether this package opened the slide, so that predictions of another slide are recognised
    is_from_file: bool
    choices: ReportChoices


@dataclass(frozen=True)
class _WrittenReport:
    """A complete report."""

    folder: Path
    page: Path
    words: str  # message to the user


def report_steps(reported: Reported, parent: Path) -> Generator[Progress, None, _WrittenReport]:
    """Write a report, or resume one that was stopped. It takes time: not for the GUI thread."""
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
    warnings = [other_slide_words(prediction.slide, reported.real.slide) for prediction in predictions]
    message = f"Report written: {folder}" if written.new else f"This report exists already: {folder}"
    return _WrittenReport(folder, written.page, "\n".join([message, *filter(None, warnings)]))


def report_request(reported: Reported) -> EvaluationRequest:
    """Make the request for `write_evaluation`, as ``napari-hrpn evaluate`` does."""
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
    """Writes a report of the chosen pair, after asking for a folder."""

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
        self.cancel_button.setToolTip("Stop soon; finished parts are kept, and Write report resumes from them")
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
        """Ask for a folder, and write the report into a new folder in it."""
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
        """Stop without waiting; for a widget that is about to be deleted."""
        shared_choice(self._viewer).reporting.discard(self)
        super().abandon()

    def _pair(self) -> Pair:
        pair = self._pair_form.pair
        if pair is None:
            raise UserError(self._pair_form.problem or "There is no prediction to report on: open or make one.")
        for prediction in pair.predictions:
            # an unfinished prediction can be reported if its finished tiles are known: only these are measured
            if is_unrecorded(prediction):
                raise UserError(
                    f"{prediction.name!r} is not complete: finish its prediction first, for a report of all of it."
                )
        return pair

    def _write_into(self, parent: Path) -> None:
        """Write the report as soon as the tissue is known."""
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
            tuple(ProbeImage(channel.name, channel.slide, channel.channel) for channel in pair.predictions),
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
        # the result is not remembered: pressed again, the button writes a report of the slide as it is then
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
            self.say(f"{path} does not exist any more: write the report again.")
        elif not QDesktopServices.openUrl(QUrl.fromLocalFile(str(path))):
            self.say(_NO_PROGRAM.format(path))
