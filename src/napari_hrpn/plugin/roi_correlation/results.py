"""What is known of each region, and which numbers of it are shown; no Qt, no pixels."""

from __future__ import annotations

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
COLOCALIZED = {
    "manders_m1": ("M1", "Manders: share of the real grey levels where the prediction is not 0"),
    "manders_m2": ("M2", "Manders: share of the predicted grey levels where the real image is not 0"),
    "thresholded_m1": ("tM1", "Manders M1 above Costes' thresholds"),
    "thresholded_m2": ("tM2", "Manders M2 above Costes' thresholds"),
    "costes_threshold_real": ("Costes real", "Costes' threshold of the real image, in grey levels"),
    "costes_threshold_predicted": ("Costes pred.", "Costes' threshold of the prediction, in grey levels"),
    "overlap": ("overlap", "Overlap coefficient"),
    "icq": ("ICQ", "Li's intensity correlation quotient, -0.5 to 0.5"),
}
FIRST_COLUMNS = ("pearson_r", "slope")
"""Of each region, before its n; all else is asked for."""
FIRST_COLOCALIZED = ("manders_m1", "manders_m2", "thresholded_m1", "thresholded_m2")
_SAYS_NOTHING = ("predicted", "prediction", "probe", "qd")


@dataclass(frozen=True, eq=False)
class RoiRow:
    """A region and what is known of it."""

    listed: ListedRoi
    # From every pixel; None while it is being measured, or where it cannot be
    measurement: RoiMeasurement | None = None
    problem: str = ""  # Why it cannot be measured; empty where it can
    colocalization: tuple[Colocalization, ...] = ()  # Of each prediction; empty where it was not asked for


def value_of(numbers: RoiNumbers, quantity: str) -> float:
    """One number of a prediction."""
    source = numbers.agreement if quantity in ("r2", "rmse") else numbers.line
    return float(getattr(source, quantity))


def interval_of(numbers: RoiNumbers, quantity: str) -> Interval | None:
    """The interval of a number."""
    if numbers.intervals is None or quantity not in WITH_INTERVAL:
        return None
    found: Interval = getattr(numbers.intervals, quantity)
    return found


def short_names(names: Sequence[str]) -> tuple[str, ...]:
    """Names of predictions without the words that tell nothing: common ones, and that it is a prediction."""
    words = [name.split() for name in names]
    if len(words) > 1:
        for end in (0, -1):
            while all(len(own) > 1 for own in words) and len({own[end] for own in words}) == 1:
                words = [own[1:] if end == 0 else own[:-1] for own in words]
        telling = [[word for word in own if word.casefold() not in _SAYS_NOTHING] for own in words]
        if all(telling) and len({tuple(own) for own in telling}) == len(telling):
            words = telling
    return tuple(" ".join(own) for own in words)


def summary(rows: Sequence[RoiRow], predictions: int) -> list[dict[str, MeanAndSd]]:
    """Mean and SD of each number over the regions."""
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
