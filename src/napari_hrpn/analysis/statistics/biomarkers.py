"""Biomarker scores of tumours for the uptake of a nanomedicine, and their AUROC.

The tumour is the unit of all statistics: the bootstrap draws tumours, never sections or pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.analysis.statistics.bootstrap import LEAST_TUMOURS
from napari_hrpn.core.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

_RESAMPLES = 2000
_LEAST_SHARE_OF_RESAMPLES = 0.5


@dataclass(frozen=True)
class ReferenceCohort:
    """The tumours to which a product score is relative; state their name with every score.

    Attributes
    ----------
    name : str
        Description of the tumours, such as "4T1, untreated, stained in March".
    mean_vessels, mean_macrophages : float
        Their mean density of vessels and of tumour-associated macrophages, in the units of the scored tumours.
    n : int
        Number of tumours.
    """

    name: str
    mean_vessels: float
    mean_macrophages: float
    n: int


@dataclass(frozen=True)
class Auroc:
    """Area under the receiver operating characteristic: how well a score separates positive from negative cases."""

    # probability that a positive case has a higher score than a negative one, with ties counted half: 0.5 is chance.
    # NaN, with a reason, if a class is missing
    auroc: float
    # percentile interval of a bootstrap over tumours; NaN for fewer than 5 tumours, or if too few resamples have both
    # classes
    low: float
    high: float
    confidence: float  # of the interval, such as 0.95
    # numbers of cases of each class
    n_positive: int
    n_negative: int
    n_tumours: int  # number of tumours that they come from
    resamples: int  # number of resamples that have both classes; others do not count
    reason: str = ""  # why a number is NaN; empty where none is


def reference_cohort(name: str, vessels: ArrayLike, macrophages: ArrayLike) -> ReferenceCohort:
    """Compute the scale of a product score from reference tumours.

    Parameters
    ----------
    name : str
        Description of the tumours, shown with every score.
    vessels, macrophages : array_like
        Density of vessels and of tumour-associated macrophages, one number per tumour.

    Returns
    -------
    ReferenceCohort
        The name and the mean densities.

    Raises
    ------
    AnalysisError
        If the cohort has no name, no tumour, or a mean that is not above 0.
    """
    columns = [np.asarray(column, np.float64).ravel() for column in (vessels, macrophages)]
    n = len(columns[0])
    if not name.strip() or not n or len(columns[1]) != n:
        msg = (
            f"the reference cohort {name!r} has {n} vessel and {len(columns[1])} macrophage densities; expected a name "
            "and one of each per tumour"
        )
        raise AnalysisError(msg)
    means = [float(column.mean()) for column in columns]
    if not all(math.isfinite(mean) and mean > 0 for mean in means):
        msg = f"the reference cohort {name!r} has mean densities {means[0]:g} and {means[1]:g}; expected more than 0"
        raise AnalysisError(msg)
    return ReferenceCohort(name, means[0], means[1], n)


def product_score(vessels: ArrayLike, macrophages: ArrayLike, reference: ReferenceCohort) -> NDArray[np.float64]:
    """Vessel density times density of tumour-associated macrophages, each as a multiple of a reference cohort's mean.

    Parameters
    ----------
    vessels, macrophages : array_like
        Densities of one or more tumours, in the units of the reference.
    reference : ReferenceCohort
        Reference tumours.

    Returns
    -------
    numpy.ndarray
        Score of each tumour: 1 if both densities are those of the reference mean. The two densities are taken from May
        et al., Nat. Biomed. Eng. 2024 (doi 10.1038/s41551-024-01197-4); the scale is our own.
    """
    scaled = np.asarray(vessels, np.float64) / reference.mean_vessels
    return np.asarray(scaled * (np.asarray(macrophages, np.float64) / reference.mean_macrophages))


def auroc(
    scores: ArrayLike,
    positive: ArrayLike,
    tumours: Sequence[str] | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = _RESAMPLES,
    seed: int = 0,
) -> Auroc:
    """Area under the receiver operating characteristic with an interval from a bootstrap over tumours.

    Parameters
    ----------
    scores : array_like
        One score per case, higher for cases expected to be positive.
    positive : array_like of bool
        Class of each case.
    tumours : sequence of str, optional
        Tumour of each case; a tumour is drawn with all its cases. By default each case is a separate tumour.
    confidence : float
        Confidence of the interval, between 0 and 1.
    resamples : int
        Draws of the bootstrap; those without both classes do not count.
    seed : int
        Seed of the random numbers.

    Returns
    -------
    Auroc
        AUROC without the cases that have no score (NaN). With few tumours the interval is rough and probably too
        narrow.

    Raises
    ------
    AnalysisError
        If the columns differ in length, or the confidence is out of range.
    """
    values, classes = np.asarray(scores, np.float64).ravel(), np.asarray(positive).ravel().astype(bool)
    names = np.arange(len(values)) if tumours is None else np.asarray(tumours)
    if not len(values) == len(classes) == len(names) or not 0 < confidence < 1:
        msg = (
            f"there are {len(values)} scores, {len(classes)} classes and {len(names)} tumours at confidence "
            f"{confidence:g}; expected one of each per case, and a confidence between 0 and 1"
        )
        raise AnalysisError(msg)
    scored = np.isfinite(values)
    values, classes = values[scored], classes[scored]
    kinds, tumour = np.unique(names[scored], return_inverse=True)
    n_positive, n_negative = int(classes.sum()), int((~classes).sum())
    estimate = _area(values, classes, np.ones(len(values)))
    drawn = _drawn_areas(values, classes, tumour, len(kinds), resamples, seed) if n_positive and n_negative else []
    low, high = math.nan, math.nan
    if len(kinds) >= LEAST_TUMOURS and len(drawn) >= max(2, _LEAST_SHARE_OF_RESAMPLES * resamples):
        low, high = map(float, np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2]))
    reason = _reason(n_positive, n_negative, math.isnan(low))
    return Auroc(estimate, low, high, confidence, n_positive, n_negative, len(kinds), len(drawn), reason)


def _reason(n_positive: int, n_negative: int, no_interval: bool) -> str:
    if not n_positive or not n_negative:
        return f"there are {n_positive} positive and {n_negative} negative cases; both classes are needed"
    return (
        f"too few tumours for an interval; expected {LEAST_TUMOURS} or more, and several of each class"
        if no_interval
        else ""
    )


def _area(values: NDArray[np.float64], classes: NDArray[np.bool_], weights: NDArray[np.float64]) -> float:
    """Mann-Whitney U over its largest value, with weighted cases; NaN if a class is missing."""
    _, level = np.unique(values, return_inverse=True)
    positive = np.bincount(level, weights * classes)
    negative = np.bincount(level, weights * ~classes)
    pairs = positive.sum() * negative.sum()
    below = np.cumsum(negative) - negative / 2
    return float(positive @ below / pairs) if pairs else math.nan


def _drawn_areas(
    values: NDArray[np.float64],
    classes: NDArray[np.bool_],
    groups: NDArray[np.intp],
    kinds: int,
    resamples: int,
    seed: int,
) -> list[float]:
    random = np.random.default_rng(seed)
    times = (np.bincount(random.integers(kinds, size=kinds), minlength=kinds) for _ in range(resamples))
    areas = (_area(values, classes, drawn[groups].astype(np.float64)) for drawn in times)
    return [area for area in areas if not math.isnan(area)]
