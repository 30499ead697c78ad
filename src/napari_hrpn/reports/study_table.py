"""A study's comparison as a table to read and one to compute with: mean ± SD over slides, n beside it."""

from __future__ import annotations

import csv
import math
from typing import TYPE_CHECKING, Any

from napari_hrpn.core.files import replaced_file
from napari_hrpn.core.plain_text import csv_cell

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_hrpn.analysis import MeanAndSd
    from napari_hrpn.experiments import SummaryRow

HEADINGS = {
    "mse": "MSE",
    "rmse": "RMSE",
    "r2": "R²",
    "psnr_db": "PSNR, dB",
    "pearson_r": "Pearson r",
}
_PARTS = {"test": "Test tumours", "validation": "Cross-validation"}
REGIONS = {"tissue": "tissue", "frame": "full frame"}
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
    """Write ``table.md`` and ``table.csv``, each in one step; older ones are replaced.

    Parameters
    ----------
    models : sequence of SummaryRow
        Networks and baselines that are compared.
    ablations : sequence of SummaryRow
        The ablation grid; may be empty.
    folder : pathlib.Path
        Where to.
    title : str
        Of the study.

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
    with replaced_file(path.with_suffix(".csv")) as partial:
        write_rows(rows, partial)
    return path


def write_rows(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Write CSV; what does not exist is empty."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {key: "" if _is_missing(value) else csv_cell(value) for key, value in row.items()} for row in rows
        )


def _sections(heading: str, rows: Sequence[SummaryRow]) -> list[str]:
    return [
        f"## {heading}: {part_name}, {region_name}\n\n{_markdown(chosen)}"
        for part, part_name in _PARTS.items()
        for region, region_name in REGIONS.items()
        if (chosen := [row for row in rows if (row.part, row.region) == (part, region)])
    ]


def _markdown(rows: Sequence[SummaryRow]) -> str:
    table = [["model", "inputs", "branches", "n", *HEADINGS.values(), "parameters", "training, s"]]
    for row in rows:
        star = "*" if row.chose_checkpoint else ""
        table.append(
            [
                f"{row.model}{star}",
                row.channels.replace("+", " + "),
                _number(row.branches),
                f"{row.slides} ({_tumours(row.tumours)})",
                *(_mean_and_sd(row.metrics[name]) for name in HEADINGS),
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


def _mean_and_sd(value: MeanAndSd) -> str:
    """The spread with two digits, the mean to the same place."""
    if math.isnan(value.mean):
        return ""
    if math.isnan(value.sd) or value.sd == 0:
        return f"{value.mean:.4g}" if math.isnan(value.sd) else f"{value.mean:.4g} ± 0"
    places = max(0, 1 - math.floor(math.log10(value.sd)))
    return f"{value.mean:,.{places}f} ± {value.sd:,.{places}f}"


def _seconds(value: float) -> str:
    return "" if math.isnan(value) else f"{value:,.1f}" if value < 10 else f"{value:,.0f}"


def _flat(table: str, row: SummaryRow) -> dict[str, Any]:
    metrics: dict[str, float] = {}
    for name in HEADINGS:
        value = row.metrics[name]
        metrics |= {f"{name}_mean": value.mean, f"{name}_sd": value.sd}
    return {
        "table": table,
        "model": row.model,
        "channels": row.channels,
        "branches": row.branches,
        "part": row.part,
        "region": row.region,
        "chose_checkpoint": row.chose_checkpoint,
        "slides": row.slides,
        "tumours": row.tumours,
        **metrics,
        "parameters": row.parameters,
        "seconds": row.seconds,
        "patches_per_second": row.patches_per_second,
        "peak_memory_mb": row.peak_memory_mb,
    }


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
