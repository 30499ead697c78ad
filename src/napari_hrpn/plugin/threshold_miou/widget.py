"""Dock widget "Threshold MIoU": overlap of real and predicted areas above a threshold.

Moving the slider computes from pixels in memory; files are read in other threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import napari.viewer
from magicgui.widgets import CheckBox
from qtpy.QtWidgets import QLabel

from napari_hrpn.plugin.background import NewestTask, once, soon
from napari_hrpn.plugin.parts.forms import combo_box, offer, side_by_side, titled_rows
from napari_hrpn.plugin.parts.measuring_widget import MeasuringWidget
from napari_hrpn.plugin.parts.messages import UserError, sentence_of
from napari_hrpn.plugin.parts.plot import short
from napari_hrpn.plugin.parts.region_form import RegionForm
from napari_hrpn.plugin.parts.saving import NumbersTable, save_button
from napari_hrpn.plugin.threshold_miou.curves import METRICS, Curve, OverlapCurves
from napari_hrpn.plugin.threshold_miou.numbers import HEADINGS, LEVEL_TIP, levels_in_words, number_rows, overlap_records
from napari_hrpn.plugin.threshold_miou.overlap import Overlap, Overview, full_part, look_over
from napari_hrpn.plugin.threshold_miou.overlay import COLOURS, MEANINGS, Overlay
from napari_hrpn.plugin.threshold_miou.threshold_form import ThresholdForm
from napari_hrpn.slides import SlideError

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from napari_hrpn.plugin.parts.measure_bar import Part
    from napari_hrpn.plugin.parts.plot import Plot
    from napari_hrpn.plugin.parts.selection import Pair

_SAVE_BUTTON_PX = 76
_LONGEST_REGION = 22
_REGION_TIP = (
    "Pixels that count: the tissue, found by the nuclei; the whole frame; or the shapes or labels of a layer,\n"
    "without those named 'exclude'"
)
_MEASURE = "Read every pixel of the region and measure overlap at full resolution, in the background"


class ThresholdMiouWidget(MeasuringWidget):
    """Measures how well bright areas of a real and of predicted layers overlap, at any threshold."""

    # napari passes the viewer because of this annotation
    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer, _MEASURE)
        self._overview: Overview | None = None
        self._asked: tuple[Pair, Hashable] | None = None
        self._looking = NewestTask()
        self.region_form = RegionForm(viewer, self.tissue, _REGION_TIP, has_drawn=True)
        self.overlay = Overlay(viewer)
        self.overlay_box = CheckBox(
            value=True, text="Show", tooltip="Show the pixels that reach the threshold in both images or in one"
        )
        self.prediction_box = combo_box("Prediction whose overlap is shown in the viewer")
        self.threshold_form = ThresholdForm()
        self.metric_box = combo_box(
            "Overlap of the pixels that reach the threshold, or its mean with that of the other pixels",
            [(title, metric) for metric, title in METRICS.items()],
        )
        self.curves = OverlapCurves()
        self.numbers, self.level_label = NumbersTable(HEADINGS.items()), QLabel()
        self.level_label.setWordWrap(True)
        self.level_label.setToolTip(LEVEL_TIP)
        self._threshold_soon = soon(self, self._use_threshold)
        self._lay_out()
        self._connect()
        self.changed()

    @property
    def needs_tissue(self) -> bool:
        """Whether the tissue is the region and not known yet."""
        return self.region_form.is_waiting

    @property
    def is_settled(self) -> bool:
        """Whether nothing is read or measured, and all results are shown, in the viewer too."""
        is_looking = self._looking.is_busy or self.overlay.is_looking or self._threshold_soon.isActive()
        return super().is_settled and not is_looking

    def overlaps(self) -> tuple[Overlap, ...]:
        """Overlap of each prediction at the finest level that is measured; none at first."""
        overview = self._overview
        if overview is None:
            return ()
        known = (self.bar.known(full_part(overview, index).key) for index in range(len(overview.overlaps)))
        return tuple(full or first for full, first in zip(known, overview.overlaps, strict=True))

    def parts(self) -> list[Part]:
        """Overlap of each prediction at full resolution."""
        overview = self._overview
        if overview is None and not self._looking.is_busy:
            raise UserError(self.pair_form.problem or self.message)
        return [] if overview is None else [full_part(overview, index) for index in range(len(overview.overlaps))]

    def plots(self) -> Sequence[Plot]:
        """The curves."""
        return (self.curves,)

    def show_known(self) -> None:
        """Measure another pair or region at a coarse level; else show the results of this one."""
        pair = self.pair_form.pair
        if pair is None or self.region_form.is_waiting:
            self._clear()
            return
        asked = pair, self.region_form.key
        if self._asked != asked:
            self._asked = asked
            self._look_over(pair)
        elif self._overview is not None:
            self._show_overlaps()

    def end(self) -> None:
        """Stop all threads, and remove the layer."""
        super().end()
        self._threshold_soon.stop()
        self._looking.abandon()
        self.overlay.shut_down()

    def save_table(self) -> None:
        """Ask for a file, and save curves and numbers as CSV."""
        self.save_rows("threshold MIoU", self._rows())

    def save_figure(self) -> None:
        """Ask for a file, and save the curves as PNG or SVG."""
        self.save_plot("threshold MIoU", self.curves)

    def _lay_out(self) -> None:
        self.bar.measure_button.setText("Measure at full resolution")
        actions = [
            ("Table …", "Curves and the numbers at the threshold, as CSV", self.save_table),
            ("Plot …", "The curves, as PNG or SVG", self.save_figure),
        ]
        shown = side_by_side(self.prediction_box, self.overlay_box, is_second_wide=False)
        rows = titled_rows({"Region": self.region_form, "In the viewer": shown})
        meanings = QLabel(
            "   ".join(f'<span style="color:{COLOURS[label]}">■</span> {text}' for label, text in MEANINGS.items())
        )
        meanings.setToolTip("Colours of the layer in the viewer: true positive, false negative, false positive")
        button = save_button(actions)
        button.setMinimumWidth(_SAVE_BUTTON_PX)
        plot = side_by_side(self.metric_box, button, is_second_wide=False)
        self.lay_out(
            (self.pair_form, rows, meanings, self.threshold_form, plot, self.curves, self.numbers, self.level_label)
        )

    def _connect(self) -> None:
        self.overlay.looked.connect(self._show_numbers)
        self.overlay.removed.connect(self._note_removal)
        self.overlay.failed.connect(self._show_error)
        self.overlay_box.changed.connect(self._show_overlay)
        self.prediction_box.changed.connect(self._use_threshold)
        self.threshold_form.changed.connect(self._threshold_soon.start)
        self.curves.dragged.connect(self.threshold_form.set_percentile)
        self.metric_box.changed.connect(self.curves.use_metric)

    def _look_over(self, pair: Pair) -> None:
        self._looking.abandon()
        try:
            wanted = self.region_form.wanted(pair.real)
        except SlideError as error:
            self._fail_to_look(error)
            return
        self.bar.cancel()
        work = once(look_over, pair, self.region_form.title, wanted, self._overview)
        self._looking.do(work, self._take_overview, self._fail_to_look)

    def _take_overview(self, overview: Overview) -> None:
        before, self._overview = self._overview, overview
        for index, overlap in enumerate(overview.overlaps):
            if overlap.is_full:
                self.bar.results.keep(full_part(overview, index).key, overlap)
        if before is None or before.pair is not overview.pair:
            offer(self.prediction_box, [(one.name, k) for k, one in enumerate(overview.pair.predictions)])
            self.prediction_box.enabled = len(overview.overlaps) > 1
        if not self.bar.is_running:
            self.bar.say("")
        self._show_overlaps()
        self._show_overlay()
        # this measures at full resolution, if that takes only seconds
        self.changed()

    def _fail_to_look(self, error: BaseException) -> None:
        asked = self._asked
        self._clear()
        # the same pair and region are not tried again before something changes
        self._asked = asked
        self._show_error(error)

    def _clear(self) -> None:
        """Show nothing: the choice cannot be measured."""
        self._looking.abandon()
        self.bar.cancel()
        self._overview = self._asked = None
        self.overlay.hide()
        offer(self.prediction_box, ())
        self.threshold_form.use_counts(None)
        self.curves.show_curves((), "")
        self._show_numbers()

    def _show_overlaps(self) -> None:
        overview, overlaps = self._overview, self.overlaps()
        if overview is None:
            return
        is_whole = overview.pair.real.slide.dtype.kind in "iu"
        self.threshold_form.use_counts(overlaps[0].counts.real, is_whole=is_whole)
        if not overlaps[0].counts.n:
            self.bar.say(f"The region {overview.region.name!r} holds no pixel: choose or draw another one.")
        curves = [
            Curve(channel.name, self.pair_form.colour_of(channel), overlap.points)
            for channel, overlap in zip(overview.pair.predictions, overlaps, strict=True)
        ]
        coarsest = max(overlap.downsample for overlap in overlaps)
        at_level = "" if coarsest == 1 else f" at 1/{coarsest:.3g}"
        title = short(overview.region.name, _LONGEST_REGION)
        self.curves.show_curves(curves, f"{title}{at_level}, n = {overlaps[0].counts.n:,}")
        self._use_threshold()

    def _show_overlay(self) -> None:
        overview = self._overview
        if not self.overlay_box.value:
            self.overlay.hide()
        elif overview is not None:
            self.overlay.show(overview, self.prediction_box.value or 0, self.threshold_form.threshold)
        self._show_numbers()

    def _use_threshold(self) -> None:
        self.overlay.use(self.prediction_box.value or 0, self.threshold_form.threshold)
        self.curves.set_percentile(self.threshold_form.percentile)
        self._show_numbers()

    def _show_numbers(self) -> None:
        overview, view = self._overview, self.overlay.view
        if overview is None:
            self.numbers.show_rows(())
            self.level_label.setText("")
            return
        shown = overview, self.overlaps(), view if view is not None and view.overview is overview else None
        self.numbers.show_rows(number_rows(*shown, self.threshold_form.threshold))
        self.level_label.setText(levels_in_words(*shown))

    def _rows(self) -> list[dict[str, object]]:
        form = self.threshold_form
        if self._overview is None:
            return []
        return overlap_records(self._overview, self.overlaps(), form.threshold, form.percentile)

    def _note_removal(self) -> None:
        self.overlay_box.value = False

    def _show_error(self, error: BaseException) -> None:
        self.bar.say(sentence_of(error))
