"""Formatting of numbers for people, and the definitions of all numbers of reports."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from napari_hrpn.analysis import MORAN
from napari_hrpn.analysis.metrics import METRICS, UNCERTAINTY, metrics_in

if TYPE_CHECKING:
    from collections.abc import Callable

MISSING = "–"
# smaller numbers are rounding errors of zero
_ROUNDING = 1e-12


def number(value: float | None, digits: int = 3) -> str:
    """Format a number for people, in the same way on pages and in panels.

    Parameters
    ----------
    value : float or None
        None and values that are not finite become a dash.
    digits : int
        Digits after the point of a number below 10; larger numbers have one digit more than this in all.

    Returns
    -------
    str
        The formatted number.
    """
    if value is None or not math.isfinite(value):
        return MISSING
    if isinstance(value, int):
        return f"{value:,}"
    size = abs(value)
    if size < _ROUNDING:
        return "0"
    if size >= 1000:
        return f"{value:,.0f}"
    if size < 10.0**-digits:
        return f"{value:.{digits - 1}g}"
    return f"{value:.{digits if size < 10 else max(0, digits - len(str(int(size))) + 1)}f}"


def interval(low: float | None, high: float | None) -> str:
    """Ends of an interval; empty if there is none."""
    return "" if low is None else f"{number(low)} to {number(high)}"


def with_interval(value: float | None, low: float | None, high: float | None) -> str:
    """Number with its interval in brackets, if it has one."""
    return number(value) + ("" if low is None else f" ({interval(low, high)})")


def mean_and_sd(mean: float, sd: float, write: Callable[[float], str] = number) -> str:
    """Mean ± SD: the SD with two digits, the mean to the same decimal; a mean without SD is formatted by `write`."""
    if math.isnan(sd) or sd == 0:
        return write(mean) if math.isnan(sd) else f"{write(mean)} ± 0"
    places = max(0, 1 - math.floor(math.log10(sd)))
    return f"{mean:,.{places}f} ± {sd:,.{places}f}"


DEFINITIONS = {
    **{metric.title: metric.definition for metric in METRICS if metric.views},
    "intervals": "By spatial block bootstrap: blocks of six correlation lengths are drawn with replacement, since "
    "neighbouring pixels repeat each other; there is no p-value from pixels.",
    "IoU": "Pixels at or above a threshold in both images over those in any; the paper's MIoU; the mean IoU "
    "also counts the dark pixels as a class.",
    "chance": "IoU to be expected of two masks as large as the real one (share f) and the predicted one (share g) "
    "that have nothing to do with each other, f g / (f + g - f g).",
    "tied": "Percentiles at which many pixels share a grey level, so that the mask is clearly larger than said.",
    "Q-Q slope": "Slope of predicted against real percentiles 1 to 99; 1 for equally wide distributions.",
    "Wasserstein distance": "How many grey levels a pixel has to change, on average, to make the distributions equal.",
    "Anderson-Darling": "k-sample statistic with its table's p, which is capped at 0.25 and 0.001 and takes pixels for "
    "independent. Over patches, p comes from exchanging real and predicted patch by patch, or in blocks wider than six "
    "correlation lengths where neighbouring patches are alike; there is none for fewer than 6 blocks.",
    "patch": "A square of the slide; it counts where enough of it is tissue: half, unless another share was chosen.",
    "CV, Gini": "How unequal patches are: SD over mean, and 0 for equal ones to near 1 where one has everything.",
    MORAN: "Whether patches that share an edge (4 neighbours, the rook's) are alike: about 1 where they are, "
    "-1 / (n - 1) for patches in random order. With the 8 neighbours of the queen it is another number, in the tables.",
    "penetration": "Mean grey level over the distance from the edge of the nearest vessel, in shells; D50 and D90 hold "
    "half and nine tenths of the signal outside vessels, and over the 1/e length the profile falls to 1/e; it has none "
    "where it does not fall that far within its distances, or not exponentially.",
    "core, periphery": "Tissue further and nearer than 200 µm from the tissue's edge.",
    "vessel density": "Connected parts of the vessel mask with their centre in the tissue per mm² of it, those that "
    "the border cuts included: there is no correction for edges.",
}


def definitions(*, has_uncertainty: bool) -> dict[str, str]:
    """Definitions of the numbers on a page; those of an ensemble only if it has one."""
    of_ensembles = {metric.title for metric in metrics_in(UNCERTAINTY)}
    return {term: words for term, words in DEFINITIONS.items() if has_uncertainty or term not in of_ensembles}
