"""Cells of the table of slides: columns, keys and widths."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, Qt, Signal
from qtpy.QtGui import QKeyEvent, QPainter, QPaintEvent, QShowEvent
from qtpy.QtWidgets import QAbstractItemView, QTableWidget, QTableWidgetItem

from napari_hrpn.plugin.train.slide_row import CellBox, TrainingRow, role_tooltip

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtWidgets import QWidget

# title and tooltip
_FIRST_COLUMNS = (
    ("Slide", "File of the slide; its path is shown when you point at it"),
    (
        "Tumour",
        "The tumour or animal a slide is from (double click or F2 to change it).\nSlides of one stay together",
    ),
    (
        "Part",
        "Train: the network learns from it. Validation: it tells which epoch is best.\n"
        "Test: it is kept out of everything. Automatic: train, or validation where nothing else is",
    ),
    (
        "Regions",
        "Where patches may lie: everywhere, in a Shapes or Labels layer, or in a file (GeoJSON or label image).\n"
        "A shape or a layer that is called exclude is left out",
    ),
)
_PATCHES = ("Patches", "Patches that the slide gives with these settings")
SLIDE, TUMOUR, PART, REGIONS, FIRST_ROLE = range(5)
_VISIBLE_ROWS = 4
_CELL_MARGIN_PX, _ROW_MARGIN_PX = 14, 8
_WIDEST_PX = 140
_HINT = "Drop slides here, or add those that are open"
_DELETE_KEYS = (Qt.Key.Key_Delete, Qt.Key.Key_Backspace)
_OPEN_KEYS = (Qt.Key.Key_Space, Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_F2)


class SlideCells(QTableWidget):
    """A table of `TrainingRow`.

    `tumour_changed` says that the user wrote another tumour, `deleted` that the Delete key was pressed.
    """

    tumour_changed = Signal()
    deleted = Signal()

    def __init__(self) -> None:
        super().__init__(0, FIRST_ROLE + 1)
        self._roles: tuple[str, ...] = ()
        self._target = ""
        self._is_fitting = False
        self._is_sized_by_hand = False
        self.setAccessibleName("Slides to train on")
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setWordWrap(False)
        # Tab goes from list to list and then out of the table, the arrows go from cell to cell
        self.setTabKeyNavigation(False)
        self.verticalHeader().hide()
        self.horizontalHeader().setHighlightSections(False)
        self.horizontalHeader().setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        self.horizontalHeader().setSectionsClickable(False)
        row_height = CellBox("").sizeHint().height() + _ROW_MARGIN_PX
        self.verticalHeader().setDefaultSectionSize(row_height)
        # the header and the bar to scroll with are about as high as a row
        self.setMinimumHeight((_VISIBLE_ROWS + 2) * row_height)
        for column, header in enumerate((*_FIRST_COLUMNS, _PATCHES)):
            self._set_header(column, *header)
        self.set_roles(("nuclei", "vessels"), "probe", ())
        self.itemChanged.connect(self._tell_tumour)
        self.horizontalHeader().sectionResized.connect(self._section_resized)

    def set_roles(self, roles: Sequence[str], target: str, rows: Sequence[TrainingRow]) -> bool:
        """Show a column for each role."""
        if (tuple(roles), target) == (self._roles, self._target):
            return False
        for _ in range(self.columnCount() - FIRST_ROLE - 1):
            self.removeColumn(FIRST_ROLE)
        self._roles, self._target = tuple(roles), target
        for column, role in enumerate((*roles, target), FIRST_ROLE):
            self.insertColumn(column)
            self._set_header(column, role.capitalize(), role_tooltip(role, target))
        for index, row in enumerate(rows):
            self._add_role_boxes(index, row)
        self._fit()
        return True

    def add(self, row: TrainingRow) -> None:
        """Show a slide below the others."""
        index = self.rowCount()
        was_blocked = self.blockSignals(True)
        self.insertRow(index)
        self.setItem(index, SLIDE, row.slide_item)
        self.setItem(index, TUMOUR, row.tumour_item)
        self.setItem(index, self.columnCount() - 1, row.patches_item)
        self.blockSignals(was_blocked)
        self._add_box(index, PART, row.part_box)
        self._add_box(index, REGIONS, row.regions_box)
        self._add_role_boxes(index, row)
        self._fit()

    def remove(self, index: int) -> None:
        """Show a slide no more."""
        self.removeRow(index)

    def remove_all(self) -> None:
        """Show no slide."""
        self.setRowCount(0)

    def selected_rows(self) -> list[int]:
        """Indices of the rows that are selected, from the top."""
        return sorted({index.row() for index in self.selectedIndexes()})

    def event(self, event: QEvent | None) -> bool:
        """Take the Delete key before a shortcut of napari does."""
        if (
            isinstance(event, QKeyEvent)
            and event.type() == QEvent.Type.ShortcutOverride
            and event.key() in _DELETE_KEYS
        ):
            event.accept()
            return True
        return bool(super().event(event))

    def keyPressEvent(self, event: QKeyEvent | None) -> None:  # noqa: N802
        """Delete removes, Space, Enter and F2 open the list of a cell."""
        box: QWidget | None = self.cellWidget(self.currentRow(), self.currentColumn())
        if event is not None and event.key() in _DELETE_KEYS:
            self.deleted.emit()
        elif event is not None and event.key() in _OPEN_KEYS and isinstance(box, CellBox):
            box.setFocus()
            box.showPopup()
        else:
            super().keyPressEvent(event)

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802
        """Measure again: napari's style sheet makes the letters wider once they are shown."""
        super().showEvent(event)
        self._fit()

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802
        """Say in an empty table what to do."""
        super().paintEvent(event)
        if not self.rowCount():
            painter = QPainter(self.viewport())
            painter.setOpacity(0.6)
            painter.drawText(self.viewport().rect(), Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap, _HINT)
            painter.end()

    def _set_header(self, column: int, title: str, tooltip: str) -> None:
        header = QTableWidgetItem(title)
        header.setToolTip(tooltip)
        self.setHorizontalHeaderItem(column, header)

    def _fit(self) -> None:
        """Give each column the width that it needs, unless the user has set one."""
        if self._is_sized_by_hand:
            return
        self._is_fitting = True
        for column in range(self.columnCount()):
            wanted = [self._wanted_width(row, column) for row in range(self.rowCount())]
            title = self.horizontalHeader().fontMetrics().horizontalAdvance(self.horizontalHeaderItem(column).text())
            self.setColumnWidth(column, min(_WIDEST_PX, max([title + _CELL_MARGIN_PX, *wanted])))
        self._is_fitting = False

    def _wanted_width(self, row: int, column: int) -> int:
        box, item = self.cellWidget(row, column), self.item(row, column)
        if isinstance(box, CellBox):
            return box.wanted_width
        return int(self.fontMetrics().horizontalAdvance(item.text()) + _CELL_MARGIN_PX) if item is not None else 0

    def _section_resized(self) -> None:
        if not self._is_fitting and self.isVisible():
            self._is_sized_by_hand = True

    def _add_role_boxes(self, index: int, row: TrainingRow) -> None:
        boxes = row.make_role_boxes(self._roles, self._target)
        for column, box in enumerate(boxes.values(), FIRST_ROLE):
            self._add_box(index, column, box)

    def _add_box(self, index: int, column: int, box: CellBox) -> None:
        self.setCellWidget(index, column, box)
        box.focused.connect(lambda: self._select_row_of(box))
        box.changed.connect(self._fit)

    def _select_row_of(self, box: CellBox) -> None:
        index = self.indexAt(box.pos())
        if index.isValid() and index.row() not in self.selected_rows():
            self.selectRow(index.row())

    def _tell_tumour(self, item: QTableWidgetItem) -> None:
        if item.column() == TUMOUR:
            self.tumour_changed.emit()
        self._fit()
