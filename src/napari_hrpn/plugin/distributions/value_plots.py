"""Histogram and Q-Q plot of a real image and its predictions, and a table of the distances of their distributions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.analysis import histogram
from napari_hrpn.plugin.parts.plot import Ink, Plot, dress, explain, number_log_axis, say_in, short
from napari_hrpn.reports import number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from napari_hrpn.analysis import SharedHistogram, ValueCounts
    from napari_hrpn.plugin.distributions.measurement import Comparison

_HEIGHT_PX = 280
_BINS = 256
_MOST_BINS = 65_536
_SHOWN_PERCENT = 99.9
_LONGEST_NAME = 30
_NEAR_PX = 12
NOTHING = "The grey levels are not compared yet."
SIZES = {
    "prediction": ("Prediction", "Compared with the real image"),
    "n_predicted": ("n", "Pixels of the region"),
    "wasserstein": (
        "W₁",
        "Wasserstein distance: average change of a pixel, in grey levels, that makes the two distributions equal",
    ),
    "kolmogorov_smirnov": (
        "KS",
        "Largest difference between the two cumulative distributions: 0 if equal, 1 if they do not overlap",
    ),
    "qq_slope": (
        "Q-Q slope",
        "Slope over the percentiles 1 to 99; below 1, dark and bright predicted pixels differ too little",
    ),
    "anderson_darling": (
        "A-D",
        "k-sample Anderson-Darling statistic, about 0 for equal distributions. Pixels are not independent, so it\n"
        "shows whether, not how much, they differ; its table ends at the cap in the next column",
    ),
    "anderson_darling_cap": (
        "A-D cap",
        "End of the table of the test; no p-value is given, since neighbouring pixels are not independent",
    ),
}
"""Columns of the table: key of `size_records`, heading and tooltip."""


@dataclass(frozen=True, eq=False)
class Compared:
    """A prediction in the plots."""

    name: str
    colour: str
    comparison: Comparison  # comparison with the real image


def size_records(compared: Sequence[Compared], region: str) -> list[dict[str, Any]]:
    """Rows about the distances of distributions: effect sizes first, then a test."""
    return [
        {
            "prediction": one.name,
            "region": region,
            "wasserstein": sizes.wasserstein,
            "kolmogorov_smirnov": sizes.kolmogorov_smirnov,
            "qq_slope": sizes.qq_slope,
            "qq_intercept": sizes.qq_intercept,
            "anderson_darling": sizes.anderson_darling.statistic,
            "anderson_darling_cap": sizes.anderson_darling.capped,
            "n_real": sizes.n_real,
            "n_predicted": sizes.n_predicted,
            "reason": sizes.reason,
        }
        for one in compared
        for sizes in (one.comparison.sizes,)
    ]


class _ValuePlot(Plot):
    """A plot of grey levels."""

    def __init__(self) -> None:
        super().__init__(_HEIGHT_PX)
        self.nothing = NOTHING
        self._real_name = "real"
        self._compared: Sequence[Compared] = ()

    def show_images(self, real_name: str, compared: Sequence[Compared]) -> None:
        """Show other images."""
        self._real_name, self._compared = real_name, compared
        self.redraw_soon()


class HistogramPlot(_ValuePlot):
    """Pixels of each grey level, in the same bins for all images; `is_whole` makes the bins whole numbers wide."""

    def __init__(self) -> None:
        super().__init__()
        self.is_log = self.is_whole = False
        self.histogram: SharedHistogram | None = None

    def show_images(self, real_name: str, compared: Sequence[Compared]) -> None:
        """Show other images."""
        super().show_images(real_name, compared)
        self._count()

    def set_log(self, is_log: bool) -> None:
        """Show the logarithm of the counts, up to the brightest pixel."""
        self.is_log = is_log
        self._count()

    @property
    def names(self) -> list[str]:
        """Names of the images, the real one first."""
        return [self._real_name, *(one.name for one in self._compared)]

    def rows(self) -> list[dict[str, object]]:
        """Rows for a file, one per bin, with the pixels of each image."""
        if self.histogram is None:
            return []
        edges, counts = self.histogram.edges.tolist(), self.histogram.counts.T.tolist()
        return [
            {"from": low, "to": high, **dict(zip(self.names, column, strict=True))}
            for low, high, column in zip(edges[:-1], edges[1:], counts, strict=True)
        ]

    def draw_on(self, figure: Figure, ink: Ink) -> None:
        """Draw a line per image."""
        if self.histogram is None:
            say_in(figure, self.nothing, ink)
            return
        axes = figure.add_subplot()
        colours = [ink.text, *(one.colour for one in self._compared)]
        for name, colour, counts in zip(self.names, colours, self.histogram.counts, strict=True):
            label = f"{short(name, _LONGEST_NAME)}, n = {counts.sum():,}"
            axes.stairs(counts, self.histogram.edges, color=colour, label=label)
        dress(axes, ink, across="grey level", up="pixels")
        if self.is_log:
            number_log_axis(axes)
        else:
            low, bright, _ = self._ends()
            end = bright + max(1e-9, 0.02 * (bright - low)) if bright > low else low + 1
            axes.set_xlim(self.histogram.edges[0], end)
            axes.set_ylim(0)
            axes.ticklabel_format(axis="y", scilimits=(-3, 4))
        explain(axes, ink)

    def words_at(self, event: Any) -> str:  # noqa: ANN401 (matplotlib's event)
        """Grey levels and pixels of the bin under the mouse."""
        found = self.histogram
        if found is None or not found.edges[0] <= event.xdata < found.edges[-1]:
            return ""
        index = int(np.searchsorted(found.edges, event.xdata, side="right")) - 1
        low, high = found.edges[index : index + 2]
        lines = [f"{name}: {n:,}" for name, n in zip(self.names, found.counts[:, index], strict=True)]
        return "\n".join([f"grey level {low:g} to {high:g}", *lines])

    def _count(self) -> None:
        images = self._images()
        self.histogram = histogram(images, self._bins(), whole=self.is_whole) if images else None
        self.redraw_soon()

    def _images(self) -> list[ValueCounts]:
        """All images; none if none of them has a pixel."""
        images = [one.comparison.real for one in self._compared[:1]]
        images += [one.comparison.predicted for one in self._compared]
        return images if any(image.n for image in images) else []

    def _ends(self) -> tuple[float, float, float]:
        """Darkest pixel, upper end of a linear plot, and brightest pixel."""
        ends = [image.percentile([0, _SHOWN_PERCENT, 100]) for image in self._images() if image.n]
        low, bright, high = zip(*ends, strict=True)
        return min(low), max(bright), max(high)

    def _bins(self) -> int:
        """Number of bins of which about 256 are in view."""
        low, bright, high = self._ends()
        if self.is_log or bright <= low:
            return _BINS
        return min(_MOST_BINS, math.ceil(_BINS * (high - low) / (bright - low)))


class QuantilePlot(_ValuePlot):
    """Percentiles of predictions over those of the real image."""

    def rows(self) -> list[dict[str, Any]]:
        """Rows for a file, one per prediction and percentile."""
        return [
            {"prediction": one.name, "percentile": percentile, "real": real, "predicted": predicted}
            for one in self._compared
            for found in (one.comparison.quantiles,)
            for percentile, real, predicted in zip(found.percentiles, found.real, found.predicted, strict=True)
        ]

    def draw_on(self, figure: Figure, ink: Ink) -> None:
        """Draw points and the Q-Q line of each prediction, and the line of equal distributions."""
        if not self._compared:
            say_in(figure, self.nothing, ink)
            return
        axes = figure.add_subplot()
        span: list[float] = []
        for one in self._compared:
            found = one.comparison.quantiles
            label = f"{short(one.name, _LONGEST_NAME)}, slope {number(found.slope)}"
            axes.plot(found.real, found.predicted, "o", color=one.colour, markersize=3, label=label)
            ends = np.array([found.real[1], found.real[99]])
            axes.plot(ends, found.intercept + found.slope * ends, "-", color=one.colour, linewidth=1, alpha=0.8)
            values = found.real[0], found.real[-1], found.predicted[0], found.predicted[-1]
            span = [min(*span, *values), max(*span, *values)]
        axes.plot(span, span, "--", color=ink.text, linewidth=1, alpha=0.6, label="equal distributions", zorder=0)
        n = self._compared[0].comparison.quantiles.n_real
        name = short(self._real_name, _LONGEST_NAME)
        dress(axes, ink, across=f"{name}, grey level (n = {n:,})", up="predicted, grey level")
        explain(axes, ink)

    def words_at(self, event: Any) -> str:  # noqa: ANN401 (matplotlib's event)
        """The percentile whose point is nearest to the mouse."""
        rows = self.rows()
        if not rows:
            return ""
        points = event.inaxes.transData.transform([(row["real"], row["predicted"]) for row in rows])
        distances = np.hypot(*(points - (event.x, event.y)).T)
        if distances.min() >= _NEAR_PX:
            return ""
        nearest = rows[int(distances.argmin())]
        values = f"real {nearest['real']:g}, predicted {nearest['predicted']:g}"
        return f"{nearest['prediction']}\npercentile {nearest['percentile']:g}: {values}"
