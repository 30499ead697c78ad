"""Calibration of intervals by tumour: the factor for standard deviations with which they hold for a new tumour.

The tumour is the unit, since pixels of one tumour err together: with K tumours that were held out, no method without an
assumption on the distribution guarantees more than K / (K + 1) (Dunn, Wasserman, Ramdas, arXiv 1809.07441; Lee, Barber,
Willett, arXiv 2306.06342).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtri

from napari_hrpn.core.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

_ROUNDING = 1e-9


@dataclass(frozen=True)
class TumourFactor:
    """Factor for the standard deviations of an ensemble.

    Attributes
    ----------
    factor : float
        With standard deviations times this factor, the Gaussian interval of the level holds for a new tumour.
    level : float
        Its coverage, on average over tumours: 0 to 1.
    tumours : int
        Held-out tumours that it was calibrated on.
    highest : float
        Highest level that this number of tumours allows, K / (K + 1).
    """

    factor: float
    level: float
    tumours: int
    highest: float


def tumour_factor(errors: Sequence[ArrayLike], sds: Sequence[ArrayLike], level: float) -> TumourFactor:
    """Calibrate standard deviations on tumours that no member of the ensemble was trained on.

    A new tumour of the same kind, treated alike, has its values in the interval with at least the probability `level`,
    on average over such tumours; a single tumour may have fewer. Every tumour counts equally, whatever its size.

    Parameters
    ----------
    errors : sequence of array_like
        Predicted minus real values of each tumour: pixels, or one number of the tumour, such as its mean.
    sds : sequence of array_like
        Their standard deviations between the members of the ensemble.
    level : float
        Coverage, between 0 and 1.

    Returns
    -------
    TumourFactor
        The factor.

    Raises
    ------
    AnalysisError
        If the number of tumours does not allow the level, or errors and deviations do not fit together.
    """
    if not 0 < level < 1:
        msg = f"the level is {level}; expected a number between 0 and 1, such as 0.8"
        raise AnalysisError(msg)
    highest = len(errors) / (len(errors) + 1)
    if level > highest + _ROUNDING:
        needed = math.ceil(level / (1 - level) - _ROUNDING)
        held_out = "1 held-out tumour allows" if len(errors) == 1 else f"{len(errors)} held-out tumours allow"
        msg = (
            f"{held_out} intervals of at most {100 * highest:.3g} % for a new tumour, and {100 * level:.3g} % needs "
            f"{needed}; ask for a lower level, or hold out more tumours"
        )
        raise AnalysisError(msg)
    ratios = [_ratios(*pair) for pair in zip(errors, sds, strict=True)]
    reached = _quantile(ratios, level)
    if not math.isfinite(reached):
        msg = (
            f"too many values have no standard deviation although they err, so no factor reaches {100 * level:.3g} %; "
            "expected an ensemble whose members differ"
        )
        raise AnalysisError(msg)
    return TumourFactor(reached / float(ndtri(0.5 + level / 2)), level, len(errors), highest)


def _ratios(errors: ArrayLike, sds: ArrayLike) -> NDArray[np.float64]:
    """Errors in units of their standard deviation, in ascending order; infinite for an error without one."""
    error, sd = (np.abs(np.ravel(values)).astype(np.float64) for values in (errors, sds))
    if not error.size or error.shape != sd.shape or not (np.isfinite(error).all() and np.isfinite(sd).all()):
        msg = (
            f"a tumour has {error.size} errors and {sd.size} deviations; expected one or more finite ones, as many of "
            "each"
        )
        raise AnalysisError(msg)
    ratios = np.divide(error, sd, out=np.where(error > 0, math.inf, 0.0), where=sd > 0)
    return np.sort(ratios)


def _quantile(ratios: Sequence[NDArray[np.float64]], level: float) -> float:
    """Smallest ratio up to which the tumours hold a share of `level`, in which a new one counts as beyond them all."""
    pooled = np.concatenate(ratios)
    weights = np.concatenate([np.full(of_one.size, 1 / of_one.size) for of_one in ratios]) / (len(ratios) + 1)
    order = np.argsort(pooled, kind="stable")
    reached = np.cumsum(weights[order]) >= level - _ROUNDING
    return float(pooled[order][np.argmax(reached)]) if reached.any() else math.inf
