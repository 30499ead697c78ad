"""Page and figures of a cohort: a row and a point per tumour, means over tumours, definitions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.analysis.metrics import COHORT_FIGURE, COHORT_PAGE, metrics_in
from napari_hrpn.reports.drawing import REAL_COLOUR, Drawing, new_figure, tidy
from napari_hrpn.reports.folder import TABLES, ReportError
from napari_hrpn.reports.html import Page
from napari_hrpn.reports.numbers import MISSING, definitions, interval, mean_and_sd, number
from napari_hrpn.reports.tissue_figures import draw_violin, image_colours
from napari_hrpn.slides import distinct_colours

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import pandas as pd
    from matplotlib.axes import Axes

    Plain = dict[str, Any]


def cohort_figures(rows: Sequence[Plain], evaluations: Mapping[Path, Plain]) -> list[Drawing]:
    """Draw a cohort."""
    colours = _colours(evaluations.values())
    drawings = [_numbers(rows, colours), *_patches(evaluations, colours)]
    profiled = [evaluation for evaluation in evaluations.values() if "real" in evaluation["penetration"]]
    return [*drawings, _profiles(profiled, colours)] if profiled else drawings


def _colours(evaluations: Iterable[Plain]) -> dict[str, str]:
    """Colours of the predictions by name, each from the first evaluation that has one."""
    recorded: dict[str, str | None] = {}
    for evaluation in evaluations:
        for name, facts in evaluation["about"]["predictions"].items():
            recorded[name] = recorded.get(name) or facts.get("colour")
    return dict(zip(recorded, distinct_colours(list(recorded.values())), strict=True))


def _numbers(rows: Sequence[Plain], colours: Mapping[str, str]) -> Drawing:
    region = "tissue" if any(row["region"] == "tissue" for row in rows) else "frame"
    chosen = [row for row in rows if row["region"] == region]
    predictions = list(dict.fromkeys(row["prediction"] for row in chosen))
    tumours = list(dict.fromkeys(row["tumour"] for row in chosen))
    metrics = metrics_in(COHORT_FIGURE)
    figure, panels = new_figure(2.6 * len(metrics), 4.2, columns=len(metrics))
    for axes, metric in zip(panels, metrics, strict=True):
        numbers = {(row["prediction"], row["tumour"]): row[metric.key] for row in chosen}
        for tumour in tumours:
            line = [numbers.get((prediction, tumour), math.nan) for prediction in predictions]
            axes.plot(range(len(line)), line, color="0.7", linewidth=0.8, zorder=1)
        for x, prediction in enumerate(predictions):
            values = [numbers.get((prediction, tumour), math.nan) for tumour in tumours]
            colour = colours[prediction]
            axes.scatter([x] * len(values), values, s=22, color=colour, alpha=0.8, zorder=2)
            if np.isfinite(values).any():
                axes.plot([x - 0.2, x + 0.2], [np.nanmean(values)] * 2, color=colour, linewidth=2)
        tidy(axes, "", "", metric.heading)
        axes.set_xticks(range(len(predictions)), predictions, rotation=20, ha="right", fontsize=8)
        axes.set_xlim(-0.6, len(predictions) - 0.4)
    caption = f"Each point is a tumour, n = {len(tumours)}, over the {region}; the bar is their mean."
    return Drawing("tumours", "Tumours", caption, figure)


def _patch_table(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        msg = f"{path} is missing or damaged; expected the table of an evaluation: evaluate the slide again."
        raise ReportError(msg) from error


def _patches(evaluations: Mapping[Path, Plain], colours: Mapping[str, str]) -> list[Drawing]:
    """Total intensity of each patch by tumour and channel, as in the paper's figure 2C."""
    tables = {folder: _patch_table(folder / TABLES / "patches.parquet") for folder in evaluations}
    edges = {evaluation["heterogeneity"]["patch_px"] for evaluation in evaluations.values()}
    if len(edges) > 1:
        # sums over patches of different sizes cannot be compared
        return []
    images = list(
        dict.fromkeys(
            name.removesuffix(" total") for table in tables.values() for name in table if name.endswith(" total")
        )
    )
    tumour_of = {folder: str(evaluation["about"]["tumour"]) for folder, evaluation in evaluations.items()}
    tumours = list(dict.fromkeys(tumour_of.values()))
    figure, panels = new_figure(1.5 + 0.9 * len(tumours) * len(images) ** 0.5, 2.6 * len(images), rows=len(images))
    for axes, image, colour in zip(panels, images, image_colours(images, colours), strict=True):
        counts = []
        for x, tumour in enumerate(tumours):
            values = [
                value
                for folder, table in tables.items()
                if tumour_of[folder] == tumour and f"{image} total" in table
                for value in table[table["enough"]][f"{image} total"]
            ]
            draw_violin(axes, values, x, colour)
            counts.append(len(values))
        labels = [f"{tumour}\nn = {count}" for tumour, count in zip(tumours, counts, strict=True)]
        tidy(axes, "", "total per patch", image)
        axes.set_xticks(range(len(tumours)), labels, fontsize=8)
        axes.set_xlim(-0.6, len(tumours) - 0.4)
    caption = (
        f"Sum of the grey levels of each patch of {edges.pop()} px with at least half of it tissue, by tumour and "
        "channel, as the paper's figure 2C; n counts patches."
    )
    return [Drawing("patches", "Patches by tumour", caption, figure)]


def _profiles(evaluations: Sequence[Plain], colours: Mapping[str, str]) -> Drawing:
    names = ["real", *dict.fromkeys(name for evaluation in evaluations for name in evaluation["predictions"])]
    figure, panels = new_figure(1 + 4.2 * len(names), 4, columns=len(names), sharey=True)
    for axes, name in zip(panels, names, strict=True):
        colour = REAL_COLOUR if name == "real" else colours[name]
        for evaluation in evaluations:
            if (profile := _profile(evaluation, name)) is not None:
                _draw(axes, profile, colour)
        tidy(axes, "distance from the nearest vessel, µm", "mean / mean of the first shell", name)
    caption = (
        f"Mean grey level by distance from the nearest vessel, each slide a line (n = {len(evaluations)}), relative to "
        "its first shell."
    )
    return Drawing("penetration", "Penetration from the vessels", caption, figure)


def _profile(evaluation: Plain, name: str) -> Plain | None:
    if name == "real":
        profile: Plain | None = evaluation["penetration"]["real"].get("tissue")
        return profile
    prediction = evaluation["predictions"].get(name)
    return None if prediction is None else prediction["penetration"]["predicted"].get("tissue")


def _draw(axes: Axes, profile: Plain, colour: str) -> None:
    shells = [shell for shell in profile["shells"] if shell["to_um"] is not None and shell["mean"] is not None]
    if shells and shells[0]["mean"]:
        middle = [(shell["from_um"] + shell["to_um"]) / 2 for shell in shells]
        axes.plot(middle, [shell["mean"] / shells[0]["mean"] for shell in shells], color=colour, alpha=0.7)


_SHOWN = {
    **{metric.key: metric.heading for metric in metrics_in(COHORT_PAGE)},
    "iou_90": "IoU at 90 %",
    "real_d50_um": "D50 real, µm",
    "predicted_d50_um": "D50 predicted, µm",
    "vessels_per_mm2": "vessels per mm²",
}


def cohort_page(content: Plain, drawings: Sequence[Drawing], folder: Path) -> str:
    """Make the page of a cohort."""
    tumours = {row["tumour"] for row in content["tumours"]}
    page = Page(f"Cohort of {len(tumours)} tumour{'' if len(tumours) == 1 else 's'}")
    page.text(
        "The tumour is the unit: slides of one tumour are averaged first, and it counts once. Intervals are by "
        "drawing tumours with replacement, and need five of them.",
        quiet=True,
    )
    for name, seen in content.get("trained_on", {}).items():
        page.text(
            f"{name}: its networks were trained on {', '.join(seen)} or chosen by {'it' if len(seen) == 1 else 'them'}"
            ", so these numbers are no test; the intervals for a new tumour are without them."
        )
    for region in ("tissue", "frame"):
        rows = [row for row in content["tumours"] if row["region"] == region]
        if rows:
            page.heading({"tissue": "Tumours, tissue", "frame": "Tumours, full frame"}[region])
            _tumours(page, rows, [row for row in content["summary"] if row["region"] == region])
    if content["differences"]:
        page.heading("Differences between predictions")
        _differences(page, content["differences"])
    if content.get("intervals"):
        page.heading("Intervals for a new tumour")
        _intervals(page, content["intervals"])
    page.heading("Figures")
    page.pictures(drawings, folder)
    page.heading("Definitions")
    page.definitions(definitions(has_uncertainty=False))
    page.heading("Made from")
    rows = [
        [
            about["folder"],
            str(about["tumour"]),
            about["real"]["name"],
            about["real"]["sha256"] or about["real"]["identity"],
        ]
        for about in content["evaluations"]
    ]
    page.table(["evaluation", "tumour", "slide", "SHA-256 or identity"], rows, words=True)
    return str(page)


def _intervals(page: Page, rows: Sequence[Plain]) -> None:
    page.text(
        "The SD between the members of an ensemble, times the factor, has intervals that hold for a new tumour like "
        "these ones, on average over tumours, if no member was trained on any of these; tumours that are recorded as "
        "trained on are left out. Every tumour counts equally; with K tumours no level above K / (K + 1) can be had."
    )
    page.table(
        ["prediction", "interval", "tumours", "factor for the SD"],
        [[row["prediction"], f"{row['level']} %", f"{row['tumours']}", number(row["factor"])] for row in rows],
    )
    page.bullets(dict.fromkeys(f"{row['prediction']}: {row['reason']}." for row in rows if row["reason"]))


def _tumours(page: Page, rows: Sequence[Plain], summary: Sequence[Plain]) -> None:
    shown = {key: words for key, words in _SHOWN.items() if any(row.get(key) is not None for row in rows)}
    page.table(
        ["tumour, prediction", "slides", *shown.values()],
        [
            [f"{row['tumour']}, {row['prediction']}", f"{row['slides']}", *(number(row.get(key)) for key in shown)]
            for row in rows
        ],
    )
    predictions = list(dict.fromkeys(row["prediction"] for row in rows))
    by_prediction = {(row["prediction"], row["number"]): row for row in summary}
    headings = [f"{name}: {what}" for name in predictions for what in ("mean ± SD", "n", "95 % interval")]
    page.table(
        ["over tumours", *headings],
        [
            [heading, *(cell for name in predictions for cell in _spread_cells(by_prediction.get((name, key))))]
            for key, heading in shown.items()
        ],
    )
    page.bullets(dict.fromkeys(f"{row['reason']}." for row in summary if row["reason"] and row["n"] > 1))


def _spread_cells(row: Plain | None) -> tuple[str, str, str]:
    if row is None or row["mean"] is None:
        return MISSING, "0" if row is None else f"{row['n']}", MISSING
    sd = math.nan if row["sd"] is None else row["sd"]
    return mean_and_sd(row["mean"], sd), f"{row['n']}", interval(row["low"], row["high"]) or MISSING


def _differences(page: Page, rows: Sequence[Plain]) -> None:
    page.table(
        ["first - second", "region", "number", "mean ± SD", "n", "95 % interval"],
        [
            [
                f"{row['first']} - {row['second']}",
                row["region"],
                _SHOWN[row["number"]],
                *_spread_cells(row),
            ]
            for row in rows
            if row["number"] in _SHOWN and row["n"]
        ],
    )
