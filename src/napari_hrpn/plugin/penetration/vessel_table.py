"""The vessels of a slide, a row each, sorted by any column; a row and a vessel in the viewer stand for each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QAbstractTableModel, QItemSelection, QModelIndex, Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QTableView

from napari_hrpn.plugin.parts.numbers_table import count
from napari_hrpn.reports import number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

_HEIGHT_PX = 230
_WIDEST_PX = 130
_LABEL = "label"
_HEADINGS = {
    _LABEL: ("vessel", "Number of the vessel, from the top"),
    "area_um2": ("area, µm²", "Area, lumen included"),
    "equivalent_diameter_um": ("diameter, µm", "Diameter of the circle of the same area"),
    "mean_diameter_um": ("width, µm", "Mean width along the middle line"),
    "length_um": ("length, µm", "Length of the middle line; of a round cross-section nearly nothing"),
    "stain_mean": ("stain mean", "Mean grey level of the vessels' stain inside"),
}
_HIDDEN = ("centroid_y_px", "centroid_x_px")
_WIDTHS_FROM_ROWS = 20
_Role = Qt.ItemDataRole


class _VesselModel(QAbstractTableModel):
    """Rows of numbers that can be sorted."""

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        super().__init__()
        self.columns = [name for name in (rows[0] if rows else {}) if name not in _HIDDEN]
        self._values = {name: _column([row[name] for row in rows]) for name in self.columns}
        self._order = np.arange(len(rows))

    def rowCount(self, parent: QModelIndex | None = None) -> int:  # noqa: ARG002, N802 (Qt's name)
        """Vessels."""
        return len(self._order)

    def columnCount(self, parent: QModelIndex | None = None) -> int:  # noqa: ARG002, N802 (Qt's name)
        """Numbers of each."""
        return len(self.columns)

    def data(self, index: QModelIndex, role: int = _Role.DisplayRole) -> object:
        """A number as one reads it, and in full where the mouse is."""
        if role not in (_Role.DisplayRole, _Role.ToolTipRole, _Role.TextAlignmentRole):
            return None
        if role == _Role.TextAlignmentRole:
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        name = self.columns[index.column()]
        value = self._values[name][self._order[index.row()]].item()
        if role == _Role.ToolTipRole:
            return f"{_heading(name)[0]}: {value}"
        if name == _LABEL:
            return str(value)
        return count(value) if isinstance(value, int) else number(value)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = _Role.DisplayRole) -> object:  # noqa: N802
        """Names of the columns."""
        if orientation == Qt.Orientation.Horizontal and role in (_Role.DisplayRole, _Role.ToolTipRole):
            return _heading(self.columns[section])[role == _Role.ToolTipRole]
        return None

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column; what is missing comes last."""
        if not 0 <= column < len(self.columns):
            return
        self.layoutAboutToBeChanged.emit()
        values = self._values[self.columns[column]].astype(float)
        missing = np.isnan(values)
        key = np.where(missing, 0, -values if order == Qt.SortOrder.DescendingOrder else values)
        self._order = np.lexsort((key, missing))
        self.layoutChanged.emit()

    def label_at(self, row: int) -> int:
        """Number of the vessel in a row."""
        return int(self._values[_LABEL][self._order[row]])

    def row_of(self, label: int) -> int | None:
        """Row of a vessel; None where it has none."""
        if not self.columns:
            return None
        found = np.flatnonzero(self._values[_LABEL][self._order] == label)
        return int(found[0]) if len(found) else None


class VesselTableView(QTableView):
    """Shows vessels; `chosen` carries the number of the vessel whose row the user selects."""

    chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._model = _VesselModel([])
        self._is_own_choice = False
        self.setToolTip("A row per vessel: select one to go to it, or click on a vessel in the viewer")
        self.setFixedHeight(_HEIGHT_PX)
        self.setTabKeyNavigation(False)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setSortingEnabled(True)
        vertical, horizontal = self.verticalHeader(), self.horizontalHeader()
        if vertical is not None and horizontal is not None:
            # of thousands of rows, a few tell how wide the numbers are
            horizontal.setResizeContentsPrecision(_WIDTHS_FROM_ROWS)
            vertical.setVisible(False)
            vertical.setDefaultSectionSize(max(22, self.fontMetrics().height() + 8))

    @property
    def vessels(self) -> _VesselModel:
        """What is shown."""
        return self._model

    @property
    def selected(self) -> int | None:
        """Number of the selected vessel; None for none."""
        selection = self.selectionModel()
        rows = [] if selection is None else selection.selectedRows()
        return self._model.label_at(rows[0].row()) if rows else None

    def show_rows(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Show other vessels, in the order of their numbers."""
        former, self._model = self._model, _VesselModel(rows)
        self.setModel(self._model)
        former.deleteLater()
        self.sortByColumn(0, Qt.SortOrder.AscendingOrder)
        self.resizeColumnsToContents()
        for column in range(self._model.columnCount()):
            self.setColumnWidth(column, min(self.columnWidth(column), _WIDEST_PX))

    def select(self, label: int) -> bool:
        """Select the row of a vessel and bring it into view; `chosen` does not tell of it."""
        row = self._model.row_of(label)
        if row is None:
            return False
        self._is_own_choice = True
        try:
            self.selectRow(row)
        finally:
            self._is_own_choice = False
        self.scrollTo(self._model.index(row, 0), QAbstractItemView.ScrollHint.PositionAtCenter)
        return True

    def selectionChanged(self, selected: QItemSelection, deselected: QItemSelection) -> None:  # noqa: N802 (Qt's name)
        """Tell which vessel the user chose."""
        super().selectionChanged(selected, deselected)
        label = self.selected
        if label is not None and not self._is_own_choice:
            self.chosen.emit(label)


def _column(values: Sequence[float | None]) -> NDArray[np.generic]:
    # NumPy makes a NaN of None
    return np.array(values, np.int64 if isinstance(values[0], int) else np.float64)


def _heading(name: str) -> tuple[str, str]:
    """What a column is called, and its tooltip."""
    words = "Pixels that are nearer to it than to any other vessel" if name.startswith("n within") else name
    return _HEADINGS.get(name, (name, words))
