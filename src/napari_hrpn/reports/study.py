"""Table and figures of a study: mean ± SD over slides, and a point for every slide."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from napari_hrpn.analysis.metrics import STUDY_METRICS, headings
from napari_hrpn.core.files import replaced_file
from napari_hrpn.reports.drawing import new_figure, plain_text
from napari_hrpn.reports.numbers import mean_and_sd
from napari_hrpn.reports.serialization import fields_of
from napari_hrpn.reports.tables import write_csv
from napari_hrpn.settings.networks import NETWORKS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from napari_hrpn.analysis import MeanAndSd
    from napari_hrpn.experiments import ResultRow, SummaryRow

    Plain = dict[str, Any]

# the key of the PSNR is psnr_db in studies, psnr in evaluations
_HEADINGS = {key: headings([key.removesuffix("_db")])[key.removesuffix("_db")] for key in STUDY_METRICS}
_PARTS = {"test": "Test tumours", "validation": "Cross-validation"}
_REGIONS = {"tissue": "tissue", "frame": "full frame"}
_NOTES = (
    "Mean ± standard deviation over slides. The unit is the tumour: slides of one tumour are not independent.",
    "MSE and RMSE are in grey levels of the imaged probe; R² and PSNR are pooled over all pixels of a slide.",
    "* The held-out tumour also decided which epoch was kept, so this figure is not unbiased.",
    "Parameters are those that are trained, of the network that predicts; seconds are the mean over its trainings.",
    "mean: the mean of the probe over the tissue learnt from. blurred: least squares on Gaussian-blurred inputs. "
    "raw: the stain as it is; only its correlation means something.",
)


def write_study_table(
    models: Sequence[SummaryRow], ablations: Sequence[SummaryRow], folder: Path, title: str = ""
) -> Path:
    """Write ``table.md`` and ``table.csv``, each in one step; existing files are replaced.

    Parameters
    ----------
    models : sequence of SummaryRow
        Networks and baselines that are compared.
    ablations : sequence of SummaryRow
        The ablation grid; may be empty.
    folder : pathlib.Path
        Output folder.
    title : str
        Title of the study.

    Returns
    -------
    pathlib.Path
        The Markdown file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "table.md"
    parts = [f"# {title or 'Study'}", *_sections("Models", models), *_sections("Ablations of HRPN", ablations)]
    with replaced_file(path) as partial:
        partial.write_text("\n\n".join([*parts, "\n".join(f"- {note}" for note in _NOTES)]) + "\n", encoding="utf-8")
    rows = [_flat("models", row) for row in models] + [_flat("ablations", row) for row in ablations]
    write_csv(rows, path.with_suffix(".csv"))
    return path


def _sections(heading: str, rows: Sequence[SummaryRow]) -> list[str]:
    return [
        f"## {heading}: {part_name}, {region_name}\n\n{_markdown(chosen)}"
        for part, part_name in _PARTS.items()
        for region, region_name in _REGIONS.items()
        if (chosen := [row for row in rows if (row.part, row.region) == (part, region)])
    ]


def _markdown(rows: Sequence[SummaryRow]) -> str:
    table = [["model", "inputs", "branches", "n", *_HEADINGS.values(), "parameters", "training, s"]]
    for row in rows:
        star = "*" if row.chose_checkpoint else ""
        table.append(
            [
                f"{row.model}{star}",
                row.channels.replace("+", " + "),
                _number(row.branches),
                f"{row.slides} ({_tumours(row.tumours)})",
                *(_spread(row.metrics[name]) for name in _HEADINGS),
                _number(row.parameters),
                _seconds(row.seconds),
            ]
        )
    lines = [f"| {' | '.join(cells)} |" for cells in table]
    return "\n".join([lines[0], "|" + " --- |" * len(table[0]), *lines[1:]])


def _tumours(count: int) -> str:
    return f"{count} tumour{'' if count == 1 else 's'}"


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _spread(found: MeanAndSd) -> str:
    return "" if math.isnan(found.mean) else mean_and_sd(found.mean, found.sd, "{:.4g}".format)


def _seconds(value: float) -> str:
    return "" if math.isnan(value) else f"{value:,.1f}" if value < 10 else f"{value:,.0f}"


def _flat(table: str, row: SummaryRow) -> Plain:
    metrics = {f"{name}_{what}": getattr(row.metrics[name], what) for name in _HEADINGS for what in ("mean", "sd")}
    return {
        "table": table,
        **fields_of(row, "model", "channels", "branches", "part", "region", "chose_checkpoint", "slides", "tumours"),
        **metrics,
        **fields_of(row, "parameters", "seconds", "patches_per_second", "peak_memory_mb"),
    }


_PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's palette, whose colours can be distinguished with all kinds of colour vision."""
_SERIES_NAMES = {"validation": "cross-validation (held-out tumour chose the epoch)", "test": "test tumours"}
_DPI = 150


def write_study_figures(models: Sequence[ResultRow], ablations: Sequence[ResultRow], folder: Path) -> tuple[Path, ...]:
    """Draw the comparison of models, and of the ablations if there are any, on tissue and on the full frame.

    Parameters
    ----------
    models : sequence of ResultRow
        Networks and baselines that are compared.
    ablations : sequence of ResultRow
        The ablation grid; may be empty.
    folder : pathlib.Path
        Output folder, which is made if necessary.

    Returns
    -------
    tuple of pathlib.Path
        Figures, with a CSV of the same name beside each; existing files are replaced.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figures = {
        "models": ("Models", [_plotted(row, _model(row), _SERIES_NAMES[row.part]) for row in models]),
        "ablations": ("Ablations of HRPN", [_plotted(row, _channels(row), _branches(row)) for row in ablations]),
    }
    return tuple(
        _write(chosen, f"{title}, {region_name}", folder / f"{name}-{region}.png")
        for name, (title, rows) in figures.items()
        for region, region_name in _REGIONS.items()
        if (chosen := [row for row in rows if row["region"] == region])
    )


def _model(row: ResultRow) -> str:
    network = NETWORKS.get(row.model)
    return row.model.replace(" ", "\n") if network is None else network.title


def _channels(row: ResultRow) -> str:
    return row.channels.replace("+", "\n+ ")


def _branches(row: ResultRow) -> str:
    return f"{row.branches} branch{'' if row.branches == 1 else 'es'}"


def _plotted(row: ResultRow, category: str, series: str) -> Plain:
    """Row of a figure: its category on the x axis, its series, which has a colour, and its numbers."""
    columns = fields_of(row, "fold", "slide", "tumour", "part", "chose_checkpoint", "region")
    metrics = {name: row.metric(name) for name in _HEADINGS}
    return {"category": category, "series": series, **columns, **metrics, "n": row.n}


def _write(rows: Sequence[Plain], title: str, path: Path) -> Path:
    series = sorted({row["series"] for row in rows})
    categories = dict.fromkeys(row["category"] for row in rows)
    width = 0.6 + max(1.8, 0.45 * len(categories), 0.25 * len(categories) * len(series))
    figure, panels = new_figure(width * len(_HEADINGS), 4, columns=len(_HEADINGS))
    for axes, metric in zip(panels, _HEADINGS, strict=True):
        _draw_panel(axes, [row for row in rows if math.isfinite(row[metric])], metric, series)
    figure.suptitle(f"{title}: each point is a slide, their number above")
    handles = {text: handle for axes in panels for handle, text in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles), frameon=False)
    plain_text(figure)
    with replaced_file(path) as partial:
        figure.savefig(partial, format=path.suffix[1:], dpi=_DPI)
    write_csv([{**row, "category": row["category"].replace("\n", " ")} for row in rows], path.with_suffix(".csv"))
    return path


def _draw_panel(axes: Axes, rows: Sequence[Plain], metric: str, series: Sequence[str]) -> None:
    categories = list(dict.fromkeys(row["category"] for row in rows))
    width = 0.8 / len(series)
    for index, series_name in enumerate(series):
        for x, category in enumerate(categories):
            values = [row[metric] for row in rows if (row["category"], row["series"]) == (category, series_name)]
            if values:
                middle = x + (index - (len(series) - 1) / 2) * width
                _draw_box(axes, values, middle, 0.8 * width, _PALETTE[index % len(_PALETTE)], series_name)
    axes.margins(y=0.12)
    axes.set_title(_HEADINGS[metric])
    axes.set_xticks(range(len(categories)), categories, fontsize=8)
    axes.set_xlim(-0.6, max(0, len(categories) - 1) + 0.6)
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_box(axes: Axes, values: Sequence[float], middle: float, width: float, colour: str, label: str) -> None:
    """Draw a box and all points, side by side so that none hides another; for one or two slides only the points."""
    count = len(values)
    if count > 2:
        parts: Any = {f"{part}props": {"color": colour} for part in ("box", "whisker", "cap", "median")}
        axes.boxplot(values, positions=[middle], widths=width, showfliers=False, manage_ticks=False, **parts)
    positions = [middle + width * 0.6 * ((number + 0.5) / count - 0.5) for number in range(count)]
    axes.plot(positions, values, "o", color=colour, markersize=4, alpha=0.8, label=label)
    axes.annotate(f"{count}", (middle, 1), xycoords=("data", "axes fraction"), ha="center", va="top", fontsize=7)
