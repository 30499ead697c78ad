"""Figures of a cohort: every tumour a point, patches as the paper's figure 2C, and profiles from the vessels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.analysis.metrics import COHORT_FIGURE, metrics_in
from napari_hrpn.reports.drawing import REAL_COLOUR, Drawing, new_figure, tidy
from napari_hrpn.reports.folder import TABLES
from napari_hrpn.reports.tissue_figures import draw_violin, image_colours
from napari_hrpn.slides import distinct_colours

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    Plain = dict[str, Any]


def cohort_figures(rows: Sequence[Plain], evaluations: Mapping[Path, Plain]) -> list[Drawing]:
    """Draw a cohort."""
    colours = _colours(evaluations.values())
    drawings = [_numbers(rows, colours), *_patches(evaluations, colours)]
    profiled = [one for one in evaluations.values() if "real" in one["penetration"]]
    return [*drawings, _profiles(profiled, colours)] if profiled else drawings


def _colours(evaluations: Iterable[Plain]) -> dict[str, str]:
    """The colour that each prediction has in the evaluation that names it first."""
    own: dict[str, str | None] = {}
    for one in evaluations:
        for name, facts in one["about"]["predictions"].items():
            own[name] = own.get(name) or facts.get("colour")
    return dict(zip(own, distinct_colours(list(own.values())), strict=True))


def _numbers(rows: Sequence[Plain], colours: Mapping[str, str]) -> Drawing:
    region = "tissue" if any(row["region"] == "tissue" for row in rows) else "frame"
    chosen = [row for row in rows if row["region"] == region]
    predictions = list(dict.fromkeys(row["prediction"] for row in chosen))
    tumours = list(dict.fromkeys(row["tumour"] for row in chosen))
    metrics = metrics_in(COHORT_FIGURE)
    figure, panels = new_figure(2.6 * len(metrics), 4.2, columns=len(metrics))
    for axes, metric in zip(panels, metrics, strict=True):
        by_place = {(row["prediction"], row["tumour"]): row[metric.key] for row in chosen}
        for tumour in tumours:
            line = [by_place.get((prediction, tumour), math.nan) for prediction in predictions]
            axes.plot(range(len(line)), line, color="0.7", linewidth=0.8, zorder=1)
        for place, prediction in enumerate(predictions):
            values = [by_place.get((prediction, tumour), math.nan) for tumour in tumours]
            colour = colours[prediction]
            axes.scatter([place] * len(values), values, s=22, color=colour, alpha=0.8, zorder=2)
            if np.isfinite(values).any():
                axes.plot([place - 0.2, place + 0.2], [np.nanmean(values)] * 2, color=colour, linewidth=2)
        tidy(axes, "", "", metric.heading)
        axes.set_xticks(range(len(predictions)), predictions, rotation=20, ha="right", fontsize=8)
        axes.set_xlim(-0.6, len(predictions) - 0.4)
    caption = f"Each point is a tumour, n = {len(tumours)}, over the {region}; the bar is their mean."
    return Drawing("tumours", "Tumours", caption, figure)


def _patches(evaluations: Mapping[Path, Plain], colours: Mapping[str, str]) -> list[Drawing]:
    """As the paper's figure 2C: total intensity of each patch by tumour and channel."""
    import pandas as pd

    tables = {folder: pd.read_parquet(folder / TABLES / "patches.parquet") for folder in evaluations}
    edges = {one["heterogeneity"]["patch_px"] for one in evaluations.values()}
    if len(edges) > 1:
        # sums over patches of different sizes do not compare
        return []
    images = list(
        dict.fromkeys(
            name.removesuffix(" total") for table in tables.values() for name in table if name.endswith(" total")
        )
    )
    tumours = list(dict.fromkeys(str(one["about"]["tumour"]) for one in evaluations.values()))
    figure, panels = new_figure(1.5 + 0.9 * len(tumours) * len(images) ** 0.5, 2.6 * len(images), rows=len(images))
    for axes, image, colour in zip(panels, images, image_colours(images, colours), strict=True):
        counts = []
        for place, tumour in enumerate(tumours):
            own = [tables[folder] for folder, one in evaluations.items() if str(one["about"]["tumour"]) == tumour]
            values = [
                value
                for table in own
                if f"{image} total" in table
                for value in table[table["enough"]][f"{image} total"]
            ]
            draw_violin(axes, values, place, colour)
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
    names = ["real", *dict.fromkeys(name for one in evaluations for name in one["predictions"])]
    figure, panels = new_figure(1 + 4.2 * len(names), 4, columns=len(names), sharey=True)
    for axes, name in zip(panels, names, strict=True):
        colour = REAL_COLOUR if name == "real" else colours[name]
        shown = [_profile(one, name) for one in evaluations]
        for profile in shown:
            if profile is not None:
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
    found = evaluation["predictions"].get(name)
    return None if found is None else found["penetration"]["predicted"].get("tissue")


def _draw(axes: Axes, profile: Plain, colour: str) -> None:
    shells = [shell for shell in profile["shells"] if shell["to_um"] is not None and shell["mean"] is not None]
    if shells and shells[0]["mean"]:
        middle = [(shell["from_um"] + shell["to_um"]) / 2 for shell in shells]
        axes.plot(middle, [shell["mean"] / shells[0]["mean"] for shell in shells], color=colour, alpha=0.7)
