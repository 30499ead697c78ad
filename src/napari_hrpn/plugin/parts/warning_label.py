"""Warnings in a form: one sentence below the other, and nothing where there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_hrpn.plugin.parts.tone_label import WARNING, ToneLabel

if TYPE_CHECKING:
    from collections.abc import Sequence

WARNING_MARK = "⚠"


class WarningLabel(ToneLabel):
    """Shows warnings; hidden as long as there are none."""

    def __init__(self) -> None:
        super().__init__(WARNING)

    def warn(self, sentences: Sequence[str]) -> None:
        """Show warnings; the former ones go."""
        self.say("\n".join(f"{WARNING_MARK} {sentence}" for sentence in sentences))
