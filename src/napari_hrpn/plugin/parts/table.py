"""Table of numbers to read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractItemView, QTableView, QTableWidget, QTableWidgetItem

from napari_hrpn.reports import number

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_MOST_ROWS = 7
_WIDEST_PX = 100


class NumbersTable(QTableWidget):
    """Rows of numbers under headings, which have tooltips; as high as its rows."""

    def __init__(self, columns: Iterable[tuple[str, str]]) -> None:
        headings = list(columns)
        super().__init__(0, len(headings))
        for column, (heading, tooltip) in enumerate(headings):
            item = QTableWidgetItem(heading)
            item.setToolTip(tooltip)
            self.setHorizontalHeaderItem(column, item)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setWordWrap(False)
        make_readable(self)
        self.show_rows(())

    def show_rows(self, rows: Sequence[Sequence[Any]], tooltips: Sequence[str] = ()) -> None:
        """Show other rows, of texts and numbers."""
        self.setRowCount(len(rows))
        for row, cells in enumerate(rows):
            for column, cell in enumerate(cells):
                text = cell if isinstance(cell, str) else number(cell)
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
