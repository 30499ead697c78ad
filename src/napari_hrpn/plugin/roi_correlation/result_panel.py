"""Panel of the selected region: density plot, numbers, and the level that was measured."""

from __future__ import annotations

import math
from itertools import groupby
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel

from napari_hrpn.analysis.metrics import ROI, ROI_COLOCALIZATION, ROI_DIFFERENCE, metrics_in
from napari_hrpn.analysis.statistics.bootstrap import LEAST_BLOCKS
from napari_hrpn.plugin.parts.forms import combo_box, offer, titled_rows
from napari_hrpn.plugin.parts.messages import ToneLabel
from napari_hrpn.plugin.roi_correlation.density_plot import DensityPlot
from napari_hrpn.plugin.roi_correlation.results import summary
from napari_hrpn.reports import number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_hrpn.analysis import MeanAndSd, RegionNumbers, RoiMeasurement
    from napari_hrpn.plugin.roi_correlation.results import RoiRow

_NO_PAIR = "There is nothing to correlate yet."
_NO_ROI = "Draw a rectangle, an ellipse or a polygon on the slide, import regions, or add random ones."


class ResultPanel:
    """Shows one region in `widgets`, which a dock widget stacks."""

    def __init__(self) -> None:
        self.measurement: RoiMeasurement | None = None
        self._names: tuple[str, ...] = ()
        self._title = ""
        self._shape = (0, 0)
        self.prediction_box = combo_box("Prediction whose density is drawn; the numbers below are of all predictions")
        self.plot = DensityPlot()
        self.plot.setToolTip(
            "Pixels by real and predicted grey level; the dashed line is the identity, the solid line the\n"
            "least-squares fit. The plot is updated while you drag a region"
        )
        self.summary_label = _label("Mean and SD over the regions at full resolution; SD with n - 1")
        self.level_label = _label("Level that was measured: while you drag a region, it may be a coarser one")
        self.numbers_label = _label("In brackets: 95 % intervals from a spatial block bootstrap, at full resolution")
        self.colocalization_label = _label("Co-localisation as computed by Fiji's Coloc 2, at full resolution")
        self.doubt_label = ToneLabel()
        self._choice = titled_rows({"Plot": self.prediction_box})
        labels = self.level_label, self.numbers_label, self.doubt_label, self.colocalization_label
        self.widgets = self._choice, self.plot, *labels
        self._choice.hide()
        self.colocalization_label.hide()
        self.prediction_box.changed.connect(self._show_density)

    @property
    def which(self) -> int:
        """Number of the prediction whose density is drawn."""
        return self.prediction_box.value or 0

    def set_predictions(self, names: Sequence[str], shape: tuple[int, int]) -> None:
        """Offer other predictions, of a slide of this height and width."""
        self._names, self._shape = tuple(names), shape
        offer(self.prediction_box, [(name, number) for number, name in enumerate(names)])
        self._choice.setVisible(len(names) > 1)

    def show_region(self, row: RoiRow | None) -> None:
        """Show the numbers of a region, or a hint how to make one."""
        self.measurement = measurement = None if row is None else row.measurement
        self._title = "" if row is None else row.listed.name
        nothing = _NO_ROI if self._names else _NO_PAIR
        self._show_density(words=nothing if row is None else row.problem or "Measuring …")
        self.doubt_label.say("" if measurement is None else interval_doubt(measurement, self._shape))
        heading = numbers = ""
        if row is not None and measurement is not None:
            heading = f"<b>{self._title}</b>, {_level_text(measurement)}. {_doubts(measurement, self._names)}"
            numbers = numbers_html(row, self._names)
        self.level_label.setText(heading)
        self.numbers_label.setText(numbers)
        colocalized = "" if row is None else _colocalization_html(row, self._names)
        self.colocalization_label.setText(colocalized)
        self.colocalization_label.setVisible(bool(colocalized))

    def show_summary(self, rows: Sequence[RoiRow]) -> None:
        """Show mean and SD over the regions."""
        self.summary_label.setText(summary_html(rows, self._names))

    def _show_density(self, _: object = None, *, words: str = "") -> None:
        # the list may change before the numbers of the new predictions are known
        if self.measurement is None or self.which < len(self.measurement.numbers):
            name = self._names[self.which] if len(self._names) > 1 else ""
            title = ", ".join(filter(None, (self._title, name))) if self._title else ""
            self.plot.show_measurement(self.measurement, self.which, title, words or self.plot.words)


def _label(tooltip: str) -> QLabel:
    label = QLabel()
    label.setToolTip(tooltip)
    label.setWordWrap(True)
    label.setTextFormat(Qt.TextFormat.RichText)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label


def _level_text(measurement: RoiMeasurement) -> str:
    """Describe the level that was read."""
    if measurement.is_exact:
        return "full resolution"
    down, across = (f"{step:.4g}" for step in measurement.downsample)
    return f"preview from level {measurement.level}: means of {across} × {down} px"


def summary_html(rows: Sequence[RoiRow], names: Sequence[str]) -> str:
    """Mean and SD over the regions, for a label."""
    measured = sum(row.measurement is not None for row in rows)
    if not measured:
        return ""
    waiting = sum(row.measurement is None and not row.problem for row in rows)
    more = f", {waiting} not measured yet" if waiting else ""
    lines = [f"<b>Mean ± SD over {measured} {'ROI' if measured == 1 else 'ROIs'}</b>{more}"]
    titles = {metric.key: metric.short_title for metric in (*metrics_in(ROI), *metrics_in(ROI_DIFFERENCE))}
    for name, means in zip(names, summary(rows, len(names)), strict=True):
        words = " · ".join(_mean_text(titles[key], found, measured) for key, found in means.items())
        lines.append(f"{name}: {words}" if len(names) > 1 else words)
    return "<br>".join(lines)


def _mean_text(title: str, found: MeanAndSd, rows: int) -> str:
    sd = f"&nbsp;±&nbsp;{number(found.sd)}" if math.isfinite(found.sd) else ""
    n = "" if found.n == rows else f"&nbsp;(n&nbsp;=&nbsp;{found.n})"
    return f"{title}&nbsp;{number(found.mean)}{sd}{n}"


def numbers_html(row: RoiRow, names: Sequence[str]) -> str:
    """Numbers of one region, a column for each prediction."""
    if row.measurement is None:
        return ""
    texts = [{key: one.text.replace(" ", "&nbsp;") for key, one in record.items()} for record in row.records]
    # a preview has no metrics that take long
    lines = [(metric.short_title, [found.get(metric.key, "–") for found in texts]) for metric in metrics_in(ROI)]
    lines.append(("n", [f"{row.measurement.n:,}&nbsp;px"]))
    shown = metrics_in(ROI_DIFFERENCE)
    differences = [
        f"{name} − {names[0]}, paired: "
        + ", ".join(f"{metric.title.removeprefix('Δ')}&nbsp;{found[metric.key]}" for metric in shown)
        for name, found in zip(names, texts, strict=True)
        if shown[0].key in found
    ]
    return _table_html(lines, names) + "<br>".join(differences)


def _colocalization_html(row: RoiRow, names: Sequence[str]) -> str:
    """Manders' and Costes' coefficients of one region, for a label."""
    if row.measurement is None or not row.colocalization:
        return ""
    titled = [metric for metric in metrics_in(ROI_COLOCALIZATION) if metric.title]
    lines = []
    for line, metrics in groupby(titled, lambda metric: metric.line):
        keys = [metric.key for metric in metrics]
        cells = ["&nbsp;/&nbsp;".join(number(record[key].value) for key in keys) for record in row.records]
        lines.append((line, cells))
    reasons = {name: [found.reason] for name, found in zip(names, row.colocalization, strict=True)}
    return _table_html(lines, names) + "<br>".join(_whose(reasons))


def _table_html(lines: Sequence[tuple[str, Sequence[str]]], names: Sequence[str]) -> str:
    heads = [("", [f"<b>{name}</b>" for name in names])] if len(names) > 1 else []
    rows = "".join(
        f"<tr><td>{title}&nbsp;&nbsp;</td>{''.join(f'<td>{cell}&nbsp;&nbsp;</td>' for cell in cells)}</tr>"
        for title, cells in [*heads, *lines]
    )
    return f"<table>{rows}</table>"


def _doubts(measurement: RoiMeasurement, names: Sequence[str]) -> str:
    """Sentences that explain missing numbers and clipped regions."""
    reasons = {}
    for name, numbers in zip(names, measurement.numbers, strict=True):
        reasons[name] = [numbers.regression.reason, *numbers.window_reasons]
        if numbers.intervals is not None and not _is_too_small(numbers):
            reasons[name].append(numbers.intervals.pearson_r.reason)
    clipped = ["It reaches beyond the slide; only its pixels on the slide count."] if measurement.is_clipped else []
    return " ".join([*clipped, *_whose(reasons)])


def _whose(reasons: Mapping[str, Sequence[str]]) -> list[str]:
    """Make a sentence of each reason, with the names of its predictions unless it holds for all."""
    every = dict.fromkeys(reason for some in reasons.values() for reason in some if reason)
    sentences = []
    for reason in every:
        names = [name for name, some in reasons.items() if reason in some]
        sentence = f"{reason[0].upper()}{reason[1:]}."
        sentences.append(sentence if len(names) == len(reasons) else f"{', '.join(names)}: {sentence}")
    return sentences


def interval_doubt(measurement: RoiMeasurement, shape: tuple[int, int]) -> str:
    """Explain why a region is too small for intervals, and whether a larger one is possible."""
    sides = [one.blocks.side_px for one in measurement.numbers if one.blocks is not None and _is_too_small(one)]
    if not sides:
        return ""
    needed_px = LEAST_BLOCKS * max(sides) ** 2
    height, width = shape
    start = f"No interval of r and slope: it needs {LEAST_BLOCKS} blocks of {max(sides):,} px, that is {needed_px:,} px"
    if needed_px > height * width:
        return f"{start}, and the slide has {width:,} x {height:,} = {width * height:,} px."
    return f"{start}; this region has {measurement.n:,} px."


def _is_too_small(numbers: RegionNumbers) -> bool:
    return numbers.intervals is not None and numbers.blocks is not None and numbers.blocks.effective < LEAST_BLOCKS
