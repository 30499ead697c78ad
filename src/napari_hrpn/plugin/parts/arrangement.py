"""Fields of magicgui and widgets of Qt under each other, side by side, and in rows with titles."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from magicgui.widgets import Widget
from qtpy.QtWidgets import QHBoxLayout, QTabWidget, QVBoxLayout, QWidget

from napari_hrpn.plugin.parts.form_rows import add_row, form_layout
from napari_hrpn.plugin.parts.plot import Plot

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_Field: TypeAlias = Widget | QWidget
_GAP_PX = 4
_MOST_STRETCH = 200
"""Of plots: what is left of the height is theirs."""


def titled_rows(fields: Mapping[str, _Field]) -> QWidget:
    """Rows with titles, which line up with those of other forms."""
    rows = QWidget()
    form = form_layout(rows)
    for title, field in fields.items():
        add_row(form, title, _native(field))
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


def _native(field: _Field) -> QWidget:
    return field.native if isinstance(field, Widget) else field
