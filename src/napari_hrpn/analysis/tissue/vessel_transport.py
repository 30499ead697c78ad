"""Diffusion and uptake of a probe from the vessels of a window: D lap C - k C + S = 0, fitted to its image.

The length lambda = sqrt(D / k) comes from a profile likelihood, the strength of each vessel and a constant floor, none
negative, from least squares. A vessel's share of the image is its source convolved with the equation's Green's
function, the modified Bessel function K0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy import fft, linalg, sparse
from scipy.interpolate import CubicSpline
from scipy.optimize import nnls

from napari_hrpn.analysis.counts.blocks import correlation_length_px
from napari_hrpn.core import Progress
from napari_hrpn.core.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray

    from napari_hrpn.analysis.tissue.vessel_edit import VesselWindow

_PIXEL_UM = 2.0
_LENGTHS_UM = np.geomspace(2, 128, 13)
# vessels beyond the window reach into it: a margin of sources around it stands for them, in pieces of this length
_MARGIN_UM, _PIECE_UM = 60.0, 120.0
_PADDING_UM = 100.0
# twice the fall of the log likelihood that bounds a 95 % interval (chi squared with one degree of freedom)
_FALL_95 = 3.841


@dataclass(frozen=True, eq=False)
class VesselTransport:
    """Result of the fit of diffusion and uptake to the probe around some vessels."""

    length_um: float  # lambda
    interval_um: tuple[float, float]  # 95 % profile likelihood; an end of the searched range if it is not bounded
    r2: float
    floor: float  # grey levels
    strengths: NDArray[np.float64]  # by label, grey levels of a source that fills the plane; 0 for the background
    median_strength: float
    grid: _CoarseGrid

    @property
    def length_words(self) -> str:
        """The length with its interval, or that it lies at an end of the searched range and is not known."""
        low, high = self.interval_um
        words = f"{self.length_um:.0f} µm ({low:.0f} to {high:.0f})"
        is_inside = _LENGTHS_UM[0] < low and high < _LENGTHS_UM[-1]
        return words if is_inside else f"{words}, at the end of the searched range, so it is not known"

    def change(self, source: NDArray[np.float64]) -> NDArray[np.float64]:
        """Change of the probe, on the window's pixels, by a source on them."""
        spread = _spread(self.grid.means(source), self.length_um, self.grid.step_um)
        return self.grid.enlarged(spread)


@dataclass(frozen=True, eq=False)
class _CoarseGrid:
    """Blocks of pixels of a window, about 2 µm wide, with a margin of blocks beyond the window."""

    pixels: tuple[int, int]
    block: tuple[int, int]
    step_um: tuple[float, float]
    margin: tuple[int, int]  # blocks

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of blocks, the margin included."""
        rows, columns = (
            -(-size // block) + 2 * margin
            for size, block, margin in zip(self.pixels, self.block, self.margin, strict=True)
        )
        return rows, columns

    @cached_property
    def number(self) -> NDArray[np.intp]:
        """Index of the block of each pixel."""
        rows, columns = (
            np.arange(size) // block + margin
            for size, block, margin in zip(self.pixels, self.block, self.margin, strict=True)
        )
        return np.asarray(rows[:, None] * self.shape[1] + columns[None, :])

    @property
    def beyond(self) -> NDArray[np.intp]:
        """Number of the piece beyond the window that each block lies in, from 1; 0 for blocks of the window."""
        pieces = []
        for axis in (0, 1):
            count = max(1, round(self.shape[axis] * self.step_um[axis] / _PIECE_UM))
            pieces.append(np.arange(self.shape[axis]) * count // self.shape[axis])
        number = pieces[0][:, None] * (pieces[1].max() + 1) + pieces[1][None, :]
        inside = np.zeros(math.prod(self.shape), bool)
        inside[self.number.ravel()] = True
        outside = ~inside.reshape(self.shape)
        labels = np.zeros(self.shape, np.intp)
        labels[outside] = np.unique(number[outside], return_inverse=True)[1] + 1
        return labels

    def means(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum of the pixels of each block over the area of a whole block."""
        sums = np.bincount(self.number.ravel(), values.ravel(), math.prod(self.shape))
        return sums.reshape(self.shape) / math.prod(self.block)

    def enlarged(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values of the blocks, interpolated linearly at the pixels of the window."""
        for axis in (0, 1):
            at = (np.arange(self.pixels[axis]) + 0.5) / self.block[axis] - 0.5 + self.margin[axis]
            low = np.floor(at).astype(int)
            share = (at - low)[:, None] if axis == 0 else at - low
            values = np.take(values, low, axis) * (1 - share) + np.take(values, low + 1, axis) * share
        return values


def fit_vessel_transport(
    window: VesselWindow, probe: NDArray[np.generic]
) -> Generator[Progress, None, VesselTransport]:
    """Fit diffusion and uptake to an image of the probe on the pixels of a window."""
    block = tuple(max(1, round(_PIXEL_UM / size)) for size in window.pixel_um)
    step_um = (block[0] * window.pixel_um[0], block[1] * window.pixel_um[1])
    margin = (math.ceil(_MARGIN_UM / step_um[0]), math.ceil(_MARGIN_UM / step_um[1]))
    grid = _CoarseGrid(window.labels.shape, (block[0], block[1]), step_um, margin)
    sources = _sources(window.labels, grid)
    used = grid.means(window.tissue.astype(np.float64)) > 1 - 1e-9
    values = grid.means(probe.astype(np.float64))[used]
    if not window.labels.any() or values.size <= sources.shape[1] + 2 or np.ptp(values) == 0:
        msg = "the window holds no vessel or no contrast of the probe; take a larger window."
        raise AnalysisError(msg)
    fits = []
    for done, length_um in enumerate(_LENGTHS_UM, start=1):
        fits.append(_fitted(sources, grid, used, values, length_um))
        yield Progress(done, len(_LENGTHS_UM) + 1, "fitting diffusion and uptake")
    errors = np.array([error for _, _, error in fits])
    _, modelled, _ = fits[int(np.argmin(errors))]
    length_um, interval_um = _profile(errors, _independent(values - modelled, used))
    weights, _, error = _fitted(sources, grid, used, values, length_um)
    strengths = np.concatenate([[0.0], weights[: window.labels.max()]])
    return VesselTransport(
        length_um=length_um,
        interval_um=interval_um,
        r2=1 - error / float(((values - values.mean()) ** 2).sum()),
        floor=float(weights[-1]),
        strengths=strengths,
        median_strength=float(np.median(strengths[1:])),
        grid=grid,
    )


def _sources(labels: NDArray[np.int32], grid: _CoarseGrid) -> sparse.csc_array:
    """Share of each block that each source covers: a column per vessel, then per piece beyond the window."""
    inside, beyond = labels > 0, grid.beyond.ravel()
    vessels = np.full(np.count_nonzero(inside), 1 / math.prod(grid.block))
    pieces = np.flatnonzero(beyond)
    rows = np.concatenate([grid.number[inside], pieces])
    columns = np.concatenate([labels[inside], labels.max() + beyond[pieces]]) - 1
    shape = (math.prod(grid.shape), int(labels.max() + beyond.max()))
    return sparse.csc_array((np.concatenate([vessels, np.ones(len(pieces))]), (rows, columns)), shape=shape)


def _spread(source: NDArray[np.float64], length_um: float, step_um: tuple[float, float]) -> NDArray[np.float64]:
    """Concentration around a source: lambda^2 lap C - C + S = 0, in units of the source."""
    height, width = source.shape
    padded = [
        fft.next_fast_len(size + round(_PADDING_UM / step)) for size, step in zip(source.shape, step_um, strict=True)
    ]
    rows = 2 * np.pi * fft.fftfreq(padded[0], step_um[0])
    columns = 2 * np.pi * fft.rfftfreq(padded[1], step_um[1])
    inverse = 1 / (1 + length_um**2 * (rows[:, None] ** 2 + columns[None, :] ** 2))
    return np.asarray(fft.irfft2(fft.rfft2(source, padded) * inverse, padded)[:height, :width])


def _fitted(
    sources: sparse.csc_array,
    grid: _CoarseGrid,
    used: NDArray[np.bool_],
    values: NDArray[np.float64],
    length_um: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Strengths and floor, the values that they give, and the sum of squared errors."""
    design = np.ones((values.size, sources.shape[1] + 1))
    for vessel in range(sources.shape[1]):
        source = sources[:, [vessel]].toarray().reshape(grid.shape)
        design[:, vessel] = _spread(source, length_um, grid.step_um)[used]
    scale = np.linalg.norm(design, axis=0)
    scale[scale == 0] = 1
    design /= scale
    # the Cholesky factor has the same least squares as the far longer design
    triangle = linalg.cholesky(design.T @ design + 1e-9 * np.eye(design.shape[1]))
    weights = nnls(triangle, linalg.solve_triangular(triangle, design.T @ values, trans="T"))[0]
    modelled = design @ weights
    return weights / scale, modelled, float(((values - modelled) ** 2).sum())


def _independent(residuals: NDArray[np.float64], used: NDArray[np.bool_]) -> float:
    """Number of independent residuals: neighbours err alike over their correlation length."""
    image = np.zeros(used.shape)
    image[used] = residuals
    length_px = correlation_length_px(image, used)
    return residuals.size / max(1.0, 2 * np.pi * length_px**2)


def _profile(errors: NDArray[np.float64], independent: float) -> tuple[float, tuple[float, float]]:
    """Length with the highest likelihood and its 95 % interval, from the squared errors at the searched lengths."""
    lengths = np.geomspace(_LENGTHS_UM[0], _LENGTHS_UM[-1], 601)
    log_errors = CubicSpline(np.log(_LENGTHS_UM), np.log(errors))(np.log(lengths))
    best = int(np.argmin(log_errors))
    within = np.flatnonzero(independent * (log_errors - log_errors[best]) <= _FALL_95)
    return float(lengths[best]), (float(lengths[within[0]]), float(lengths[within[-1]]))
