"""Numbers of regions in words, for labels and cells of a table."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from napari_hrpn.analysis.bootstrap import LEAST_BLOCKS
from napari_hrpn.plugin.roi_correlation.results import QUANTITIES, WITH_INTERVAL, interval_of, summary, value_of
from napari_hrpn.reports import number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_hrpn.analysis import Colocalization, Interval, MeanAndSd, RoiMeasurement, RoiNumbers
    from napari_hrpn.plugin.roi_correlation.results import RoiRow

_COLOCALIZED = (
    ("Manders M1 / M2", ("manders_m1", "manders_m2")),
    ("Costes' thresholds", ("costes_threshold_real", "costes_threshold_predicted")),
    ("M1 / M2 above them", ("thresholded_m1", "thresholded_m2")),
    ("overlap coefficient", ("overlap",)),
    ("Li's ICQ", ("icq",)),
)


def interval_text(interval: Interval | None) -> str:
    """An interval in brackets."""
    if interval is None or not math.isfinite(interval.low):
        return ""
    return f"[{number(interval.low)}, {number(interval.high)}]"


def level_text(measurement: RoiMeasurement) -> str:
    """Which pixels were read."""
    if measurement.is_exact:
        return "full resolution"
    down, across = (f"{step:.4g}" for step in measurement.downsample)
    return f"preview from level {measurement.level}: means of {across} × {down} px"


def summary_html(rows: Sequence[RoiRow], names: Sequence[str]) -> str:
    """Mean and SD over the regions, for a label."""
    measured = sum(row.measurement is not None for row in rows)
    if not measured:
        return ""
    waiting = sum(row.measurement is None and not row.problem for row in rows)
    more = f", {waiting} still to be measured" if waiting else ""
    lines = [f"<b>Mean ± SD over {measured} {'ROI' if measured == 1 else 'ROIs'}</b>{more}"]
    for k, (name, means) in enumerate(zip(names, summary(rows, len(names)), strict=True)):
        parts = [_mean_text(QUANTITIES[key][0], means[key], measured) for key in QUANTITIES]
        if k:
            parts += [
                _mean_text(f"Δ{QUANTITIES[key][0]}", means[f"{key}_difference"], measured) for key in WITH_INTERVAL
            ]
        lines.append((f"{name}: " if len(names) > 1 else "") + " · ".join(parts))
    return "<br>".join(lines)


def _mean_text(title: str, found: MeanAndSd, rows: int) -> str:
    sd = f"&nbsp;±&nbsp;{number(found.sd)}" if math.isfinite(found.sd) else ""
    n = "" if found.n == rows else f"&nbsp;(n&nbsp;=&nbsp;{found.n})"
    return f"{title}&nbsp;{number(found.mean)}{sd}{n}"


def numbers_html(measurement: RoiMeasurement, names: Sequence[str]) -> str:
    """Numbers of one region, a column for each prediction."""
    lines = [
        (title, [_cell(value_of(numbers, key), interval_of(numbers, key)) for numbers in measurement.numbers])
        for key, (title, _) in QUANTITIES.items()
    ]
    lines.append(("n", [f"{measurement.n:,}&nbsp;px"]))
    return _table_html(lines, names) + _differences_html(measurement, names)


def _differences_html(measurement: RoiMeasurement, names: Sequence[str]) -> str:
    lines = []
    for name, numbers in zip(names[1:], measurement.numbers[1:], strict=True):
        if numbers.difference is not None:
            found = [(QUANTITIES[key][0], getattr(numbers.difference, key)) for key in WITH_INTERVAL]
            told = ", ".join(f"{title}&nbsp;{_cell(apart.estimate, apart)}" for title, apart in found)
            lines.append(f"{name} − {names[0]}, paired: {told}")
    return "<br>".join(lines)


def _cell(value: float, interval: Interval | None) -> str:
    return f"{number(value)} {interval_text(interval)}".strip().replace(" ", "&nbsp;")


def doubts(measurement: RoiMeasurement, names: Sequence[str]) -> str:
    """Why a number is missing or partial."""
    told = ["It reaches beyond the slide, where nothing counts."] if measurement.is_clipped else []
    whose: dict[str, list[str]] = {}
    for name, numbers in zip(names, measurement.numbers, strict=True):
        reasons = [numbers.line.reason]
        if numbers.intervals is not None and not _is_too_small(numbers):
            reasons.append(numbers.intervals.pearson_r.reason)
        for reason in filter(None, dict.fromkeys(reasons)):
            whose.setdefault(reason, []).append(name)
    for reason, some in whose.items():
        sentence = f"{reason[0].upper()}{reason[1:]}."
        told.append(sentence if len(some) == len(names) else f"{', '.join(some)}: {sentence}")
    return " ".join(told)


def interval_doubt(measurement: RoiMeasurement, shape: tuple[int, int]) -> str:
    """Why a region is too small for intervals, and whether a larger one is possible."""
    small = [numbers.blocks for numbers in measurement.numbers if _is_too_small(numbers)]
    sides = [blocks.side_px for blocks in small if blocks is not None]
    if not sides:
        return ""
    needed_px = LEAST_BLOCKS * max(sides) ** 2
    height, width = shape
    start = f"No interval of r and slope: it takes {LEAST_BLOCKS} blocks of {max(sides):,} px, that is {needed_px:,} px"
    if needed_px > height * width:
        return f"{start}, and the slide has {width:,} x {height:,} = {width * height:,} px."
    return f"{start}; this region has {measurement.n:,} px."


def _is_too_small(numbers: RoiNumbers) -> bool:
    return numbers.intervals is not None and numbers.blocks is not None and numbers.blocks.effective < LEAST_BLOCKS


def colocalization_html(found: Sequence[Colocalization], names: Sequence[str]) -> str:
    """Manders and Costes of one region, for a label."""
    lines = [
        (title, ["&nbsp;/&nbsp;".join(number(getattr(own, key)) for key in keys) for own in found])
        for title, keys in _COLOCALIZED
    ]
    doubts_told = [
        f"{f'{name}: ' if len(names) > 1 else ''}{own.reason[0].upper()}{own.reason[1:]}."
        for name, own in zip(names, found, strict=True)
        if own.reason
    ]
    return _table_html(lines, names) + "<br>".join(doubts_told)


def _table_html(lines: Sequence[tuple[str, Sequence[str]]], names: Sequence[str]) -> str:
    """Titles and what belongs to them, a column for each prediction."""
    heads = [("", [f"<b>{name}</b>" for name in names])] if len(names) > 1 else []
    rows = "".join(
        f"<tr><td>{title}&nbsp;&nbsp;</td>{''.join(f'<td>{cell}&nbsp;&nbsp;</td>' for cell in cells)}</tr>"
        for title, cells in [*heads, *lines]
    )
    return f"<table>{rows}</table>"
