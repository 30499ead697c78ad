"""Drop-down list of magicgui whose long names do not make a dock wider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox
from qtpy.QtWidgets import QComboBox, QSizePolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def combo_box(choices: Callable[[], Sequence[tuple[str, Any]]], tooltip: str) -> ComboBox:
    """A drop-down list whose choices are asked for again with `reset_choices`."""
    box = ComboBox(choices=lambda _: choices(), tooltip=tooltip)
    # they are elided, and shown in full in the open list
    box.native.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.native.setMinimumContentsLength(8)
    box.native.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    return box
