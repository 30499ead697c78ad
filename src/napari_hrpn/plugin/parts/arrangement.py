"""Widgets under each other and side by side, without margins of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from napari_hrpn.plugin.parts.plot import Plot

if TYPE_CHECKING:
    from collections.abc import Sequence

_GAP_PX = 4
MOST_STRETCH = 200
"""Of plots: what is left of the height is theirs."""


def stacked(widgets: Sequence[QWidget]) -> QWidget:
    """Stand widgets under each other, at the top."""
    whole = QWidget()
    layout = QVBoxLayout(whole)
    layout.setContentsMargins(0, _GAP_PX, 0, 0)
    for widget in widgets:
        layout.addWidget(widget, MOST_STRETCH if isinstance(widget, Plot) else 0)
    layout.addStretch(1)
    return whole


def side_by_side(first: QWidget, second: QWidget, *, is_second_wide: bool = True) -> QWidget:
    """Stand two widgets side by side; the tooltip of the first is that of both."""
    whole = QWidget()
    whole.setToolTip(first.toolTip())
    line = QHBoxLayout(whole)
    line.setContentsMargins(0, 0, 0, 0)
    line.addWidget(first, 1)
    line.addWidget(second, int(is_second_wide))
    return whole
