"""Plot of the overlap over all thresholds: curves of predictions, chance level, tied percentiles, and the threshold."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal

from napari_hrpn.plugin.parts.plot import Plot, dress, explain, say_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from napari_hrpn.analysis import IouPoint
    from napari_hrpn.plugin.parts.plot import Ink

_HEIGHT_PX = 280
_IOU, MEAN_IOU = "iou", "mean_iou"
METRICS = {_IOU: "IoU of the foreground", MEAN_IOU: "mean IoU of foreground and background"}
_TIED_COLOUR = "#888888"
_LEFT_BUTTON = 1
_HALF_A_PERCENT = 0.5


@dataclass(frozen=True)
class Curve:
    """Overlap of one prediction over all percentiles."""

    name: str
    colour: str
    points: tuple[IouPoint, ...]


class OverlapCurves(Plot):
    """Plot of overlap curves; `dragged` carries the percentile to which the user has dragged the threshold."""

    dragged = Signal(float)

    def __init__(self) -> None:
        super().__init__(_HEIGHT_PX)
        self.curves: tuple[Curve, ...] = ()
        self.metric = _IOU
        self.percentile = math.nan
        self.source = ""
        self._line: Artist | None = None
        self.canvas.mpl_connect("motion_notify_event", self._drag)

    def show_curves(self, curves: Sequence[Curve], source: str) -> None:
        """Show other curves."""
        self.curves, self.source = tuple(curves), source
        self.redraw_soon()

    def use_metric(self, metric: str) -> None:
        """Show another measure of overlap."""
        self.metric = metric
        self.redraw_soon()

    def set_percentile(self, percentile: float) -> None:
        """Move the line of the threshold."""
        self.percentile = percentile
        if self._line is not None:
            self._line.set_xdata([percentile, percentile])  # type: ignore[attr-defined]
        self.redraw_marks()

    def draw_on(self, figure: Figure, ink: Ink) -> None:
        """Draw the curves."""
        if not self.curves:
            say_in(figure, "Choose a real layer and a prediction", ink)
            self._line = None
            return
        axes = figure.add_subplot()
        dress(axes, ink, across=f"percentile of the real image ({self.source})", title=METRICS[self.metric])
        first = self.curves[0].points
        for low, high in tied_spans(first):
            axes.axvspan(low - _HALF_A_PERCENT, high + _HALF_A_PERCENT, color=_TIED_COLOUR, alpha=0.25, linewidth=0)
        self._draw_chance(axes)
        for curve in self.curves:
            values = [getattr(point, self.metric) for point in curve.points]
            percentiles = [point.percentile for point in curve.points]
            axes.plot(percentiles, values, color=curve.colour, linewidth=1.6, label=curve.name)
        axes.set_xlim(0, 100)
        axes.set_ylim(0, 1.02)
        self._draw_line(axes, ink, is_mark=figure is self.figure)
        explain(axes, ink)

    def marks(self) -> Sequence[Artist]:
        """The line of the threshold."""
        return () if self._line is None else (self._line,)

    def words_at(self, event: Any) -> str:  # noqa: ANN401 (matplotlib's event)
        """Overlap of each prediction at the percentile under the mouse."""
        if not self.curves:
            return ""
        index = min(max(round(event.xdata), 0), 100)
        point = self.curves[0].points[index]
        tie = ", tied: more pixels reach it" if point.tied else ""
        lines = [f"percentile {point.percentile:g}, grey level {point.threshold:g}{tie}"]
        for curve in self.curves:
            point = curve.points[index]
            chance = chance_level(point, self.metric)
            lines.append(f"{curve.name}: {getattr(point, self.metric):.3f}, chance: {chance:.3f} (n = {point.n:,})")
        return "\n".join(lines)

    def pressed(self, event: Any) -> None:  # noqa: ANN401 (matplotlib's event)
        """Move the threshold to the mouse."""
        if self.curves and event.inaxes is not None and event.button == _LEFT_BUTTON:
            self.dragged.emit(float(event.xdata))

    def _drag(self, event: Any) -> None:  # noqa: ANN401 (matplotlib's event)
        is_held = _LEFT_BUTTON in {int(button) for button in event.buttons or ()}
        if is_held and self.curves and self.figure.axes:
            # a fast drag ends beyond the axes, where the event has no data coordinates: they are computed here
            percentile, _ = self.figure.axes[0].transData.inverted().transform((event.x, event.y))
            self.dragged.emit(min(max(float(percentile), 0.0), 100.0))

    def _draw_chance(self, axes: Axes) -> None:
        """Draw the chance level of each prediction, which depends on its mask; one grey line if all are equal."""
        levels = [[chance_level(point, self.metric) for point in curve.points] for curve in self.curves]
        shared = all(chance == levels[0] for chance in levels)
        for curve, chance in zip(self.curves[:1] if shared else self.curves, levels, strict=False):
            label = "chance" if curve is self.curves[0] else "_chance"
            colour = _TIED_COLOUR if shared else curve.colour
            percentiles = [point.percentile for point in curve.points]
            axes.plot(percentiles, chance, "--", color=colour, linewidth=1, label=label)

    def _draw_line(self, axes: Axes, ink: Ink, *, is_mark: bool) -> None:
        line = axes.axvline(self.percentile, color=ink.text, linewidth=1.2)
        if is_mark:
            # the line moves often: it is drawn over an image of the rest of the plot
            line.set_animated(True)
            self._line = line


def tied_spans(points: Sequence[IouPoint]) -> list[tuple[float, float]]:
    """Ranges of percentiles in which many pixels share a grey level."""
    spans: list[tuple[float, float]] = []
    for point, before in zip(points, (None, *points), strict=False):
        if point.tied and before is not None and before.tied:
            spans[-1] = spans[-1][0], point.percentile
        elif point.tied:
            spans.append((point.percentile, point.percentile))
    return spans


def chance_level(point: IouPoint, metric: str) -> float:
    """Expected overlap of two unrelated masks with the sizes of those of both images."""
    return point.chance if metric == _IOU else point.mean_chance
