"""Table of the regions of interest, sortable by any column; a row keeps its region, wherever sorting puts it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from qtpy.QtCore import QItemSelectionModel, Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QTableWidgetItem

from napari_hrpn.plugin.parts.numbers_table import NumbersTable
from napari_hrpn.plugin.roi_correlation.results import (
    AGREEMENT,
    COLOCALIZED,
    WITH_INTERVAL,
    Quantity,
    difference_of,
    interval_of,
    interval_text,
    number_text,
    value_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_hrpn.analysis import Interval
    from napari_hrpn.plugin.roi_correlation.results import RoiRow

_INDEX = Qt.ItemDataRole.UserRole
_VALUE = Qt.ItemDataRole.UserRole + 1
_WITH_INTERVAL = ", with its 95 % interval from a spatial block bootstrap"


class _Cell(NamedTuple):
    text: str
    value: float | None = None  # What it is sorted by
    tooltip: str = ""


class _Item(QTableWidgetItem):
    """A cell that is sorted by its number; what has none comes last."""

    def __init__(self, cell: _Cell, index: int) -> None:
        super().__init__(cell.text)
        self.setToolTip(cell.tooltip)
        self.setData(_INDEX, index)
        self.setData(_VALUE, cell.value)

    def __lt__(self, other: QTableWidgetItem) -> bool:
        value, other_value = self.data(_VALUE), other.data(_VALUE)
        if value is None and other_value is None:
            return bool(super().__lt__(other))
        return other_value is None or (value is not None and value < other_value)


class RoiTable(NumbersTable):
    """The table of regions.

    `picked` carries the number of a region, in the order in which they were given, whose row was selected, `centred`
    that of one that was double clicked.
    """

    picked = Signal(int)
    centred = Signal(int)

    def __init__(self) -> None:
        super().__init__({})
        self._titles: list[str] = []
        self._shown: tuple[Sequence[RoiRow], Sequence[str]] = (), ()
        self.has_more = False
        self.setToolTip(
            "One row for each region; click a column's name to sort, double-click a row to centre the view on it"
        )
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.itemSelectionChanged.connect(self._note_selection)
        self.itemDoubleClicked.connect(lambda item: self.centred.emit(item.data(_INDEX)))

    def show_regions(self, rows: Sequence[RoiRow], names: Sequence[str]) -> None:
        """Show these regions; the one that is selected stays so."""
        self._shown = rows, names
        chosen = self.picked_index()
        was_blocked = self.blockSignals(True)
        self.setSortingEnabled(False)
        columns = list(_columns(rows, names, has_more=self.has_more))
        self._set_titles([(title, tooltip) for title, tooltip, _ in columns])
        self.setRowCount(len(rows))
        for column, (_, _, cells) in enumerate(columns):
            for index, cell in enumerate(cells):
                self.setItem(index, column, _Item(cell, index))
        self.resizeColumnsToContents()
        self._fit()
        # sorts by the column that the user has chosen
        self.setSortingEnabled(True)
        self.blockSignals(was_blocked)
        self.pick(chosen)

    def show_more(self, has_more: bool) -> None:
        """Show all columns, or the first ones."""
        self.has_more = has_more
        self.show_regions(*self._shown)

    def pick(self, index: int | None) -> None:
        """Select the row of a region, without telling of it."""
        was_blocked = self.blockSignals(True)
        self.clearSelection()
        for row in range(self.rowCount()):
            item = self.item(row, 0)
            if item is not None and item.data(_INDEX) == index:
                select = QItemSelectionModel.SelectionFlag.SelectCurrent | QItemSelectionModel.SelectionFlag.Rows
                self.setCurrentItem(item, select)
                self.scrollToItem(item)
        self.blockSignals(was_blocked)

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


def _columns(rows: Sequence[RoiRow], names: Sequence[str], *, has_more: bool) -> Iterator[tuple[str, str, list[_Cell]]]:
    """Title, tooltip and cells of each column; co-localisation once it is known of a region."""
    every = range(len(names))

    def agreement(quantity: Quantity, k: int) -> tuple[str, str, list[_Cell]]:
        tooltip = f"{quantity.title}: {quantity.definition}{_WITH_INTERVAL if quantity.has_interval else ''}"
        return _titled(quantity, names, k), tooltip, [_agreement_cell(row, quantity, k) for row in rows]

    yield "ROI", "Name of the region", [_Cell(row.listed.name, None, row.problem) for row in rows]
    yield from (agreement(quantity, k) for quantity in AGREEMENT if quantity.is_first for k in every)
    yield "n", "Pixels of the region on the slide, at full resolution", [_count_cell(row) for row in rows]
    if any(row.colocalization for row in rows):
        for quantity in COLOCALIZED:
            if quantity.is_first or (has_more and quantity.title):
                for k in every:
                    cells = [_colocalization_cell(row, quantity, k) for row in rows]
                    yield _titled(quantity, names, k), quantity.definition, cells
    if has_more:
        for quantity in WITH_INTERVAL:
            for k in every[1:]:
                tooltip = (
                    f"{quantity.title} of {names[k]} less that of {names[0]}, blocks paired, with its 95 % interval"
                )
                yield f"Δ{quantity.title} {names[k]}", tooltip, [_difference_cell(row, quantity, k) for row in rows]
        yield from (agreement(quantity, k) for quantity in AGREEMENT if not quantity.is_first for k in every)


def _titled(quantity: Quantity, names: Sequence[str], k: int) -> str:
    return f"{quantity.title} {names[k]}" if len(names) > 1 else quantity.title


def _agreement_cell(row: RoiRow, quantity: Quantity, k: int) -> _Cell:
    if row.measurement is None:
        return _unknown(row)
    numbers = row.measurement.numbers[k]
    return _known(value_of(numbers, quantity), interval_of(numbers, quantity), numbers.line.reason)


def _difference_cell(row: RoiRow, quantity: Quantity, k: int) -> _Cell:
    found = None if row.measurement is None else difference_of(row.measurement.numbers[k], quantity)
    return _unknown(row) if found is None else _known(found.estimate, found)


def _colocalization_cell(row: RoiRow, quantity: Quantity, k: int) -> _Cell:
    if not row.colocalization:
        return _unknown(row)
    found = row.colocalization[k]
    return _known(float(getattr(found, quantity.key)), reason=found.reason)


def _count_cell(row: RoiRow) -> _Cell:
    return _unknown(row) if row.measurement is None else _Cell(f"{row.measurement.n:,}", row.measurement.n)


def _unknown(row: RoiRow) -> _Cell:
    return _Cell("–" if row.problem else "…", None, row.problem)


def _known(value: float, interval: Interval | None = None, reason: str = "") -> _Cell:
    if interval is not None:
        reason = interval.reason or f"95 % interval {interval_text(interval)} from {interval.units:.1f} blocks"
    return _Cell(number_text(value, interval), value if math.isfinite(value) else None, reason)
