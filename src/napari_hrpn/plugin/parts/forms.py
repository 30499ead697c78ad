"""Rows of forms with aligned titles, drop-down lists, numbers with units, and folds; on magicgui.

What only Qt can do, such as lists to tick and plots, stands beside fields of magicgui in the same rows.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from magicgui.widgets import ComboBox, Container, FileEdit, FloatSpinBox, PushButton, Widget
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QSizePolicy,
    QStyle,
    QStyleOptionComboBox,
    QStylePainter,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible

from napari_hrpn.plugin.parts.plot import Plot

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Choices = Sequence[tuple[str, Any]]

_Field: TypeAlias = Widget | QWidget
_Value: TypeAlias = Any

NO_CHOICE = "–"
_BROWSE_BUTTON_PX = 32
_KEEP = object()
_LONGEST_TITLE = "Background"
_SCROLL_BAR_PX = 24
_ARROW_PX = 38
_GAP_PX = 4
_MOST_STRETCH = 200
"""Of plots: what is left of the height is theirs."""


class _ComboBox(ComboBox):
    """Emits `changed` for None too, which is a choice as any other."""

    def _on_value_change(self, value: _Value = None) -> None:
        self.changed.emit(value)


def combo_box(tooltip: str, choices: Choices = (), title: str = "") -> ComboBox:
    """A drop-down list; `offer` changes its choices."""
    box = _ComboBox(choices=choices, tooltip=tooltip, label=title)
    elide_names(box)
    return box


def elide_names(box: ComboBox) -> None:
    """Keep long names from making the dock wider: they are elided, and shown in full in the open list."""
    box.native.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.native.setMinimumContentsLength(8)
    box.native.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    box.native.installEventFilter(_Elided(box.native))


class _Elided(QObject):
    """Draws a drop-down list with a text that is too long shortened in its middle, where Qt cuts it off."""

    def eventFilter(self, box: QObject | None, event: QEvent | None) -> bool:  # noqa: N802 (Qt's name)
        is_drawn = event is not None and event.type() == QEvent.Type.Paint and isinstance(box, QComboBox)
        if is_drawn:
            _paint_elided(box, _ARROW_PX)
        return is_drawn


def _paint_elided(box: QComboBox, taken_px: int) -> None:
    """Draw a drop-down list, its text elided where it is longer than what the arrow and margins leave."""
    option = QStyleOptionComboBox()
    box.initStyleOption(option)
    room = box.width() - taken_px
    option.currentText = box.fontMetrics().elidedText(box.currentText(), Qt.TextElideMode.ElideMiddle, room)
    painter = QStylePainter(box)
    painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
    painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)
    painter.end()


def offer(box: ComboBox, choices: Choices, value: _Value = _KEEP) -> None:
    """Change a list, and choose a value, or what was chosen, if that is in the list; nothing is emitted."""
    titles = [title for title, _ in choices]
    # magicgui takes two of one title for one
    unique = [
        (title if title not in titles[:index] else f"{title} ({titles[:index].count(title) + 1})", choice)
        for index, (title, choice) in enumerate(choices)
    ]
    wanted = box.value if value is _KEEP else value
    with box.changed.blocked():
        # magicgui would append what is new, whatever its place
        box.native.clear()
        # it falls back on the first list when the box is placed, unless it can ask for it
        box.choices = lambda _: unique
        if wanted in box.choices:
            box.value = wanted
    opened = box.native.view()
    opened.setMinimumWidth(opened.sizeHintForColumn(0) + _SCROLL_BAR_PX)


def number_box(value: float, least: float, most: float, unit: str, tooltip: str, decimals: int = 0) -> FloatSpinBox:
    """A number with its unit."""
    box = FloatSpinBox(min=least, max=most, step=1, tooltip=tooltip)
    box.native.setDecimals(decimals)
    box.native.setSuffix(f" {unit}".rstrip())
    box.value = value
    return box


def browse_button(tooltip: str) -> PushButton:
    """A small button that opens a file dialog."""
    button = PushButton(text="…", tooltip=tooltip)
    button.native.setFixedWidth(_BROWSE_BUTTON_PX)
    return button


def form_rows(fields: Sequence[Widget]) -> Container:
    """Titled fields of magicgui, one below the other."""
    rows = Container(widgets=fields)
    align_titles(rows)
    return rows


def align_titles(rows: Container) -> None:
    """Take away the margins of rows, and give their titles the width of those in other forms."""
    rows.margins = (0, 0, 0, 0)
    titled = [labelled for field in rows if (labelled := field._labeled_widget()) is not None]
    width = max((_title_width(labelled.native.findChild(QLabel)) for labelled in titled), default=0)
    for labelled in titled:
        labelled.label_width = width


def field_row(title: str, fields: Sequence[Widget], *, labels: bool = False) -> Container:
    """Fields of magicgui beside each other that have one title."""
    row = Container(widgets=fields, layout="horizontal", labels=labels, label=title)
    row.margins = (0, 0, 0, 0)
    return row


def titled_rows(fields: Mapping[str, _Field]) -> QWidget:
    """Rows with titles, which line up with those of other forms and show the tooltip of their field."""
    rows = QWidget()
    form = QFormLayout(rows)
    form.setContentsMargins(0, 0, 0, 0)
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
    for title, field in fields.items():
        label = QLabel(title)
        label.setMinimumWidth(_title_width(label))
        label.setToolTip(_native(field).toolTip())
        form.addRow(label, _native(field))
    return rows


def stacked(fields: Sequence[_Field], *, top_px: int = _GAP_PX, right_px: int = 0) -> QWidget:
    """Fields under each other, at the top."""
    whole = QWidget()
    layout = QVBoxLayout(whole)
    layout.setContentsMargins(0, top_px, right_px, 0)
    for field in map(_native, fields):
        layout.addWidget(field, _MOST_STRETCH if isinstance(field, Plot | QTabWidget) else 0)
    layout.addStretch(1)
    return whole


def side_by_side(first: _Field, second: _Field, *, is_second_wide: bool = True) -> QWidget:
    """Two fields side by side; the tooltip of the first is that of both."""
    whole = QWidget()
    whole.setToolTip(_native(first).toolTip())
    line = QHBoxLayout(whole)
    line.setContentsMargins(0, 0, 0, 0)
    line.addWidget(_native(first), 1)
    line.addWidget(_native(second), int(is_second_wide))
    return whole


class FolderField(FileEdit):
    """A folder that a widget proposes and the user may change; `changed` says that one was chosen."""

    def __init__(self, title: str, tooltip: str, button_tooltip: str, unknown: str = "") -> None:
        self._explanation = tooltip
        self._chosen: Path | None = None
        self._proposed: Path | None = None
        super().__init__(mode="d", nullable=True, label=title, tooltip=tooltip)
        self.choose_btn.text, self.choose_btn.tooltip = "…", button_tooltip
        self.choose_btn.native.setFixedWidth(_BROWSE_BUTTON_PX)
        self.line_edit.native.setPlaceholderText(unknown)
        # a path that is being typed is none yet
        self.line_edit.changed.disconnect()
        self.line_edit.native.editingFinished.connect(self._take_typed)
        self._show()

    @property
    def chosen(self) -> Path | None:
        """The folder that was chosen, if any."""
        return self._chosen

    @property
    def shown(self) -> Path | None:
        """The folder that is chosen or proposed."""
        return self._chosen or self._proposed

    def propose(self, folder: Path | None) -> None:
        """Show what is going to be used as long as nothing is chosen."""
        self._proposed = folder
        self._show()

    def choose(self, folder: Path | None) -> None:
        """Use a folder; None takes back what was chosen."""
        self._chosen = folder
        self._show()
        self.changed.emit(folder)

    def get_value(self) -> Path | None:
        """The folder that is chosen or proposed."""
        return self.shown

    def set_value(self, value: Any) -> None:  # noqa: ANN401 (what the dialog gives)
        """Use a folder."""
        self.choose(Path(value) if value else None)

    def _take_typed(self) -> None:
        text = self.line_edit.value.strip()
        if text != str(self.shown or ""):
            self.choose(Path(text).expanduser().absolute() if text else None)

    def _show(self) -> None:
        self.line_edit.value = str(self.shown or "")
        self.line_edit.tooltip = f"{self._explanation}\n{self.shown or self.line_edit.native.placeholderText()}"


class Fold(QCollapsible):
    """A heading that folds and unfolds a widget; what is folded away does not get the Tab key."""

    def __init__(self, title: str, contents: QWidget) -> None:
        super().__init__(title, expandedIcon="▾", collapsedIcon="▸")
        self.addWidget(contents)
        contents.setEnabled(False)
        self.toggled.connect(contents.setEnabled)


def _title_width(label: QLabel) -> int:
    """Width of a title, which is that of other forms too unless it is longer."""
    # napari's style sheet makes the letters wider once the label is shown
    letters = label.fontMetrics()
    longest: int = max(letters.horizontalAdvance(title) for title in (_LONGEST_TITLE, label.text()))
    return round(1.3 * longest)


def _native(field: _Field) -> QWidget:
    return field.native if isinstance(field, Widget) else field
