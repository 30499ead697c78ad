"""A field for the size of a pixel: one number in µm, or two where height and width differ."""

from __future__ import annotations

import re

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLineEdit

from napari_hrpn.plugin.parts.user_error import UserError

_NUMBER = r"\d+(?:[.,]\d+)?|[.,]\d+"
_SIZES = re.compile(rf"\s*({_NUMBER})\s*(?:µm|um)?\s*(?:[x×]\s*({_NUMBER})\s*(?:µm|um)?\s*)?", re.IGNORECASE)


class PixelSizeEdit(QLineEdit):
    """Shows a pixel size and lets the user give another; `given` says that this was done."""

    given = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._shown: tuple[float, float] | None = None
        self.setPlaceholderText("not known: type it in µm")
        self.setToolTip(
            "Height and width of a pixel in µm, such as 0.325, or 0.5 x 0.25 where they differ.\n"
            "What you type here is used instead of what the file says"
        )
        self.editingFinished.connect(self._tell)

    def show_size(self, size_um: tuple[float, float] | None) -> None:
        """Show a size."""
        self._shown = size_um
        self.setText(_words(size_um))

    def value(self) -> tuple[float, float] | None:
        """The size in the field."""
        text = self.text()
        # rounded for the eye, it would be another number
        if text == _words(self._shown):
            return self._shown
        if not text.strip():
            return None
        match = _SIZES.fullmatch(text)
        if match is None:
            raise UserError(
                f"The pixel size is {text!r}, expected one or two numbers in µm, such as 0.325 or 0.5 x 0.25."
            )
        height, width = (float(number.replace(",", ".")) for number in (match[1], match[2] or match[1]))
        return height, width

    def _tell(self) -> None:
        if self.text() != _words(self._shown):
            self.given.emit()


def _words(size_um: tuple[float, float] | None) -> str:
    if size_um is None:
        return ""
    height, width = size_um
    return f"{height:.6g} µm" if height == width else f"{height:.6g} x {width:.6g} µm"
