"""A box for numbers of any magnitude, such as a learning rate of 0.00001."""

from __future__ import annotations

from qtpy.QtGui import QValidator
from qtpy.QtWidgets import QDoubleSpinBox

_DECIMALS = 15


class ScientificBox(QDoubleSpinBox):
    """Shows as many digits as a number has; its arrows double and halve it."""

    def __init__(self, least: float, most: float) -> None:
        super().__init__()
        self.setDecimals(_DECIMALS)
        self.setRange(least, most)

    def textFromValue(self, value: float) -> str:  # noqa: N802 (Qt's name)
        """The number, in the form that is shorter."""
        return f"{value:.6g}"

    def valueFromText(self, text: str | None) -> float:  # noqa: N802 (Qt's name)
        """The number that was typed."""
        return _number(text)

    def validate(self, text: str | None, position: int) -> tuple[QValidator.State, str, int]:
        """Whether a text is a number, or may become one."""
        try:
            is_in_range = self.minimum() <= _number(text) <= self.maximum()
        except ValueError:
            return QValidator.State.Intermediate, text or "", position
        state = QValidator.State.Acceptable if is_in_range else QValidator.State.Intermediate
        return state, text or "", position

    def stepBy(self, steps: int) -> None:  # noqa: N802 (Qt's name)
        """Double, or halve."""
        self.setValue(self.value() * 2.0**steps)


def _number(text: str | None) -> float:
    return float((text or "").replace(",", "."))
