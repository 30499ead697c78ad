"""Loss curves of a training: training and validation loss by epoch, the best epoch, and values under the mouse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.plugin.parts.plot import TEXT_POINTS, Plot, dress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from napari_hrpn.plugin.parts.plot import Ink
    from napari_hrpn.training import EpochRecord

_REDRAW_MS = 300
_HEIGHT_PX = 246
_TRAIN_COLOUR, _VALIDATION_COLOUR, _BEST_COLOUR = "#5aa9ff", "#ffa64d", "#ffe14d"
_POINTS_PER_EPOCH = 200
_LABEL = "mean squared error, grey levels²"


class TrainingCurves(Plot):
    """Curves of the losses; drawn a few times per second at most."""

    def __init__(self) -> None:
        super().__init__(_HEIGHT_PX)
        self.records: list[EpochRecord] = []
        self.best_epoch = 0
        self._within: list[tuple[float, float]] = []
        self.canvas.setMaximumHeight(_HEIGHT_PX)
        self._soon.setInterval(_REDRAW_MS)

    def show_history(self, records: Sequence[EpochRecord], best_epoch: int) -> None:
        """Show the epochs of a run."""
        self._within = []
        self._take(records, best_epoch)

    def add_epoch(self, record: EpochRecord, best_epoch: int) -> None:
        """Add an epoch; the curve of the steps stays."""
        self._take((*(old for old in self.records if old.epoch < record.epoch), record), best_epoch)

    def add_step(self, epochs_done: float, mean_loss: float) -> None:
        """Add a point to the training curve within an epoch."""
        if not self._within:
            # the curve of a resumed run begins where its history ends
            self._within = [(float(record.epoch), record.train_loss) for record in self.records[-1:]]
        if not self._within or epochs_done - self._within[-1][0] >= 1 / _POINTS_PER_EPOCH:
            self._within.append((epochs_done, mean_loss))
            self.redraw_soon()

    def draw_on(self, figure: Figure, ink: Ink) -> None:
        """Draw all curves."""
        axes, epochs = figure.add_subplot(), [record.epoch for record in self.records]
        dress(axes, ink)
        # the label is the title: it is too long for the side of the axis
        axes.set_title(_LABEL, loc="left", color=ink.text, fontsize=TEXT_POINTS + 1)
        axes.set_xlabel("epoch", loc="left", color=ink.text, fontsize=TEXT_POINTS + 1)
        best = [record for record in self.records if record.epoch == self.best_epoch]
        losses = {"train": _TRAIN_COLOUR, "validation": _VALIDATION_COLOUR}
        shown = [
            axes.plot(epochs, [getattr(record, f"{part}_loss") for record in self.records], "o-", color=colour, ms=3)[0]
            for part, colour in losses.items()
        ]
        axes.plot(*np.reshape(self._within, (-1, 2)).T, "-", color=_TRAIN_COLOUR, alpha=0.5)
        star: dict[str, Any] = {"color": _BEST_COLOUR, "markersize": 13, "markeredgecolor": "#333333", "zorder": 5}
        shown += axes.plot([record.epoch for record in best], [record.validation_loss for record in best], "*", **star)
        if self.records:
            # beside the axis label, the legend never covers a point
            axes.legend(
                shown,
                [*losses, "best epoch"],
                loc="lower right",
                bbox_to_anchor=(1, 0),
                bbox_transform=figure.transFigure,
                borderaxespad=0.2,
                ncols=3,
                columnspacing=1.0,
                handlelength=1.4,
                fontsize=TEXT_POINTS,
                labelcolor=ink.text,
                frameon=False,
            )
        self._set_limits(axes)

    def words_at(self, event: Any) -> str:  # noqa: ANN401 (matplotlib's event)
        """Values of the epoch under the mouse."""
        return self.words_of(event.xdata)

    def words_of(self, epochs_done: float) -> str:
        """Values of the nearest epoch; empty if there is none."""
        if not self.records:
            return ""
        record = min(self.records, key=lambda record: abs(record.epoch - epochs_done))
        best = " (best)" if record.epoch == self.best_epoch else ""
        losses = f"train {record.train_loss:.4g}\nvalidation {record.validation_loss:.4g}"
        return "\n".join([f"epoch {record.epoch}{best}", losses, *agreement_in_words(record)])

    def _take(self, records: Sequence[EpochRecord], best_epoch: int) -> None:
        self.records, self.best_epoch = list(records), best_epoch
        self.redraw_soon()

    def _set_limits(self, axes: Axes) -> None:
        from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

        values = np.concatenate([np.asarray(line.get_ydata(), float) for line in axes.get_lines()])
        values = values[np.isfinite(values) & (values > 0)]
        low, high = (values.min(), values.max()) if values.size else (1.0, 10.0)
        margin = max(1.1, (high / low) ** 0.08)
        axes.set_yscale("log")
        axes.set_ylim(low / margin, high * margin)
        axes.set_xlim(0, max(len(self.records), 1, *(done for done, _ in self._within)) + 0.3)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_locator(LogLocator(subs=_ticks(high / low), numticks=8))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_locator(NullLocator())


def agreement_in_words(record: EpochRecord) -> list[str]:
    """Agreement on the validation patches, of the network and of blurred inputs."""
    if record.validation_r is None or record.validation_r2 is None:
        return []
    lines = [f"r {record.validation_r:.3f}, R² {record.validation_r2:.3f}"]
    if record.baseline_r is not None and record.baseline_r2 is not None:
        lines.append(f"blurred inputs: r {record.baseline_r:.3f}, R² {record.baseline_r2:.3f}")
    return lines


def _ticks(ratio: float) -> tuple[float, ...]:
    """Multiples of powers of ten that get a tick label: more if the curve spans little."""
    if ratio > 100:
        return (1.0,)
    return (1.0, 2.0, 5.0) if ratio > 4 else (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0)
