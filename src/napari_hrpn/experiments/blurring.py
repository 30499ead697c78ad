"""Sums of products of blurred inputs and the target over a slide: all that linear fits need, in one pass.

Whatever is fitted, and wherever it is measured, no pixel is read again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import fft

from napari_hrpn.analysis.errors import check_length
from napari_hrpn.core import TileGrid, reflected

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from numpy.typing import NDArray

    from napari_hrpn.core import Tile
    from napari_hrpn.slides import RegionMask
    from napari_hrpn.training import TrainingSlide

SIGMAS_UM = (0.0, 2.0, 5.0, 10.0, 20.0)
TILE_PX = 1024
_STRIP_PX = 2**18
_TRUNCATE = 4.0
_MOST_SIGMA_PX = 2048
_ASSUMED_UM = 0.3
"""Pixel size of slides that do not say theirs, as for `Slide.level_for`."""


@dataclass(frozen=True)
class MomentsReport:
    """How far a pass over a slide is.

    Attributes
    ----------
    done, total : int
        Tiles.
    """

    done: int
    total: int


@dataclass(frozen=True, eq=False)
class BlurMoments:
    """Sums of products over the pixels of a slide.

    Attributes
    ----------
    tissue, frame : numpy.ndarray
        Shape (k + 2, k + 2), float64: sums of products of each two of 1, the k blurred inputs and the target; over
        the tissue, and over all pixels. Blurred inputs are ordered by input, then by sigma.
    """

    tissue: NDArray[np.float64]
    frame: NDArray[np.float64]


def blur_moments(
    slide: TrainingSlide, tissue: RegionMask, sigmas_um: Sequence[float] = SIGMAS_UM
) -> Generator[MomentsReport, None, BlurMoments]:
    """Sum products of blurred inputs and the target over a slide.

    Parameters
    ----------
    slide : TrainingSlide
        Read tile by tile at full resolution, with a margin; mirrored at its borders.
    tissue : RegionMask
        What counts as tissue.
    sigmas_um : sequence of float
        Standard deviations of the Gaussians in µm, cut off at four of them as SciPy does; 0 for none.

    Yields
    ------
    MomentsReport
        After each tile.

    Returns
    -------
    BlurMoments
        Over tissue and frame.
    """
    pixel_um = slide.slide.pixel_size_um or (_ASSUMED_UM, _ASSUMED_UM)
    sigmas_px = [(sigma / pixel_um[0], sigma / pixel_um[1]) for sigma in sigmas_um]
    for sigma in sigmas_um:
        check_length("blurring", sigma, pixel_um, _MOST_SIGMA_PX)
    halo = max(_radius(sigma) for both in sigmas_px for sigma in both)
    height, width = slide.slide.shape
    grid = TileGrid(height, width, TILE_PX, halo, 1)
    size = len(slide.inputs) * len(sigmas_um) + 2
    inside, outside = np.zeros((size, size)), np.zeros((size, size))
    for done, tile in enumerate(grid, start=1):
        columns = _columns(slide, tile, halo, sigmas_px)
        core = tile.core
        mask = tissue.within(slice(core.y0, core.y1), slice(core.x0, core.x1)).reshape(-1)
        inside += _products(columns[:, mask])
        outside += _products(columns[:, ~mask])
        yield MomentsReport(done, len(grid))
    return BlurMoments(inside, inside + outside)


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
    """Blur by multiplication of spectra: the cost does not grow with sigma. The outer `_radius` pixels are wrong."""
    shape = [fft.next_fast_len(size, real=True) for size in image.shape]
    spectrum = fft.rfft2(image, shape) if any(any(sigma) for sigma in sigmas_px) else None
    blurred = []
    for sigma in sigmas_px:
        if spectrum is None or not any(sigma):
            blurred.append(image)
            continue
        along_y, along_x = (_kernel(each, size) for each, size in zip(sigma, shape, strict=True))
        transfer = fft.fft(along_y)[:, None] * fft.rfft(along_x)
        blurred.append(fft.irfft2(spectrum * transfer, shape)[: image.shape[0], : image.shape[1]])
    return blurred


def _kernel(sigma_px: float, size: int) -> NDArray[np.float32]:
    """The Gaussian that `scipy.ndimage.gaussian_filter` takes, around index 0 of a ring."""
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
