"""Matplotlib plot in the colours of the theme: drawn once for many changes, and only while it is visible."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari.utils.theme import get_theme
from qtpy.QtCore import QObject
from qtpy.QtGui import QCursor
from qtpy.QtWidgets import QSizePolicy, QToolTip, QVBoxLayout, QWidget

from napari_hrpn.plugin.background import soon

if TYPE_CHECKING:
    from collections.abc import Sequence

    import napari
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
    from matplotlib.figure import Figure
    from qtpy.QtGui import QShowEvent

_SAVED_PX_PER_INCH = 100
LEFT_PX, RIGHT_PX, _BOTTOM_PX, _TOP_PX = 62, 10, 44, 34
"""Margins for tick labels, axis labels and title."""
TEXT_POINTS = 8
_TITLE_PAD_POINTS = 12
"""Distance that leaves room for the power of ten above an axis."""


@dataclass(frozen=True)
class Ink:
    """Colours to draw with."""

    background: str
    text: str  # colour of text and axes, and of the real image's curves


ON_PAPER = Ink("#ffffff", "#222222")


class Plot(QWidget):
    """A matplotlib canvas; a subclass draws on it in `draw_on`."""

    row_gap_px = _TOP_PX + _BOTTOM_PX
    """Distance between axes in one column."""
    redraw_ms = 60

    def __init__(self, height_px: int) -> None:
        super().__init__()
        from matplotlib.figure import Figure

        self._ink = Ink("#262930", "#f0f1f2")
        self._is_stale = True
        self._unmarked: Any = None
        self.figure = Figure()
        self.canvas = _canvas_of(self.figure, height_px)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.canvas)
        self.canvas.mpl_connect("motion_notify_event", self._show_tooltip)
        self.canvas.mpl_connect("button_press_event", self.pressed)
        self.canvas.mpl_connect("draw_event", self._remember)
        # the resize event of the canvas, which draws itself next; this widget may be resized without its canvas
        self.canvas.mpl_connect("resize_event", self._fit)
        self._soon = soon(self, self._draw, self.redraw_ms)

    def draw_on(self, figure: Figure, ink: Ink) -> None:
        """Draw everything on an empty figure."""
        raise NotImplementedError

    def arrange(self, figure: Figure, width: int, height: int) -> None:
        """Leave margins around the axes for labels; matplotlib's own layouts take half of the drawing time."""
        grid = figure.axes[0].get_gridspec() if figure.axes else None
        if grid is None:
            return
        rows, columns = grid.get_geometry()
        column_gap_px = LEFT_PX + RIGHT_PX
        width = max(width, columns * (column_gap_px + 1))
        height = max(height, _TOP_PX + _BOTTOM_PX + (rows - 1) * self.row_gap_px + rows)
        figure.subplots_adjust(
            left=LEFT_PX / width,
            right=1 - RIGHT_PX / width,
            bottom=_BOTTOM_PX / height,
            top=1 - _TOP_PX / height,
            wspace=column_gap_px * columns / (width - columns * column_gap_px),
            hspace=self.row_gap_px * rows / (height - _TOP_PX - _BOTTOM_PX - (rows - 1) * self.row_gap_px),
        )

    def words_at(self, event: Any) -> str:  # noqa: ANN401, ARG002 (matplotlib's event)
        """Text for the tooltip at the mouse; empty for none."""
        return ""

    def pressed(self, event: Any) -> None:  # noqa: ANN401 (matplotlib's event)
        """React to a press of a mouse button."""

    def marks(self) -> Sequence[Artist]:
        """Artists that are drawn over the plot and move often."""
        return ()

    def set_colours(self, background: str, text: str) -> None:
        """Draw in the colours of a theme from now on."""
        self._ink = Ink(background, text)
        self.redraw_soon()

    def redraw_soon(self) -> None:
        """Draw again soon, once for several changes."""
        self._is_stale = True
        if not self._soon.isActive():
            self._soon.start()

    @property
    def is_drawn(self) -> bool:
        """Whether the plot is up to date, or hidden."""
        return not self.isVisible() or not (self._is_stale or self._unmarked is None)

    def redraw_marks(self) -> None:
        """Draw the marks again and nothing else, which is fast enough to follow the mouse."""
        if self._unmarked is None or self._is_stale or not self.isVisible():
            return
        self.canvas.restore_region(self._unmarked)  # type: ignore[no-untyped-call]
        self._draw_marks()
        # matplotlib's `blit` would paint now, and Qt once more together with the window
        self.canvas.update()

    def figure_to_save(self) -> Figure:
        """The same plot, dark on white."""
        from matplotlib.figure import Figure

        width, height = max(self.canvas.width(), 1), max(self.canvas.height(), 1)
        figure = Figure(figsize=(width / _SAVED_PX_PER_INCH, height / _SAVED_PX_PER_INCH))
        figure.set_facecolor(ON_PAPER.background)
        self.draw_on(figure, ON_PAPER)
        self.arrange(figure, width, height)
        return figure

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802 (Qt's name)
        """Draw the changes made while it was hidden."""
        super().showEvent(event)
        self._draw()

    def _draw(self) -> None:
        if not self._is_stale or not self.isVisible():
            return
        self._is_stale = False
        self.figure.clear()
        self.figure.set_facecolor(self._ink.background)
        self.draw_on(self.figure, self._ink)
        self.arrange(self.figure, self.canvas.width(), self.canvas.height())
        self.canvas.draw()  # type: ignore[no-untyped-call]

    def _fit(self, event: Any) -> None:  # noqa: ANN401, ARG002 (matplotlib's event)
        self.arrange(self.figure, self.canvas.width(), self.canvas.height())
        self._unmarked = None

    def _remember(self, event: Any) -> None:  # noqa: ANN401, ARG002 (matplotlib's event)
        self._unmarked = self.canvas.copy_from_bbox(self.figure.bbox)  # type: ignore[no-untyped-call]
        self._draw_marks()

    def _draw_marks(self) -> None:
        for mark in self.marks():
            if mark.axes is not None:
                mark.axes.draw_artist(mark)

    def _show_tooltip(self, event: Any) -> None:  # noqa: ANN401 (matplotlib's event)
        words = self.words_at(event) if event.inaxes is not None else ""
        if words:
            QToolTip.showText(QCursor.pos(), words, self.canvas)
        else:
            QToolTip.hideText()


def _canvas_of(figure: Figure, height_px: int) -> FigureCanvasQTAgg:
    """Make a canvas that fills the available width."""
    from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg

    from napari_hrpn.reports import plain_text

    class PlainCanvas(FigureCanvasQTAgg):
        """Draws names literally: matplotlib would read dollar signs as formulas."""

        def draw(self) -> None:
            """Draw the figure."""
            plain_text(self.figure)
            super().draw()  # type: ignore[no-untyped-call]

    canvas = PlainCanvas(figure)  # type: ignore[no-untyped-call]
    canvas.setMinimumHeight(height_px)
    # otherwise Qt would keep the canvas at its first size
    canvas.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Ignored)
    return canvas


class PlotTheme(QObject):
    """Draws plots in the colours of the theme, and again when the theme changes."""

    def __init__(self, owner: QWidget, viewer: napari.Viewer, plots: Sequence[Plot]) -> None:
        super().__init__(owner)
        self._viewer, self._plots = viewer, plots
        viewer.events.theme.connect(self._show)
        self._show()

    def stop(self) -> None:
        """Disconnect from the theme."""
        self._viewer.events.theme.disconnect(self._show)

    def _show(self, event: object = None) -> None:  # noqa: ARG002
        theme = get_theme(self._viewer.theme)
        for plot in self._plots:
            plot.set_colours(theme.background.as_hex(), theme.text.as_hex())


def short(name: str, longest: int) -> str:
    """Shorten a long name in its middle."""
    kept = longest - 1
    return name if len(name) <= longest else f"{name[: kept - kept // 2]}…{name[len(name) - kept // 2 :]}"


def dress(axes: Axes, ink: Ink, *, across: str = "", up: str = "", title: str = "") -> None:
    """Give axes the common colours and fonts, and their labels and title."""
    axes.set_facecolor(ink.background)
    axes.tick_params(colors=ink.text, which="both", labelsize=TEXT_POINTS)
    axes.set_xlabel(across, color=ink.text, fontsize=TEXT_POINTS)
    axes.set_ylabel(up, color=ink.text, fontsize=TEXT_POINTS)
    axes.set_title(title, loc="left", color=ink.text, fontsize=TEXT_POINTS + 1, pad=_TITLE_PAD_POINTS)
    for axis in (axes.xaxis, axes.yaxis):
        axis.get_offset_text().set(color=ink.text, fontsize=TEXT_POINTS)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(ink.text)


def number_log_axis(axes: Axes) -> None:
    """Make the y axis logarithmic, with short numbers, and more of them if it spans little."""
    from matplotlib.ticker import LogFormatter

    class Plain(LogFormatter):
        """1e5 and 1e−5, where matplotlib writes 1e+05 and 1e−05."""

        def __call__(self, x: float, pos: int | None = None) -> str:
            return str(super().__call__(x, pos)).replace("e+0", "e").replace("e\u22120", "e\u2212")

    axes.set_yscale("log", nonpositive="mask")
    for set_formatter in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        set_formatter(Plain(minor_thresholds=(1.0, 0.4)))


def explain(axes: Axes, ink: Ink) -> None:
    """Add a legend inside the axes."""
    legend = axes.legend(fontsize=TEXT_POINTS, framealpha=0.4, labelcolor=ink.text)
    legend.get_frame().set_facecolor(ink.background)
    legend.get_frame().set_edgecolor("none")


def say_in(figure: Figure, words: str, ink: Ink) -> None:
    """Write a sentence in place of a plot."""
    figure.text(0.5, 0.5, words, ha="center", va="center", color=ink.text, fontsize=TEXT_POINTS + 1, wrap=True)
