"""Lengths of penetration: where a profile falls to 1/e, and the distances that hold parts of the signal."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import stdtrit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_hrpn.settings import PenetrationSettings

# the last hundredth of the pixels reaches far out, into shells that rest on hardly any
_SPANNED_SHARE = 0.99
_SLOPE_CONFIDENCE = 0.95
_FEWEST_SHELLS = 3


@dataclass(frozen=True)
class DecayLength:
    """A decay length, or why there is none."""

    um: float  # NaN where the profile has none
    from_um: float  # Where the fit begins; NaN without one
    reason: str = ""  # Why there is none; empty where there is one


def decay_length(
    above: NDArray[np.float64], pixels: NDArray[np.int64], settings: PenetrationSettings, pixel_um: float = 0.0
) -> DecayLength:
    """Fit a decay length to a profile: beyond `fit_from_um`, and where that gives none, from the vessel's edge."""
    far = _Shells.of(above, pixels, settings, settings.shell_um, settings.fit_down_to)
    far = far.beyond(settings.fit_from_um)
    found = _fit(far, settings)
    if found.reason:
        thickness = max(settings.near_shell_um, pixel_um)
        end = math.ceil(settings.fit_from_um / settings.step_um)
        near = _fit(_Shells.of(above[:end], pixels[:end], settings, thickness, settings.near_down_to), settings)
        # longer ones are those of the fit further out
        if near.um <= settings.fit_from_um / 2:
            return near
        if far.count < _FEWEST_SHELLS:
            return DecayLength(math.nan, math.nan, f"{found.reason}, and {_near_reason(near)}")
    return found


def _near_reason(near: DecayLength) -> str:
    """Why the fit from the edge gives no length."""
    if near.reason:
        return f"nearer, {near.reason}"
    return f"nearer, it falls to 1/e over {near.um:.3g} µm, which is too long for what is seen there"


@dataclass(frozen=True)
class _Shells:
    """Shells of one thickness from the vessels on, as far as there is signal; NaN in those without pixels."""

    mean: NDArray[np.float64]
    distance_um: NDArray[np.float64]
    pixels: NDArray[np.int64]
    thickness_um: float
    from_um: float = 0.0

    @property
    def count(self) -> int:
        """Shells that hold pixels."""
        return int(np.count_nonzero(self.pixels))

    def beyond(self, from_um: float) -> _Shells:
        """Return those whose middle is further than a distance."""
        first = int(np.count_nonzero((np.arange(len(self.pixels)) + 0.5) * self.thickness_um <= from_um))
        return replace(
            self,
            mean=self.mean[first:],
            distance_um=self.distance_um[first:],
            pixels=self.pixels[first:],
            from_um=from_um,
        )

    @classmethod
    def of(
        cls,
        above: NDArray[np.float64],
        pixels: NDArray[np.int64],
        settings: PenetrationSettings,
        thickness_um: float,
        down_to: float,
    ) -> _Shells:
        step_um = settings.step_um
        first = np.rint(np.arange(0, len(pixels) * step_um - step_um / 2, thickness_um) / step_um).astype(np.intp)
        middle = (np.arange(len(pixels)) + 0.5) * step_um
        n, signal, distance = (np.add.reduceat(column, first) for column in (pixels, above, middle * pixels))
        with np.errstate(invalid="ignore"):
            mean, distance_um = signal / n, distance / n
        there = np.flatnonzero(n)
        faint = there[~(mean[there] > down_to * mean[there[0]])] if len(there) else there
        end = faint[0] if len(faint) else len(n)
        return cls(mean[:end], distance_um[:end], n[:end], thickness_um)


def _fit(shells: _Shells, settings: PenetrationSettings) -> DecayLength:
    """The length of the line through some shells."""
    there = np.flatnonzero(shells.pixels)
    pixels = shells.pixels[there]
    if len(there) < _FEWEST_SHELLS:
        where = f" beyond {shells.from_um:g} µm" if shells.from_um else ""
        return _none(f"fewer than three shells{where} hold signal to fit a decay to")
    slope, r2 = _line(shells.distance_um[there], np.log(shells.mean[there]), pixels)
    if not slope < 0:
        return _none("the signal does not fall with the distance, so it has no decay length")
    reached = np.searchsorted(np.cumsum(pixels), _SPANNED_SHARE * pixels.sum())
    span_um = float(there[reached] - there[0] + 1) * shells.thickness_um
    if -1 / slope > span_um:
        return _none(
            f"the signal falls too little to have a decay length: it would be {-1 / slope:,.0f} µm, and the distances "
            f"span {span_um:g} µm"
        )
    least = max(settings.fit_least_r2, _telling_r2(len(there)))
    if r2 < least:
        return _none(
            f"the signal does not fall exponentially, so it has no decay length: a line explains {r2:.1%} of the "
            f"logarithm of {len(there)} shells, and {least:.1%} are asked for"
        )
    return DecayLength(-1 / slope, shells.from_um)


def _none(reason: str) -> DecayLength:
    return DecayLength(math.nan, math.nan, reason)


def _line(x: NDArray[Any], y: NDArray[np.float64], weights: NDArray[np.int64]) -> tuple[float, float]:
    """Slope of a weighted line, and the share of the variance that it explains."""
    (xx, xy), (_, yy) = np.cov(x, y, fweights=weights, ddof=0)
    return float(xy / xx), float(xy**2 / (xx * yy)) if yy > 0 else 0.0


def _telling_r2(shells: int) -> float:
    """The share that a line explains of so few points only where its slope differs from zero, by Student's t."""
    t = stdtrit(shells - 2, (1 + _SLOPE_CONFIDENCE) / 2)
    return float(t**2 / (t**2 + shells - 2))


HALF, NINE_TENTHS = 0.5, 0.9
_FLOORS = 5
# a shell of fewer pixels says nothing about the floor
_LEAST_SHARE = 0.01
# where far steps take off more than this beyond 1, the floor is too bright for a part of the rest to say anything
_MOST_INSIDE = 1.25


@dataclass(frozen=True, eq=False)
class Steps:
    """Pixels and signal outside vessels in steps of distance, the last of which is open."""

    pixels: NDArray[np.int64]
    signal: NDArray[Any]  # Sums of their grey levels, nothing taken off
    step_um: float  # Thickness of a step
    pixel_um: float = 0.0  # Side of the pixels that the distances belong to; 0 where they are points

    def above(self, floor: float) -> NDArray[np.float64]:
        """Signal of each step above a floor; below 0 where the step is darker."""
        return np.asarray(self.signal - floor * self.pixels, np.float64)

    def total(self, floor: float) -> float:
        """All signal above a floor; NaN where it is not above 0."""
        total = float(self.signal.sum() - floor * self.pixels.sum())
        return total if total > 0 else math.nan

    def share_beyond(self, distance_um: float, floor: float) -> float:
        """Share of the signal further than a distance; NaN without signal."""
        inside = np.append(0.0, np.cumsum(self.above(floor)[:-1]))
        return float(1 - np.interp(distance_um, np.arange(len(inside)) * self.step_um, inside) / self.total(floor))

    def within_um(self, part: float, floor: float) -> float:
        """Distance within which a part of the signal is; infinite in the open step, NaN where too little is left."""
        total = self.total(floor)
        inside = self._spread(np.append(0.0, np.cumsum(self.above(floor)[:-1])))
        if not inside.max() <= _MOST_INSIDE * total:
            return math.nan
        wanted = part * total
        reached = inside >= wanted
        if not reached.any():
            return math.inf
        after = int(np.argmax(reached))
        return float(np.interp(wanted, inside[after - 1 : after + 1], np.arange(after - 1, after + 1) * self.step_um))

    def darkest(self, steps: int) -> float:
        """Mean of the darkest shell of so many steps, of those that hold a hundredth of the pixels or the most."""
        first = np.arange(0, len(self.pixels), steps)
        pixels, signal = (np.add.reduceat(column, first) for column in (self.pixels, self.signal))
        enough = pixels >= max(1, min(_LEAST_SHARE * pixels.sum(), pixels.max()))
        return float(np.min(signal[enough] / pixels[enough])) if enough.any() else math.nan

    def _spread(self, inside: NDArray[np.float64]) -> NDArray[np.float64]:
        """Signal within each distance, that of a pixel spread over its width and not all at its centre."""
        if not self.pixel_um:
            return inside
        ends, half = np.arange(len(inside)) * self.step_um, self.pixel_um / 2
        area = np.append(0.0, np.cumsum((inside[1:] + inside[:-1]) / 2)) * self.step_um
        further = np.maximum(0, ends + half - ends[-1]) * inside[-1]
        spread = (np.interp(ends + half, ends, area) + further - np.interp(ends - half, ends, area)) / self.pixel_um
        # a pixel may reach into the vessel, but none of its signal does
        spread[0] = 0.0
        return np.asarray(spread)


def range_within_um(steps: Steps, part: float, floors: tuple[float, float]) -> tuple[float, float]:
    """Least and greatest distance within which a part of the signal is, over floors between two."""
    found = [steps.within_um(part, float(floor)) for floor in np.linspace(*floors, _FLOORS)]
    there = [distance for distance in found if not math.isnan(distance)]
    return (min(there), max(there)) if there else (math.nan, math.nan)
