"""Page of a cohort: a row per tumour, means over tumours, figures and definitions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from napari_hrpn.analysis.metrics import COHORT_PAGE, metrics_in
from napari_hrpn.reports.definitions import DEFINITIONS
from napari_hrpn.reports.html import Page
from napari_hrpn.reports.numbers import MISSING, interval, mean_and_sd, number

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_hrpn.reports.drawing import Drawing

    Plain = dict[str, Any]

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
    for region in ("tissue", "frame"):
        rows = [row for row in content["tumours"] if row["region"] == region]
        if rows:
            page.heading({"tissue": "Tumours, tissue", "frame": "Tumours, full frame"}[region])
            _tumours(page, rows, [row for row in content["summary"] if row["region"] == region])
    if content["differences"]:
        page.heading("Differences between predictions")
        _differences(page, content["differences"])
    page.heading("Figures")
    page.pictures(drawings, folder)
    page.heading("Definitions")
    page.definitions(DEFINITIONS)
    page.heading("Made from")
    rows = [
        [one["folder"], str(one["tumour"]), one["real"]["name"], one["real"]["sha256"] or one["real"]["identity"]]
        for one in content["evaluations"]
    ]
    page.table(["evaluation", "tumour", "slide", "SHA-256 or identity"], rows, words=True)
    return str(page)


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
    by_place = {(row["prediction"], row["number"]): row for row in summary}
    headings = [f"{name}: {what}" for name in predictions for what in ("mean ± SD", "n", "95 % interval")]
    page.table(
        ["over tumours", *headings],
        [
            [words, *(cell for name in predictions for cell in _spread_cells(by_place.get((name, key))))]
            for key, words in shown.items()
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
