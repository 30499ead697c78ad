"""Results of regions of interest, and the table that shows them.

`napari_hrpn.analysis.metrics` defines the metrics, their order and their titles.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from magicgui.widgets import CheckBox
from qtpy.QtCore import QItemSelectionModel, Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QTableWidgetItem

from napari_hrpn.analysis import Colocalization, Manders, MeanAndSd, RandomRois, RoiMeasurement, mean_and_sd
from napari_hrpn.analysis.metrics import ROI, ROI_COLOCALIZATION, ROI_DIFFERENCE, ROI_FILE, ROI_FIRST, metrics_in
from napari_hrpn.plugin.parts.keys import NEXT_ROI, PREVIOUS_ROI, KeyHint
from napari_hrpn.plugin.parts.runs import push_button
from napari_hrpn.plugin.parts.saving import NumbersTable
from napari_hrpn.plugin.roi_correlation.regions import ListedRoi
from napari_hrpn.reports import number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_hrpn.analysis import Interval, RegionNumbers
    from napari_hrpn.analysis.region_numbers import Metric


_INDEX = Qt.ItemDataRole.UserRole
_VALUE = Qt.ItemDataRole.UserRole + 1
_COLOCALIZED = metrics_in(ROI_COLOCALIZATION)
_AGREEMENT = [*metrics_in(ROI), *metrics_in(ROI_DIFFERENCE), *metrics_in(ROI_FILE), *metrics_in(ROI_FIRST)]
_REDUNDANT_WORDS = ("predicted", "prediction", "probe", "qd")


@dataclass(frozen=True)
class Origin:
    """Origin of a region."""

    file: str | None = None  # name of the file from which its layer was imported
    random: RandomRois | None = None  # settings that placed it; None if it was drawn


class Number(NamedTuple):
    """A number, its interval, and the reason if it is missing or doubtful."""

    value: float
    interval: Interval | None = None
    reason: str = ""

    @property
    def text(self) -> str:
        """The number with its interval in brackets."""
        low, high = (math.nan, math.nan) if self.interval is None else (self.interval.low, self.interval.high)
        return f"{number(self.value)} [{number(low)}, {number(high)}]" if math.isfinite(low) else number(self.value)


@dataclass(frozen=True, eq=False)
class RoiRow:
    """A region and its results."""

    listed: ListedRoi
    measurement: RoiMeasurement | None = None  # None while it is being measured, or if it cannot be
    problem: str = ""  # why it cannot be measured; empty if it can
    colocalization: tuple[Colocalization, ...] = ()  # one for each prediction; empty if it was not measured
    origin: Origin = Origin()

    @cached_property
    def records(self) -> list[dict[str, Number]]:
        """Numbers of each prediction by the keys of the metrics; empty if the region is not measured."""
        return [self._record(k) for k in range(0 if self.measurement is None else len(self.measurement.numbers))]

    def _record(self, k: int) -> dict[str, Number]:
        assert self.measurement is not None
        region = self.measurement.numbers[k]
        reason = region.regression.reason
        known = {m.key: _number(m, region, reason) for m in _AGREEMENT if m not in _COLOCALIZED}
        if self.colocalization:
            colocalization = self.colocalization[k]
            # of full resolution, as Costes' coefficients are; those of a preview are of a coarse level
            manders = Manders(
                colocalization.manders_m1, colocalization.manders_m2, colocalization.overlap, colocalization.n
            )
            region = replace(region, colocalization=colocalization, manders=manders)
            known |= {m.key: _number(m, region, colocalization.reason) for m in _COLOCALIZED}
        return {key: entry for key, entry in known.items() if entry is not None}


def _number(metric: Metric, region: RegionNumbers, reason: str) -> Number | None:
    value = metric.value(region)
    interval = None if metric.interval is None else metric.interval(region)
    return None if value is None else Number(float(value), interval, reason)


def short_names(names: Sequence[str]) -> tuple[str, ...]:
    """Shorten names of predictions: without common words, and without words such as "predicted"."""
    words = [name.split() for name in names]
    if len(words) > 1:
        for end in (0, -1):
            while all(len(name) > 1 for name in words) and len({name[end] for name in words}) == 1:
                words = [name[1:] if end == 0 else name[:-1] for name in words]
        shorter = [[word for word in name if word.casefold() not in _REDUNDANT_WORDS] for name in words]
        if all(shorter) and len({tuple(name) for name in shorter}) == len(shorter):
            words = shorter
    return tuple(" ".join(name) for name in words)


def summary(rows: Sequence[RoiRow], predictions: int) -> list[dict[str, MeanAndSd]]:
    """Mean and SD of each number over the regions, by prediction."""
    found = []
    for k in range(predictions):
        records = [row.records[k] for row in rows if row.records]
        keys = [metric.key for metric in (*metrics_in(ROI), *(metrics_in(ROI_DIFFERENCE) if k else ()))]
        found.append({key: mean_and_sd(record[key].value for record in records if key in record) for key in keys})
    return found


class _Item(QTableWidgetItem):
    """A cell that is sorted by its number; cells without a number come last."""

    def __init__(self, index: int, text: str, value: float | None, tooltip: str) -> None:
        super().__init__(text)
        self.setToolTip(tooltip)
        self.setData(_INDEX, index)
        self.setData(_VALUE, value)

    def __lt__(self, other: QTableWidgetItem) -> bool:
        value, other_value = self.data(_VALUE), other.data(_VALUE)
        if value is None and other_value is None:
            return bool(self.text() < other.text())
        return bool(other_value is None or (value is not None and value < other_value))


class RoiTable(NumbersTable):
    """The table of regions.

    `picked` carries the number of the region whose row was selected, `centred` that of a double-clicked row; regions
    are numbered in the order in which they were given.
    """

    picked = Signal(int)
    centred = Signal(int)

    def __init__(self) -> None:
        super().__init__(())
        self._titles: list[tuple[str, str]] = []
        self._shown: tuple[Sequence[RoiRow], Sequence[str]] = (), ()
        self.more_box = CheckBox(
            text="More columns", tooltip="Show all numbers of each region; saved files always have them"
        )
        self.keyed = {PREVIOUS_ROI: self.show_previous, NEXT_ROI: self.show_next}
        self.step_buttons = [
            push_button("◀", "Show the region of the row above", self.show_previous),
            push_button("▶", "Show the region of the row below", self.show_next),
        ]
        for button, action in zip(self.step_buttons, self.keyed, strict=True):
            KeyHint(button, action)
        self.setToolTip(
            "One row for each region; click a column's name to sort, double-click a row to centre the view on it"
        )
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.more_box.changed.connect(lambda _: self.show_regions(*self._shown))
        self.itemSelectionChanged.connect(self._note_selection)
        self.itemDoubleClicked.connect(lambda item: self.centred.emit(item.data(_INDEX)))

    def show_regions(self, rows: Sequence[RoiRow], names: Sequence[str]) -> None:
        """Show these regions; the selected one stays selected."""
        self._shown = rows, names
        chosen = self.picked_index()
        was_blocked = self.blockSignals(True)
        self.setSortingEnabled(False)
        has_colocalized = any(row.colocalization for row in rows)
        columns = _columns(len(names), has_more=self.more_box.value, has_colocalized=has_colocalized)
        titles = [_title(metric, names[k] if len(names) > 1 else "") for metric, k in columns]
        self._set_titles([("ROI", "Name of the region"), *titles])
        self.setRowCount(len(rows))
        for index, row in enumerate(rows):
            self.setItem(index, 0, _Item(index, row.listed.name, None, row.problem))
            for column, (metric, k) in enumerate(columns, start=1):
                self.setItem(index, column, _Item(index, *_cell(row, metric, k)))
        self.resizeColumnsToContents()
        self._fit()
        # this sorts by the column that the user has chosen
        self.setSortingEnabled(True)
        self.blockSignals(was_blocked)
        self.pick(chosen)

    def pick(self, index: int | None) -> None:
        """Select the row of a region, without a signal."""
        was_blocked = self.blockSignals(True)
        self.clearSelection()
        for row in range(self.rowCount()):
            item = self.item(row, 0)
            if item is not None and item.data(_INDEX) == index:
                select = QItemSelectionModel.SelectionFlag.SelectCurrent | QItemSelectionModel.SelectionFlag.Rows
                self.setCurrentItem(item, select)
                self.scrollToItem(item)
        self.blockSignals(was_blocked)

    def show_next(self) -> None:
        """Select the row below, or the first one, and centre the view on its region."""
        self._step(1)

    def show_previous(self) -> None:
        """Select the row above, or the last one, and centre the view on its region."""
        self._step(-1)

    def _step(self, rows: int) -> None:
        count, chosen = self.rowCount(), self.selectedItems()
        if count:
            row = (chosen[0].row() + rows) % count if chosen else min(0, rows) % count
            self.selectRow(row)
            self.centred.emit(self.selectedItems()[0].data(_INDEX))

    def picked_index(self) -> int | None:
        """Number of the region whose row is selected."""
        items = self.selectedItems()
        return items[0].data(_INDEX) if items else None

    def _set_titles(self, titles: list[tuple[str, str]]) -> None:
        if titles == self._titles:
            return
        self._titles = titles
        self.setColumnCount(len(titles))
        for column, (title, tooltip) in enumerate(titles):
            item = QTableWidgetItem(title)
            item.setToolTip(tooltip)
            self.setHorizontalHeaderItem(column, item)
        self.sortByColumn(-1, Qt.SortOrder.AscendingOrder)

    def _note_selection(self) -> None:
        index = self.picked_index()
        if index is not None:
            self.picked.emit(index)


def _columns(predictions: int, *, has_more: bool, has_colocalized: bool) -> list[tuple[Metric, int]]:
    """Metric and prediction of each column; the number of pixels, which is that of the region, has one column."""
    differences = metrics_in(ROI_DIFFERENCE)
    more = (*_COLOCALIZED, *differences, *metrics_in(ROI)) if has_more else ()
    shown = dict.fromkeys((*metrics_in(ROI_FIRST), *more))
    return [
        (metric, k)
        for metric in shown
        if metric.title and (has_colocalized or metric not in _COLOCALIZED)
        for k in range(metric in differences, 1 if metric.key == "n" else predictions)
    ]


def _title(metric: Metric, name: str) -> tuple[str, str]:
    """Name of a column, and its tooltip."""
    title = metric.short_title
    interval = " With its 95 % interval from a spatial block bootstrap." if metric.interval else ""
    shown = title if metric.key == "n" else f"{title} {name}".strip()
    return shown, f"{title}: {metric.definition}{interval}"


def _cell(row: RoiRow, metric: Metric, k: int) -> tuple[str, float | None, str]:
    """Text, sort value and tooltip of a cell."""
    found = row.records[k].get(metric.key) if row.records else None
    if found is None:
        return "–" if row.problem else "…", None, row.problem
    if metric.key == "n":
        return number(int(found.value)), found.value, ""
    reason = found.reason
    if found.interval is not None:
        reason = found.interval.reason or f"95 % interval from {found.interval.units:.1f} blocks"
    return found.text, found.value if math.isfinite(found.value) else None, reason
