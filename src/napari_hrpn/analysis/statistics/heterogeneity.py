"""Heterogeneity of a tumour: mean grey levels of the patches of a grid and their spread (CV, Gini, Moran's I)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.analysis.counts.patch_sums import PatchSums, no_patch_sums, update_patches
from napari_hrpn.analysis.scan.block_scan import BlockCounter, PixelBlock, count_blocks
from napari_hrpn.analysis.statistics.spatial_autocorrelation import PERMUTATIONS, MoransI, morans_i
from napari_hrpn.core.errors import AnalysisError
from napari_hrpn.settings.evaluation import PATCH_PX

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    import dask.array as da
    from numpy.typing import ArrayLike, NDArray

    from napari_hrpn.core import Progress
    from napari_hrpn.slides import FinishedTiles, RegionMask, Slide


@dataclass(frozen=True)
class ChannelHeterogeneity:
    """How uneven a channel is over the patches with enough tissue.

    CV and Gini are computed from the mean grey levels of the patches minus the background; a camera offset that is not
    subtracted lowers both. They do not depend on the positions of patches. Moran's I does, and depends on patch size.

    Attributes
    ----------
    channel : str
        Its name.
    mean, sd : float
        Mean and SD (with n - 1) of the mean grey levels of the patches minus the background.
    cv : float
        Coefficient of variation, sd / mean.
    gini : float
        ``sum_ij |x_i - x_j| / (2 n^2 mean)``: 0 where all patches are equal, near 1 where one has everything.
    moran_rook, moran_queen : MoransI
        Moran's I of the same numbers, with 4 and 8 neighbours.
    n : int
        Number of patches.
    reason : str
        Why CV or Gini is NaN; empty if neither is.
    """

    channel: str
    mean: float
    sd: float
    cv: float
    gini: float
    moran_rook: MoransI
    moran_queen: MoransI
    n: int
    reason: str = ""

    @property
    def moran_columns(self) -> dict[str, float]:
        """Both kinds of Moran's I and their p-values, under their names in all tables and files."""
        return {
            "moran_i_queen": self.moran_queen.i,
            "moran_p_queen": self.moran_queen.p_value,
            "moran_i_rook": self.moran_rook.i,
            "moran_p_rook": self.moran_rook.p_value,
        }

    @property
    def reasons(self) -> str:
        """Why any of the numbers is NaN; empty if none is."""
        return "; ".join(filter(None, (self.reason, self.moran_rook.reason)))


@dataclass(frozen=True, eq=False)
class Heterogeneity:
    """Patches of a slide and their heterogeneity, as in figure 2 of the paper.

    Attributes
    ----------
    patch_px : int
        Side of a patch; the patch in row r and column c begins at pixel (r * patch_px, c * patch_px).
    pixels : numpy.ndarray of int64, shape (rows, columns)
        Number of measured pixels (tissue, or all) of each patch.
    tissue_fraction : numpy.ndarray, shape (rows, columns)
        Share of the pixels of each patch on the slide that are measured.
    enough : numpy.ndarray of bool, shape (rows, columns)
        Patches with enough measured pixels to count in `channels`.
    totals : numpy.ndarray, shape (channels, rows, columns)
        Sum of the grey levels of the measured pixels.
    means : numpy.ndarray, shape (channels, rows, columns)
        Mean grey level of the measured pixels; NaN if a patch has none.
    positive_fractions : numpy.ndarray, shape (channels, rows, columns)
        Share of the measured pixels at or above the channel's threshold; NaN without a threshold.
    channels : tuple of ChannelHeterogeneity
        Heterogeneity of each channel over the patches.
    """

    patch_px: int
    pixels: NDArray[np.int64]
    tissue_fraction: NDArray[np.float64]
    enough: NDArray[np.bool_]
    totals: NDArray[Any]
    means: NDArray[np.float64]
    positive_fractions: NDArray[np.float64]
    channels: tuple[ChannelHeterogeneity, ...]


def heterogeneity(
    sums: PatchSums,
    channel_names: Sequence[str],
    *,
    minimum_tissue: float = 0.5,
    backgrounds: Sequence[float] | None = None,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> Heterogeneity:
    """Compute the heterogeneity from sums over patches.

    Parameters
    ----------
    sums : PatchSums
        Sums of the whole slide.
    channel_names : sequence of str
        One name per channel of the sums.
    minimum_tissue : float
        Share of a full patch that must be measured for it to count, above 0 and up to 1.
    backgrounds : sequence of float, optional
        Grey level without stain of each channel, from `background_levels`; darker patches count as 0.
    permutations, seed : int
        Number of permutations for the p-value of Moran's I, and seed of the random numbers.

    Returns
    -------
    Heterogeneity
        Heterogeneity; NaN, with a reason, for numbers that do not exist.

    Raises
    ------
    AnalysisError
        If the smallest share is out of range, or names or backgrounds do not fit the channels.
    """
    if not 0 < minimum_tissue <= 1:
        msg = f"the smallest share of tissue is {minimum_tissue}; expected more than 0 and at most 1, such as 0.5"
        raise AnalysisError(msg)
    levels = [0.0] * len(sums.totals) if backgrounds is None else list(map(float, backgrounds))
    if not len(channel_names) == len(levels) == len(sums.totals):
        msg = f"there are {len(channel_names)} names and {len(levels)} backgrounds for {len(sums.totals)} channels"
        raise AnalysisError(msg)
    enough = sums.pixels >= minimum_tissue * sums.patch_px**2
    with np.errstate(invalid="ignore"):
        means, positive = sums.totals / sums.pixels, sums.positive / sums.pixels
    return Heterogeneity(
        patch_px=sums.patch_px,
        pixels=sums.pixels,
        tissue_fraction=sums.pixels / _patch_areas(sums),
        enough=enough,
        totals=sums.totals,
        means=means,
        positive_fractions=np.full_like(means, math.nan) if sums.thresholds is None else positive,
        channels=tuple(
            _spread(name, np.maximum(mean - level, 0), enough, permutations, seed)
            for name, mean, level in zip(channel_names, means, levels, strict=True)
        ),
    )


def slide_heterogeneity(
    slide: Slide,
    channels: Sequence[int] | None = None,
    tissue: RegionMask | None = None,
    *,
    patch_px: int = PATCH_PX,
    thresholds: Sequence[float] | None = None,
    minimum_tissue: float = 0.5,
    backgrounds: Sequence[float] | None = None,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> Generator[Progress, None, Heterogeneity]:
    """Measure the heterogeneity of a slide over patches, at full resolution.

    Parameters
    ----------
    slide : Slide
        The slide.
    channels : sequence of int, optional
        Channels to measure; by default all.
    tissue : RegionMask, optional
        Pixels outside are left out; blocks without any are not read.
    patch_px : int
        Side of a patch.
    thresholds : sequence of float, optional
        Grey level of each channel from which a pixel is positive, such as that of the vessel mask.
    minimum_tissue, backgrounds, permutations, seed
        As for `heterogeneity`.

    Yields
    ------
    Progress
        After each block.

    Returns
    -------
    Heterogeneity
        Heterogeneity, with all patches, including those without tissue.

    Raises
    ------
    AnalysisError
        If settings are out of range or pixels are not finite.
    SlideError
        If the slide cannot be read.
    """
    chosen = list(range(len(slide.channel_names)) if channels is None else channels)
    levels = [slide.levels[0][channel] for channel in chosen]
    counter = PatchCounter(levels, tissue, patch_px, thresholds, slide.finished)
    yield from count_blocks(levels, [counter])
    return heterogeneity(
        counter.sums,
        [slide.channel_names[channel] for channel in chosen],
        minimum_tissue=minimum_tissue,
        backgrounds=backgrounds,
        permutations=permutations,
        seed=seed,
    )


class PatchCounter(BlockCounter[PatchSums | None]):
    """Counter of sums over the patches of channels with one pixel type."""

    def __init__(
        self,
        channels: Sequence[da.Array],
        tissue: RegionMask | None,
        patch_px: int = PATCH_PX,
        thresholds: Sequence[float] | None = None,
        finished: FinishedTiles | None = None,
    ) -> None:
        self._channels, self._tissue, self._finished = channels, tissue, finished
        dtype, shape = channels[0].dtype, channels[0].shape
        self._nothing = no_patch_sums((shape[0], shape[1]), len(channels), dtype, patch_px, thresholds)
        self.sums = self._nothing

    def count(self, block: PixelBlock) -> PatchSums | None:
        """Sums of a block; None if it contains no tissue."""
        mask = block.inside(self._tissue) & block.inside(self._finished)
        if not mask.any():
            return None
        tile = [block.pixels(channel) for channel in self._channels]
        return update_patches(self._nothing, tile, block.origin, None if mask.all() else mask)

    def add(self, found: PatchSums | None) -> None:
        """Pool the sums."""
        if found is not None:
            self.sums += found


def gini(values: ArrayLike) -> float:
    """Gini coefficient, ``sum_ij |x_i - x_j| / (2 n^2 mean)``, a measure of inequality.

    Parameters
    ----------
    values : array_like
        Numbers of 0 or more.

    Returns
    -------
    float
        0 for equal values, (n - 1) / n if all but one are 0; NaN without values, if all are 0, or if one is
        negative.

    Examples
    --------
    >>> gini([1, 1, 1, 1]), gini([0, 0, 0, 8])
    (0.0, 0.75)
    """
    ordered = np.sort(np.asarray(values, np.float64).ravel())
    total, n = float(ordered.sum()), len(ordered)
    if not n or not total > 0 or ordered[0] < 0:
        return math.nan
    ranks = 2 * np.arange(1, n + 1) - n - 1
    return float(ranks @ ordered) / (n * total)


def _spread(
    name: str, values: NDArray[np.float64], enough: NDArray[np.bool_], permutations: int, seed: int
) -> ChannelHeterogeneity:
    counted = values[enough]
    n = len(counted)
    mean = float(counted.mean()) if n else math.nan
    sd = float(counted.std(ddof=1)) if n > 1 else math.nan
    rook, queen = (morans_i(values, enough, kind, permutations, seed) for kind in ("rook", "queen"))
    reason = "no patch has enough tissue" if not n else "one patch has no spread" if n == 1 else ""
    if n and not mean > 0:
        reason = "no patch is brighter than the background"
    return ChannelHeterogeneity(
        name, mean, sd, sd / mean if mean > 0 else math.nan, gini(counted), rook, queen, n, reason
    )


def _patch_areas(sums: PatchSums) -> NDArray[np.int64]:
    """Pixels of each patch that lie on the slide."""
    rows, columns = (
        np.minimum(np.arange(0, size, sums.patch_px) + sums.patch_px, size) - np.arange(0, size, sums.patch_px)
        for size in sums.shape
    )
    return np.asarray(np.outer(rows, columns), np.int64)
