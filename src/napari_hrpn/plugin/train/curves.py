"""Loss curves of a training: training and validation by epoch, the best epoch, and the values under the mouse.

It is drawn a few times per second at most, and only while it is in view.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtWidgets import QWidget

from napari_hrpn.plugin.background import soon
from napari_hrpn.plugin.parts.plot import fill_with_canvas, tell_at_mouse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtGui import QResizeEvent, QShowEvent

    from napari_hrpn.training import EpochRecord

_REDRAW_MS = 300
_HEIGHT_PX = 246
_MARGINS_PX = 46, 10, 44, 24
"""Left, right, bottom, top: room for tick labels, the name of the axis, and the title."""
_TRAIN_COLOUR, _VALIDATION_COLOUR, _BEST_COLOUR = "#5aa9ff", "#ffa64d", "#ffe14d"
_POINTS_PER_EPOCH = 200
_LABEL = "mean squared error, grey levels²"


class TrainingCurves(QWidget):
    """Curves of the losses."""

    def __init__(self, background: str = "#23242b", text: str = "#f0f1f2") -> None:
        super().__init__()
        from matplotlib.figure import Figure

        self.records: list[EpochRecord] = []
        self.best_epoch = 0
        self._within: list[tuple[float, float]] = []
        self._is_stale = True
        figure = Figure()
        self.axes = figure.add_subplot()
        self.canvas = fill_with_canvas(self, figure, _HEIGHT_PX)
        self.canvas.mpl_connect("motion_notify_event", self._tell)
        self._make_lines()
        self.set_colours(background, text)
        self._soon = soon(self, self._draw, _REDRAW_MS)

    def set_colours(self, background: str, text: str) -> None:
        """Draw in the colours of a theme."""
        self.axes.figure.set_facecolor(background)
        self.axes.set_facecolor(background)
        self.axes.tick_params(colors=text, which="both", labelsize=8)
        self.axes.xaxis.label.set_color(text)
        # beside the axis there is no room for so many words
        self.axes.set_title(_LABEL, loc="left", fontsize=9, color=text)
        for side, spine in self.axes.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color(text)
        for words in self._legend.get_texts():
            words.set_color(text)
        self._is_stale = True

    def clear(self) -> None:
        """Show no curve."""
        self.show_history((), 0)

    def show_history(self, records: Sequence[EpochRecord], best_epoch: int) -> None:
        """Show the epochs of a run."""
        self._within = []
        self._take(records, best_epoch)

    def add_epoch(self, record: EpochRecord, best_epoch: int) -> None:
        """Add an epoch."""
        self._take((*(old for old in self.records if old.epoch < record.epoch), record), best_epoch)

    def add_step(self, epochs_done: float, mean_loss: float) -> None:
        """Let the curve of the training move within an epoch."""
        if not self._within:
            # a run that goes on begins where its history ends
            self._within = [(float(record.epoch), record.train_loss) for record in self.records[-1:]]
        if not self._within or epochs_done - self._within[-1][0] >= 1 / _POINTS_PER_EPOCH:
            self._within.append((epochs_done, mean_loss))
            self._redraw_soon()

    def words_at(self, epochs_done: float) -> str:
        """The values of the epoch that is nearest; empty where there is none."""
        if not self.records:
            return ""
        record = min(self.records, key=lambda record: abs(record.epoch - epochs_done))
        best = " (best)" if record.epoch == self.best_epoch else ""
        losses = f"train {record.train_loss:.4g}\nvalidation {record.validation_loss:.4g}"
        return "\n".join([f"epoch {record.epoch}{best}", losses, *agreement_in_words(record)])

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802 (Qt's name)
        """Keep the margins; matplotlib's own layout would take half of the time of drawing."""
        super().resizeEvent(event)
        left, right, bottom, top = _MARGINS_PX
        width, height = max(self.width(), 2 * (left + right)), _HEIGHT_PX
        self.axes.figure.subplots_adjust(left / width, bottom / height, 1 - right / width, 1 - top / height)
        self._redraw_soon()

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802 (Qt's name)
        """Draw what came while it was hidden."""
        super().showEvent(event)
        self._draw()

    def _take(self, records: Sequence[EpochRecord], best_epoch: int) -> None:
        """Show these epochs; the steps that were seen stay."""
        self.records, self.best_epoch = list(records), best_epoch
        self._redraw_soon()

    def _make_lines(self) -> None:
        axes = self.axes
        axes.set_yscale("log")
        axes.set_xlabel("epoch", fontsize=9, loc="left")
        (self._train_line,) = axes.plot([], [], "o-", color=_TRAIN_COLOUR, markersize=3, label="train")
        (self._within_line,) = axes.plot([], [], "-", color=_TRAIN_COLOUR, alpha=0.5)
        (self._validation_line,) = axes.plot([], [], "o-", color=_VALIDATION_COLOUR, markersize=3, label="validation")
        (self._best_mark,) = axes.plot(
            [], [], "*", color=_BEST_COLOUR, markersize=13, markeredgecolor="#333333", label="best epoch", zorder=5
        )
        # beside the name of the axis it never lies on a point
        self._legend = axes.legend(
            handles=[self._train_line, self._validation_line, self._best_mark],
            loc="lower right",
            bbox_to_anchor=(1, 0),
            bbox_transform=axes.figure.transFigure,
            borderaxespad=0.2,
            ncols=3,
            columnspacing=1.0,
            handlelength=1.4,
            fontsize=8,
            frameon=False,
        )

    def _redraw_soon(self) -> None:
        self._is_stale = True
        if not self._soon.isActive():
            self._soon.start()

    def _draw(self) -> None:
        if not self._is_stale or not self.isVisible():
            return
        self._is_stale = False
        epochs = [record.epoch for record in self.records]
        self._train_line.set_data(epochs, [record.train_loss for record in self.records])
        self._validation_line.set_data(epochs, [record.validation_loss for record in self.records])
        best = [record for record in self.records if record.epoch == self.best_epoch]
        self._best_mark.set_data([record.epoch for record in best], [record.validation_loss for record in best])
        self._within_line.set_data(*np.array(self._within).reshape(-1, 2).T)
        self._fit()
        self.canvas.draw()  # type: ignore[no-untyped-call]

    def _fit(self) -> None:
        from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

        axes = self.axes
        values = np.concatenate([line.get_ydata() for line in (self._train_line, self._validation_line)])
        values = np.concatenate([values, self._within_line.get_ydata()])
        values = values[np.isfinite(values) & (values > 0)]
        low, high = (values.min(), values.max()) if values.size else (1.0, 10.0)
        margin = max(1.1, (high / low) ** 0.08)
        axes.set_ylim(low / margin, high * margin)
        last = max(len(self.records), *(done for done, _ in self._within), 1) if self._within else len(self.records)
        axes.set_xlim(0, max(last, 1) + 0.3)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_locator(LogLocator(subs=_ticks(high / low), numticks=8))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
        self._legend.set_visible(bool(self.records))

    def _tell(self, event: Any) -> None:  # noqa: ANN401 (matplotlib's event)
        words = self.words_at(event.xdata) if event.inaxes is self.axes else ""
        tell_at_mouse(words, self.canvas)


def agreement_in_words(record: EpochRecord) -> list[str]:
    """How well the validation patches are predicted, beside what a blur reaches."""
    if record.validation_r is None or record.validation_r2 is None:
        return []
    lines = [f"r {record.validation_r:.3f}, R² {record.validation_r2:.3f}"]
    if record.baseline_r is not None and record.baseline_r2 is not None:
        lines.append(f"blurred inputs: r {record.baseline_r:.3f}, R² {record.baseline_r2:.3f}")
    return lines


def _ticks(ratio: float) -> tuple[float, ...]:
    """Multiples of powers of ten that get a number: more where the curve spans little."""
    if ratio > 100:
        return (1.0,)
    return (1.0, 2.0, 5.0) if ratio > 4 else (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0)
