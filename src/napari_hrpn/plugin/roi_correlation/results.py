"""What is known of each region, and how it is told: in the table, in words, in a file. No Qt, no pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_hrpn.analysis import (
    Colocalization,
    MeanAndSd,
    RoiMeasurement,
    RoiNumbers,
    mean_and_sd,
)
from napari_hrpn.plugin.roi_correlation.listed_rois import ListedRoi

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_hrpn.analysis import Interval

QUANTITIES = {
    "pearson_r": ("r", "Pearson correlation of all pixels of the region, -1 to 1"),
    "r_total": ("R_total", "Pearson correlation without the pixels that are zero in both, as Fiji's Coloc plugin"),
    "slope": ("slope", "of the least-squares line, predicted = intercept + slope × real"),
    "intercept": ("intercept", "of the least-squares line, in grey levels"),
    "r2": ("R²", "1 - SSE/SST of the prediction itself, not of the line; negative where the mean would do better"),
    "rmse": ("RMSE", "root of the mean squared error, in grey levels"),
}
WITH_INTERVAL = ("pearson_r", "slope")
NOTHING = "–"
SAYS_NOTHING = ("predicted", "prediction", "probe", "qd")
NOT_HERE = " or state a smaller block"
"""A way out that the widget does not offer."""


@dataclass(frozen=True, eq=False)
class RoiRow:
    """A region and what is known of it.

    Attributes
    ----------
    listed : ListedRoi
        The region.
    measurement : RoiMeasurement or None
        From every pixel; None while it is being measured, or where it cannot be.
    problem : str
        Why it cannot be measured; empty where it can.
    colocalization : tuple of Colocalization
        Of each prediction; empty where it was not asked for.
    """

    listed: ListedRoi
    measurement: RoiMeasurement | None = None
    problem: str = ""
    colocalization: tuple[Colocalization, ...] = ()


def value_of(numbers: RoiNumbers, quantity: str) -> float:
    """One number of a prediction.

    Parameters
    ----------
    numbers : RoiNumbers
        Of one prediction in one region.
    quantity : str
        One of `QUANTITIES`.

    Returns
    -------
    float
        NaN where it does not exist.
    """
    source = numbers.agreement if quantity in ("r2", "rmse") else numbers.line
    return float(getattr(source, quantity))


def interval_of(numbers: RoiNumbers, quantity: str) -> Interval | None:
    """The interval of a number.

    Parameters
    ----------
    numbers : RoiNumbers
        Of one prediction in one region.
    quantity : str
        One of `QUANTITIES`.

    Returns
    -------
    Interval or None
        None where there is none: in a preview, and of all but r and slope.
    """
    if numbers.intervals is None or quantity not in WITH_INTERVAL:
        return None
    found: Interval = getattr(numbers.intervals, quantity)
    return found


def short_names(names: Sequence[str]) -> tuple[str, ...]:
    """Names of predictions without the words that tell nothing: common ones, and that it is a prediction.

    Parameters
    ----------
    names : sequence of str
        Of layers.

    Returns
    -------
    tuple of str
        As they are where little would be left.

    Examples
    --------
    >>> short_names(["tumour 3 HRPN QD", "tumour 3 GANDA QD"])
    ('HRPN', 'GANDA')
    """
    words = [name.split() for name in names]
    if len(words) > 1:
        for end in (0, -1):
            while all(len(own) > 1 for own in words) and len({own[end] for own in words}) == 1:
                words = [own[1:] if end == 0 else own[:-1] for own in words]
        telling = [[word for word in own if word.casefold() not in SAYS_NOTHING] for own in words]
        if all(telling) and len({tuple(own) for own in telling}) == len(telling):
            words = telling
    return tuple(" ".join(own) for own in words)


def number_text(value: float, digits: int = 3) -> str:
    """A number as the table shows it.

    Parameters
    ----------
    value : float
        Any.
    digits : int
        Behind the point for what is small, and at least so many in all.

    Returns
    -------
    str
        A dash for what does not exist.
    """
    if not math.isfinite(value):
        return NOTHING
    return f"{value:.{digits}f}" if abs(value) < 100 else f"{value:,.1f}"


def interval_text(interval: Interval | None) -> str:
    """An interval in brackets.

    Parameters
    ----------
    interval : Interval or None
        Of a number.

    Returns
    -------
    str
        Empty where there is none.
    """
    if interval is None or not math.isfinite(interval.low):
        return ""
    return f"[{number_text(interval.low)}, {number_text(interval.high)}]"


def level_text(measurement: RoiMeasurement) -> str:
    """Which pixels were read.

    Parameters
    ----------
    measurement : RoiMeasurement
        Of a region.

    Returns
    -------
    str
        Such as "full resolution" or "preview from level 1: means of 2 × 2 px".
    """
    if measurement.is_exact:
        return "full resolution"
    down, across = (f"{step:.4g}" for step in measurement.downsample)
    return f"preview from level {measurement.level}: means of {across} × {down} px"


def summary(rows: Sequence[RoiRow], predictions: int) -> list[dict[str, MeanAndSd]]:
    """Mean and SD of each number over the regions.

    Parameters
    ----------
    rows : sequence of RoiRow
        Of all regions; those that are not measured are left out.
    predictions : int
        How many.

    Returns
    -------
    list of dict
        By quantity, one for each prediction; with differences "pearson_r_difference" and "slope_difference" from the
        second on.
    """
    measured = [row.measurement for row in rows if row.measurement is not None]
    found = []
    for k in range(predictions):
        own = [measurement.numbers[k] for measurement in measured]
        means = {name: mean_and_sd(value_of(numbers, name) for numbers in own) for name in QUANTITIES}
        for name in WITH_INTERVAL if k else ():
            differences = [getattr(numbers.difference, name).estimate for numbers in own if numbers.difference]
            means[f"{name}_difference"] = mean_and_sd(differences)
        found.append(means)
    return found


def summary_html(rows: Sequence[RoiRow], names: Sequence[str]) -> str:
    """Mean and SD over the regions, for a label.

    Parameters
    ----------
    rows : sequence of RoiRow
        Of all regions.
    names : sequence of str
        Short names of the predictions.

    Returns
    -------
    str
        A line for each prediction, with n.
    """
    measured = sum(row.measurement is not None for row in rows)
    if not measured:
        return ""
    waiting = sum(row.measurement is None and not row.problem for row in rows)
    more = f", {waiting} still to be measured" if waiting else ""
    lines = [f"<b>Mean ± SD over {measured} {'ROI' if measured == 1 else 'ROIs'}</b>{more}"]
    for k, (name, means) in enumerate(zip(names, summary(rows, len(names)), strict=True)):
        parts = [_mean_text(QUANTITIES[key][0], means[key]) for key in QUANTITIES]
        if k:
            parts += [_mean_text(f"Δ{QUANTITIES[key][0]}", means[f"{key}_difference"]) for key in WITH_INTERVAL]
        lines.append((f"{name}: " if len(names) > 1 else "") + " · ".join(parts))
    return "<br>".join(lines)


def _mean_text(title: str, found: MeanAndSd) -> str:
    sd = f" ± {number_text(found.sd)}" if math.isfinite(found.sd) else ""
    return f"{title}&nbsp;{number_text(found.mean)}{sd}&nbsp;(n&nbsp;=&nbsp;{found.n})".replace(" ± ", "&nbsp;±&nbsp;")


def numbers_html(measurement: RoiMeasurement, names: Sequence[str]) -> str:
    """Numbers of one region, a column for each prediction.

    Parameters
    ----------
    measurement : RoiMeasurement
        From any level.
    names : sequence of str
        Short names of the predictions.

    Returns
    -------
    str
        A table for a label.
    """
    several = len(names) > 1
    heads = "".join(f"<th align='left'>{name}</th>" for name in names) if several else ""
    lines = [f"<tr><td></td>{heads}</tr>"] if several else []
    for key, (title, _) in QUANTITIES.items():
        cells = [_cell(value_of(numbers, key), interval_of(numbers, key)) for numbers in measurement.numbers]
        row = "".join(f"<td>{cell}&nbsp;&nbsp;</td>" for cell in cells)
        lines.append(f"<tr><td>{title}&nbsp;&nbsp;</td>{row}</tr>")
    lines.append(f"<tr><td>n</td><td colspan='{len(names)}'>{measurement.n:,} px</td></tr>")
    return f"<table>{''.join(lines)}</table>{_differences_html(measurement, names)}"


def _differences_html(measurement: RoiMeasurement, names: Sequence[str]) -> str:
    lines = []
    for name, numbers in zip(names[1:], measurement.numbers[1:], strict=True):
        if numbers.difference is not None:
            found = [(QUANTITIES[key][0], getattr(numbers.difference, key)) for key in WITH_INTERVAL]
            told = ", ".join(f"{title}&nbsp;{_cell(apart.estimate, apart)}" for title, apart in found)
            lines.append(f"{name} − {names[0]}, paired: {told}")
    return "<br>".join(lines)


def _cell(value: float, interval: Interval | None) -> str:
    return f"{number_text(value)} {interval_text(interval)}".strip().replace(" ", "&nbsp;")


def doubts(measurement: RoiMeasurement) -> str:
    """Why a number is missing or partial.

    Parameters
    ----------
    measurement : RoiMeasurement
        Of a region.

    Returns
    -------
    str
        Sentences; empty where nothing is missing.
    """
    told = []
    if measurement.is_clipped:
        told.append("It reaches beyond the slide, where nothing counts.")
    reasons = [numbers.line.reason for numbers in measurement.numbers]
    reasons += [numbers.intervals.pearson_r.reason for numbers in measurement.numbers if numbers.intervals]
    told += [f"{reason[0].upper()}{reason[1:].removesuffix(NOT_HERE)}." for reason in dict.fromkeys(reasons) if reason]
    return " ".join(told)


def colocalization_html(found: Sequence[Colocalization], names: Sequence[str]) -> str:
    """Manders and Costes of one region, for a label.

    Parameters
    ----------
    found : sequence of Colocalization
        One for each prediction.
    names : sequence of str
        Short names of the predictions.

    Returns
    -------
    str
        A line or two for each prediction.
    """
    lines = []
    for name, own in zip(names, found, strict=True):
        title = f"<b>{name}</b> " if len(names) > 1 else ""
        text = ", ".join(
            f"{word}&nbsp;{number_text(value)}"
            for word, value in (
                ("Manders M1", own.manders_m1),
                ("M2", own.manders_m2),
                ("above Costes' thresholds tM1", own.thresholded_m1),
                ("tM2", own.thresholded_m2),
                ("overlap", own.overlap),
                ("Li's ICQ", own.icq),
                ("Costes' thresholds real", own.costes_threshold_real),
                ("predicted", own.costes_threshold_predicted),
            )
        )
        doubt = f" {own.reason[0].upper()}{own.reason[1:]}." if own.reason else ""
        lines.append(f"{title}{text} (n&nbsp;=&nbsp;{own.n:,} px).{doubt}")
    return "<br>".join(lines)
