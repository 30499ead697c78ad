"""Drop-down list of named values that keeps its choice when the list changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QSizePolicy, QWidget

if TYPE_CHECKING:
    from collections.abc import Sequence

_Value: TypeAlias = Any
_SCROLL_BAR_PX = 24


class ChoiceBox(QComboBox):
    """A drop-down list of values.

    `changed` says that another value was chosen, by the user or because the former one is gone.
    """

    changed = Signal()

    def __init__(self, tooltip: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._values: list[_Value] = []
        self.setToolTip(tooltip)
        # long names must not make the dock wider: they are elided, and shown in full in the open list
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(16)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.currentIndexChanged.connect(self._tell)

    @property
    def value(self) -> _Value:
        """What is chosen; None where there is nothing to choose from."""
        index = self.currentIndex()
        return self._values[index] if 0 <= index < len(self._values) else None

    def choose(self, value: _Value) -> None:
        """Choose a value, if it is in the list."""
        index = self._index_of(value)
        if index is not None:
            self.setCurrentIndex(index)

    def offer(self, choices: Sequence[tuple[str, _Value]], preferred: _Value = None, *, keep: bool = True) -> None:
        """Change the list."""
        before = self.value
        was_blocked = self.blockSignals(True)
        self.clear()
        self._values = [value for _, value in choices]
        self.addItems([title for title, _ in choices])
        index = self._index_of(before) if keep and before is not None else None
        if index is None:
            index = self._index_of(preferred)
        self.setCurrentIndex(index or 0 if choices else -1)
        self.blockSignals(was_blocked)
        self.view().setMinimumWidth(self.view().sizeHintForColumn(0) + _SCROLL_BAR_PX)
        if self.value is not before:
            self.changed.emit()

    def _index_of(self, wanted: _Value) -> int | None:
        found = (
            i
            for i, value in enumerate(self._values)
            if value is wanted or (type(value) is type(wanted) and value == wanted)
        )
        return next(found, None)

    def _tell(self) -> None:
        self.changed.emit()
