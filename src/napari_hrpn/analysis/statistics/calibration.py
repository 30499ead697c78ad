"""Calibration of a prediction by the imaged probe in a few regions: a line, shrunk towards the prediction itself.

The line is real = offset + slope x predicted, by least squares over the pixels of all regions together. It is written
as two departures from the prediction: that of the slope from 1, and that of the line's height at the mean predicted
grey level. Each is multiplied by ``max(0, 1 - V / departure^2)``, where V is the variance of the departure between
regions, by the jackknife that leaves out one region at a time. Thus a departure counts in full if all regions agree on
it, and not at all if it is no larger than the differences between them. The fit is refused unless R2 of regions that
were left out rises, by no less than the standard error of the rise between regions, and to above 0: at 0 and below, one
grey level for all pixels would predict no worse.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from napari_hrpn.analysis.counts.moments import AgreementSums, as_float, exact_root
from napari_hrpn.analysis.statistics.agreement import deviations
from napari_hrpn.core.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Sequence

_LEAST_REGIONS = 3


@dataclass(frozen=True)
class CalibrationLine:
    """Line that turns predicted into real grey levels, real = offset + slope x predicted."""

    slope: float
    offset: float  # in grey levels
    # shares, 0 to 1, of the least-squares line's departures from the prediction that the shrinkage keeps: of the slope
    # from 1, and of the height at the mean predicted grey level
    slope_kept: float
    height_kept: float
    # the line before the shrinkage
    least_squares_slope: float
    least_squares_offset: float
    # R2 of all regions together: as predicted, and calibrated for each region by the others; standard error of the rise
    r2_before: float
    r2_after: float
    r2_rise_se: float

    @property
    def words(self) -> str:
        """The line and its test, as two lines of text."""
        return (
            f"real = {self.offset:.4g} + {self.slope:.4g} x predicted\n"
            f"R2 in regions that are left out: {self.r2_before:.3f} as predicted, {self.r2_after:.3f} calibrated"
        )


class _Line(NamedTuple):
    """A line by its slope and its height at a given predicted grey level."""

    slope: Fraction
    height: Fraction
    at: Fraction

    @property
    def offset(self) -> Fraction:
        return self.height - self.slope * self.at

    def squared_error(self, sums: AgreementSums) -> Fraction:
        """Sum of the squared differences of real and calibrated pixels."""
        a, b = self.offset, self.slope
        mixed = b * sums.predicted - sums.real
        return sums.real_squared + b * b * sums.predicted_squared - 2 * b * sums.product + a * (sums.n * a + 2 * mixed)


def calibration_line(regions: Sequence[AgreementSums]) -> CalibrationLine:
    """Fit the line from the sums over each region, of which no two share a pixel, and test it on left-out regions."""
    check_number(len(regions))
    total = _total(regions)
    scatter, _, _ = deviations(total)
    if not scatter:
        msg = "the probe has one grey level in all regions; expected regions in which it varies: draw others."
        raise AnalysisError(msg)
    line, kept = _shrunk(regions)
    if line.slope <= 0:
        msg = (
            f"the probe does not rise with the prediction in these regions (slope {float(line.slope):.3g}); expected a "
            "slope above 0: draw other regions, or keep the prediction as it is."
        )
        raise AnalysisError(msg)
    least_squares = _least_squares(total, line.at)
    r2 = _left_out(regions, total, scatter)
    return CalibrationLine(
        as_float(line.slope),
        as_float(line.offset),
        *kept,
        as_float(least_squares.slope),
        as_float(least_squares.offset),
        *r2,
    )


def check_number(regions: int) -> None:
    """Refuse fewer than three regions."""
    if regions < _LEAST_REGIONS:
        found = "1 region has" if regions == 1 else f"{regions} regions have"
        msg = (
            f"{found} pixels to calibrate by; expected {_LEAST_REGIONS} or more, as a line from fewer often makes a "
            "prediction worse: draw more regions."
        )
        raise AnalysisError(msg)


def _left_out(regions: Sequence[AgreementSums], total: AgreementSums, scatter: Fraction) -> tuple[float, float, float]:
    """R2 before and after a calibration of each region by the others, and the standard error of the rise."""
    after = [_shrunk([*regions[:k], *regions[k + 1 :]])[0].squared_error(sums) for k, sums in enumerate(regions)]
    gains = [sums.squared_error - error for sums, error in zip(regions, after, strict=True)]
    number, gain = len(gains), sum(gains)
    variance = (sum(one * one for one in gains) - gain * gain / Fraction(number)) * number / (number - 1)
    before, rise = as_float(1 - total.squared_error / scatter), as_float(gain / scatter)
    standard_error = exact_root(variance / scatter**2)
    if gain <= 0 or gain * gain < variance:
        msg = (
            f"R2 of regions that are left out is {before:.3f} as predicted and {before + rise:.3f} calibrated by the "
            f"others; expected a rise of {max(standard_error, 0.001):.3f} or more, its standard error: keep the "
            "prediction as it is, or draw more regions."
        )
        raise AnalysisError(msg)
    after_all = 1 - (total.squared_error - gain) / scatter
    if after_all <= 0:
        msg = (
            f"R2 of regions that are left out is {before:.3f} as predicted and {as_float(after_all):.3f} calibrated by "
            "the others; expected more than 0, as one grey level for all pixels has 0: draw other or more regions, or "
            "do not use this prediction."
        )
        raise AnalysisError(msg)
    return before, as_float(after_all), standard_error


def _shrunk(regions: Sequence[AgreementSums]) -> tuple[_Line, tuple[float, float]]:
    """The line of several regions, and the shares of its two departures that are kept."""
    total = _total(regions)
    at = Fraction(total.predicted) / total.n
    line, others = _least_squares(total, at), [_least_squares(_less(total, sums), at) for sums in regions]
    slope = _kept(line.slope - 1, [other.slope - 1 for other in others])
    height = _kept(line.height - at, [other.height - at for other in others])
    return _Line(1 + slope * (line.slope - 1), at + height * (line.height - at), at), (float(slope), float(height))


def _kept(departure: Fraction, without_one: Sequence[Fraction]) -> Fraction:
    """Share of a departure that is kept, from the same departure without each region."""
    if not departure:
        return Fraction(0)
    number = len(without_one)
    variance = Fraction(number - 1, number) * sum((one - departure) ** 2 for one in without_one)
    return max(Fraction(0), 1 - variance / departure**2)


def _least_squares(sums: AgreementSums, at: Fraction) -> _Line:
    """Line through the pixels; of slope 1 if the prediction is constant."""
    _, predicted, both = deviations(sums)
    slope = both / predicted if predicted else Fraction(1)
    return _Line(slope, (sums.real - slope * sums.predicted) / sums.n + slope * at, at)


def _total(regions: Sequence[AgreementSums]) -> AgreementSums:
    return sum(regions, AgreementSums())


def _less(total: AgreementSums, part: AgreementSums) -> AgreementSums:
    """Sums without those of a part."""
    return AgreementSums(**{name: value - getattr(part, name) for name, value in vars(total).items()})
