"""A small table of numbers to read, and counts as one writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MOST_ROWS = 7
_WIDEST_PX = 100


class NumbersTable(QTableWidget):
    """Rows of numbers under headings; as high as its rows."""

    def __init__(self, headings: Mapping[str, str]) -> None:
        super().__init__(0, len(headings))
        self.setHorizontalHeaderLabels(list(headings))
        for column, tooltip in enumerate(headings.values()):
            item = self.horizontalHeaderItem(column)
            if item is not None:
                item.setToolTip(tooltip)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setWordWrap(False)
        # Tab goes on to the next field
        self.setTabKeyNavigation(False)
        vertical, horizontal = self.verticalHeader(), self.horizontalHeader()
        if vertical is not None and horizontal is not None:
            vertical.setVisible(False)
            horizontal.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
            horizontal.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        self.show_rows(())

    def show_rows(self, rows: Sequence[Sequence[str]], tooltips: Sequence[str] = ()) -> None:
        """Show other rows."""
        self.setRowCount(len(rows))
        for row, texts in enumerate(rows):
            for column, text in enumerate(texts):
                item = QTableWidgetItem(text)
                item.setToolTip(tooltips[row] if row < len(tooltips) else text)
                self.setItem(row, column, item)
        self.resizeColumnsToContents()
        for column in range(self.columnCount()):
            # long names are elided; their tooltips, and the user's hand, show them in full
            self.setColumnWidth(column, min(self.columnWidth(column), _WIDEST_PX))
        self._fit()

    def texts(self) -> list[list[str]]:
        """What is shown, row by row."""
        cells = ((self.item(row, column) for column in range(self.columnCount())) for row in range(self.rowCount()))
        return [["" if cell is None else cell.text() for cell in row] for row in cells]

    def _fit(self) -> None:
        line = max(self.fontMetrics().height() + 8, 22)
        vertical = self.verticalHeader()
        if vertical is not None:
            vertical.setDefaultSectionSize(line)
        # a line more for the scroll bar under it
        self.setFixedHeight((min(max(self.rowCount(), 1), _MOST_ROWS) + 2) * line)


def count(n: int) -> str:
    """A count as one reads it."""
    return f"{n:,}"
