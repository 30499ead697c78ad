"""Tables of penetration on the screen: profiles, densities, and a row for each vessel, sorted by any column."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QAbstractTableModel, QItemSelection, QModelIndex, Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QTableView

from napari_hrpn.plugin.parts.saving import fit_columns, make_readable
from napari_hrpn.reports import number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_hrpn.analysis import CellDensity, Penetration, PenetrationSettings, VesselTable

_FLOORS = (
    "if the floor of the tissue, its autofluorescence, lies anywhere between the subtracted background and the "
    "darkest shell"
)
# a D50 that differs by more than this factor depends on the floor, and the user is warned
_DECIDES = 1.5
# with as many digits as on the page of an evaluation
_length = partial(number, digits=2)
DENSITY_HEADINGS = {"Density": "Counted objects", "Value": "Per area of tissue", "n": "Number", "Tissue": "Tissue area"}
_HEIGHT_PX = 230
WIDEST_PX = 130
_LABEL = "label"
_VESSEL_COLUMNS = {
    _LABEL: ("vessel", "Number of the vessel, from the top"),
    "area_um2": ("area, µm²", "Area, lumen included"),
    "equivalent_diameter_um": ("diameter, µm", "Diameter of the circle of the same area"),
    "mean_diameter_um": ("width, µm", "Mean width along the centreline"),
    "length_um": ("length, µm", "Length of the centreline; nearly 0 for a round cross-section"),
    "stain_mean": ("stain mean", "Mean grey level of the vessels' stain inside"),
}
_HIDDEN = ("centroid_y_px", "centroid_x_px")
_WIDTHS_FROM_ROWS = 20
_Role = Qt.ItemDataRole


def profile_headings(settings: PenetrationSettings) -> dict[str, str]:
    """Headings of the table of profiles, and their tooltips."""
    beyond = {
        f"> {d:g} µm": f"Share of the signal outside vessels that is further than {d:g} µm" for d in settings.beyond_um
    }
    return {
        "Image": "Real image or prediction",
        "Area": f"Tissue; periphery is within {settings.periphery_um:g} µm of its edge, core the rest",
        "n": "Pixels outside vessels",
        "D50, µm": "Distance from the edge of the nearest vessel within which half of the signal lies",
        "D90, µm": "Distance within which nine tenths of the signal lie",
        "1/e, µm": "Length over which the profile falls to 1/e, fitted to its logarithm beyond "
        f"{settings.fit_from_um:g} µm, a short one from the vessel's edge; – if it does not fall that far, or not "
        "exponentially",
        **beyond,
        "Background": "Grey level that was subtracted",
        "D50 by floor": f"Range of D50, in µm, {_FLOORS}",
        "D90 by floor": f"Range of D90, in µm, {_FLOORS}",
    }


def profile_rows(profiles: Sequence[Penetration]) -> tuple[list[list[Any]], list[str]]:
    """Rows of the table of profiles, and tooltips that explain missing numbers."""
    rows = [
        [
            one.image,
            one.area,
            one.n,
            *map(_length, (one.d50_um, one.d90_um, one.decay_um)),
            *(_percent(part.share) for part in one.beyond),
            _length(one.background),
            _between(one.d50_low_um, one.d50_high_um),
            _between(one.d90_low_um, one.d90_high_um),
        ]
        for one in profiles
    ]
    return rows, [one.reason or f"{one.image}, {one.area}" for one in profiles]


def reasons(profiles: Sequence[Penetration], *, has_glass: bool) -> str:
    """Explain missing and uncertain numbers, each reason once."""
    areas: dict[str, list[str]] = {}
    for one in profiles:
        areas.setdefault(one.reason, []).append(f"{one.image}, {one.area}")
    lines = [f"{'; '.join(named)}: {reason}." for reason, named in areas.items() if reason]
    lines += [
        f"{one.image}: D50 is {_between(one.d50_low_um, one.d50_high_um)} µm, for floors between "
        f"{_length(one.background)} and {_length(one.darkest)}, the darkest shell. State the grey level of a "
        "section without probe."
        for one in profiles
        if one.area == "tissue" and not one.d50_high_um <= _DECIDES * one.d50_low_um and not math.isnan(one.d50_low_um)
    ]
    if not has_glass:
        lines.append("There is no blank glass around the tissue, so no background is subtracted.")
    return "\n".join(lines)


def density_rows(table: VesselTable | None, cells: CellDensity | None) -> tuple[list[list[Any]], list[str]]:
    """Rows under `DENSITY_HEADINGS`, and tooltips that define them or explain missing numbers."""
    rows, tips = [], []
    if table is not None:
        n, area = table.n, f"{table.tissue_mm2:.4g} mm²"
        for title, value, tip in (
            (
                "Vessels",
                f"{number(table.density_per_mm2)} per mm²",
                "Vessels whose centroid is in the tissue, including those cut by the border",
            ),
            ("Vessel area", _percent(table.area_fraction), "Share of the tissue inside vessels"),
            (
                "Vessel length",
                f"{number(table.length_density_mm_per_mm2)} mm/mm²",
                "Length of the centrelines of vessels inside the tissue",
            ),
        ):
            rows.append([title, value, n, area])
            tips.append(table.reason or tip)
    if cells is not None:
        area = "–" if math.isnan(cells.tissue_mm2) else f"{cells.tissue_mm2:.4g} mm²"
        rows.append(["Nuclei", f"{number(cells.density_per_mm2)} per mm²", cells.n, area])
        tips.append(
            cells.reason
            or f"Peaks of the stain above the grey level {cells.threshold:.4g}; nuclei that touch may count once"
        )
    return rows, tips


def _between(low: float, high: float) -> str:
    return "–" if math.isnan(low) else f"{_length(low)} to {'further' if math.isnan(high) else _length(high)}"


def _percent(share: float) -> str:
    return "–" if math.isnan(share) else f"{share:.2%}"


class _VesselModel(QAbstractTableModel):
    """Table model of the vessels, by their numbers."""

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        import pandas

        super().__init__()
        self._frame = pandas.DataFrame(rows).drop(columns=[*_HIDDEN], errors="ignore").apply(pandas.to_numeric)
        if rows:
            self._frame = self._frame.set_index(_LABEL, drop=False)
        self._shown = self._frame

    @property
    def columns(self) -> list[str]:
        """Names of the columns, as in a saved file."""
        return list(self._frame.columns)

    def rowCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802 (Qt's name)
        """Number of vessels; a cell has no rows in it."""
        return 0 if parent is not None and parent.isValid() else len(self._frame)

    def columnCount(self, parent: QModelIndex | None = None) -> int:  # noqa: ARG002, N802 (Qt's name)
        """Number of columns."""
        return len(self._frame.columns)

    def data(self, index: QModelIndex, role: int = _Role.DisplayRole) -> object:
        """Rounded number of a cell, and the exact number for its tooltip."""
        if role == _Role.TextAlignmentRole:
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        if role not in (_Role.DisplayRole, _Role.ToolTipRole):
            return None
        value = self._shown.iat[index.row(), index.column()]
        name = self.columns[index.column()]
        if role == _Role.ToolTipRole:
            return f"{_column(name)[0]}: {value}"
        if name == _LABEL:
            return str(value)
        return number(value.item())

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = _Role.DisplayRole) -> object:  # noqa: N802
        """Titles and tooltips of the columns."""
        if orientation == Qt.Orientation.Horizontal and role in (_Role.DisplayRole, _Role.ToolTipRole):
            return _column(self.columns[section])[role == _Role.ToolTipRole]
        return None

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column; missing values come last."""
        if 0 <= column < len(self.columns):
            self.layoutAboutToBeChanged.emit()
            rising = order == Qt.SortOrder.AscendingOrder
            values = self._frame.iloc[:, column].sort_values(ascending=rising, kind="stable")
            rows, moved = values.index.get_indexer(self._shown.index).tolist(), self.persistentIndexList()
            self._shown = self._frame.loc[values.index]
            # the selection follows its vessel
            self.changePersistentIndexList(moved, [self.index(rows[old.row()], old.column()) for old in moved])
            self.layoutChanged.emit()

    def label_at(self, row: int) -> int:
        """Number of the vessel in a row."""
        return int(self._shown.index[row])

    def row_of(self, label: int) -> int | None:
        """Row of a vessel; None if it has none."""
        return int(self._shown.index.get_loc(label)) if label in self._shown.index else None


class VesselTableView(QTableView):
    """Table view of the vessels; `chosen` carries the number of the vessel whose row the user selects."""

    chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.vessels = _VesselModel([])
        self._is_selecting = False
        self.setToolTip("One row per vessel: select one to go to it, or click on a vessel in the viewer")
        self.setFixedHeight(_HEIGHT_PX)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setSortingEnabled(True)
        make_readable(self)
        header = self.horizontalHeader()
        if header is not None:
            # the widths of the columns are taken from a few of thousands of rows
            header.setResizeContentsPrecision(_WIDTHS_FROM_ROWS)
            header.setDefaultAlignment(Qt.AlignmentFlag.AlignCenter)

    @property
    def selected(self) -> int | None:
        """Number of the selected vessel; None for none."""
        selection = self.selectionModel()
        rows = [] if selection is None else selection.selectedRows()
        return self.vessels.label_at(rows[0].row()) if rows else None

    def show_rows(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Show other vessels, in the order of their numbers; the selected one stays selected."""
        former, selected = self.vessels, self.selected
        self.vessels = _VesselModel(rows)
        self.setModel(self.vessels)
        former.deleteLater()
        self.sortByColumn(0, Qt.SortOrder.AscendingOrder)
        fit_columns(self, WIDEST_PX)
        if selected is not None:
            self.select(selected)

    def select(self, label: int) -> bool:
        """Select the row of a vessel and bring it into view; `chosen` is not emitted."""
        row = self.vessels.row_of(label)
        if row is None:
            return False
        self._is_selecting = True
        try:
            self.selectRow(row)
        finally:
            self._is_selecting = False
        self.scrollTo(self.vessels.index(row, 0), QAbstractItemView.ScrollHint.PositionAtCenter)
        return True

    def selectionChanged(self, selected: QItemSelection, deselected: QItemSelection) -> None:  # noqa: N802 (Qt's name)
        """Emit the number of the vessel that the user selected."""
        super().selectionChanged(selected, deselected)
        label = self.selected
        if label is not None and not self._is_selecting:
            self.chosen.emit(label)


def _column(name: str) -> tuple[str, str]:
    """Title and tooltip of a column."""
    words = "Pixels that are nearer to this vessel than to any other" if name.startswith("n within") else name
    return _VESSEL_COLUMNS.get(name, (name, words))
