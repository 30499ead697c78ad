"""Baselines that a network has to beat: the mean, blurred inputs fitted by least squares, and single stains.

All of them are computed from sums of products of blurred inputs and target over a slide, `BlurMoments`: a fit from the
sums of the slides that it learns from, its agreement from the sums of the slide that it is applied to. So each slide is
read once, for all fits and measurements.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from scipy import fft

from napari_hrpn.analysis import Agreement, AgreementSums
from napari_hrpn.analysis.statistics.agreement import compute
from napari_hrpn.analysis.tissue.strip_filter import check_length
from napari_hrpn.core import Progress, TileGrid, reflected

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from numpy.typing import NDArray

    from napari_hrpn.core import Tile
    from napari_hrpn.slides import RegionMask
    from napari_hrpn.training import TrainingSlide

SIGMAS_UM = (0.0, 2.0, 5.0, 10.0, 20.0)
TILE_PX = 1024
# pixels whose products are summed at once, which limits the memory in double precision
_STRIP_PX = 2**18
_TRUNCATE = 4.0
# largest blur: a wrong pixel size would otherwise make the halo larger than the memory
_MOST_SIGMA_PX = 2048
_ASSUMED_UM = 0.3
"""Pixel size of slides without one, as for `Slide.level_for`."""


@dataclass(frozen=True, eq=False)
class BlurMoments:
    """Sums over the pixels of a slide of the products of each pair of 1, the k blurred inputs and the target.

    Blurred inputs are ordered by input, then by sigma.
    """

    tissue: NDArray[np.float64]  # Shape (k + 2, k + 2)
    frame: NDArray[np.float64]  # The same sums over all pixels


@dataclass(frozen=True)
class _LinearFit:
    """Predicted target = the sum of weights times 1 and the blurred inputs."""

    name: str  # "mean", "blurred", or "raw" and a role
    weights: tuple[float, ...]  # The intercept first, in grey levels; the others by input, then by sigma
    # Whether it is in grey levels of the target. A raw stain is not: only its correlation has a meaning
    is_prediction: bool = True


def baseline_fits(
    learnt_from: Sequence[BlurMoments], roles: Sequence[str], sigmas_um: Sequence[float]
) -> tuple[_LinearFit, ...]:
    """Fits of the target: its mean, least squares on all blurred inputs, and, if a sigma is 0, each input as it is.

    The pixels of the tissue of all slides are pooled.
    """
    sums = np.sum([moments.tissue for moments in learnt_from], axis=0)
    count = len(sums) - 2
    fits = [
        _LinearFit("mean", (sums[0, -1] / max(1.0, sums[0, 0]), *[0.0] * count)),
        _LinearFit("blurred", tuple(_least_squares(sums).tolist())),
    ]
    if 0 in sigmas_um:
        for index, role in enumerate(roles):
            weights = [0.0] * (count + 1)
            weights[1 + index * len(sigmas_um) + list(sigmas_um).index(0)] = 1.0
            fits.append(_LinearFit(f"raw {role}", tuple(weights), is_prediction=False))
    return tuple(fits)


def fit_agreement(fit: _LinearFit, sums: NDArray[np.float64], data_range: float | None) -> Agreement:
    """Agreement of a fit with the target, computed from sums instead of predicted pixels.

    For a raw stain all numbers but the correlation are NaN.
    """
    # fractions are exact: the squared error is a small difference of large sums
    exact = np.vectorize(Fraction, otypes=[object])(sums)
    weights = np.array([Fraction(weight) for weight in fit.weights], object)
    predicted = weights @ exact[:-1]
    squared, real_squared, product = weights @ predicted[:-1], exact[-1, -1], predicted[-1]
    agreement = compute(
        AgreementSums(
            n=round(sums[0, 0]),
            real=exact[0, -1],
            predicted=predicted[0],
            real_squared=real_squared,
            predicted_squared=squared,
            product=product,
            squared_error=max(Fraction(), real_squared - 2 * product + squared),
        ),
        data_range,
    )
    if fit.is_prediction:
        return agreement
    reason = "a raw stain is not in grey levels of the target; only its correlation is given"
    return replace(agreement, mse=math.nan, rmse=math.nan, r2=math.nan, psnr_db=math.nan, reason=reason)


def blur_moments(
    slide: TrainingSlide, tissue: RegionMask, sigmas_um: Sequence[float] = SIGMAS_UM
) -> Generator[Progress, None, BlurMoments]:
    """Sum products of blurred inputs and the target over a slide, tile by tile at full resolution.

    The slide is mirrored at its borders; Gaussians are cut off at four sigmas, as SciPy does.
    """
    pixel_um = slide.slide.pixel_size_um or (_ASSUMED_UM, _ASSUMED_UM)
    sigmas_px = [(sigma / pixel_um[0], sigma / pixel_um[1]) for sigma in sigmas_um]
    for sigma in sigmas_um:
        check_length("blurring", sigma, pixel_um, _MOST_SIGMA_PX)
    halo = max(_radius(sigma) for both in sigmas_px for sigma in both)
    height, width = slide.slide.shape
    grid = TileGrid(height, width, TILE_PX, halo, 1)
    size = len(slide.inputs) * len(sigmas_um) + 2
    # every pixel is summed once: the frame is tissue plus the rest
    inside, outside = np.zeros((size, size)), np.zeros((size, size))
    for done, tile in enumerate(grid, start=1):
        columns, core = _columns(slide, tile, halo, sigmas_px), tile.core
        mask = tissue.within(*core.slices).reshape(-1)
        inside += _products(columns[:, mask])
        outside += _products(columns[:, ~mask])
        yield Progress(done, len(grid))
    return BlurMoments(inside, inside + outside)


def _least_squares(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Solve the normal equations about the means, to lose few digits; a constant input gets no weight."""
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


def _columns(
    slide: TrainingSlide, tile: Tile, halo: int, sigmas_px: Sequence[tuple[float, float]]
) -> NDArray[np.float32]:
    """Blurred inputs and the target on a tile's core, shape (k + 1, pixels)."""
    height, width = slide.slide.shape
    box = tile.padded
    rows, columns = reflected(box.y0, box.y1, height), reflected(box.x0, box.x1, width)
    y0, x0 = int(rows.min()), int(columns.min())
    channels = [*slide.inputs, slide.target]
    read = slide.slide.levels[0][channels, y0 : int(rows.max()) + 1, x0 : int(columns.max()) + 1]
    padded = np.asarray(read.compute())[:, rows[:, None] - y0, columns - x0].astype(np.float32)
    core = slice(halo, halo + tile.core.height), slice(halo, halo + tile.core.width)
    blurred = [part[core] for channel in padded[:-1] for part in _blurred(channel, sigmas_px)]
    return np.stack([*blurred, padded[-1][core]]).reshape(len(blurred) + 1, -1)


def _blurred(image: NDArray[np.float32], sigmas_px: Sequence[tuple[float, float]]) -> list[NDArray[np.float32]]:
    """Blur by FFT, whose cost does not grow with sigma; the outer `_radius` pixels are wrong."""
    shape = [fft.next_fast_len(size, real=True) for size in image.shape]
    spectrum, blurred = fft.rfft2(image, shape), []
    for sigma in sigmas_px:
        if not any(sigma):
            blurred.append(image)
            continue
        along_y, along_x = (_kernel(sigma_px, size) for sigma_px, size in zip(sigma, shape, strict=True))
        transfer = fft.fft(along_y)[:, None] * fft.rfft(along_x)
        blurred.append(fft.irfft2(spectrum * transfer, shape)[: image.shape[0], : image.shape[1]])
    return blurred


def _kernel(sigma_px: float, size: int) -> NDArray[np.float32]:
    """Gaussian kernel of `scipy.ndimage.gaussian_filter`, centred on index 0 with wrap-around."""
    radius = _radius(sigma_px)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / max(sigma_px, 1e-9)) ** 2)
    kernel = np.zeros(size, np.float32)
    np.add.at(kernel, np.arange(-radius, radius + 1) % size, (weights / weights.sum()).astype(np.float32))
    return kernel


def _radius(sigma_px: float) -> int:
    return math.floor(_TRUNCATE * sigma_px + 0.5)


def _products(columns: NDArray[np.float32]) -> NDArray[np.float64]:
    sums = np.zeros((len(columns) + 1, len(columns) + 1))
    for start in range(0, columns.shape[1], _STRIP_PX):
        part = columns[:, start : start + _STRIP_PX].astype(np.float64)
        with_one = np.concatenate([np.ones((1, part.shape[1])), part])
        sums += with_one @ with_one.T
    return sums
