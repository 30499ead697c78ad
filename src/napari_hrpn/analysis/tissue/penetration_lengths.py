"""Penetration lengths: decay length of a profile, and distances within which a share of the signal lies."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import stdtrit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_hrpn.settings import PenetrationSettings

# the most distant 1 % of the pixels are left out, because they spread over many shells with few pixels each
_SPANNED_SHARE = 0.99
_SLOPE_CONFIDENCE = 0.95
_FEWEST_SHELLS = 3


@dataclass(frozen=True)
class DecayLength:
    """A decay length, or why there is none."""

    um: float  # NaN if the profile has none
    from_um: float  # distance at which the fit begins; NaN without a fit
    reason: str = ""  # why there is no length; empty if there is one


def decay_length(
    above: NDArray[np.float64], pixels: NDArray[np.int64], settings: PenetrationSettings, pixel_um: float = 0.0
) -> DecayLength:
    """Fit a decay length to a profile beyond `fit_from_um` or, if that gives none, close to the vessels."""
    far = _Shells.of(above, pixels, settings, settings.shell_um, settings.fit_down_to)
    far = far.beyond(settings.fit_from_um)
    found = _fit(far, settings)
    if found.reason:
        thickness = max(settings.near_shell_um, pixel_um)
        end = math.ceil(settings.fit_from_um / settings.step_um)
        near = _fit(_Shells.of(above[:end], pixels[:end], settings, thickness, settings.near_down_to), settings)
        # a longer length cannot be trusted here: it has to come from the fit further out
        if near.um <= settings.fit_from_um / 2:
            return near
        if far.count < _FEWEST_SHELLS:
            return DecayLength(math.nan, math.nan, f"{found.reason}, and {_near_reason(near)}")
    return found


def _near_reason(near: DecayLength) -> str:
    """Reason why the fit close to the vessels gives no length."""
    if near.reason:
        return f"closer to the vessels, {near.reason}"
    return f"closer to the vessels it falls to 1/e over {near.um:.3g} µm, too long for the distances there"


@dataclass(frozen=True)
class _Shells:
    """Shells of equal thickness from the vessels to where the signal is faint; NaN in shells without pixels."""

    mean: NDArray[np.float64]
    distance_um: NDArray[np.float64]
    pixels: NDArray[np.int64]
    thickness_um: float
    from_um: float = 0.0

    @property
    def count(self) -> int:
        """Number of shells that hold pixels."""
        return int(np.count_nonzero(self.pixels))

    def beyond(self, from_um: float) -> _Shells:
        """Shells whose centre is further than a distance."""
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
        centre = (np.arange(len(pixels)) + 0.5) * step_um
        n, signal, distance = (np.add.reduceat(column, first) for column in (pixels, above, centre * pixels))
        with np.errstate(invalid="ignore"):
            mean, distance_um = signal / n, distance / n
        occupied = np.flatnonzero(n)
        faint = occupied[~(mean[occupied] > down_to * mean[occupied[0]])] if len(occupied) else occupied
        end = faint[0] if len(faint) else len(n)
        return cls(mean[:end], distance_um[:end], n[:end], thickness_um)


def _fit(shells: _Shells, settings: PenetrationSettings) -> DecayLength:
    """Decay length from the line through the logarithm of some shells."""
    occupied = np.flatnonzero(shells.pixels)
    pixels = shells.pixels[occupied]
    if len(occupied) < _FEWEST_SHELLS:
        where = f" beyond {shells.from_um:g} µm" if shells.from_um else ""
        return _none(f"fewer than three shells{where} hold signal to fit a decay to")
    slope, r2 = _line(shells.distance_um[occupied], np.log(shells.mean[occupied]), pixels)
    if not slope < 0:
        return _none("the signal does not fall with the distance, so it has no decay length")
    reached = np.searchsorted(np.cumsum(pixels), _SPANNED_SHARE * pixels.sum())
    span_um = float(occupied[reached] - occupied[0] + 1) * shells.thickness_um
    if -1 / slope > span_um:
        return _none(
            f"the signal falls too little to have a decay length: it would be {-1 / slope:,.0f} µm, and the distances "
            f"span {span_um:g} µm"
        )
    smallest_r2 = max(settings.fit_least_r2, _significant_r2(len(occupied)))
    if r2 < smallest_r2:
        return _none(
            f"the signal does not fall exponentially, so it has no decay length: a line explains {r2:.1%} of the "
            f"logarithm of {len(occupied)} shells, expected {smallest_r2:.1%} or more"
        )
    return DecayLength(-1 / slope, shells.from_um)


def _none(reason: str) -> DecayLength:
    return DecayLength(math.nan, math.nan, reason)


def _line(x: NDArray[Any], y: NDArray[np.float64], weights: NDArray[np.int64]) -> tuple[float, float]:
    """Slope of a weighted regression line, and the share of the variance that it explains."""
    (xx, xy), (_, yy) = np.cov(x, y, fweights=weights, ddof=0)
    return float(xy / xx), float(xy**2 / (xx * yy)) if yy > 0 else 0.0


def _significant_r2(shells: int) -> float:
    """Smallest R² at which the slope of a line through so few points differs from zero, by Student's t."""
    t = stdtrit(shells - 2, (1 + _SLOPE_CONFIDENCE) / 2)
    return float(t**2 / (t**2 + shells - 2))


HALF, NINE_TENTHS = 0.5, 0.9
_FLOORS = 5
# share of the pixels that a shell needs so that its mean limits the background
_LEAST_SHARE = 0.01
# signal within a distance, relative to all: if far steps are so negative that it exceeds this, the floor is too high
_MOST_INSIDE = 1.25


@dataclass(frozen=True, eq=False)
class Steps:
    """Pixels and signal outside vessels in distance steps; the last step is open."""

    pixels: NDArray[np.int64]
    signal: NDArray[Any]  # sums of their grey levels, without subtraction of a background
    step_um: float  # thickness of a step
    pixel_um: float = 0.0  # side of the pixels that the distances belong to; 0 if they are points

    def above(self, floor: float) -> NDArray[np.float64]:
        """Signal of each step above a floor (assumed background); negative if the step is darker."""
        return np.asarray(self.signal - floor * self.pixels, np.float64)

    def total(self, floor: float) -> float:
        """All signal above a floor; NaN if it is not positive."""
        total = float(self.signal.sum() - floor * self.pixels.sum())
        return total if total > 0 else math.nan

    def share_beyond(self, distance_um: float, floor: float) -> float:
        """Share of the signal further than a distance; NaN without signal."""
        inside = np.append(0.0, np.cumsum(self.above(floor)[:-1]))
        return float(1 - np.interp(distance_um, np.arange(len(inside)) * self.step_um, inside) / self.total(floor))

    def within_um(self, part: float, floor: float) -> float:
        """Distance within which a part of the signal is; infinite in the open step, NaN if too little is left."""
        total = self.total(floor)
        inside = self._spread(np.append(0.0, np.cumsum(self.above(floor)[:-1])))
        if not inside.max() <= _MOST_INSIDE * total:
            return math.nan
        target = part * total
        reached = inside >= target
        if not reached.any():
            return math.inf
        after = int(np.argmax(reached))
        return float(np.interp(target, inside[after - 1 : after + 1], np.arange(after - 1, after + 1) * self.step_um))

    def darkest(self, steps: int) -> float:
        """Mean of the darkest shell of so many steps, among shells with 1 % of the pixels or more (or the largest)."""
        first = np.arange(0, len(self.pixels), steps)
        pixels, signal = (np.add.reduceat(column, first) for column in (self.pixels, self.signal))
        enough = pixels >= max(1, min(_LEAST_SHARE * pixels.sum(), pixels.max()))
        return float(np.min(signal[enough] / pixels[enough])) if enough.any() else math.nan

    def _spread(self, inside: NDArray[np.float64]) -> NDArray[np.float64]:
        """Signal within each distance, with the signal of each pixel spread evenly over its width."""
        if not self.pixel_um:
            return inside
        ends, half = np.arange(len(inside)) * self.step_um, self.pixel_um / 2
        area = np.append(0.0, np.cumsum((inside[1:] + inside[:-1]) / 2)) * self.step_um
        further = np.maximum(0, ends + half - ends[-1]) * inside[-1]
        spread = (np.interp(ends + half, ends, area) + further - np.interp(ends - half, ends, area)) / self.pixel_um
        # a pixel outside may reach into the vessel, but its signal counts as outside
        spread[0] = 0.0
        return np.asarray(spread)


def range_within_um(steps: Steps, part: float, floors: tuple[float, float]) -> tuple[float, float]:
    """Smallest and largest distance within which a part of the signal is, over floors between two limits."""
    found = [steps.within_um(part, float(floor)) for floor in np.linspace(*floors, _FLOORS)]
    distances = [distance for distance in found if not math.isnan(distance)]
    return (min(distances), max(distances)) if distances else (math.nan, math.nan)
