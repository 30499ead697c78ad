"""The length over which a profile falls to 1/e, from a line through its logarithm.

The rule: a length is given only where the fall itself was seen; an extrapolated one would be a guess.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import stdtrit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_hrpn.analysis.shell_sums import PenetrationSettings

# the last hundredth of the pixels reaches far out, into shells that rest on hardly any
SPANNED_SHARE = 0.99
SLOPE_CONFIDENCE = 0.95


def decay_length(
    mean: NDArray[np.float64], pixels: NDArray[np.int64], settings: PenetrationSettings
) -> tuple[float, str]:
    """Fit a decay length to a profile.

    Parameters
    ----------
    mean : numpy.ndarray
        Grey level of each closed shell above the background; NaN without pixels.
    pixels : numpy.ndarray of int64
        Pixels of each.
    settings : PenetrationSettings
        Thickness of a shell, range and least goodness of the fit.

    Returns
    -------
    tuple of float and str
        In µm, NaN where the profile has none; and why not, empty where it has one. See `compute_penetration`.
    """
    fitted = _fitted(mean, pixels, settings)
    if len(fitted) < 3:
        return math.nan, f"fewer than three shells beyond {settings.fit_from_um:g} µm hold signal to fit a decay to"
    slope, r2 = _line(fitted * settings.shell_um, np.log(mean[fitted]), pixels[fitted])
    if not slope < 0:
        return math.nan, "the signal does not fall with the distance, so it has no decay length"
    reached = np.searchsorted(np.cumsum(pixels[fitted]), SPANNED_SHARE * pixels[fitted].sum())
    span_um = float(fitted[reached] - fitted[0] + 1) * settings.shell_um
    if -1 / slope > span_um:
        return math.nan, (
            f"the signal falls too little to have a decay length: it would be {-1 / slope:,.0f} µm, and the distances "
            f"span {span_um:g} µm"
        )
    least = max(settings.fit_least_r2, _telling_r2(len(fitted)))
    if r2 < least:
        return math.nan, (
            f"the signal does not fall exponentially, so it has no decay length: a line explains {r2:.1%} of the "
            f"logarithm of {len(fitted)} shells, and {least:.1%} are asked for"
        )
    return -1 / slope, ""


def _fitted(mean: NDArray[np.float64], pixels: NDArray[np.int64], settings: PenetrationSettings) -> NDArray[np.intp]:
    """The shells of the fit, by number."""
    there = np.flatnonzero(pixels)
    if not len(there):
        return there
    faint = there[~(mean[there] > settings.fit_down_to * mean[there[0]])]
    end = faint[0] if len(faint) else len(mean)
    return there[((there + 0.5) * settings.shell_um > settings.fit_from_um) & (there < end)]


def _line(x: NDArray[Any], y: NDArray[np.float64], weights: NDArray[np.int64]) -> tuple[float, float]:
    """Slope of a weighted line, and the share of the variance that it explains."""
    (xx, xy), (_, yy) = np.cov(x, y, fweights=weights, ddof=0)
    return float(xy / xx), float(xy**2 / (xx * yy)) if yy > 0 else 0.0


def _telling_r2(shells: int) -> float:
    """The share that a line explains of so few points only where its slope differs from zero, by Student's t."""
    t = stdtrit(shells - 2, (1 + SLOPE_CONFIDENCE) / 2)
    return float(t**2 / (t**2 + shells - 2))
