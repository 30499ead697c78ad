"""Rows of forms with aligned titles, drop-down lists, numbers with units, and folds; made with magicgui.

Plain Qt widgets that magicgui does not have, such as checkable lists and plots, stand in the same rows.
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
"""Stretch factor of plots, which get the rest of the height."""


class _ComboBox(ComboBox):
    """Emits `changed` for None too, which is a choice like any other; magicgui would not."""

    def _on_value_change(self, value: _Value = None) -> None:
        self.changed.emit(value)


def combo_box(tooltip: str, choices: Choices = (), title: str = "") -> ComboBox:
    """Make a drop-down list; `offer` changes its choices."""
    box = _ComboBox(choices=choices, tooltip=tooltip, label=title)
    elide_names(box)
    return box


def elide_names(box: ComboBox) -> None:
    """Elide long names, which would make the dock wider; the open list shows them in full."""
    box.native.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.native.setMinimumContentsLength(8)
    box.native.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    box.native.installEventFilter(_Elided(box.native))


class _Elided(QObject):
    """Draws a drop-down list and shortens a long text in its middle; Qt would cut off its end."""

    def eventFilter(self, box: QObject | None, event: QEvent | None) -> bool:  # noqa: N802 (Qt's name)
        is_drawn = event is not None and event.type() == QEvent.Type.Paint and isinstance(box, QComboBox)
        if is_drawn:
            _paint_elided(box, _ARROW_PX)
        return is_drawn


def _paint_elided(box: QComboBox, taken_px: int) -> None:
    """Draw a drop-down list, with its text elided to the width beside arrow and margins."""
    option = QStyleOptionComboBox()
    box.initStyleOption(option)
    text_px = box.width() - taken_px
    option.currentText = box.fontMetrics().elidedText(box.currentText(), Qt.TextElideMode.ElideMiddle, text_px)
    painter = QStylePainter(box)
    painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
    painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)
    painter.end()


def offer(box: ComboBox, choices: Choices, value: _Value = _KEEP) -> None:
    """Change the choices of a list, and choose a value, or keep the current one; no signal is emitted."""
    titles = [title for title, _ in choices]
    # magicgui would merge two choices with the same title
    unique = [
        (title if title not in titles[:index] else f"{title} ({titles[:index].count(title) + 1})", choice)
        for index, (title, choice) in enumerate(choices)
    ]
    chosen = box.value if value is _KEEP else value
    with box.changed.blocked():
        # magicgui would append new choices at the end instead of inserting them
        box.native.clear()
        # magicgui resets a plain list to the first one when the box gets a parent; a function it calls again
        box.choices = lambda _: unique
        if chosen in box.choices:
            box.value = chosen
    opened = box.native.view()
    opened.setMinimumWidth(opened.sizeHintForColumn(0) + _SCROLL_BAR_PX)


def number_box(value: float, least: float, most: float, unit: str, tooltip: str, decimals: int = 0) -> FloatSpinBox:
    """Make a box for a number with its unit."""
    box = FloatSpinBox(min=least, max=most, step=1, tooltip=tooltip)
    box.native.setDecimals(decimals)
    box.native.setSuffix(f" {unit}".rstrip())
    box.value = value
    return box


def browse_button(tooltip: str) -> PushButton:
    """Make a small button for opening a file dialog."""
    button = PushButton(text="…", tooltip=tooltip)
    button.native.setFixedWidth(_BROWSE_BUTTON_PX)
    return button


def form_rows(fields: Sequence[Widget]) -> Container:
    """Stack titled fields of magicgui."""
    rows = Container(widgets=fields)
    align_titles(rows)
    return rows


def align_titles(rows: Container) -> None:
    """Remove the margins of rows, and give their titles the width of those in other forms."""
    rows.margins = (0, 0, 0, 0)
    titled = [labelled for field in rows if (labelled := field._labeled_widget()) is not None]
    width = max((_title_width(labelled.native.findChild(QLabel)) for labelled in titled), default=0)
    for labelled in titled:
        labelled.label_width = width


def field_row(title: str, fields: Sequence[Widget], *, labels: bool = False) -> Container:
    """Put fields of magicgui side by side under one title."""
    row = Container(widgets=fields, layout="horizontal", labels=labels, label=title)
    row.margins = (0, 0, 0, 0)
    return row


def titled_rows(fields: Mapping[str, _Field]) -> QWidget:
    """Make rows with titles, which line up with those of other forms and show the tooltip of their field."""
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
    """Stack fields at the top of a widget; plots and tabs get the rest of its height."""
    whole = QWidget()
    layout = QVBoxLayout(whole)
    layout.setContentsMargins(0, top_px, right_px, 0)
    for field in map(_native, fields):
        layout.addWidget(field, _MOST_STRETCH if isinstance(field, Plot | QTabWidget) else 0)
    layout.addStretch(1)
    return whole


def side_by_side(first: _Field, second: _Field, *, is_second_wide: bool = True) -> QWidget:
    """Put two fields side by side; the space between them shows the tooltip of the first."""
    whole = QWidget()
    whole.setToolTip(_native(first).toolTip())
    line = QHBoxLayout(whole)
    line.setContentsMargins(0, 0, 0, 0)
    line.addWidget(_native(first), 1)
    line.addWidget(_native(second), int(is_second_wide))
    return whole


class FolderField(FileEdit):
    """A folder that a widget proposes and the user may change; `changed` is emitted when one is chosen."""

    def __init__(self, title: str, tooltip: str, button_tooltip: str, unknown: str = "") -> None:
        self._explanation = tooltip
        self._chosen: Path | None = None
        self._proposed: Path | None = None
        super().__init__(mode="d", nullable=True, label=title, tooltip=tooltip)
        self.choose_btn.text, self.choose_btn.tooltip = "…", button_tooltip
        self.choose_btn.native.setFixedWidth(_BROWSE_BUTTON_PX)
        self.line_edit.native.setPlaceholderText(unknown)
        # a path counts only once it is typed completely
        self.line_edit.changed.disconnect()
        self.line_edit.native.editingFinished.connect(self._take_typed)
        self._show()

    @property
    def chosen(self) -> Path | None:
        """The folder that the user chose; None for none."""
        return self._chosen

    @property
    def shown(self) -> Path | None:
        """The folder that is chosen or proposed."""
        return self._chosen or self._proposed

    def propose(self, folder: Path | None) -> None:
        """Show a folder that is used as long as the user chooses none."""
        self._proposed = folder
        self._show()

    def choose(self, folder: Path | None) -> None:
        """Use a folder; None returns to the proposed one."""
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
    """A heading that folds and unfolds a widget; the Tab key skips folded fields."""

    def __init__(self, title: str, contents: QWidget) -> None:
        super().__init__(title, expandedIcon="▾", collapsedIcon="▸")
        self.addWidget(contents)
        contents.setEnabled(False)
        self.toggled.connect(contents.setEnabled)


def _title_width(label: QLabel) -> int:
    """Width of a title, equal in all forms unless the title is longer than usual."""
    # napari's style sheet makes the letters wider once the label is shown
    letters = label.fontMetrics()
    longest: int = max(letters.horizontalAdvance(title) for title in (_LONGEST_TITLE, label.text()))
    return round(1.3 * longest)


def _native(field: _Field) -> QWidget:
    return field.native if isinstance(field, Widget) else field
