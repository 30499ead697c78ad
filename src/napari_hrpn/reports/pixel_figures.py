"""Figures of pixel pairs: density with regression line, IoU curve, histogram, Q-Q plot, comparison of regions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.reports.drawing import REAL_COLOUR, Drawing, draw_equality, file_name, new_figure, tidy
from napari_hrpn.reports.numbers import number, with_interval

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matplotlib.axes import Axes

    Plain = dict[str, Any]

# panels and regions of a figure, beyond which it would be unreadable; the tables have all regions
_MOST_PANELS, _MOST_LINES = 12, 100
# cells along an axis of a density, as the analysis counts them
_CELLS = 256


def pixel_figures(parts: Sequence[Plain], probe: str, colours: Sequence[str]) -> list[Drawing]:
    """Draw all figures of pixel pairs."""
    drawings = [_densities(part, probe) for part in parts]
    drawings += [_iou(parts, colours), _histogram(parts, probe, colours), _quantiles(parts, probe, colours)]
    return drawings + ([_regions(parts, colours)] if parts[0]["rois"] else [])


def _densities(part: Plain, probe: str) -> Drawing:
    regions = [part["tissue"] or part["frame"], *part["rois"]][:_MOST_PANELS]
    columns = min(3, len(regions))
    rows = math.ceil(len(regions) / columns)
    figure, panels = new_figure(4.3 * columns + 0.4, 3.7 * rows, rows, columns)
    for axes, region in zip(panels, regions, strict=False):
        _draw_density(axes, part["densities"][region["region"]], region)
        tidy(axes, f"real {probe}", f"predicted, {part['name']}", f"{region['region']}, n = {region['n']:,} px")
    for axes in panels[len(regions) :]:
        axes.set_axis_off()
    more = len(part["rois"]) + 1 - len(regions)
    caption = (
        "Pixels by real and predicted grey level, counts on a logarithmic scale. Dashed: predicted = real. "
        "Red: least squares. Pixels beyond the axes, at most a thousandth of them, are in the outermost cells."
    )
    if more:
        caption += f" {more} more regions are in the table."
    return Drawing(f"density-{file_name(part['name'])}", f"Real against predicted: {part['name']}", caption, figure)


def _draw_density(axes: Axes, density: Plain, region: Plain) -> None:
    from matplotlib.colors import LogNorm

    low, high = density["range"]
    counts = np.zeros((_CELLS, _CELLS))
    counts[density["real"], density["predicted"]] = density["pixels"]
    shown = np.ma.masked_equal(counts.T, 0)
    if counts.any():
        image = axes.imshow(
            shown,
            origin="lower",
            extent=(low, high, low, high),
            norm=LogNorm(1, max(2, counts.max())),
            cmap="viridis",
            interpolation="nearest",
        )
        axes.figure.colorbar(image, ax=axes, label="pixels", shrink=0.7)
        # whole grey levels may need fewer cells than there are
        used = max(*density["real"], *density["predicted"]) + 1
        high = low + (high - low) * used / _CELLS
    ends = np.array([low, high])
    draw_equality(axes, ends)
    if region["slope"] is not None:
        axes.plot(ends, region["intercept"] + region["slope"] * ends, color="#d62728", linewidth=1.5)
    axes.set(xlim=ends, ylim=ends)
    axes.set_aspect("equal")
    axes.text(
        0.03,
        0.97,
        "\n".join(_density_words(region)),
        transform=axes.transAxes,
        va="top",
        fontsize=8,
        bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 2},
    )


def _density_words(region: Plain) -> list[str]:
    ends = (region.get("intervals") or {}).get("pearson_r", {})
    return [
        f"r {with_interval(region['pearson_r'], ends.get('low'), ends.get('high'))}",
        f"R_total {number(region['r_total'])}",
        f"slope {number(region['slope'])}, intercept {number(region['intercept'])}",
        f"R² {number(region['r2'])}, RMSE {number(region['rmse'])}",
    ]


def _iou(parts: Sequence[Plain], colours: Sequence[str]) -> Drawing:
    figure, panels = new_figure(10.5, 4.4, columns=2)
    for axes, key, title in zip(
        panels,
        ("iou", "mean_iou"),
        ("IoU of the bright pixels", "mean IoU of the bright and of the dark pixels"),
        strict=True,
    ):
        curve = parts[0]["iou_curve"]
        _shade_ties(axes, curve)
        for part, colour in zip(parts, colours, strict=True):
            x, y, chance = (
                _floats(point[column] for point in part["iou_curve"])
                for column in ("percentile", key, key.replace("iou", "chance"))
            )
            axes.plot(x, y, color=colour, label=part["name"])
            axes.plot(x, chance, color=colour, linestyle=":", label="chance" if part is parts[0] else None)
        axes.set(xlim=(0, 100), ylim=(0, 1.02))
        y_words = key.replace("_", " ").replace("iou", "IoU")
        tidy(axes, "threshold, percentile of the real image", y_words, title, has_legend=True)
    where, n = parts[0]["region"], parts[0]["iou_curve"][0]["n"]
    caption = (
        f"Overlap of the pixels at or above each threshold, over the {where}, n = {n:,} px. Dotted: overlap by chance, "
        "of two independent masks of the same sizes. Grey: percentiles that are meaningless because many pixels share "
        "a grey level."
    )
    return Drawing("iou-curve", "Threshold IoU", caption, figure)


def _shade_ties(axes: Axes, curve: Sequence[Plain]) -> None:
    for point in curve:
        if point["tied"]:
            axes.axvspan(point["percentile"] - 0.5, point["percentile"] + 0.5, color="0.85", linewidth=0)


def _histogram(parts: Sequence[Plain], probe: str, colours: Sequence[str]) -> Drawing:
    figure, (axes,) = new_figure(7, 4.2)
    for part, colour in zip(parts, colours, strict=True):
        edges, (real, predicted) = np.array(part["histogram"]["edges"]), np.array(part["histogram"]["counts"])
        if part is parts[0]:
            n = int(real.sum())
            axes.stairs(real / max(1, n), edges, color=REAL_COLOUR, fill=True, alpha=0.3, label=f"real {probe}")
        axes.stairs(
            predicted / max(1, int(predicted.sum())) * _width_ratio(parts[0], edges),
            edges,
            color=colour,
            label=part["name"],
        )
    # most pixels are dark: a linear axis would not show the bright ones
    axes.set_yscale("log")
    tidy(axes, "grey level", "share of pixels", has_legend=True)
    where = parts[0]["region"]
    distances = "; ".join(
        f"{part['name']}: Wasserstein distance {number(part['distributions']['wasserstein'])} grey levels"
        for part in parts
    )
    caption = f"Grey levels over the {where}, n = {n:,} px, on a logarithmic scale. {distances}."
    return Drawing("histogram", "Distribution of grey levels", caption, figure)


def _width_ratio(first: Plain, edges: np.ndarray) -> float:
    """Factor that makes shares of pixels comparable between histograms whose bins have different widths."""
    first_edges = first["histogram"]["edges"]
    return float((first_edges[1] - first_edges[0]) / (edges[1] - edges[0]))


def _quantiles(parts: Sequence[Plain], probe: str, colours: Sequence[str]) -> Drawing:
    figure, (axes,) = new_figure(5.2, 4.8)
    for part, colour in zip(parts, colours, strict=True):
        curve = part["quantiles"]
        label = f"{part['name']}: slope {number(curve['slope'])}"
        axes.plot(_floats(curve["real"]), _floats(curve["predicted"]), ".-", color=colour, markersize=5, label=label)
    limits = *axes.get_xlim(), *axes.get_ylim()
    draw_equality(axes, (min(limits), max(limits)))
    tidy(axes, f"real {probe}, grey level", "predicted, grey level", has_legend=True)
    caption = (
        f"Percentiles 0 to 100, 99.5, 99.9 and 99.99 of predicted against real pixels of the {parts[0]['region']}, "
        f"n = {parts[0]['quantiles']['n_real']:,} px. Dashed: equal distributions. The slope is that of percentiles 1 "
        "to 99; below 1, dark and bright differ too little in the prediction."
    )
    return Drawing("quantiles", "Q-Q plot", caption, figure)


def _regions(parts: Sequence[Plain], colours: Sequence[str]) -> Drawing:
    regions = [
        [region for region in (part["tissue"], *part["rois"]) if region is not None][:_MOST_LINES] for part in parts
    ]
    names = [f"{region['region']}, n = {region['n']:,}" for region in regions[0]]
    figure, panels = new_figure(9, 1.6 + 0.32 * len(names), columns=2, sharey=True)
    for axes, key, title in zip(panels, ("pearson_r", "slope"), ("Pearson r", "slope"), strict=True):
        for index, (part_regions, colour) in enumerate(zip(regions, colours, strict=True)):
            shift = 0.6 * ((index + 0.5) / len(parts) - 0.5)
            for row, region in enumerate(part_regions):
                ends = (region.get("intervals") or {}).get(key, {})
                if ends.get("low") is not None:
                    axes.plot([ends["low"], ends["high"]], [row + shift] * 2, color=colour, linewidth=2, alpha=0.5)
                axes.plot(_or_nan(region[key]), row + shift, "o", color=colour, markersize=5)
            axes.plot([], [], "o-", color=colour, label=parts[index]["name"])
        tidy(axes, title, "", has_legend=axes is panels[-1])
        axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    confidence = next((r["intervals"]["confidence"] for r in regions[0] if r.get("intervals")), 0.95)
    caption = (
        f"r and slope of each region with intervals of {100 * confidence:g} % by spatial block bootstrap, unless the "
        "region is too small. They show how certain the number of a region is, not how tumours differ."
    )
    return Drawing("regions", "Regions of interest", caption, figure)


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _floats(values: Iterable[float | None]) -> list[float]:
    return [_or_nan(value) for value in values]
