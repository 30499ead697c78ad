"""Table of the regions of interest, sortable by any column; a row keeps its region, wherever sorting puts it."""

from __future__ import annotations

import math
from itertools import product
from typing import TYPE_CHECKING

from qtpy.QtCore import QItemSelectionModel, Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QTableWidgetItem

from napari_hrpn.plugin.parts.numbers_table import NumbersTable
from napari_hrpn.plugin.roi_correlation.results import AGREEMENT, COLOCALIZED, DIFFERENCES, Quantity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_hrpn.plugin.roi_correlation.results import Number, RoiRow

_INDEX = Qt.ItemDataRole.UserRole
_VALUE = Qt.ItemDataRole.UserRole + 1
_NAME = Quantity("roi", "ROI", "Name of the region")
_N = Quantity("n", "n", "Pixels of the region on the slide, at full resolution")


class _Item(QTableWidgetItem):
    """A cell that is sorted by its number; what has none comes last."""

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

    `picked` carries the number of a region, in the order in which they were given, whose row was selected, `centred`
    that of one that was double clicked.
    """

    picked = Signal(int)
    centred = Signal(int)

    def __init__(self) -> None:
        super().__init__({})
        self._titles: list[tuple[str, str]] = []
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
        has_colocalized = any(row.colocalization for row in rows)
        columns = _columns(len(names), has_more=self.has_more, has_colocalized=has_colocalized)
        self._set_titles([_title(quantity, names[k] if len(names) > 1 else "") for quantity, k in columns])
        self.setRowCount(len(rows))
        for index, row in enumerate(rows):
            records = [row.numbers(k) for k in range(len(names))]
            for column, (quantity, k) in enumerate(columns):
                self.setItem(index, column, _Item(index, *_cell(row, quantity, records[k])))
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


def _columns(predictions: int, *, has_more: bool, has_colocalized: bool) -> list[tuple[Quantity, int]]:
    """What is shown, and of which prediction; of the first where it is of the region itself."""
    first = [quantity for quantity in AGREEMENT if quantity.is_first]
    colocalized = [one for one in COLOCALIZED if one.is_first or (has_more and one.title)] if has_colocalized else []
    rest = [one for one in (*DIFFERENCES, *AGREEMENT) if not one.is_first] if has_more else []
    found = [
        (_NAME, 0),
        *product(first, range(predictions)),
        (_N, 0),
        *product([*colocalized, *rest], range(predictions)),
    ]
    return [(one, k) for one, k in found if k or one not in DIFFERENCES]


def _title(quantity: Quantity, name: str) -> tuple[str, str]:
    if quantity in (_NAME, _N):
        return quantity.title, quantity.definition
    interval = ", with its 95 % interval from a spatial block bootstrap" if quantity.has_interval else ""
    return f"{quantity.title} {name}".strip(), f"{quantity.title}: {quantity.definition}{interval}"


def _cell(row: RoiRow, quantity: Quantity, record: Mapping[str, Number]) -> tuple[str, float | None, str]:
    """Text, what it is sorted by, and tooltip."""
    if quantity is _NAME:
        return row.listed.name, None, row.problem
    if quantity is _N and row.measurement is not None:
        return f"{row.measurement.n:,}", row.measurement.n, ""
    found = record.get(quantity.key)
    if found is None:
        return "–" if row.problem else "…", None, row.problem
    reason = found.reason
    if found.interval is not None:
        reason = found.interval.reason or f"95 % interval from {found.interval.units:.1f} blocks"
    return found.text, found.value if math.isfinite(found.value) else None, reason
