"""Plots in the colours of the viewer's theme."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from napari.utils.theme import get_theme
from qtpy.QtCore import QObject

if TYPE_CHECKING:
    from collections.abc import Sequence

    import napari
    from qtpy.QtWidgets import QWidget


class _Coloured(Protocol):
    def set_colours(self, background: str, text: str) -> None: ...


class PlotTheme(QObject):
    """Draws plots in the colours of the theme, from now on and whenever that changes."""

    def __init__(self, owner: QWidget, viewer: napari.Viewer, plots: Sequence[_Coloured]) -> None:
        super().__init__(owner)
        self._viewer, self._plots = viewer, plots
        viewer.events.theme.connect(self._show)
        self._show()

    def stop(self) -> None:
        """Follow the theme no more."""
        self._viewer.events.theme.disconnect(self._show)

    def _show(self, event: object = None) -> None:  # noqa: ARG002
        theme = get_theme(self._viewer.theme)
        for plot in self._plots:
            plot.set_colours(theme.background.as_hex(), theme.text.as_hex())
