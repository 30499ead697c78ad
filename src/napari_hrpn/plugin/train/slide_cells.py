"""Table cells of the slides of a training: texts, and drop-down lists that open on a click or a key."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QAbstractTableModel, QEvent, QModelIndex, QPersistentModelIndex, Qt, QTimer, Signal
from qtpy.QtGui import QKeyEvent, QPainter, QPaintEvent, QShowEvent
from qtpy.QtWidgets import (
    QApplication,
    QComboBox,
    QFileDialog,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QWidget,
)

from napari_hrpn.plugin.parts.messages import WARNING_MARK
from napari_hrpn.plugin.parts.quality_check import findings_tooltip, warnings_of
from napari_hrpn.plugin.parts.saving import fit_columns, make_readable
from napari_hrpn.plugin.train.slide_rows import EVERYWHERE, FROM_FILE, TrainingRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    Choices = Sequence[tuple[str, Any]]

# title and tooltip
_FIRST_COLUMNS = (
    ("Slide", "File of the slide; its path is shown when you point at it"),
    (
        "Tumour",
        "The tumour or animal a slide is from (double click or F2 to change it).\nSlides of one stay together",
    ),
    (
        "Part",
        "Train: the network learns from it. Validation: the best epoch is chosen on it.\n"
        "Test: it is not used. Automatic: train, or validation if no other slide is",
    ),
    (
        "Regions",
        "Where patches may lie: everywhere, in a Shapes or Labels layer, or in a file (GeoJSON or label image).\n"
        "Shapes or layers with exclude in their name are left out",
    ),
)
_PATCHES = ("Patches", "Patches that the slide gives with these settings")
SLIDE, TUMOUR, PART, REGIONS, FIRST_ROLE = range(5)
_PARTS = (("automatic", "auto"), ("train", "train"), ("validation", "validation"), ("test", "test"))
_NO_CHANNEL = "–"
_REGION_FILES = "Regions (*.geojson *.json *.tif *.tiff *.png *.npy);;All files (*)"
_VISIBLE_ROWS = 4
_ROW_MARGIN_PX, _SCROLL_BAR_PX = 8, 24
_WIDEST_PX = 140
_HINT = "Drop slides here, or press Add open slides"
_DELETE_KEYS = (Qt.Key.Key_Delete, Qt.Key.Key_Backspace)
_OPEN_KEYS = (Qt.Key.Key_Space, Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_F2)
_Role = Qt.ItemDataRole


class SlidesModel(QAbstractTableModel):
    """Model of the table; `edited` carries the row that the user has changed."""

    edited = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[TrainingRow] = []
        # the last role is the target
        self.roles: tuple[str, ...] = ("nuclei", "vessels", "probe")
        self._layers: list[tuple[str, Any]] = []

    def set_rows(self, rows: Sequence[TrainingRow]) -> None:
        """Show other slides."""
        self.beginResetModel()
        self.rows = list(rows)
        for row in self.rows:
            row.ask_for(self.roles)
        self.endResetModel()

    def set_roles(self, roles: Sequence[str]) -> None:
        """Show a column for each role."""
        self.roles = tuple(roles)
        self.set_rows(self.rows)

    def offer_layers(self, layers: Sequence[tuple[str, Any]]) -> None:
        """Offer layers with regions."""
        self._layers = list(layers)
        self.refresh()

    def refresh(self) -> None:
        """Show changes of the rows."""
        if self.rows:
            self.dataChanged.emit(self.index(0, 0), self.index(len(self.rows) - 1, self.columnCount() - 1))

    def choices(self, index: QModelIndex) -> Choices:
        """Titles and values of the list of a cell; empty for a text."""
        row, column = self.rows[index.row()], index.column()
        if column == PART:
            return _PARTS
        if column == REGIONS:
            files = [(path.name, path) for path in row.region_files]
            return [("everywhere", EVERYWHERE), *self._layers, *files, ("from file …", FROM_FILE)]
        if FIRST_ROLE <= column < FIRST_ROLE + len(self.roles):
            return [(_NO_CHANNEL, None), *((name, index) for index, name in enumerate(row.slide.channel_names))]
        return ()

    def value(self, index: QModelIndex) -> Any:  # noqa: ANN401 (of any kind)
        """Value of a cell."""
        row, column = self.rows[index.row()], index.column()
        if column >= FIRST_ROLE + len(self.roles):
            return row.patches
        if column >= FIRST_ROLE:
            return row.channel_of[self.roles[column - FIRST_ROLE]]
        mark = f"{WARNING_MARK} " if warnings_of(row.findings) else ""
        return (f"{mark}{row.label}", row.tumour, row.part, row.regions)[column]

    def rowCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802 (Qt's name)
        """Number of slides; a cell has no rows in it."""
        return 0 if parent is not None and parent.isValid() else len(self.rows)

    def columnCount(self, parent: QModelIndex | None = None) -> int:  # noqa: ARG002, N802 (Qt's name)
        """Number of columns."""
        return FIRST_ROLE + len(self.roles) + 1

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = _Role.DisplayRole) -> object:  # noqa: N802
        """Titles and tooltips of the columns."""
        if orientation != Qt.Orientation.Horizontal or role not in (_Role.DisplayRole, _Role.ToolTipRole):
            return None
        headers = (*_FIRST_COLUMNS, *((name.capitalize(), self._role_tooltip(name)) for name in self.roles), _PATCHES)
        return headers[section][role == _Role.ToolTipRole]

    def flags(self, index: QModelIndex) -> Qt.ItemFlag:
        """All columns but the slide and its number of patches are editable."""
        is_editable = TUMOUR <= index.column() < self.columnCount() - 1
        return super().flags(index) | (Qt.ItemFlag.ItemIsEditable if is_editable else Qt.ItemFlag.NoItemFlags)

    def data(self, index: QModelIndex, role: int = _Role.DisplayRole) -> object:
        """Text and tooltip of a cell."""
        is_count = index.column() == self.columnCount() - 1
        if role == _Role.TextAlignmentRole and is_count:
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        if role == _Role.ToolTipRole:
            row = self.rows[index.row()]
            facts = "\n".join([row.facts, *findings_tooltip(row.findings)])
            return (
                facts if index.column() == SLIDE else self.headerData(index.column(), Qt.Orientation.Horizontal, role)
            )
        if role not in (_Role.DisplayRole, _Role.EditRole):
            return None
        value, choices = self.value(index), self.choices(index)
        return next((title for title, choice in choices if choice == value), "") if choices else value

    def setData(self, index: QModelIndex, value: Any, role: int = _Role.EditRole) -> bool:  # noqa: ANN401, ARG002, N802
        """Set the value that the user has chosen or typed."""
        row, column = self.rows[index.row()], index.column()
        if column == REGIONS and value == FROM_FILE:
            folder = str(row.slide.source.parent)
            window = QApplication.activeWindow()
            name, _ = QFileDialog.getOpenFileName(window, f"Regions of {row.title}", folder, _REGION_FILES)
            value = Path(name) if name else row.regions
        if value == self.value(index):
            return False
        if column == REGIONS:
            row.regions = value
            if isinstance(value, Path) and value not in row.region_files:
                row.region_files.append(value)
        elif column == TUMOUR:
            row.tumour = value
        elif column == PART:
            row.part = value
        else:
            row.channel_of[self.roles[column - FIRST_ROLE]] = value
        self.refresh()
        self.edited.emit(row)
        return True

    def _role_tooltip(self, role: str) -> str:
        examples = {"nuclei": ", such as DAPI or Hoechst", "vessels": ", such as CD31 or endomucin"}
        what = "real nanoprobe" if role == "probe" else role
        use = "the network learns to predict it" if role == self.roles[-1] else "an input of the network"
        return f"Channel that shows the {what}{examples.get(role, '')}: {use}"


class _ListDelegate(QStyledItemDelegate):
    """Cells with an arrow and a drop-down list, in which a choice counts at once."""

    def initStyleOption(self, option: Any, index: QModelIndex) -> None:  # noqa: ANN401, N802 (Qt's)
        """Show an arrow in cells with a list."""
        super().initStyleOption(option, index)
        if _choices(index):
            option.text = f"{option.text} ▾"

    def createEditor(  # noqa: N802 (Qt's name)
        self, parent: QWidget | None, option: QStyleOptionViewItem, index: QModelIndex
    ) -> QWidget | None:
        """Open the list, or a text field."""
        choices = _choices(index)
        if not choices:
            return super().createEditor(parent, option, index)
        box = QComboBox(parent)
        box.addItems([title for title, _ in choices])
        opened = box.view()
        opened.setMinimumWidth(opened.sizeHintForColumn(0) + _SCROLL_BAR_PX)
        box.activated.connect(partial(self._choose, box, QPersistentModelIndex(index)))
        QTimer.singleShot(0, box.showPopup)
        return box

    def setEditorData(self, editor: QWidget | None, index: QModelIndex) -> None:  # noqa: N802 (Qt's name)
        """Show the value of the cell."""
        if isinstance(editor, QComboBox):
            values, model = [value for _, value in _choices(index)], index.model()
            assert isinstance(model, SlidesModel)
            editor.setCurrentIndex(values.index(model.value(index)))
        else:
            super().setEditorData(editor, index)

    def setModelData(self, editor: QWidget | None, model: Any, index: QModelIndex) -> None:  # noqa: ANN401, N802
        """Set a typed text; `_choose` has set the choice of a list already."""
        if not isinstance(editor, QComboBox):
            super().setModelData(editor, model, index)

    def _choose(self, box: QComboBox, cell: QPersistentModelIndex, number: int) -> None:
        index = QModelIndex(cell)
        _, value = _choices(index)[number]
        # the list is closed first: a choice may open a dialog, which takes the focus
        self.closeEditor.emit(box)
        index.model().setData(index, value)


def _choices(index: QModelIndex) -> Choices:
    model = index.model()
    return model.choices(index) if isinstance(model, SlidesModel) else ()


class SlideCells(QTableView):
    """Table view of the slides; `deleted` is emitted when the Delete key is pressed."""

    deleted = Signal()

    def __init__(self, model: SlidesModel) -> None:
        super().__init__()
        self._is_fitting = False
        self._is_sized_by_hand = False
        self.setModel(model)
        self.setItemDelegate(_ListDelegate(self))
        self.setAccessibleName("Slides to train on")
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setWordWrap(False)
        make_readable(self)
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setSectionsClickable(False)
        header.sectionResized.connect(self._section_resized)
        row_height = QComboBox().sizeHint().height() + _ROW_MARGIN_PX
        self.verticalHeader().setDefaultSectionSize(row_height)
        # header and scroll bar are each about as high as a row
        self.setMinimumHeight((_VISIBLE_ROWS + 2) * row_height)
        self.clicked.connect(self._open_list)
        for changed in (model.dataChanged, model.modelReset):
            changed.connect(self._fit)

    def selected_rows(self) -> list[int]:
        """Indices of the selected rows, from the top."""
        return sorted({index.row() for index in self.selectedIndexes()})

    def event(self, event: QEvent | None) -> bool:
        """Accept the Delete key before napari uses it as a shortcut."""
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
        if event is not None and event.key() in _DELETE_KEYS:
            self.deleted.emit()
        elif event is not None and event.key() in _OPEN_KEYS and _choices(self.currentIndex()):
            self.edit(self.currentIndex())
        else:
            super().keyPressEvent(event)

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802
        """Measure again: napari's style sheet makes the letters wider once they are shown."""
        super().showEvent(event)
        self._fit()

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802
        """Show a hint in an empty table."""
        super().paintEvent(event)
        if not self.model().rowCount():
            painter = QPainter(self.viewport())
            painter.setOpacity(0.6)
            painter.drawText(self.viewport().rect(), Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap, _HINT)
            painter.end()

    def _open_list(self, index: QModelIndex) -> None:
        if _choices(index):
            self.edit(index)

    def _fit(self) -> None:
        """Fit the widths of the columns to their texts, unless the user has changed one."""
        if not self._is_sized_by_hand:
            self._is_fitting = True
            fit_columns(self, _WIDEST_PX)
            self._is_fitting = False

    def _section_resized(self) -> None:
        if not self._is_fitting and self.isVisible():
            self._is_sized_by_hand = True
