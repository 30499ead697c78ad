"""Agreement of a predicted with a real image (MSE, R², PSNR, Pearson r), from sums over all pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.analysis.counts.moments import AgreementSums, as_float, exact_root, update
from napari_hrpn.analysis.scan.slide_pairs import slide_pairs
from napari_hrpn.core import Progress
from napari_hrpn.core.errors import AgreementError

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray

    from napari_hrpn.slides import RegionMask, Slide


@dataclass(frozen=True)
class Agreement:
    """Agreement of predicted with real pixels.

    The numbers measure how close the values are, not whether differences matter. Pixels are not independent, so no
    p-value can be derived from `n`.

    Attributes
    ----------
    mse, rmse : float
        Mean squared error and its root, in squared and plain grey levels.
    r2 : float
        Coefficient of determination, 1 - SSE/SST, over all pixels together; at most 1, negative if the mean of the
        real image would be a better prediction, NaN if the real image is constant.
    psnr_db : float
        Peak signal-to-noise ratio, 20 log10(data_range / rmse); infinite if the images are equal.
    pearson_r : float
        Pearson correlation, -1 to 1; independent of gain and offset. NaN if either image is constant.
    n : int
        Number of compared pixels.
    data_range : float
        MAX of the PSNR.
    reason : str
        Why a number is NaN; empty where none is.
    """

    mse: float
    rmse: float
    r2: float
    psnr_db: float
    pearson_r: float
    n: int
    data_range: float
    reason: str = ""


def compute(sums: AgreementSums, data_range: float | None) -> Agreement:
    """Compute the agreement from sums.

    MSE = SSE / n, R2 = 1 - SSE / SST with SST the sum of squared deviations of the real pixels from their
    mean, PSNR = 20 log10(data_range / RMSE), r = covariance / (SD of real x SD of predicted).
    """
    if data_range is not None and not (math.isfinite(data_range) and data_range > 0):
        msg = f"the data range is {data_range}; expected a positive number, such as 255 for 8-bit images"
        raise AgreementError(msg)
    peak = math.nan if data_range is None else float(data_range)
    if sums.n == 0:
        return Agreement(math.nan, math.nan, math.nan, math.nan, math.nan, 0, peak, "there is no pixel to compare")
    mse = Fraction(sums.squared_error) / sums.n
    rmse = exact_root(mse)
    real, predicted, both = deviations(sums)
    return Agreement(
        mse=as_float(mse),
        rmse=rmse,
        r2=as_float(1 - sums.squared_error / real) if real else math.nan,
        psnr_db=20 * (math.log10(peak) - math.log10(rmse)) if rmse else peak * math.inf,
        pearson_r=correlation(real, predicted, both),
        n=sums.n,
        data_range=peak,
        reason=_reason(real, predicted, data_range),
    )


def agreement(
    real: NDArray[Any],
    predicted: NDArray[Any],
    mask: NDArray[np.bool_] | None = None,
    data_range: float | None = None,
) -> Agreement:
    """Agreement of a predicted with a real image.

    Parameters
    ----------
    real, predicted : numpy.ndarray
        Pixels of one shape, integer or floating point.
    mask : numpy.ndarray of bool, optional
        Mask of the same shape; pixels where it is False are left out.
    data_range : float, optional
        MAX of the PSNR; by default the largest value of the pixel type of the real image. Floating-point types have
        none, so the PSNR is NaN.

    Returns
    -------
    Agreement
        Agreement over all pixels of the mask together; see there for the formulas.

    Raises
    ------
    AgreementError
        If the images cannot be compared.

    Examples
    --------
    >>> import numpy as np
    >>> real = np.arange(10, dtype=np.uint8)
    >>> round(agreement(real, real // 2).r2, 4), round(agreement(real, real + 1).psnr_db, 4)
    (-0.0303, 48.1308)
    """
    sums = update(AgreementSums(), np.asarray(real), np.asarray(predicted), mask)
    return compute(sums, largest_value(np.asarray(real).dtype) if data_range is None else data_range)


def largest_value(dtype: np.dtype) -> float | None:
    """Largest value of an integer pixel type; None for floating point."""
    return float(np.iinfo(dtype).max) if dtype.kind in "iu" else None


def deviations(sums: AgreementSums) -> tuple[Fraction, Fraction, Fraction]:
    """Sums of squared deviations from the means (real, predicted), and sum of the products of deviations."""
    real = sums.real_squared - Fraction(sums.real) * sums.real / sums.n
    predicted = sums.predicted_squared - Fraction(sums.predicted) * sums.predicted / sums.n
    # rounding may make the sum for a constant image slightly negative
    real, predicted = max(real, Fraction(0)), max(predicted, Fraction(0))
    return real, predicted, sums.product - Fraction(sums.real) * sums.predicted / sums.n


def correlation(real: Fraction, predicted: Fraction, both: Fraction) -> float:
    """Pearson correlation from sums of squared deviations; NaN if one image is constant."""
    if not real or not predicted:
        return math.nan
    return math.copysign(math.sqrt(min(float(both * both / (real * predicted)), 1.0)), both)


def _reason(real: Fraction, predicted: Fraction, data_range: float | None) -> str:
    reasons = []
    if not real:
        reasons.append("the real image is constant, so R2 and r do not exist")
    elif not predicted:
        reasons.append("the predicted image is constant, so r does not exist")
    if data_range is None:
        reasons.append("floating point pixels have no largest value, so the PSNR needs a data range")
    return "; ".join(reasons)


@dataclass(frozen=True)
class SlideAgreement:
    """Agreement over a slide."""

    tissue: Agreement | None  # over the pixels of the tissue; None if no mask was given
    frame: Agreement  # over all pixels; usually the R2 is higher, because blank glass is easy to predict


def slide_agreement(
    real: Slide,
    real_channel: int,
    predicted: Slide,
    predicted_channel: int = 0,
    tissue: RegionMask | None = None,
    data_range: float | None = None,
) -> Generator[Progress, None, SlideAgreement]:
    """Compare a predicted channel with the real one, pixel by pixel at full resolution.

    Parameters
    ----------
    real : Slide
        The slide with the imaged probe.
    real_channel : int
        Index of its probe channel.
    predicted : Slide
        The prediction, of the same height and width.
    predicted_channel : int
        Index of its channel.
    tissue : RegionMask, optional
        Tissue of the real slide.
    data_range : float, optional
        MAX of the PSNR; by default the largest value of the pixel type of the real slide.

    Yields
    ------
    Progress
        After each block.

    Returns
    -------
    SlideAgreement
        Agreement over the tissue and over the frame.

    Raises
    ------
    AgreementError
        If the slides differ in size or hold pixels that are not finite.
    SlideError
        If one of them cannot be read.
    """
    pairs = yield from slide_pairs(real, real_channel, predicted, predicted_channel, tissue=tissue)
    peak = largest_value(real.dtype) if data_range is None else data_range
    return SlideAgreement(
        tissue=None if pairs.tissue is None else compute(pairs.tissue.sums, peak),
        frame=compute(pairs.frame.sums, peak),
    )
