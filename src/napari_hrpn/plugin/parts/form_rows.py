"""Rows of a form that line up with those of the forms above and below it."""

from __future__ import annotations

from qtpy.QtWidgets import QFormLayout, QLabel, QPushButton, QWidget

_LONGEST_TITLE = "Checkpoint"
_BROWSE_BUTTON_PX = 32


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


def browse_button(tooltip: str) -> QPushButton:
    """A small button that opens a file dialog."""
    button = QPushButton("…")
    button.setToolTip(tooltip)
    button.setFixedWidth(_BROWSE_BUTTON_PX)
    return button
