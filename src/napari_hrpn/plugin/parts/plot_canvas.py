"""A canvas of matplotlib's in a widget, as wide as that, and what it tells at the mouse."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtGui import QCursor
from qtpy.QtWidgets import QSizePolicy, QToolTip, QVBoxLayout, QWidget

if TYPE_CHECKING:
    from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
    from matplotlib.figure import Figure


def fill_with_canvas(widget: QWidget, figure: Figure, height_px: int, *, grows: bool = False) -> FigureCanvasQTAgg:
    """Put a figure into a widget that holds nothing else."""
    from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg

    from napari_hrpn.reports import plain_text

    class PlainCanvas(FigureCanvasQTAgg):
        """Draws names as they are."""

        def draw(self) -> None:
            """Draw the figure."""
            plain_text(self.figure)
            super().draw()  # type: ignore[no-untyped-call]

    canvas = PlainCanvas(figure)  # type: ignore[no-untyped-call]
    canvas.setMinimumHeight(height_px)
    if not grows:
        canvas.setMaximumHeight(height_px)
    # the canvas would ask for the size that it was made with
    canvas.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Ignored)
    layout = QVBoxLayout(widget)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.addWidget(canvas)
    return canvas


def tell_at_mouse(words: str, canvas: QWidget) -> None:
    """Show a tooltip where the mouse is, or none."""
    if words:
        QToolTip.showText(QCursor.pos(), words, canvas)
    else:
        QToolTip.hideText()
