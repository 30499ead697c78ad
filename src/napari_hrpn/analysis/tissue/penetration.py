"""Penetration of a probe from the vessels: its profile over distance, and penetration lengths.

The rule: pixels inside vessels are counted but belong to no shell, because the probe there has not left the blood.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.analysis.tissue.distance import (
    ShellSums,
    no_shell_sums,
    update_shells,
)
from napari_hrpn.analysis.tissue.penetration_lengths import (
    HALF,
    NINE_TENTHS,
    DecayLength,
    Steps,
    decay_length,
    range_within_um,
)
from napari_hrpn.core.errors import AnalysisError
from napari_hrpn.settings import PenetrationSettings

# share of the pixels; a profile is not shown beyond the last shell that holds more, because further ones hold few
_LEAST_SHARE_SHOWN = 1e-3

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Shell:
    """The probe between two distances from the nearest vessel."""

    # inner end, which is not part of the shell, and outer end, which is; that of the last shell is infinite
    from_um: float
    to_um: float
    n: int
    mean: float  # mean grey level above the background; NaN without pixels
    # share of the signal outside vessels that is in the shell; below 0 if it is darker than the background, NaN
    # without signal
    share: float


@dataclass(frozen=True)
class Beyond:
    """Signal further than a given distance from every vessel.

    Attributes
    ----------
    beyond_um : float
        The distance.
    share : float
        Share of the signal outside vessels; noise can make it slightly negative. NaN without any signal.
    """

    beyond_um: float
    share: float


@dataclass(frozen=True)
class Penetration:
    """Penetration of a probe from the vessels in one image and one area.

    It shows where the probe is and not how it got there: vessels above and below the section supply the tissue too.
    A background that is not subtracted has the same effect as a probe that reaches everywhere.

    Attributes
    ----------
    image, area : str
        Names of the image and of the part of the tissue.
    shells : tuple of Shell
        The profile; the last shell is open.
    bands : tuple of Shell
        The profile in the wider distance bands.
    beyond : tuple of Beyond
        Share of the signal beyond each of the requested distances.
    d50_um, d90_um : float
        Distance from the edge of the nearest vessel within which 50 and 90 % of the signal are.
    decay_um : float
        Length over which the profile falls to 1/e; NaN if it does not fall that far, or not exponentially.
    vessel_mean : float
        Mean grey level above the background inside vessels.
    background : float
        Grey level that was subtracted.
    n : int
        Number of pixels outside vessels.
    reason : str
        Why a number is NaN; empty where none is.
    decay_from_um : float
        Distance at which the fit of the decay length begins: 0 if it was fitted close to the vessels.
    d50_low_um, d50_high_um, d90_low_um, d90_high_um : float
        Smallest and largest D50 and D90 for assumed backgrounds between the one subtracted and the darkest shell; the
        largest is NaN if it lies beyond the last closed shell.
    darkest : float
        Grey level of the darkest shell that holds at least 1 % of the pixels: the background cannot be higher.
    range_um : float
        Outer end of the last closed shell that holds more than 0.1 % of the pixels; further shells are unreliable.
    """

    image: str
    area: str
    shells: tuple[Shell, ...]
    bands: tuple[Shell, ...]
    beyond: tuple[Beyond, ...]
    d50_um: float
    d90_um: float
    decay_um: float
    vessel_mean: float
    background: float
    n: int
    reason: str = ""
    decay_from_um: float = math.nan
    d50_low_um: float = math.nan
    d50_high_um: float = math.nan
    d90_low_um: float = math.nan
    d90_high_um: float = math.nan
    darkest: float = math.nan
    range_um: float = math.nan


def compute_penetration(
    sums: ShellSums, settings: PenetrationSettings, background: Mapping[str, float] | None = None
) -> tuple[Penetration, ...]:
    """Compute profiles and penetration lengths from sums over shells.

    D50 and D90 come from sums in steps of `step_um`, with each pixel spread over its width. Negative values are kept,
    so that noise stays centred on the background. The decay length is -1 / slope of a straight line through the
    logarithm of the profile, with shells weighted by their pixels. The line begins at `fit_from_um` and ends where the
    profile is down to `fit_down_to` of the first shell. If that gives no length, the line is fitted close to the
    vessels: through shells of `near_shell_um`, or of one pixel, from the edge of the vessels to where the profile is
    down to `near_down_to`; a length from there is accepted up to half of `fit_from_um`. There is no decay length if
    the line does not fall to 1/e within the distances that 99 % of the fitted pixels span, if it explains less than
    `fit_least_r2` of the variance of the logarithm, if its slope does not differ from zero because there are few
    shells (Student's t, 95 %), or if the background leaves too little signal for a D50.

    If a probe diffuses from vessels into tissue with the penetration length lambda = sqrt(D / k), the profile is a sum
    of Bessel functions K0. They fall faster than exp(-d / lambda) near a vessel, and slower where several vessels
    supply a place. For lambda = 30 µm and vessels of 5 µm radius, this fit gives 0.89 lambda at 25 vessels per mm2 and
    1.04 lambda at 150; the first crossing of 1/e gives only 0.62 and 0.84. For lambda = 2 to 8 µm it gives 0.80 to 0.90
    lambda. Where vessels are closer to each other than lambda, no profile shows lambda. A vessel that is missing in the
    mask lifts the far shells: one in a hundred makes a length of 30 µm 1 % longer at 25 vessels per mm2 and 3 % at 150.
    """
    levels = dict(background or {})
    for name, level in levels.items():
        if name not in sums.images or not math.isfinite(level):
            msg = f"the background of {name!r} is {level}; expected a grey level for one of {', '.join(sums.images)}"
            raise AnalysisError(msg)
    areas = [("tissue", sums.pixels.sum(0), sums.signal.sum(1))]
    if len(sums.areas) > 1:
        areas += [(name, sums.pixels[i], sums.signal[:, i]) for i, name in enumerate(sums.areas)]
    return tuple(
        _penetration((image, area), pixels, signal[i], settings, float(levels.get(image, 0.0)), sums.pixel_um)
        for i, image in enumerate(sums.images)
        for area, pixels, signal in areas
    )


def penetration(
    distance_um: NDArray[np.floating[Any]],
    images: Mapping[str, NDArray[Any]],
    mask: NDArray[np.bool_] | None = None,
    settings: PenetrationSettings | None = None,
    background: Mapping[str, float] | None = None,
    pixel_um: tuple[float, float] = (0.0, 0.0),
) -> tuple[Penetration, ...]:
    """Penetration of a probe from the vessels, in one or more images of the same place.

    Parameters
    ----------
    distance_um : numpy.ndarray
        Shape (y, x): distance to the edge of the nearest vessel, 0 inside one.
    images : mapping of str to numpy.ndarray
        Images of the same shape by name, such as the real and a predicted probe.
    mask : numpy.ndarray of bool, optional
        Mask of the same shape; pixels where it is False are left out.
    settings : PenetrationSettings, optional
        Shells, bands and the range of the fit.
    background : mapping of str to float, optional
        Grey level without probe by name of image; 0 by default.
    pixel_um : tuple of float
        Height and width of the pixels that the distances belong to; 0 where they are points.

    Returns
    -------
    tuple of Penetration
        One per image; see `compute_penetration` for the formulas.

    Raises
    ------
    AnalysisError
        If shapes differ, or values are not finite.

    Examples
    --------
    >>> import numpy as np
    >>> distance_um = np.arange(101.0)[None]
    >>> (found,) = penetration(distance_um, {"probe": 1000 * np.exp(-distance_um / 25)})
    >>> round(found.decay_um, 2), round(found.shells[0].mean, 1)
    (25.0, 888.3)
    """
    settings = settings or PenetrationSettings()
    area = None if mask is None else np.asarray(mask, np.intp) - 1
    nothing = no_shell_sums(tuple(images), settings, pixel_um=pixel_um)
    sums = update_shells(nothing, distance_um, list(images.values()), settings, area=area)
    return compute_penetration(sums, settings, background)


def _penetration(
    names: tuple[str, str],
    pixels: NDArray[np.int64],
    signal: NDArray[Any],
    settings: PenetrationSettings,
    level: float,
    pixel_um: tuple[float, float],
) -> Penetration:
    steps = Steps(pixels[1:], signal[1:], settings.step_um, sum(pixel_um) / 2)
    darkest = steps.darkest(settings.steps)
    d50, d90 = (steps.within_um(part, level) for part in (HALF, NINE_TENTHS))
    # no length if the background is too high: the rest of the profile is noise that can fall steeply
    decay = DecayLength(math.nan, math.nan)
    if not math.isnan(d50):
        decay = decay_length(steps.above(level)[:-1], steps.pixels[:-1], settings, max(pixel_um))
    ranges = [range_within_um(steps, part, (level, darkest)) for part in (HALF, NINE_TENTHS)]
    (d50_low, d50_high), (d90_low, d90_high) = ((_finite(low), _finite(high)) for low, high in ranges)
    shells = _rows(np.arange(0, len(steps.pixels), settings.steps), settings, steps, level)
    return Penetration(
        image=names[0],
        area=names[1],
        shells=shells,
        bands=_rows(_band_starts(settings), settings, steps, level),
        beyond=tuple(Beyond(distance, steps.share_beyond(distance, level)) for distance in settings.beyond_um),
        d50_um=_finite(d50),
        d90_um=_finite(d90),
        decay_um=decay.um,
        vessel_mean=float(signal[0] / pixels[0] - level) if pixels[0] else math.nan,
        background=level,
        n=int(steps.pixels.sum()),
        reason=_reason(steps.pixels, d50, d90, decay.reason),
        decay_from_um=decay.from_um,
        d50_low_um=d50_low,
        d50_high_um=d50_high,
        d90_low_um=d90_low,
        d90_high_um=d90_high,
        darkest=darkest,
        range_um=_range_um(shells),
    )


def _finite(distance_um: float) -> float:
    """A distance; NaN if it lies beyond the last closed shell."""
    return distance_um if math.isfinite(distance_um) else math.nan


def _range_um(shells: tuple[Shell, ...]) -> float:
    """Outer end of the last closed shell that holds more than 0.1 % of the pixels of all closed shells."""
    n = sum(shell.n for shell in shells[:-1])
    return max((shell.to_um for shell in shells[:-1] if shell.n > _LEAST_SHARE_SHOWN * n), default=math.nan)


def _band_starts(settings: PenetrationSettings) -> NDArray[np.intp]:
    return np.rint(np.array([0.0, *settings.band_edges_um]) / settings.shell_um).astype(np.intp) * settings.steps


def _rows(first: NDArray[np.intp], settings: PenetrationSettings, steps: Steps, level: float) -> tuple[Shell, ...]:
    """Shells that begin at the given steps; the last one is open."""
    ends = np.append(first / settings.steps * settings.shell_um, math.inf)
    pixels, signal = (np.add.reduceat(column, first) for column in (steps.pixels, steps.signal))
    above, total = signal - level * pixels, steps.total(level)
    return tuple(
        Shell(float(low), float(high), int(n), float(excess) / int(n) if n else math.nan, float(excess) / total)
        for low, high, n, excess in zip(ends[:-1], ends[1:], pixels, above, strict=True)
    )


def _reason(pixels: NDArray[np.int64], d50_um: float, d90_um: float, decay: str) -> str:
    if not pixels.any():
        return "there is no pixel outside vessels"
    reasons = [decay] if decay else []
    if math.isnan(d50_um):
        reasons.append("too little signal outside vessels is above the background")
    elif math.isinf(d90_um):
        reasons.append("the signal reaches further than the last shell")
    return "; ".join(reasons)
