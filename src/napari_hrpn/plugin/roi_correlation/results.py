"""Numbers of regions of interest: which there are, what is known of each region, and mean and SD over the regions.

`AGREEMENT` and `COLOCALIZED` are the one list of them; its keys are the columns of the CSV file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from napari_hrpn.analysis import Colocalization, MeanAndSd, RandomRois, RoiMeasurement, mean_and_sd
from napari_hrpn.plugin.roi_correlation.regions import ListedRoi
from napari_hrpn.reports import number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_hrpn.analysis import Interval


class Quantity(NamedTuple):
    """A number of a region and a prediction."""

    key: str  # Its column in the CSV file
    title: str  # In the table; empty where only the file has it
    definition: str
    name: str = ""  # In GeoJSON, and of the line of co-localisation that it stands in
    is_first: bool = False  # Whether the table has it before more columns are asked for
    has_interval: bool = False  # From a spatial block bootstrap


AGREEMENT = (
    Quantity("pearson_r", "r", "Pearson correlation of all pixels of the region, -1 to 1", "Pearson r", True, True),
    Quantity("r_total", "R_total", "Pearson correlation without pixels that are zero in both, as in Fiji", "R_total"),
    Quantity("slope", "slope", "of the least-squares line, predicted = intercept + slope × real", "Slope", True, True),
    Quantity("intercept", "intercept", "of the least-squares line, in grey levels", "Intercept"),
    Quantity(
        "r2", "R²", "1 - SSE/SST of the prediction itself, not of the line; negative if worse than the mean", "R2"
    ),
    Quantity("rmse", "RMSE", "root of the mean squared error, in grey levels", "RMSE"),
)
DIFFERENCES = (
    Quantity("pearson_r_difference", "Δr", "r less that of the first prediction, blocks paired", has_interval=True),
    Quantity("slope_difference", "Δslope", "slope less that of the first, blocks paired", has_interval=True),
)
_MANDERS, _ABOVE, _COSTES = "Manders M1 / M2", "M1 / M2 above Costes' thresholds", "Costes' thresholds"
COLOCALIZED = (
    Quantity(
        "manders_m1", "M1", "Manders: share of the real grey levels where the prediction is not 0", _MANDERS, True
    ),
    Quantity(
        "manders_m2", "M2", "Manders: share of the predicted grey levels where the real image is not 0", _MANDERS, True
    ),
    Quantity("thresholded_m1", "tM1", "Manders M1 above Costes' thresholds", _ABOVE, True),
    Quantity("thresholded_m2", "tM2", "Manders M2 above Costes' thresholds", _ABOVE, True),
    Quantity("overlap", "overlap", "Overlap coefficient", "overlap coefficient"),
    Quantity("icq", "ICQ", "Li's intensity correlation quotient, -0.5 to 0.5", "Li's ICQ"),
    # the line of the thresholds is in the file alone
    Quantity("costes_slope", "", "Slope of the line on which Costes' thresholds lie", ""),
    Quantity("costes_intercept", "", "Intercept of that line, in grey levels", ""),
    Quantity("costes_threshold_real", "Costes real", "Costes' threshold of the real image, in grey levels", _COSTES),
    Quantity(
        "costes_threshold_predicted", "Costes pred.", "Costes' threshold of the prediction, in grey levels", _COSTES
    ),
)
_SAYS_NOTHING = ("predicted", "prediction", "probe", "qd")


@dataclass(frozen=True)
class Origin:
    """Where a region comes from."""

    file: str | None = None  # Name of the file that its layer was imported from
    random: RandomRois | None = None  # Settings that placed it; None where somebody drew it


class Number(NamedTuple):
    """A number, its interval, and why it is missing or to be doubted."""

    value: float
    interval: Interval | None = None
    reason: str = ""

    @property
    def text(self) -> str:
        """The number with its interval in brackets."""
        low, high = (math.nan, math.nan) if self.interval is None else (self.interval.low, self.interval.high)
        return f"{number(self.value)} [{number(low)}, {number(high)}]" if math.isfinite(low) else number(self.value)


@dataclass(frozen=True, eq=False)
class RoiRow:
    """A region and what is known of it."""

    listed: ListedRoi
    measurement: RoiMeasurement | None = None  # None while it is being measured, or where it cannot be
    problem: str = ""  # Why it cannot be measured; empty where it can
    colocalization: tuple[Colocalization, ...] = ()  # Of each prediction; empty where it was not asked for
    origin: Origin = Origin()

    def numbers(self, k: int) -> dict[str, Number]:
        """What is known of a prediction, by the keys of the quantities."""
        found: dict[str, Number] = {}
        if self.measurement is not None:
            numbers = self.measurement.numbers[k]
            for key, *_ in AGREEMENT:
                source = numbers.agreement if key in ("r2", "rmse") else numbers.line
                interval = getattr(numbers.intervals, key, None)
                found[key] = Number(float(getattr(source, key)), interval, numbers.line.reason)
            for key, *_ in DIFFERENCES if numbers.difference is not None else ():
                interval = getattr(numbers.difference, key.removesuffix("_difference"))
                found[key] = Number(interval.estimate, interval)
        if self.colocalization:
            one = self.colocalization[k]
            found |= {key: Number(float(getattr(one, key)), None, one.reason) for key, *_ in COLOCALIZED}
        return found


def short_names(names: Sequence[str]) -> tuple[str, ...]:
    """Names of predictions without the words that tell nothing: common ones, and that it is a prediction."""
    words = [name.split() for name in names]
    if len(words) > 1:
        for end in (0, -1):
            while all(len(name) > 1 for name in words) and len({name[end] for name in words}) == 1:
                words = [name[1:] if end == 0 else name[:-1] for name in words]
        telling = [[word for word in name if word.casefold() not in _SAYS_NOTHING] for name in words]
        if all(telling) and len({tuple(name) for name in telling}) == len(telling):
            words = telling
    return tuple(" ".join(name) for name in words)


def summary(rows: Sequence[RoiRow], predictions: int) -> list[dict[str, MeanAndSd]]:
    """Mean and SD of each number over the regions, by prediction."""
    found = []
    for k in range(predictions):
        records = [row.numbers(k) for row in rows if row.measurement is not None]
        keys = [key for key, *_ in (*AGREEMENT, *(DIFFERENCES if k else ()))]
        found.append({key: mean_and_sd(record[key].value for record in records if key in record) for key in keys})
    return found
