"""Warnings in a form: one sentence below the other, and nothing where there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QLabel

from napari_hrpn.plugin.forms.words import breakable

if TYPE_CHECKING:
    from collections.abc import Sequence

WARNING_MARK = "⚠"
WARNING_STYLE = "color: #e3b617"


class WarningLabel(QLabel):
    """Shows warnings; hidden as long as there are none."""

    def __init__(self) -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setStyleSheet(WARNING_STYLE)
        self.warn(())

    def warn(self, sentences: Sequence[str]) -> None:
        """Show warnings; the former ones go.

        Parameters
        ----------
        sentences : sequence of str
            For the user.
        """
        self.setText("\n".join(f"{WARNING_MARK} {breakable(sentence)}" for sentence in sentences))
        self.setVisible(bool(sentences))
