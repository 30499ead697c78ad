"""Numbers of regions of interest: which there are, what is known of each region, and the table of all regions.

`AGREEMENT` and `COLOCALIZED` are the one list of them; its keys are the columns of the CSV file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

from magicgui.widgets import CheckBox
from qtpy.QtCore import QItemSelectionModel, Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QTableWidgetItem

from napari_hrpn.analysis import Colocalization, MeanAndSd, RandomRois, RoiMeasurement, mean_and_sd
from napari_hrpn.plugin.parts.numbers_table import NumbersTable
from napari_hrpn.plugin.roi_correlation.regions import ListedRoi
from napari_hrpn.reports import number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_hrpn.analysis import Interval


class Quantity(NamedTuple):
    """A number of a region and a prediction."""

    key: str  # Its column in the CSV file
    title: str  # In the table; empty where only the file has it
    definition: str
    name: str = ""  # In GeoJSON, and of the line of co-localisation that it stands in
    is_first: bool = False  # Whether the table has it before more columns are asked for
    has_interval: bool = False  # From a spatial block bootstrap


AGREEMENT = (
    Quantity("pearson_r", "r", "Pearson correlation of all pixels of the region, -1 to 1", "Pearson r", True, True),
    Quantity("r_total", "R_total", "Pearson correlation without pixels that are zero in both, as in Fiji", "R_total"),
    Quantity("slope", "slope", "of the least-squares line, predicted = intercept + slope × real", "Slope", True, True),
    Quantity("intercept", "intercept", "of the least-squares line, in grey levels", "Intercept"),
    Quantity(
        "r2", "R²", "1 - SSE/SST of the prediction itself, not of the line; negative if worse than the mean", "R2"
    ),
    Quantity("rmse", "RMSE", "root of the mean squared error, in grey levels", "RMSE"),
)
DIFFERENCES = (
    Quantity("pearson_r_difference", "Δr", "r less that of the first prediction, blocks paired", has_interval=True),
    Quantity("slope_difference", "Δslope", "slope less that of the first, blocks paired", has_interval=True),
)
_MANDERS, _ABOVE, _COSTES = "Manders M1 / M2", "M1 / M2 above Costes' thresholds", "Costes' thresholds"
COLOCALIZED = (
    Quantity(
        "manders_m1", "M1", "Manders: share of the real grey levels where the prediction is not 0", _MANDERS, True
    ),
    Quantity(
        "manders_m2", "M2", "Manders: share of the predicted grey levels where the real image is not 0", _MANDERS, True
    ),
    Quantity("thresholded_m1", "tM1", "Manders M1 above Costes' thresholds", _ABOVE, True),
    Quantity("thresholded_m2", "tM2", "Manders M2 above Costes' thresholds", _ABOVE, True),
    Quantity("overlap", "overlap", "Overlap coefficient", "overlap coefficient"),
    Quantity("icq", "ICQ", "Li's intensity correlation quotient, -0.5 to 0.5", "Li's ICQ"),
    # the line of the thresholds is in the file alone
    Quantity("costes_slope", "", "Slope of the line on which Costes' thresholds lie", ""),
    Quantity("costes_intercept", "", "Intercept of that line, in grey levels", ""),
    Quantity("costes_threshold_real", "Costes real", "Costes' threshold of the real image, in grey levels", _COSTES),
    Quantity(
        "costes_threshold_predicted", "Costes pred.", "Costes' threshold of the prediction, in grey levels", _COSTES
    ),
)
_INDEX = Qt.ItemDataRole.UserRole
_VALUE = Qt.ItemDataRole.UserRole + 1
_NAME = Quantity("roi", "ROI", "Name of the region")
_N = Quantity("n", "n", "Pixels of the region on the slide, at full resolution")
_SAYS_NOTHING = ("predicted", "prediction", "probe", "qd")


@dataclass(frozen=True)
class Origin:
    """Where a region comes from."""

    file: str | None = None  # Name of the file that its layer was imported from
    random: RandomRois | None = None  # Settings that placed it; None where somebody drew it


class Number(NamedTuple):
    """A number, its interval, and why it is missing or to be doubted."""

    value: float
    interval: Interval | None = None
    reason: str = ""

    @property
    def text(self) -> str:
        """The number with its interval in brackets."""
        low, high = (math.nan, math.nan) if self.interval is None else (self.interval.low, self.interval.high)
        return f"{number(self.value)} [{number(low)}, {number(high)}]" if math.isfinite(low) else number(self.value)


@dataclass(frozen=True, eq=False)
class RoiRow:
    """A region and what is known of it."""

    listed: ListedRoi
    measurement: RoiMeasurement | None = None  # None while it is being measured, or where it cannot be
    problem: str = ""  # Why it cannot be measured; empty where it can
    colocalization: tuple[Colocalization, ...] = ()  # Of each prediction; empty where it was not asked for
    origin: Origin = Origin()

    def numbers(self, k: int) -> dict[str, Number]:
        """What is known of a prediction, by the keys of the quantities."""
        found: dict[str, Number] = {}
        if self.measurement is not None:
            numbers = self.measurement.numbers[k]
            for key, *_ in AGREEMENT:
                source = numbers.agreement if key in ("r2", "rmse") else numbers.regression
                interval = getattr(numbers.intervals, key, None)
                found[key] = Number(float(getattr(source, key)), interval, numbers.regression.reason)
            for key, *_ in DIFFERENCES if numbers.difference is not None else ():
                interval = getattr(numbers.difference, key.removesuffix("_difference"))
                found[key] = Number(interval.estimate, interval)
        if self.colocalization:
            one = self.colocalization[k]
            found |= {key: Number(float(getattr(one, key)), None, one.reason) for key, *_ in COLOCALIZED}
        return found


def short_names(names: Sequence[str]) -> tuple[str, ...]:
    """Names of predictions without the words that tell nothing: common ones, and that it is a prediction."""
    words = [name.split() for name in names]
    if len(words) > 1:
        for end in (0, -1):
            while all(len(name) > 1 for name in words) and len({name[end] for name in words}) == 1:
                words = [name[1:] if end == 0 else name[:-1] for name in words]
        telling = [[word for word in name if word.casefold() not in _SAYS_NOTHING] for name in words]
        if all(telling) and len({tuple(name) for name in telling}) == len(telling):
            words = telling
    return tuple(" ".join(name) for name in words)


def summary(rows: Sequence[RoiRow], predictions: int) -> list[dict[str, MeanAndSd]]:
    """Mean and SD of each number over the regions, by prediction."""
    found = []
    for k in range(predictions):
        records = [row.numbers(k) for row in rows if row.measurement is not None]
        keys = [key for key, *_ in (*AGREEMENT, *(DIFFERENCES if k else ()))]
        found.append({key: mean_and_sd(record[key].value for record in records if key in record) for key in keys})
    return found


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
        self.more_box = CheckBox(
            text="More columns", tooltip="Show all that is known of each region; the files have it in any case"
        )
        self.setToolTip(
            "One row for each region; click a column's name to sort, double-click a row to centre the view on it"
        )
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.more_box.changed.connect(lambda _: self.show_regions(*self._shown))
        self.itemSelectionChanged.connect(self._note_selection)
        self.itemDoubleClicked.connect(lambda item: self.centred.emit(item.data(_INDEX)))

    def show_regions(self, rows: Sequence[RoiRow], names: Sequence[str]) -> None:
        """Show these regions; the one that is selected stays so."""
        self._shown = rows, names
        chosen = self.picked_index()
        was_blocked = self.blockSignals(True)
        self.setSortingEnabled(False)
        has_colocalized = any(row.colocalization for row in rows)
        columns = _columns(len(names), has_more=self.more_box.value, has_colocalized=has_colocalized)
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
