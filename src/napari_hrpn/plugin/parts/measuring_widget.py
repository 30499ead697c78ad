"""Base class of the dock widgets that measure a real slide and its predictions.

A widget always shows the results of the current choice; results of a former choice disappear.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_hrpn.plugin.background import soon
from napari_hrpn.plugin.parts.docked_widget import DockedWidget, scrolling
from napari_hrpn.plugin.parts.forms import stacked
from napari_hrpn.plugin.parts.keys import BY_TURNS, MEASURE, KeyHint
from napari_hrpn.plugin.parts.measure_bar import MeasureBar
from napari_hrpn.plugin.parts.messages import UserError
from napari_hrpn.plugin.parts.pair_form import PairForm
from napari_hrpn.plugin.parts.plot import Plot, PlotTheme
from napari_hrpn.plugin.parts.region_form import FRAME, TISSUE
from napari_hrpn.plugin.parts.report_button import LOOKING_FOR_TISSUE, ReportBar, ReportChoices
from napari_hrpn.plugin.parts.saving import (
    FIGURES,
    TABLES,
    ask_where,
    ending_of,
    folder_beside,
    write_figure,
    write_table,
)
from napari_hrpn.plugin.parts.selection import ComparedChannel
from napari_hrpn.plugin.parts.tissue_mask import Tissue
from napari_hrpn.plugin.parts.viewer_tools import ViewerMouse
from napari_hrpn.slides import SlideError, slide_name

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    import napari

    from napari_hrpn.plugin.parts.measure_bar import Part
    from napari_hrpn.plugin.parts.region_form import RegionForm
    from napari_hrpn.slides import Region, Slide

    Rows = Sequence[Mapping[str, Any]]
    Entry = tuple[str, str, Callable[[], None]]

_UNASKED_WEIGHT = 128e6
"""Pixels read: a measurement up to this size takes some seconds, and starts without the button."""


class MeasuringWidget(DockedWidget):
    """Dock widget that measures a real slide and its predictions.

    A subclass makes its `region_form`, returns the parts of its measurement, and shows their results.
    """

    region_form: RegionForm
    is_measured_unasked = True
    least_width_px = 480

    def __init__(self, viewer: napari.Viewer, tooltip: str) -> None:
        super().__init__()
        self._viewer = viewer
        self._missing = ""
        self._begun: list[Hashable] = []
        self.pair_form = PairForm(viewer)
        self.tissue = Tissue(viewer)
        self.bar = MeasureBar(tooltip)
        KeyHint(self.bar.measure_button, MEASURE)
        self.report = ReportBar(viewer, self.pair_form, self.tissue, self.reported_rois, self._choices)
        self.mouse = ViewerMouse(viewer)
        self._soon = soon(self, self._refresh)
        self.pair_form.changed.connect(self.changed)
        self.tissue.changed.connect(self.changed)
        self.bar.asked.connect(self.measure)
        self.bar.found.connect(self.changed)
        self.bar.ended.connect(self.changed)

    def parts(self) -> list[Part]:
        """Parts of the measurement of the current choice."""
        raise NotImplementedError

    def keyed(self) -> Mapping[str, Callable[[], object]]:
        """What the keys do."""
        return {MEASURE: self.measure, BY_TURNS: self.pair_form.views.take_turns}

    def show_known(self) -> None:
        """Show the results of the parts that are known, and nothing else."""
        raise NotImplementedError

    def plots(self) -> Sequence[Plot]:
        """All plots, which are drawn in the colours of the theme."""
        raise NotImplementedError

    @property
    def needs_tissue(self) -> bool:
        """Whether the measurement depends on the tissue."""
        raise NotImplementedError

    def report_choices(self, slide: Slide) -> ReportChoices:  # noqa: ARG002 (of the slide that is reported)
        """Choices of this widget that a report uses."""
        return ReportChoices()

    def reported_rois(self) -> Sequence[Region]:
        """Regions of interest that a report measures one by one."""
        return ()

    def _choices(self, slide: Slide) -> ReportChoices:
        return replace(self.report_choices(slide), is_whole_frame=self.region_form.value == FRAME)

    @property
    def real(self) -> ComparedChannel | None:
        """The real channel, with or without predictions."""
        return self.pair_form.real

    @property
    def predictions(self) -> tuple[ComparedChannel, ...]:
        """The predictions, with or without a real channel."""
        return self.pair_form.predictions

    @property
    def place(self) -> ComparedChannel | None:
        """The channel that stands for the slide: the real one, else another one that lies on the predictions."""
        return self.pair_form.place

    def required_place(self) -> ComparedChannel:
        """Return `place`; an error says why there is none, or no tissue if that is the region."""
        if self.place is None:
            raise UserError(self.pair_form.problem or "")
        if self.region_form.value == TISSUE and self.tissue.mask is None:
            raise UserError(self.tissue.problem or "The tissue is not known: choose the whole frame.")
        return self.place

    @property
    def is_settled(self) -> bool:
        """Whether nothing is read or measured, and all results are shown."""
        is_running = self.bar.is_running or self.tissue.is_busy
        is_listed = self.pair_form.is_settled and self.region_form.is_settled
        is_shown = not self._soon.isActive() and all(plot.is_drawn for plot in self.plots())
        return is_listed and is_shown and not is_running

    @property
    def message(self) -> str:
        """The last message to the user."""
        return self.bar.message

    def measure(self) -> None:
        """Measure the parts that are not known yet."""
        self.pair_form.look_again()
        self.start(self.parts, lambda _: self.bar.say("Nothing has changed: everything is measured."))

    def start(self, make_parts: Callable[[], Sequence[Part]], when_known: Callable[[Sequence[Part]], None]) -> None:
        """Compute parts that are not known, as soon as the tissue is known."""
        if self.bar.is_running:
            return
        if self._waits_for_tissue:
            self.tissue.when_known(lambda: self.start(make_parts, when_known))
            self.bar.say(LOOKING_FOR_TISSUE)
            return
        try:
            parts = make_parts()
        except (UserError, SlideError) as error:
            # the sentence stays until the choice changes
            self._missing = str(error)
            self.bar.refuse(self._missing)
            return
        if not self.bar.start(parts):
            when_known(parts)

    def changed(self, _: object = None) -> None:
        """Show the results of the new choice; several changes at once are shown once."""
        if not self._is_shut_down:
            self._soon.start()

    def end(self) -> None:
        """Stop all threads before the widget is deleted."""
        self._soon.stop()
        self.bar.abandon()
        self.report.abandon()
        self.mouse.stop()
        self.tissue.shut_down()
        self.pair_form.shut_down()
        self.region_form.shut_down()
        self._theme.stop()

    def lay_out(self, contents: Sequence[QWidget]) -> None:
        """Stack widgets in a scroll area; the bar below it always stays in view."""
        layout = QVBoxLayout(self)
        layout.addWidget(scrolling(stacked(contents, top_px=0, right_px=6), sideways=True), 1)
        layout.addWidget(self.bar)
        layout.addWidget(self.report)
        self.region_form.changed.connect(self.changed)
        self._theme = PlotTheme(self, self._viewer, self.plots())
        self.tissue.look_at(self.place)

    def table_entry(self, title: str, what: str, tooltip: str, rows: Callable[[], Rows]) -> Entry:
        """Menu entry that saves a table."""
        return f"{title} …", tooltip, lambda: self.save_rows(what, rows())

    def figure_entry(self, what: str, plot: Plot) -> Entry:
        """Menu entry that saves a plot."""
        return "Figure …", "PNG or SVG, dark on white", lambda: self.save_plot(what, plot)

    def save_rows(self, what: str, rows: Rows) -> None:
        """Ask where to save a table, and save it."""
        if not rows:
            self.bar.refuse("There is nothing to save yet: press Measure.")
            return
        self._ask_and_save(what, TABLES, partial(write_table, rows))

    def save_plot(self, what: str, plot: Plot) -> None:
        """Ask where to save a plot, and save it, dark on white."""
        self._ask_and_save(what, FIGURES, lambda path, **how: write_figure(plot.figure_to_save(), path, **how))

    def _ask_and_save(self, what: str, kinds: str, write: Callable[..., None]) -> None:
        """Ask where to save something of the slide, save it, and show where it is."""
        source = None if self.place is None else self.place.slide.source
        title = "slide" if source is None else slide_name(source)
        proposal = folder_beside(source) / f"{title} {what}{ending_of(kinds)}"
        answer = ask_where(self, f"Save {what}", proposal, kinds)
        if answer is None:
            return
        path, may_replace = answer
        try:
            write(path, overwrite=may_replace)
        except SlideError as error:
            self.bar.refuse(str(error))
        else:
            self.bar.say(f"Saved: {path}")

    @property
    def _waits_for_tissue(self) -> bool:
        return self.needs_tissue and self.tissue.is_busy

    def _refresh(self) -> None:
        self.tissue.look_at(self.place)
        self.show_known()
        self._measure_unasked()

    def _measure_unasked(self) -> None:
        """Measure in the background what takes only seconds; once, until the choice changes."""
        try:
            parts = self.parts()
        except (UserError, SlideError) as error:
            self._say_missing(str(error))
            return
        self._say_missing("")
        keys = [part.key for part in parts]
        missing = [part for part in parts if part.key not in self.bar.results]
        self.bar.measure_button.setVisible(bool(missing))
        if not self.is_measured_unasked or keys == self._begun or self._waits_for_tissue:
            return
        if self.bar.is_running:
            # a former choice is still measured; when it has ended, this method runs again
            self.bar.cancel()
        elif missing and sum(part.weight for part in missing) <= _UNASKED_WEIGHT:
            self._begun = keys
            self.bar.start(parts)

    def _say_missing(self, sentence: str) -> None:
        """Show what is missing as long as it is, unless the form above shows it already."""
        is_said = sentence == self.pair_form.problem or self._waits_for_tissue
        missing, self._missing = self._missing, "" if is_said else sentence
        if not self.bar.is_running and (self._missing or self.bar.message == missing):
            self.bar.say(self._missing)
