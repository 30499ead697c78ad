"""A study's box plots, every point shown, each with the CSV that it was drawn from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_hrpn.core.files import replaced_file
from napari_hrpn.reports.figure_text import plain_text
from napari_hrpn.reports.study_table import HEADINGS, REGIONS, write_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from napari_hrpn.experiments import ResultRow

_PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's: told apart by people of all kinds of colour vision."""
_MODEL_NAMES = {"hrpn": "HRPN", "ganda": "GANDA"}
_SERIES_NAMES = {"validation": "cross-validation (held-out tumour chose the epoch)", "test": "test tumours"}
_DPI = 150


@dataclass(frozen=True)
class _Layout:
    """What stands side by side, and what is told apart by colour."""

    title: str
    category: Callable[[ResultRow], str]
    series: Callable[[ResultRow], str]


def write_study_figures(models: Sequence[ResultRow], ablations: Sequence[ResultRow], folder: Path) -> tuple[Path, ...]:
    """Draw the comparison of models, and of the ablations where there are any, on tissue and on the full frame.

    Parameters
    ----------
    models : sequence of ResultRow
        Networks and baselines that are compared.
    ablations : sequence of ResultRow
        The ablation grid; may be empty.
    folder : pathlib.Path
        Where to; made where it is not there.

    Returns
    -------
    tuple of pathlib.Path
        Pictures, with a CSV of the same name beside each; older ones are replaced.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {
        "models": (models, _Layout("Models", _model, lambda row: _SERIES_NAMES[row.part])),
        "ablations": (ablations, _Layout("Ablations of HRPN", _channels, _branches)),
    }
    return tuple(
        _write(chosen, layout, region, folder / f"{name}-{region}.png")
        for name, (rows, layout) in wanted.items()
        for region in REGIONS
        if (chosen := [row for row in rows if row.region == region])
    )


def _model(row: ResultRow) -> str:
    return _MODEL_NAMES.get(row.model, row.model.replace(" ", "\n"))


def _channels(row: ResultRow) -> str:
    return row.channels.replace("+", "\n+ ")


def _branches(row: ResultRow) -> str:
    return f"{row.branches} branch{'' if row.branches == 1 else 'es'}"


def _write(rows: Sequence[ResultRow], layout: _Layout, region: str, path: Path) -> Path:
    from matplotlib.figure import Figure

    series = sorted({layout.series(row) for row in rows})
    categories = list(dict.fromkeys(layout.category(row) for row in rows))
    width = 0.6 + max(1.8, 0.45 * len(categories), 0.25 * len(categories) * len(series))
    figure = Figure(figsize=(width * len(HEADINGS), 4), layout="constrained")
    for axes, metric in zip(figure.subplots(1, len(HEADINGS)), HEADINGS, strict=True):
        _draw_panel(axes, rows, layout, metric, series)
    figure.suptitle(f"{layout.title}, {REGIONS[region]}: each point is a slide, their number above")
    handles = {
        text: handle for axes in figure.axes for handle, text in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles), frameon=False)
    plain_text(figure)
    with replaced_file(path) as partial:
        figure.savefig(partial, format=path.suffix[1:], dpi=_DPI)
    with replaced_file(path.with_suffix(".csv")) as partial:
        write_rows([_plotted(row, layout) for row in rows], partial)
    return path


def _draw_panel(axes: Axes, rows: Sequence[ResultRow], layout: _Layout, metric: str, series: Sequence[str]) -> None:
    there = [row for row in rows if math.isfinite(getattr(row, metric))]
    categories = list(dict.fromkeys(layout.category(row) for row in there))
    width = 0.8 / len(series)
    for index, one in enumerate(series):
        colour, is_labelled = _PALETTE[index % len(_PALETTE)], False
        for place, category in enumerate(categories):
            values = [
                getattr(row, metric) for row in there if (layout.category(row), layout.series(row)) == (category, one)
            ]
            if values:
                middle = place + (index - (len(series) - 1) / 2) * width
                _draw_box(axes, values, middle, 0.8 * width, colour, "" if is_labelled else one)
                is_labelled = True
    axes.margins(y=0.12)
    axes.set_title(HEADINGS[metric])
    axes.set_xticks(range(len(categories)), categories, fontsize=8)
    axes.set_xlim(-0.6, max(0, len(categories) - 1) + 0.6)
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_box(axes: Axes, values: Sequence[float], middle: float, width: float, colour: str, label: str) -> None:
    """A box and all its points, side by side so that none hides another; of one or two slides the points alone."""
    count = len(values)
    if count > 2:
        axes.boxplot(
            values,
            positions=[middle],
            widths=width,
            showfliers=False,
            manage_ticks=False,
            boxprops={"color": colour},
            whiskerprops={"color": colour},
            capprops={"color": colour},
            medianprops={"color": colour},
        )
    places = [middle + width * 0.6 * ((number + 0.5) / count - 0.5) for number in range(count)]
    axes.plot(places, values, "o", color=colour, markersize=4, alpha=0.8, label=label or "_")
    axes.annotate(f"{count}", (middle, 1), xycoords=("data", "axes fraction"), ha="center", va="top", fontsize=7)


def _plotted(row: ResultRow, layout: _Layout) -> dict[str, object]:
    return {
        "category": layout.category(row).replace("\n", " "),
        "series": layout.series(row),
        "fold": row.fold,
        "slide": row.slide,
        "tumour": row.tumour,
        "part": row.part,
        "chose_checkpoint": row.chose_checkpoint,
        "region": row.region,
        **{metric: getattr(row, metric) for metric in HEADINGS},
        "n": row.n,
    }
