"""One row for each region, sortable by any column; a row knows its region, wherever sorting puts it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

from qtpy.QtCore import QItemSelectionModel, Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QTableWidget, QTableWidgetItem

from napari_hrpn.plugin.roi_correlation.result_words import interval_text
from napari_hrpn.plugin.roi_correlation.results import (
    COLOCALIZED,
    FIRST_COLOCALIZED,
    FIRST_COLUMNS,
    QUANTITIES,
    WITH_INTERVAL,
    interval_of,
    value_of,
)
from napari_hrpn.reports import number

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_hrpn.analysis import Interval
    from napari_hrpn.plugin.roi_correlation.results import RoiRow

_INDEX = Qt.ItemDataRole.UserRole
_VALUE = Qt.ItemDataRole.UserRole + 1
_WAITING = "…"
_ROWS_SHOWN = 3


class _NumberItem(QTableWidgetItem):
    """A cell that is sorted by its number; what has none comes last."""

    def __lt__(self, other: QTableWidgetItem) -> bool:
        own, others = self.data(_VALUE), other.data(_VALUE)
        if own is None or others is None:
            return others is None and own is not None
        return bool(own < others)


class RoiTable(QTableWidget):
    """The table of regions.

    `picked` carries the number of a region, in the order in which they were given, whose row was selected, `centred`
    that of one that was double clicked.
    """

    picked = Signal(int)
    centred = Signal(int)

    def __init__(self) -> None:
        super().__init__(0, 0)
        self._titles: list[str] = []
        self._shown: tuple[Sequence[RoiRow], Sequence[str]] = (), ()
        self.has_more = False
        self.setToolTip(
            "One row for each region; click a column's name to sort, double-click a row to centre the view on it"
        )
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setTabKeyNavigation(False)
        rows = self.verticalHeader()
        assert rows is not None
        rows.hide()
        rows.setDefaultSectionSize(self.fontMetrics().height() + 6)
        self.setMinimumHeight((_ROWS_SHOWN + 2) * (self.fontMetrics().height() + 6))
        self.itemSelectionChanged.connect(self._tell_pick)
        self.itemDoubleClicked.connect(lambda item: self.centred.emit(item.data(_INDEX)))

    def show_rows(self, rows: Sequence[RoiRow], names: Sequence[str]) -> None:
        """Show these regions; the one that is selected stays so."""
        self._shown = rows, names
        chosen = self.picked_index()
        was_blocked = self.blockSignals(True)
        self.setSortingEnabled(False)
        columns = _columns(names, has_more=self.has_more, has_colocalized=any(row.colocalization for row in rows))
        self._set_titles(columns)
        self.setRowCount(len(rows))
        for place, row in enumerate(rows):
            for column, (_, _, cell) in enumerate(columns):
                item = cell(row)
                item.setData(_INDEX, place)
                self.setItem(place, column, item)
        self.resizeColumnsToContents()
        # sorts by the column that the user has chosen
        self.setSortingEnabled(True)
        self.blockSignals(was_blocked)
        self.pick(chosen)

    def show_more(self, has_more: bool) -> None:
        """Show all columns, or the first ones."""
        self.has_more = has_more
        self.show_rows(*self._shown)

    def pick(self, index: int | None) -> None:
        """Select the row of a region, without telling of it."""
        was_blocked = self.blockSignals(True)
        self.clearSelection()
        for row in range(self.rowCount()):
            item = self.item(row, 0)
            if item is not None and item.data(_INDEX) == index:
                self.setCurrentItem(item, QItemSelectionModel.SelectionFlag.SelectCurrent | _ROWS)
                self.scrollToItem(item)
        self.blockSignals(was_blocked)

    def picked_index(self) -> int | None:
        """Number of the region whose row is selected."""
        items = self.selectedItems()
        return items[0].data(_INDEX) if items else None

    def _set_titles(self, columns: Sequence[_Column]) -> None:
        titles = [title for title, _, _ in columns]
        if titles == self._titles:
            return
        self._titles = titles
        self.setColumnCount(len(titles))
        for column, (title, tooltip, _) in enumerate(columns):
            item = QTableWidgetItem(title)
            item.setToolTip(tooltip)
            self.setHorizontalHeaderItem(column, item)
        self.sortByColumn(-1, Qt.SortOrder.AscendingOrder)

    def _tell_pick(self) -> None:
        index = self.picked_index()
        if index is not None:
            self.picked.emit(index)


_ROWS = QItemSelectionModel.SelectionFlag.Rows

_Column: TypeAlias = "tuple[str, str, Callable[[RoiRow], QTableWidgetItem]]"


def _columns(names: Sequence[str], *, has_more: bool, has_colocalized: bool) -> list[_Column]:
    """Titles, what they mean, and what makes the cell of a row."""
    found: list[_Column] = [("ROI", "Name of the region", _name)]
    for key in FIRST_COLUMNS:
        found += [_quantity(key, name, k, len(names)) for k, name in enumerate(names)]
    found.append(("n", "Pixels of the region on the slide, at full resolution", _count))
    if has_colocalized:
        keys = COLOCALIZED if has_more else FIRST_COLOCALIZED
        found += [_colocalized(key, name, k, len(names)) for key in keys for k, name in enumerate(names)]
    if has_more:
        for key in WITH_INTERVAL:
            found += [_difference(key, name, k, names[0]) for k, name in enumerate(names) if k]
        rest = [key for key in QUANTITIES if key not in FIRST_COLUMNS]
        found += [_quantity(key, name, k, len(names)) for key in rest for k, name in enumerate(names)]
    return found


def _titled(title: str, name: str, predictions: int) -> str:
    return f"{title} {name}" if predictions > 1 else title


def _quantity(key: str, name: str, k: int, predictions: int) -> _Column:
    title, meaning = QUANTITIES[key]
    what = f"{title}: {meaning}"
    if key in WITH_INTERVAL:
        what += ", with its 95 % interval from a spatial block bootstrap"

    def cell(row: RoiRow) -> QTableWidgetItem:
        """The number, where it is known."""
        if row.measurement is None:
            return _number(row)
        own = row.measurement.numbers[k]
        return _number(row, value_of(own, key), interval_of(own, key), reason=own.line.reason)

    return _titled(title, name, predictions), what, cell


def _difference(key: str, name: str, k: int, first: str) -> _Column:
    title = QUANTITIES[key][0]

    def cell(row: RoiRow) -> QTableWidgetItem:
        """How much more it is than that of the first prediction."""
        apart = None if row.measurement is None else getattr(row.measurement.numbers[k].difference, key, None)
        return _number(row) if apart is None else _number(row, apart.estimate, apart)

    return f"Δ{title} {name}", f"{title} of {name} less that of {first}, blocks paired, with its 95 % interval", cell


def _colocalized(key: str, name: str, k: int, predictions: int) -> _Column:
    title, meaning = COLOCALIZED[key]

    def cell(row: RoiRow) -> QTableWidgetItem:
        """The number, once it was computed."""
        if not row.colocalization:
            return _number(row)
        own = row.colocalization[k]
        return _number(row, float(getattr(own, key)), reason=own.reason)

    return _titled(title, name, predictions), meaning, cell


def _name(row: RoiRow) -> QTableWidgetItem:
    item = QTableWidgetItem(row.listed.name)
    if row.problem:
        item.setToolTip(row.problem)
    return item


def _count(row: RoiRow) -> QTableWidgetItem:
    found = row.measurement
    item = _NumberItem(_WAITING if found is None and not row.problem else "–" if found is None else f"{found.n:,}")
    item.setData(_VALUE, None if found is None else found.n)
    item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    return item


def _number(
    row: RoiRow, value: float | None = None, interval: Interval | None = None, *, reason: str = ""
) -> _NumberItem:
    if value is None:
        item = _NumberItem("–" if row.problem else _WAITING)
        item.setToolTip(row.problem)
        return item
    item = _NumberItem(f"{number(value)} {interval_text(interval)}".rstrip())
    item.setData(_VALUE, value if math.isfinite(value) else None)
    if interval is not None:
        item.setToolTip(interval.reason or f"95 % interval {interval_text(interval)} from {interval.units:.1f} blocks")
    elif reason:
        item.setToolTip(reason)
    return item
