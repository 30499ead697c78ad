"""One row for each region, sortable by any column; a row knows its region, wherever sorting puts it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from qtpy.QtCore import QItemSelectionModel, Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QTableWidget, QTableWidgetItem

from napari_hrpn.plugin.roi_correlation.result_words import interval_text, number_text
from napari_hrpn.plugin.roi_correlation.results import QUANTITIES, WITH_INTERVAL, interval_of, value_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_hrpn.analysis import Interval
    from napari_hrpn.plugin.roi_correlation.results import RoiRow

INDEX = Qt.ItemDataRole.UserRole
VALUE = Qt.ItemDataRole.UserRole + 1
WAITING = "…"
ROWS_SHOWN = 3


class NumberItem(QTableWidgetItem):
    """A cell that is sorted by its number; what has none comes last."""

    def __lt__(self, other: QTableWidgetItem) -> bool:
        own, others = self.data(VALUE), other.data(VALUE)
        if own is None or others is None:
            return others is None and own is not None
        return bool(own < others)


class RoiTable(QTableWidget):
    """The table of regions.

    `picked` carries the index of a region whose row was selected, `centred` that of one that was double clicked.
    """

    picked = Signal(int)
    centred = Signal(int)

    def __init__(self) -> None:
        super().__init__(0, 0)
        self._titles: list[str] = []
        self.setToolTip(
            "One row for each region; click a column's name to sort, double-click a row to centre the view on it"
        )
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        rows = self.verticalHeader()
        assert rows is not None
        rows.hide()
        rows.setDefaultSectionSize(self.fontMetrics().height() + 6)
        self.setMinimumHeight((ROWS_SHOWN + 2) * (self.fontMetrics().height() + 6))
        self.itemSelectionChanged.connect(self._tell_pick)
        self.itemDoubleClicked.connect(lambda item: self.centred.emit(item.data(INDEX)))

    def show_rows(self, rows: Sequence[RoiRow], names: Sequence[str]) -> None:
        """Show these regions; the one that is selected stays so.

        Parameters
        ----------
        rows : sequence of RoiRow
            In any order.
        names : sequence of str
            Short names of the predictions.
        """
        chosen = self.picked_index()
        was_blocked = self.blockSignals(True)
        self.setSortingEnabled(False)
        self._set_titles(names)
        self.setRowCount(len(rows))
        for number, row in enumerate(rows):
            for column, item in enumerate(_cells(row, len(names))):
                item.setData(INDEX, row.listed.index)
                self.setItem(number, column, item)
        self.resizeColumnsToContents()
        # sorts by the column that the user has chosen
        self.setSortingEnabled(True)
        self.blockSignals(was_blocked)
        self.pick(chosen)

    def pick(self, index: int | None) -> None:
        """Select the row of a region, without telling of it.

        Parameters
        ----------
        index : int or None
            Of the region; None, or one that is not there, for none.
        """
        was_blocked = self.blockSignals(True)
        self.clearSelection()
        for row in range(self.rowCount()):
            item = self.item(row, 0)
            if item is not None and item.data(INDEX) == index:
                self.setCurrentItem(item, QItemSelectionModel.SelectionFlag.SelectCurrent | _ROWS)
                self.scrollToItem(item)
        self.blockSignals(was_blocked)

    def picked_index(self) -> int | None:
        """Index of the region whose row is selected.

        Returns
        -------
        int or None
            None where no row is.
        """
        items = self.selectedItems()
        return items[0].data(INDEX) if items else None

    def _set_titles(self, names: Sequence[str]) -> None:
        titles = [title for title, _ in _columns(names)]
        if titles == self._titles:
            return
        self._titles = titles
        self.setColumnCount(len(titles))
        for column, (title, tooltip) in enumerate(_columns(names)):
            item = QTableWidgetItem(title)
            item.setToolTip(tooltip)
            self.setHorizontalHeaderItem(column, item)
        self.sortByColumn(-1, Qt.SortOrder.AscendingOrder)

    def _tell_pick(self) -> None:
        index = self.picked_index()
        if index is not None:
            self.picked.emit(index)


_ROWS = QItemSelectionModel.SelectionFlag.Rows


def _columns(names: Sequence[str]) -> list[tuple[str, str]]:
    """Titles and what they mean."""
    columns = [("ROI", "Name of the region")]
    for key, (title, meaning) in QUANTITIES.items():
        what = f"{title}: {meaning}"
        if key in WITH_INTERVAL:
            what += ", with its 95 % interval from a spatial block bootstrap"
        columns += [(f"{title} {name}" if len(names) > 1 else title, what) for name in names]
        if key in WITH_INTERVAL:
            columns += [
                (
                    f"Δ{title} {name}",
                    f"{title} of {name} less that of {names[0]}, blocks paired, with its 95 % interval",
                )
                for name in names[1:]
            ]
    return [*columns, ("n", "Pixels of the region on the slide, at full resolution")]


def _cells(row: RoiRow, predictions: int) -> list[QTableWidgetItem]:
    name = QTableWidgetItem(row.listed.name)
    if row.problem:
        name.setToolTip(row.problem)
    cells: list[QTableWidgetItem] = [name]
    found = row.measurement
    for key in QUANTITIES:
        for k in range(predictions):
            own = None if found is None else found.numbers[k]
            cells.append(
                _number(row)
                if own is None
                else _number(row, value_of(own, key), interval_of(own, key), reason=own.line.reason)
            )
        for k in range(1, predictions) if key in WITH_INTERVAL else ():
            apart = None if found is None else getattr(found.numbers[k].difference, key, None)
            cells.append(_number(row) if apart is None else _number(row, apart.estimate, apart))
    count = NumberItem(WAITING if found is None and not row.problem else "–" if found is None else f"{found.n:,}")
    count.setData(VALUE, None if found is None else found.n)
    count.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    return [*cells, count]


def _number(
    row: RoiRow, value: float | None = None, interval: Interval | None = None, *, reason: str = ""
) -> NumberItem:
    if value is None:
        item = NumberItem("–" if row.problem else WAITING)
        item.setToolTip(row.problem)
        return item
    item = NumberItem(f"{number_text(value)} {interval_text(interval)}".rstrip())
    item.setData(VALUE, value if math.isfinite(value) else None)
    if interval is not None:
        item.setToolTip(interval.reason or f"95 % interval {interval_text(interval)} from {interval.units:.1f} blocks")
    elif reason:
        item.setToolTip(reason)
    return item
