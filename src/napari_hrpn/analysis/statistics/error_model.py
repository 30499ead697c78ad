"""Error model of a network: the standard deviation of its errors by predicted grey level, from held-out tumours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.analysis.windows.gaussian import SCORED, absolute_error, half_width
from napari_hrpn.core.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Pixels = tuple[ArrayLike, ArrayLike]
    """Real and predicted grey levels of the pixels of one tumour."""

_BINS = 10
_ROUNDING = 1e-9


@dataclass(frozen=True)
class ErrorModel:
    """Standard deviation of the errors by predicted grey level.

    Attributes
    ----------
    tumours : int
        Held-out tumours that it was measured on.
    predicted : tuple of float
        Mean predicted grey level of each bin, in ascending order.
    sd : tuple of float
        Standard deviation with which the Gaussian interval of 80 % holds 80 % of the pixels of the bin.
    """

    tumours: int
    predicted: tuple[float, ...]
    sd: tuple[float, ...]

    def __post_init__(self) -> None:
        levels, sds = np.array(self.predicted, np.float64), np.array(self.sd, np.float64)
        if not levels.shape == sds.shape == (max(1, levels.size),):
            msg = f"an error model has {levels.size} grey levels and {sds.size} SDs; expected one of each for every bin"
            raise AnalysisError(msg)
        is_usable = np.isfinite(levels) & (levels > np.append(-np.inf, levels[:-1])) & np.isfinite(sds) & (sds >= 0)
        if not is_usable.all():
            wrong = int(np.argmin(is_usable))
            msg = (
                f"bin {wrong + 1} of an error model has the grey level {levels[wrong]:g} and the SD {sds[wrong]:g}; "
                "expected finite numbers, levels that rise, and an SD of 0 or more"
            )
            raise AnalysisError(msg)

    @property
    def facts(self) -> dict[str, Any]:
        """All of it, as JSON gives it back."""
        return {"tumours": self.tumours, "predicted": [*self.predicted], "sd": [*self.sd]}

    def sd_at(self, predicted: NDArray[np.floating]) -> NDArray[np.float64]:
        """Interpolate linearly between the bins; constant beyond the first and the last one.

        Parameters
        ----------
        predicted : numpy.ndarray
            Predicted grey levels.

        Returns
        -------
        numpy.ndarray
            Standard deviation at each of them.
        """
        sd: NDArray[np.float64] = np.interp(predicted, self.predicted, self.sd)
        return sd


def error_model(tumours: Sequence[Pixels]) -> ErrorModel:
    """Error model from pixels of held-out tumours, in bins that hold a tenth of the predicted levels each.

    Every tumour has the same weight, whatever the number of its pixels; pixels of one predicted level share a bin.
    """
    real, predicted = (np.concatenate([np.ravel(pixels[index]) for pixels in tumours]) for index in (0, 1))
    weights = np.concatenate([np.full(np.size(pixels[0]), 1 / np.size(pixels[0])) for pixels in tumours])
    errors, predicted = absolute_error(real, predicted), predicted.astype(np.float64)
    edges = _quantiles(predicted, weights, np.arange(1, _BINS) / _BINS)
    bins = np.searchsorted(edges, predicted, side="left")
    occupied = [bins == number for number in np.unique(bins)]
    return ErrorModel(
        len(tumours),
        tuple(float(np.average(predicted[inside], weights=weights[inside])) for inside in occupied),
        tuple(
            float(_quantiles(errors[inside], weights[inside], np.array([SCORED / 100]))[0]) / half_width(SCORED)
            for inside in occupied
        ),
    )


def left_out_coverage(tumours: Sequence[Pixels]) -> tuple[float | None, ...]:
    """Share of each tumour's pixels in the interval of 80 % of the error model of the others; None for a single one."""
    if len(tumours) < 2:
        return (None,) * len(tumours)
    return tuple(
        coverage(error_model([*tumours[:index], *tumours[index + 1 :]]), pixels) for index, pixels in enumerate(tumours)
    )


def coverage(model: ErrorModel, pixels: Pixels) -> float:
    """Share of pixels in the interval of 80 % of an error model."""
    real, predicted = (np.asarray(values) for values in pixels)
    return float(np.mean(absolute_error(real, predicted) <= half_width(SCORED) * model.sd_at(predicted)))


def _quantiles(
    values: NDArray[np.float64], weights: NDArray[np.float64], shares: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Smallest values up to which lie these shares of the weight."""
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weights[order])
    ranks = np.searchsorted(cumulative, shares * cumulative[-1] * (1 - _ROUNDING))
    reached: NDArray[np.float64] = values[order][ranks]
    return reached
