"""Histogram and Q-Q plot of a real image and its predictions, with the values under the mouse."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.plugin.parts.plot import Ink, Plot, dress, explain, number_log_axis, say_in, short
from napari_hrpn.reports import number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from napari_hrpn.analysis import SharedHistogram
    from napari_hrpn.plugin.distributions.work import Comparison

_HEIGHT_PX = 280
_BINS = 256
_MOST_BINS = 65_536
_SHOWN_PERCENT = 99.9
_LONGEST_NAME = 30
NOTHING = "The grey levels are not compared yet."


@dataclass(frozen=True, eq=False)
class Compared:
    """A prediction in the plots."""

    # Of the prediction
    name: str
    colour: str
    comparison: Comparison  # With the real image


class HistogramPlot(Plot):
    """Pixels of each grey level, over the same bins for all images."""

    def __init__(self) -> None:
        super().__init__(_HEIGHT_PX)
        self.nothing = NOTHING
        self.is_log = False
        self._real_name = "real"
        self._compared: Sequence[Compared] = ()
        self._is_whole = False
        self.histogram: SharedHistogram | None = None

    def show_images(self, real_name: str, compared: Sequence[Compared], *, is_whole: bool = False) -> None:
        """Show other images."""
        self._real_name, self._compared, self._is_whole = real_name, compared, is_whole
        self._count()

    def set_log(self, is_log: bool) -> None:
        """Show the logarithm of the counts, and the bright tail with it."""
        self.is_log = is_log
        self._count()

    @property
    def names(self) -> list[str]:
        """Of the images, the real one first."""
        return [self._real_name, *(one.name for one in self._compared)]

    def rows(self) -> list[dict[str, object]]:
        """A row per bin, with the pixels of each image."""
        if self.histogram is None:
            return []
        edges, counts = self.histogram.edges, self.histogram.counts
        return [
            {"from": low, "to": high, **{name: int(n) for name, n in zip(self.names, column, strict=True)}}
            for low, high, column in zip(edges[:-1].tolist(), edges[1:].tolist(), counts.T, strict=True)
        ]

    def draw_on(self, figure: Figure, ink: Ink) -> None:
        """Draw a line per image."""
        if self.histogram is None:
            say_in(figure, self.nothing, ink)
            return
        axes = figure.add_subplot()
        for name, colour, counts in zip(self.names, self._colours(ink), self.histogram.counts, strict=True):
            axes.stairs(
                counts, self.histogram.edges, color=colour, label=f"{short(name, _LONGEST_NAME)}, n = {counts.sum():,}"
            )
        dress(axes, ink, across="grey level", up="pixels")
        if self.is_log:
            number_log_axis(axes)
        else:
            axes.set_xlim(self.histogram.edges[0], self._bright_end())
            axes.set_ylim(0)
            axes.ticklabel_format(axis="y", scilimits=(-3, 4))
        explain(axes, ink)

    def words_at(self, event: Any) -> str:  # noqa: ANN401 (matplotlib's event)
        """The bin under the mouse."""
        found = self.histogram
        if found is None or not found.edges[0] <= event.xdata < found.edges[-1]:
            return ""
        index = int(np.searchsorted(found.edges, event.xdata, side="right")) - 1
        low, high = found.edges[index : index + 2]
        lines = [f"{name}: {n:,}" for name, n in zip(self.names, found.counts[:, index], strict=True)]
        return "\n".join([f"grey level {low:g} to {high:g}", *lines])

    def _colours(self, ink: Ink) -> list[str]:
        return [ink.real, *(one.colour for one in self._compared)]

    def _count(self) -> None:
        from napari_hrpn.analysis import histogram

        images = self._images()
        has_pixels = any(image.n for image in images)
        self.histogram = histogram(images, self._bins(), whole=self._is_whole) if has_pixels else None
        self.redraw_soon()

    def _images(self) -> list[Any]:
        if not self._compared:
            return []
        return [self._compared[0].comparison.real, *(one.comparison.predicted for one in self._compared)]

    def _ends(self) -> tuple[float, float, float]:
        """Darkest pixel, end of what a linear plot shows, brightest pixel."""
        low, bright, high = zip(
            *(image.percentile([0, _SHOWN_PERCENT, 100]) for image in self._images() if image.n), strict=True
        )
        return min(low), max(bright), max(high)

    def _bright_end(self) -> float:
        low, bright, _ = self._ends()
        return bright + max(1e-9, 0.02 * (bright - low)) if bright > low else low + 1

    def _bins(self) -> int:
        """So many that about 256 of them are in view."""
        low, bright, high = self._ends()
        if self.is_log or bright <= low:
            return _BINS
        return min(_MOST_BINS, math.ceil(_BINS * (high - low) / (bright - low)))


class QuantilePlot(Plot):
    """Percentiles of predictions over those of the real image."""

    def __init__(self) -> None:
        super().__init__(_HEIGHT_PX)
        self.nothing = NOTHING
        self._real_name = "real"
        self._compared: Sequence[Compared] = ()

    def show_images(self, real_name: str, compared: Sequence[Compared]) -> None:
        """Show other images."""
        self._real_name, self._compared = real_name, compared
        self.redraw_soon()

    def rows(self) -> list[dict[str, object]]:
        """A row per prediction and percentile."""
        return [
            {"prediction": one.name, "percentile": percentile, "real": real, "predicted": predicted}
            for one in self._compared
            for percentile, real, predicted in _points(one)
        ]

    def draw_on(self, figure: Figure, ink: Ink) -> None:
        """Draw points and Q-Q line per prediction, and the line on which equal distributions lie."""
        if not self._compared:
            say_in(figure, self.nothing, ink)
            return
        axes = figure.add_subplot()
        for one in self._compared:
            found = one.comparison.quantiles
            label = f"{short(one.name, _LONGEST_NAME)}, slope {number(found.slope)}"
            axes.plot(found.real, found.predicted, "o", color=one.colour, markersize=3, label=label)
            ends = np.array([found.real[1], found.real[99]])
            axes.plot(ends, found.intercept + found.slope * ends, "-", color=one.colour, linewidth=1, alpha=0.8)
        ends_of_all = [value for one in self._compared for value in (*_ends(one),)]
        span = [min(ends_of_all), max(ends_of_all)]
        axes.plot(span, span, "--", color=ink.text, linewidth=1, alpha=0.6, label="equal distributions", zorder=0)
        n = self._compared[0].comparison.quantiles.n_real
        name = short(self._real_name, _LONGEST_NAME)
        dress(axes, ink, across=f"{name}, grey level (n = {n:,})", up="predicted, grey level")
        explain(axes, ink)

    def words_at(self, event: Any) -> str:  # noqa: ANN401 (matplotlib's event)
        """The percentile whose point is nearest to the mouse."""
        points = [(one.name, *point) for one in self._compared for point in _points(one)]
        if not points:
            return ""
        places = event.inaxes.transData.transform([point[2:] for point in points])
        apart = np.hypot(*(places - (event.x, event.y)).T)
        name, percentile, real, predicted = points[int(apart.argmin())]
        return f"{name}\npercentile {percentile:g}: real {real:g}, predicted {predicted:g}" if apart.min() < 12 else ""


def _points(one: Compared) -> list[tuple[float, float, float]]:
    found = one.comparison.quantiles
    return list(zip(found.percentiles, found.real, found.predicted, strict=True))


def _ends(one: Compared) -> tuple[float, float, float, float]:
    found = one.comparison.quantiles
    return found.real[0], found.real[-1], found.predicted[0], found.predicted[-1]
