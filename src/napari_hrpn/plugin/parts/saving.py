"""Tables of numbers on the screen, and saving of tables and figures to files; a file is written whole or not at all."""

from __future__ import annotations

import csv
import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QFileDialog,
    QMenu,
    QPushButton,
    QTableView,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from napari_hrpn.core.plain_text import NOT_IN_FILE_NAMES, csv_cell, no_device
from napari_hrpn.plugin.parts.preferences import preferred_folder
from napari_hrpn.reports import number, plain_text
from napari_hrpn.slides import Location
from napari_hrpn.slides.writers.output_path import partial_output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from matplotlib.figure import Figure

    Row = Mapping[str, Any]

_MOST_ROWS = 7
_WIDEST_PX = 100


class NumbersTable(QTableWidget):
    """Table of numbers whose headings have tooltips; it is as high as its rows."""

    def __init__(self, columns: Iterable[tuple[str, str]], widest_px: int = _WIDEST_PX) -> None:
        headings, self._widest_px = list(columns), widest_px
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
        fit_columns(self, self._widest_px)
        self._fit()

    def texts(self) -> list[list[str]]:
        """Texts of the cells, row by row."""
        cells = ((self.item(row, column) for column in range(self.columnCount())) for row in range(self.rowCount()))
        return [["" if cell is None else cell.text() for cell in row] for row in cells]

    def _fit(self) -> None:
        # one more line for the horizontal scroll bar
        self.setFixedHeight((min(max(self.rowCount(), 1), _MOST_ROWS) + 2) * _line_px(self))


def make_readable(table: QTableView) -> None:
    """Make a table compact: low rows without numbers, smooth scrolling, whole rows selected."""
    table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    table.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
    table.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
    # the Tab key leaves the table for the next field
    table.setTabKeyNavigation(False)
    vertical, horizontal = table.verticalHeader(), table.horizontalHeader()
    if vertical is not None and horizontal is not None:
        vertical.setVisible(False)
        vertical.setDefaultSectionSize(_line_px(table))
        horizontal.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)


def fit_columns(table: QTableView, widest_px: int) -> None:
    """Make columns as wide as their texts; long texts are elided until the user widens the column."""
    table.resizeColumnsToContents()
    model = table.model()
    for column in range(0 if model is None else model.columnCount()):
        table.setColumnWidth(column, min(table.columnWidth(column), widest_px))


def _line_px(table: QTableView) -> int:
    return max(int(table.fontMetrics().height()) + 8, 22)


_DPI = 200
FIGURES = "PNG (*.png);;SVG (*.svg)"
TABLES = "CSV (*.csv)"


def folder_beside(source: Location | None) -> Path:
    """Folder of the preferences; else that of the slide's file, if it is local and writable; else the documents."""
    if (folder := preferred_folder()) is not None:
        return folder
    if isinstance(source, Path) and source.is_absolute():
        beside = source.parent
        if beside.is_dir() and os.access(beside, os.W_OK):
            return beside
    return platformdirs.user_documents_path()


def save_button(actions: Sequence[tuple[str, str, Callable[[], None]]]) -> QPushButton:
    """Make a button with a menu of tables and figures to save."""
    button = QPushButton("Save …")
    button.setToolTip("Save tables as CSV and plots as PNG or SVG")
    menu = QMenu(button)
    menu.setToolTipsVisible(True)
    for title, tooltip, action in actions:
        entry = menu.addAction(title)
        if entry is not None:
            entry.setToolTip(tooltip)
            # Qt passes whether the entry is checked
            entry.triggered.connect(lambda _checked=False, action=action: action())
    button.setMenu(menu)
    return button


def ask_where(parent: QWidget, title: str, proposal: Path, kinds: str) -> tuple[Path, bool] | None:
    """Ask where to save a file; returns its path and whether an existing file may be replaced. None if cancelled."""
    proposal = proposal.with_name(no_device(re.sub(NOT_IN_FILE_NAMES, "_", proposal.name)))
    chosen, kind = QFileDialog.getSaveFileName(parent, title, str(proposal), kinds)
    if not chosen:
        return None
    path = Path(chosen)
    if path.suffix.lower() in [part.split(")")[0] for part in kinds.split("*")[1:]]:
        # the dialog asked about replacing this file, but not about the one with an appended ending below
        return path, True
    return path.with_name(path.name + (ending_of(kind) or ".csv")), False


def write_table(rows: Sequence[Row], path: Path, *, overwrite: bool = False) -> None:
    """Write rows as CSV; missing values are empty fields."""
    with (
        partial_output(path, None, overwrite=overwrite) as partial,
        partial.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(map(csv_cell, rows[0]))
        writer.writerows([csv_cell(_field(row[name])) for name in rows[0]] for row in rows)


def write_figure(figure: Figure, path: Path, *, overwrite: bool = False) -> None:
    """Write a figure as PNG or SVG, by the ending of the path."""
    plain_text(figure)
    with partial_output(path, None, overwrite=overwrite) as partial:
        figure.savefig(partial, format=path.suffix.lower().lstrip("."), dpi=_DPI, facecolor=figure.get_facecolor())


def ending_of(kind: str) -> str:
    """Ending of the first kind of file in the filter of a dialog."""
    return kind[kind.find("*") + 1 : kind.find(")")]


def _field(value: object) -> object:
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else value
