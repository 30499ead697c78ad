"""Fields of magicgui: drop-down lists whose long names do not make a dock wider, and numbers with units."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox, FloatSpinBox
from qtpy.QtWidgets import QComboBox, QSizePolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Choices = Sequence[tuple[str, Any]]

_SCROLL_BAR_PX = 24


class _ComboBox(ComboBox):
    """Emits `changed` for None too, which is a choice as any other."""

    def _on_value_change(self, value: Any = None) -> None:  # noqa: ANN401 (of any kind)
        self.changed.emit(value)


def combo_box(choices: Callable[[], Choices], tooltip: str) -> ComboBox:
    """A drop-down list whose choices are asked for again with `reset_choices`."""
    box = _ComboBox(choices=lambda _: choices(), tooltip=tooltip)
    elide_names(box, 8)
    return box


def elide_names(box: ComboBox, letters: int = 16) -> None:
    """Keep long names from making the dock wider: they are elided, and shown in full in the open list."""
    box.native.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.native.setMinimumContentsLength(letters)
    box.native.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)


def offer(box: ComboBox, choices: Choices, value: object = None) -> None:
    """Change the list, and choose a value, or the first one where it is not in the list; nothing is emitted."""
    with box.changed.blocked():
        # magicgui would append what is new, whatever its place
        box.native.clear()
        # it falls back on the first list when the box is placed, unless it can ask for it
        box.choices = lambda _: choices
        if value in box.choices:
            box.value = value
    opened = box.native.view()
    opened.setMinimumWidth(opened.sizeHintForColumn(0) + _SCROLL_BAR_PX)


def number_box(value: float, least: float, most: float, unit: str, tooltip: str, decimals: int = 0) -> FloatSpinBox:
    """A number with its unit."""
    box = FloatSpinBox(min=least, max=most, step=1, tooltip=tooltip)
    box.native.setDecimals(decimals)
    box.native.setSuffix(f" {unit}".rstrip())
    box.value = value
    return box
