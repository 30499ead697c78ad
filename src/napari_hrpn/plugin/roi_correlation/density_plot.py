"""Density plot of real and predicted grey levels in a region, with identity and fitted line.

It is fast enough to follow a region that is dragged: axes and labels are redrawn only when they change, otherwise only
the density and its lines.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from qtpy.QtCore import Signal

from napari_hrpn.plugin.parts.plot import Plot, say_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage
    from matplotlib.lines import Line2D
    from numpy.typing import NDArray

    from napari_hrpn.analysis import RoiMeasurement
    from napari_hrpn.plugin.parts.plot import Ink

_COLORMAP = "viridis"
_FIT_COLOUR, _IDENTITY_COLOUR = "#ff7f50", "#9a9a9a"
_LEAST_HEIGHT_PX = 220
_MARGINS_PX = 62, 74, 42, 26
"""Left, right, bottom and top margin, for tick labels, colour bar, axis label and title."""
_BAR_PX = 10, 14
"""Width of the colour bar, and its distance from the axes."""
_ROOM = 1.04
_SHARE_BEYOND = 1 / 2000
_STEADY_DECADES, _STEADY_TIMES = 1.5, 2.0


class _Scale(NamedTuple):
    """Ranges of the axes and of the colours."""

    low: float  # grey level at the lower end of both axes
    high: float  # grey level at their upper end
    decades: float  # log10 of the pixels at the upper end of the colours


class _Density(NamedTuple):
    """The artists of a density, from the lowest up."""

    image: AxesImage
    identity: Line2D
    fit: Line2D


class DensityPlot(Plot):
    """Draws the density of the current region.

    `drawn` is emitted when the newest density is drawn; it is on the screen with the next frame of the window.
    """

    drawn = Signal()

    def __init__(self) -> None:
        super().__init__(_LEAST_HEIGHT_PX)
        # with 0 ms, changes in one turn of the event loop are drawn once, and as soon as possible
        self._soon.setInterval(0)
        self.words = ""
        self._shown: tuple[RoiMeasurement, int] | None = None
        self._title = ""
        self._scale: _Scale | None = None
        self._density: _Density | None = None

    def show_measurement(self, measurement: RoiMeasurement | None, which: int, title: str, words: str = "") -> None:
        """Show the density of a prediction in a region, or a sentence instead."""
        before = self._scale, self._title, self.words
        self._shown = None if measurement is None else (measurement, which)
        self._title, self.words = title, words if measurement is None else ""
        if measurement is None:
            self._scale = None
        else:
            scale = _scale(measurement, which)
            self._scale = scale if measurement.is_exact or self._scale is None else _steady(scale, self._scale)
        if self._density is None or before != (self._scale, self._title, self.words):
            self.redraw_soon()
        elif measurement is not None and self._scale is not None:
            _show(self._density, measurement, which, self._scale)
            self.redraw_marks()

    def draw_on(self, figure: Figure, ink: Ink) -> None:
        """Draw axes, colour bar and density."""
        self._density = None
        if self._shown is None or self._scale is None:
            say_in(figure, self.words, ink)
            return
        axes, bar_axes = figure.add_subplot(), figure.add_axes((0.9, 0.1, 0.02, 0.8))
        axes.set_facecolor(ink.background)
        axes.set_title(self._title, loc="left", fontsize=9, color=ink.text)
        density = draw_density(axes, *self._shown, self._scale, bar_axes)
        for part in (axes, bar_axes):
            part.tick_params(colors=ink.text, which="both")
            for label in (part.xaxis.label, part.yaxis.label):
                label.set_color(ink.text)
            for spine in part.spines.values():
                spine.set_color(ink.text)
        if figure is self.figure:
            for artist in density:
                artist.set_animated(True)
            self._density = density

    def arrange(self, figure: Figure, width: int, height: int) -> None:
        """Leave margins around square axes; matplotlib's own layout would take half of the drawing time."""
        if len(figure.axes) != 2:
            return
        left, right, bottom, top = _MARGINS_PX
        width, height = max(width, left + right + 40), max(height, _LEAST_HEIGHT_PX)
        side = min(width - left - right, height - bottom - top)
        bar_width, gap = _BAR_PX
        axes, bar_axes = figure.axes
        axes.set_position((left / width, bottom / height, side / width, side / height))
        bar_axes.set_position(((left + side + gap) / width, bottom / height, bar_width / width, side / height))

    def marks(self) -> Sequence[Artist]:
        """The density and its lines."""
        return self._density or ()

    def redraw_marks(self) -> None:
        """Redraw the density and nothing else."""
        super().redraw_marks()
        if self.isVisible() and self.is_drawn:
            self.drawn.emit()

    def words_at(self, event: Any) -> str:  # noqa: ANN401 (matplotlib's event)
        """Grey levels under the mouse, and the number of pixels that have them."""
        if self._shown is None or event.inaxes is not self.figure.axes[0]:
            return ""
        measurement, which = self._shown
        density = measurement.densities[which]
        low, high = measurement.density_range
        row, column = (math.floor((value - low) / (high - low) * len(density)) for value in (event.xdata, event.ydata))
        if not (0 <= row < len(density) and 0 <= column < len(density)):
            return ""
        pixels = f"{density[row, column]:,} of {measurement.n:,} pixels"
        return f"real {event.xdata:.4g}, predicted {event.ydata:.4g}\n{pixels}"

    def _draw(self) -> None:
        was_stale = self._is_stale and self.isVisible()
        super()._draw()
        if was_stale:
            self.drawn.emit()


def draw_density(
    axes: Axes, measurement: RoiMeasurement, which: int, scale: _Scale | None = None, bar_axes: Axes | None = None
) -> _Density:
    """Draw the density of a prediction, for the screen or a file, with its colour bar."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    scale = scale or _scale(measurement, which)
    axes.set_xlabel("real, grey levels", fontsize=9)
    axes.set_ylabel("predicted, grey levels", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.set_aspect("equal", adjustable="box")
    image = axes.imshow(np.full((1, 1), np.nan), origin="lower", cmap=_COLORMAP, interpolation="nearest")
    image.set_clim(0, scale.decades)
    (identity,) = axes.plot([], [], "--", color=_IDENTITY_COLOUR, label="identity", linewidth=1.2)
    (fit,) = axes.plot([], [], "-", color=_FIT_COLOUR, label="fit", linewidth=1.2)
    density = _Density(image, identity, fit)
    _show(density, measurement, which, scale)
    axes.set_xlim(scale.low, scale.high)
    axes.set_ylim(scale.low, scale.high)
    bar = axes.figure.colorbar(image, cax=bar_axes, ax=None if bar_axes else axes)
    bar.locator = MaxNLocator(4, integer=True)
    bar.formatter = FuncFormatter(lambda value, _: f"{10**value:,.0f}")
    bar.set_label("pixels (log)", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    return density


def _scale(measurement: RoiMeasurement, which: int) -> _Scale:
    """Find axes that hold nearly all pixels of all predictions; they grow in steps, so that they seldom change."""
    low, high = measurement.density_range
    densities = measurement.densities
    cells = len(densities[0])
    # steps of an eighth of a power of two
    used = max(8, *map(_last_used, densities)) * _ROOM
    step = 2.0 ** (math.floor(math.log2(used)) - 3)
    end = low + min(cells, math.ceil(used / step) * step) * (high - low) / cells
    return _Scale(low, end, math.ceil(2 * math.log10(max(densities[which].max(), 2))) / 2)


def _last_used(density: NDArray[np.int64]) -> int:
    """Count the cells along a side that hold all but one in 2,000 pixels of either image."""
    total = int(density.sum())
    inside = [np.searchsorted(np.cumsum(density.sum(axis=axis)), (1 - _SHARE_BEYOND) * total) + 1 for axis in (0, 1)]
    return int(max(inside)) if total else 0


def _steady(scale: _Scale, before: _Scale) -> _Scale:
    """Keep the former scale where it still fits, so that axes and colours do not jump while a region moves."""
    low, high, decades = scale
    if decades <= before.decades <= decades + _STEADY_DECADES:
        decades = before.decades
    if before.low == low and high <= before.high <= low + _STEADY_TIMES * (high - low):
        high = before.high
    return _Scale(low, high, decades)


def _show(density: _Density, measurement: RoiMeasurement, which: int, scale: _Scale) -> None:
    low, high = measurement.density_range
    with np.errstate(divide="ignore"):
        logarithms = np.log10(measurement.densities[which].T.astype(np.float64))
    logarithms[~np.isfinite(logarithms)] = np.nan
    density.image.set_data(logarithms)
    density.image.set_extent((low, high, low, high))
    ends = scale.low, scale.high
    density.identity.set_data(ends, ends)
    line = measurement.numbers[which].regression
    has_line = math.isfinite(line.slope)
    density.fit.set_data(ends if has_line else (), [line.intercept + line.slope * x for x in ends] if has_line else ())
