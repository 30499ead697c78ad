"""What a network has to beat: the mean, blurred inputs fitted by least squares, and single stains as they are.

All of them follow from `BlurMoments`: a fit from those of the slides it learns from, its agreement from those of the
slide it is applied to.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from math import nan
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.analysis import Agreement, AgreementSums, compute

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_hrpn.experiments.blurring import BlurMoments


@dataclass(frozen=True)
class LinearFit:
    """Predicted target = the sum of weights times 1 and the blurred inputs.

    Attributes
    ----------
    name : str
        "mean", "blurred", or "raw" and a role.
    weights : tuple of float
        The intercept first, in grey levels; the others by input, then by sigma.
    is_prediction : bool
        Whether it is in grey levels of the target. A raw stain is not: only its correlation means something.
    """

    name: str
    weights: tuple[float, ...]
    is_prediction: bool = True


def baseline_fits(
    learnt_from: Sequence[BlurMoments], roles: Sequence[str], sigmas_um: Sequence[float]
) -> tuple[LinearFit, ...]:
    """Fit the baselines over the tissue of some slides, pixels of all together.

    Parameters
    ----------
    learnt_from : sequence of BlurMoments
        Of the slides; of one kind.
    roles : sequence of str
        What the inputs show, in their order.
    sigmas_um : sequence of float
        Sigmas of the blur, in their order.

    Returns
    -------
    tuple of LinearFit
        The mean of the target; its least squares on all blurred inputs and an intercept; and, where there is a sigma
        of 0, each input as it is.
    """
    sums = np.sum([moments.tissue for moments in learnt_from], axis=0)
    count = len(sums) - 2
    fits = [
        LinearFit("mean", (sums[0, -1] / max(1.0, sums[0, 0]), *np.zeros(count).tolist())),
        LinearFit("blurred", tuple(_least_squares(sums).tolist())),
    ]
    if 0 in sigmas_um:
        for index, role in enumerate(roles):
            weights = np.zeros(count + 1)
            weights[1 + index * len(sigmas_um) + list(sigmas_um).index(0)] = 1
            fits.append(LinearFit(f"raw {role}", tuple(weights.tolist()), is_prediction=False))
    return tuple(fits)


def fit_agreement(fit: LinearFit, sums: NDArray[np.float64], data_range: float | None) -> Agreement:
    """Agreement of a fit with the target, over the pixels that some sums are of.

    Parameters
    ----------
    fit : LinearFit
        What is predicted.
    sums : numpy.ndarray
        One of those of `BlurMoments`.
    data_range : float or None
        MAX of the PSNR.

    Returns
    -------
    Agreement
        What `analysis.agreement` gives for the predicted pixels. For a raw stain all but the correlation is NaN.
    """
    exact = [[Fraction(float(value)) for value in row] for row in sums]
    weights = [Fraction(weight) for weight in fit.weights]
    predicted = [
        sum((w * row[column] for w, row in zip(weights, exact, strict=False)), Fraction())
        for column in range(len(exact))
    ]
    squared = sum((w * value for w, value in zip(weights, predicted, strict=False)), Fraction())
    real_squared, product = exact[-1][-1], predicted[-1]
    found = compute(
        AgreementSums(
            n=round(sums[0, 0]),
            real=exact[0][-1],
            predicted=predicted[0],
            real_squared=real_squared,
            predicted_squared=squared,
            product=product,
            squared_error=max(Fraction(), real_squared - 2 * product + squared),
        ),
        data_range,
    )
    if fit.is_prediction:
        return found
    reason = "a raw stain is not in grey levels of the target; only its correlation is given"
    return replace(found, mse=nan, rmse=nan, r2=nan, psnr_db=nan, reason=reason)


def _least_squares(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Solve the normal equations about the means, where little cancels; a constant input gets no weight."""
    n = max(1.0, sums[0, 0])
    means = sums[0] / n
    centred = sums / n - np.outer(means, means)
    spread = np.sqrt(np.maximum(np.diag(centred), 0))
    spread = np.where(spread > 1e-9 * np.maximum(1.0, np.abs(means)), spread, 0)[1:]
    scale = np.where(spread > 0, spread, 1)
    inputs = slice(0, -1)
    correlations = (centred[1:, 1:] / np.outer(scale, scale)) * np.outer(spread > 0, spread > 0)
    scaled = np.linalg.lstsq(correlations[inputs, inputs], correlations[inputs, -1], rcond=1e-12)[0]
    slopes = scaled * scale[-1] / scale[inputs]
    return np.concatenate([[means[-1] - slopes @ means[1:-1]], slopes])
