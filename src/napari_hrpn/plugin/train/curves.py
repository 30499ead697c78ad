"""Loss curves of a training: training and validation by epoch, the best epoch, and the values under the mouse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.plugin.parts.plot import TEXT_POINTS, Ink, Plot, dress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from napari_hrpn.training import EpochRecord

_HEIGHT_PX = 246
_TRAIN_COLOUR, _VALIDATION_COLOUR, _BEST_COLOUR = "#5aa9ff", "#ffa64d", "#ffe14d"
_POINTS_PER_EPOCH = 200
_LABEL = "mean squared error, grey levels²"


class TrainingCurves(Plot):
    """Curves of the losses."""

    # a step may come every few milliseconds
    redraw_ms = 300

    def __init__(self) -> None:
        super().__init__(_HEIGHT_PX)
        self.canvas.setMaximumHeight(_HEIGHT_PX)
        self.records: list[EpochRecord] = []
        self.best_epoch = 0
        self._within: list[tuple[float, float]] = []

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
            self.redraw_soon()

    def words_at(self, event: Any) -> str:  # noqa: ANN401 (matplotlib's event)
        """The values of the epoch that is nearest; empty where there is none."""
        if not self.records:
            return ""
        record = min(self.records, key=lambda record: abs(record.epoch - event.xdata))
        best = " (best)" if record.epoch == self.best_epoch else ""
        losses = f"train {record.train_loss:.4g}\nvalidation {record.validation_loss:.4g}"
        return "\n".join([f"epoch {record.epoch}{best}", losses, *agreement_in_words(record)])

    def draw_on(self, figure: Figure, ink: Ink) -> None:
        """Draw both losses by epoch, that of the training within epochs too, and the best epoch."""
        axes = figure.add_subplot()
        epochs = [record.epoch for record in self.records]
        train, validation = ([getattr(one, name) for one in self.records] for name in ("train_loss", "validation_loss"))
        best = [(one.epoch, one.validation_loss) for one in self.records if one.epoch == self.best_epoch]
        within, marked = (np.array(points, float).reshape(-1, 2).T for points in (self._within, best))
        axes.plot(epochs, train, "o-", color=_TRAIN_COLOUR, markersize=3, label="train")
        axes.plot(*within, "-", color=_TRAIN_COLOUR, alpha=0.5)
        axes.plot(epochs, validation, "o-", color=_VALIDATION_COLOUR, markersize=3, label="validation")
        axes.plot(
            *marked, "*", color=_BEST_COLOUR, markersize=13, markeredgecolor="#333333", label="best epoch", zorder=5
        )
        # beside the axis there is no room for so many words
        dress(axes, ink, title=_LABEL)
        axes.set_xlabel("epoch", color=ink.text, fontsize=TEXT_POINTS, loc="left")
        axes.set_xlim(0, max(len(self.records), *within[0], 1) + 0.3)
        _fit_losses(axes, np.concatenate([train, validation, within[1]]))
        if self.records:
            # beside the name of the axis it never lies on a point
            axes.legend(
                loc="lower right",
                bbox_to_anchor=(1, 0),
                bbox_transform=figure.transFigure,
                borderaxespad=0.2,
                ncols=3,
                columnspacing=1.0,
                handlelength=1.4,
                fontsize=TEXT_POINTS,
                frameon=False,
                labelcolor=ink.text,
            )

    def _take(self, records: Sequence[EpochRecord], best_epoch: int) -> None:
        """Show these epochs; the steps that were seen stay."""
        self.records, self.best_epoch = list(records), best_epoch
        self.redraw_soon()


def _fit_losses(axes: Axes, losses: np.ndarray) -> None:
    """Show the logarithm of losses, with plain numbers, whole epochs, and a margin."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

    shown = losses[np.isfinite(losses) & (losses > 0)]
    low, high = (shown.min(), shown.max()) if shown.size else (1.0, 10.0)
    margin = max(1.1, (high / low) ** 0.08)
    axes.set_yscale("log")
    axes.set_ylim(low / margin, high * margin)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_locator(LogLocator(subs=_ticks(high / low), numticks=8))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


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
