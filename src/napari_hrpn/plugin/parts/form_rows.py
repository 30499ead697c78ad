"""Rows of a form, aligned with those of the forms above and below it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox, Container, PushButton
from qtpy.QtWidgets import QFormLayout, QLabel, QWidget

from napari_hrpn.plugin.parts.combo_box import elide_names, offer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from magicgui.widgets.bases import Widget

_NO_CHOICE = "–"
BROWSE_BUTTON_PX = 32
_LONGEST_TITLE = "Checkpoint"


def form_layout(parent: QWidget) -> QFormLayout:
    """An empty form without margins whose fields take all the width."""
    form = QFormLayout(parent)
    form.setContentsMargins(0, 0, 0, 0)
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
    return form


def add_row(form: QFormLayout, title: str, field: QWidget) -> None:
    """Add a titled field, whose tooltip its title shows too."""
    label = QLabel(title)
    label.setMinimumWidth(title_width(label))
    label.setToolTip(field.toolTip())
    form.addRow(label, field)


def title_width(*labels: QLabel) -> int:
    """Width of titles below each other, which is that of other forms too."""
    titles = [(label, title) for label in labels for title in (_LONGEST_TITLE, label.text())]
    # napari's style sheet makes the letters wider once the label is shown
    width: int = max(label.fontMetrics().horizontalAdvance(title) for label, title in titles)
    return round(1.3 * width)


def form_rows(fields: Sequence[Widget]) -> Container:
    """Titled fields, one below the other."""
    rows = Container(widgets=fields)
    rows.margins = (0, 0, 0, 0)
    align_titles(rows)
    return rows


def align_titles(rows: Container) -> None:
    """Give the titles of fields the width of those in other forms."""
    titled = [labelled for field in rows if (labelled := field._labeled_widget()) is not None]
    width = title_width(*(labelled.native.findChild(QLabel) for labelled in titled))
    for labelled in titled:
        labelled.label_width = width


def field_row(title: str, fields: Sequence[Widget], *, labels: bool = False) -> Container:
    """Fields beside each other that have one title."""
    row = Container(widgets=fields, layout="horizontal", labels=labels, label=title)
    row.margins = (0, 0, 0, 0)
    return row


def choice_field(title: str, tooltip: str, *, is_optional: bool = False) -> ComboBox:
    """A drop-down list of named values; an optional one begins with `_NO_CHOICE`, which stands for None."""
    field = ComboBox(label=title, tooltip=tooltip, nullable=is_optional)
    field.null_string = _NO_CHOICE
    elide_names(field)
    return field


def set_choices(field: ComboBox, choices: Sequence[tuple[str, Any]], value: Any) -> None:  # noqa: ANN401
    """Change a list, and what is chosen in it if that is in the list; no signal comes."""
    titles = [title for title, _ in choices]
    # magicgui takes two of one title for one
    unique = [
        (title if title not in titles[:index] else f"{title} ({titles[:index].count(title) + 1})", choice)
        for index, (title, choice) in enumerate(choices)
    ]
    offer(field, unique, value)


def browse_button(tooltip: str) -> PushButton:
    """A small button that opens a file dialog."""
    button = PushButton(text="…", tooltip=tooltip)
    button.native.setFixedWidth(BROWSE_BUTTON_PX)
    return button
