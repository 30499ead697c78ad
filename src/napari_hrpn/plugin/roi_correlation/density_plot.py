"""The density of a region on the screen, fast enough to follow a region that is dragged.

Axes and labels are drawn when they change; else only the density and its lines are drawn over them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget

from napari_hrpn.plugin.parts.debounce import soon
from napari_hrpn.plugin.parts.plot import fill_with_canvas, tell_at_mouse
from napari_hrpn.plugin.roi_correlation.density_axes import DensityAxes

if TYPE_CHECKING:
    from qtpy.QtGui import QResizeEvent, QShowEvent

    from napari_hrpn.analysis import RoiMeasurement

_LEAST_HEIGHT_PX = 220
_MARGINS_PX = 62, 74, 42, 26
"""Left, right, bottom, top: room for tick labels, the scale of the colours, the name of the axis, and the title."""
_BAR_PX = 10, 14
"""Width of the scale of the colours, and its distance from the axes."""


class DensityPlot(QWidget):
    """Draws a density.

    `drawn` says that what was asked for is drawn; it is on the screen with the next frame of the window.
    """

    drawn = Signal()

    def __init__(self, background: str = "#23242b", text: str = "#f0f1f2") -> None:
        super().__init__()
        from matplotlib.figure import Figure

        figure = Figure()
        self.density = DensityAxes(figure.add_subplot(), is_animated=True)
        self._bar_axes = figure.add_axes((0.9, 0.1, 0.02, 0.8))
        self.canvas = fill_with_canvas(self, figure, _LEAST_HEIGHT_PX, grows=True)
        self.canvas.mpl_connect("motion_notify_event", self._tell)
        self.canvas.mpl_connect("draw_event", self._keep_background)
        self._words = figure.text(0.5, 0.5, "", ha="center", va="center", fontsize=9, wrap=True, color=text)
        self._background: Any = None
        self._is_stale = self._is_complete = False
        self._make_bar()
        self.set_colours(background, text)
        # several requests of one turn are drawn once, where axes and labels are drawn too
        self._soon = soon(self, self._draw)

    @property
    def words(self) -> str:
        """The sentence that stands in place of a density; empty where there is one."""
        return self._words.get_text()

    def set_colours(self, background: str, text: str) -> None:
        """Draw in the colours of a theme."""
        figure = self.canvas.figure
        figure.set_facecolor(background)
        for axes in (self.density.axes, self._bar_axes):
            axes.set_facecolor(background)
            axes.tick_params(colors=text, which="both")
            for part in (axes.xaxis.label, axes.yaxis.label, axes.title):
                part.set_color(text)
            for spine in axes.spines.values():
                spine.set_color(text)
        self._title_colour = text
        self._words.set_color(text)
        self._draw_all_soon()

    def show_measurement(self, measurement: RoiMeasurement | None, which: int, title: str, words: str = "") -> None:
        """Show a region, or a sentence in its place."""
        axes = self.density.axes
        is_empty = measurement is None
        for part in (axes, self._bar_axes):
            part.set_visible(not is_empty)
        self._words.set_text(words if is_empty else "")
        is_new = axes.get_title(loc="left") != title
        axes.set_title(title, loc="left", fontsize=9, color=self._title_colour)
        if measurement is None:
            self.density.clear()
            is_new = True
        else:
            is_new = self.density.show(measurement, which, is_steady=not measurement.is_exact) or is_new
        self._is_complete = self._is_complete and not is_new
        self._is_stale = True
        if self._is_complete:
            self._draw()
        else:
            self._soon.start()

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802 (Qt's name)
        """Keep the margins; matplotlib's own layout would take half of the time of drawing."""
        super().resizeEvent(event)
        left, right, bottom, top = _MARGINS_PX
        width, height = max(self.width(), left + right + 40), max(self.height(), _LEAST_HEIGHT_PX)
        side = min(width - left - right, height - bottom - top)
        self.density.axes.set_position((left / width, bottom / height, side / width, side / height))
        bar_width, apart = _BAR_PX
        self._bar_axes.set_position(((left + side + apart) / width, bottom / height, bar_width / width, side / height))
        self._draw_all_soon()

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802 (Qt's name)
        """Draw what came while it was hidden."""
        super().showEvent(event)
        self._draw()

    def _make_bar(self) -> None:
        from matplotlib.ticker import FuncFormatter, MaxNLocator

        bar = self.canvas.figure.colorbar(self.density.image, cax=self._bar_axes)
        bar.locator = MaxNLocator(4, integer=True)
        bar.formatter = FuncFormatter(lambda value, _: f"{10**value:,.0f}")
        bar.set_label("pixels (log)", fontsize=8)
        bar.ax.tick_params(labelsize=8)
        # it has taken after the density, which is drawn later
        bar.solids.set_animated(False)  # type: ignore[union-attr]

    def _draw_all_soon(self) -> None:
        self._is_stale, self._is_complete = True, False
        if hasattr(self, "_soon"):
            self._soon.start()

    def _draw(self) -> None:
        if not self._is_stale or not self.isVisible():
            return
        self._is_stale = False
        if self._is_complete and self._background is not None:
            self.canvas.restore_region(self._background)  # type: ignore[no-untyped-call]
            self._draw_density()
            # not matplotlib's blit, which has the whole window painted at once, and napari's images with it
            self.canvas.update()
        else:
            self._is_complete = True
            self.canvas.draw()  # type: ignore[no-untyped-call]
        self.drawn.emit()

    def _keep_background(self, event: object = None) -> None:  # noqa: ARG002
        self._background = self.canvas.copy_from_bbox(self.canvas.figure.bbox)  # type: ignore[no-untyped-call]
        self._draw_density()

    def _draw_density(self) -> None:
        for artist in self.density.artists if self.density.axes.get_visible() else ():
            self.density.axes.draw_artist(artist)

    def _tell(self, event: Any) -> None:  # noqa: ANN401 (matplotlib's event)
        words = self.density.words_at(event.xdata, event.ydata) if event.inaxes is self.density.axes else ""
        tell_at_mouse(words, self.canvas)
