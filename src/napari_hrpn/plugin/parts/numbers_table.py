"""Table of numbers to read, and counts as one writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractItemView, QTableView, QTableWidget, QTableWidgetItem

from napari_hrpn.reports import number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MOST_ROWS = 7
_WIDEST_PX = 100


class NumbersTable(QTableWidget):
    """Rows of numbers under headings; as high as its rows."""

    def __init__(self, headings: Mapping[str, str]) -> None:
        super().__init__(0, len(headings))
        for column, (heading, tooltip) in enumerate(headings.items()):
            item = QTableWidgetItem(heading)
            item.setToolTip(tooltip)
            self.setHorizontalHeaderItem(column, item)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setWordWrap(False)
        make_readable(self)
        self.show_rows(())

    def show_rows(self, rows: Sequence[Sequence[str]], tooltips: Sequence[str] = ()) -> None:
        """Show other rows."""
        self.setRowCount(len(rows))
        for row, texts in enumerate(rows):
            for column, text in enumerate(texts):
                item = QTableWidgetItem(text)
                item.setToolTip(tooltips[row] if row < len(tooltips) else text)
                self.setItem(row, column, item)
        fit_columns(self, _WIDEST_PX)
        self._fit()

    def texts(self) -> list[list[str]]:
        """What is shown, row by row."""
        cells = ((self.item(row, column) for column in range(self.columnCount())) for row in range(self.rowCount()))
        return [["" if cell is None else cell.text() for cell in row] for row in cells]

    def _fit(self) -> None:
        # a line more for the scroll bar under it
        self.setFixedHeight((min(max(self.rowCount(), 1), _MOST_ROWS) + 2) * _line_px(self))


class RecordsTable(NumbersTable):
    """Rows that are made of records; columns have the key of what they show, and what it means, by their headings."""

    def __init__(self, columns: Mapping[str, tuple[str, str]]) -> None:
        self._keys = [key for key, _ in columns.values()]
        super().__init__({heading: tooltip for heading, (_, tooltip) in columns.items()})

    def show_records(self, records: Sequence[Mapping[str, Any]], tooltips: Sequence[str] = ()) -> None:
        """Show other records."""
        values = [[record[key] for key in self._keys] for record in records]
        self.show_rows([[one if isinstance(one, str) else number(one) for one in row] for row in values], tooltips)


def make_readable(table: QTableView) -> None:
    """Let a table show low lines without numbers, scroll smoothly, and select whole rows."""
    table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    table.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
    table.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
    # Tab goes on to the next field
    table.setTabKeyNavigation(False)
    vertical, horizontal = table.verticalHeader(), table.horizontalHeader()
    if vertical is not None and horizontal is not None:
        vertical.setVisible(False)
        vertical.setDefaultSectionSize(_line_px(table))
        horizontal.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)


def fit_columns(table: QTableView, widest_px: int) -> None:
    """Make columns as wide as their texts; long ones are elided, and the user's hand shows them in full."""
    table.resizeColumnsToContents()
    model = table.model()
    for column in range(0 if model is None else model.columnCount()):
        table.setColumnWidth(column, min(table.columnWidth(column), widest_px))


def _line_px(table: QTableView) -> int:
    return max(int(table.fontMetrics().height()) + 8, 22)


def count(n: int) -> str:
    """A count as one reads it."""
    return f"{n:,}"
