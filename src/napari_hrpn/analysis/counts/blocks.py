"""Sums over square blocks of an image, the units of a spatial block bootstrap.

A block has to be much wider than the structures in the image, so that blocks are nearly independent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.analysis.counts.moments import AgreementSums, checked_image, checked_pair, update
from napari_hrpn.core.errors import AgreementError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

# in correlation lengths; with 6, simulated 95 % intervals contain the truth in 90 to 93 % of trials
BLOCK_LENGTHS = 6
# in standard errors: a weaker correlation of neighbouring patches cannot be distinguished from none
_SEEN = 1.0
# more blocks take time and do not improve intervals
MOST_BLOCKS = 1000


@dataclass(frozen=True, eq=False)
class PatchBlocks:
    """Square blocks of patches, wide enough to be nearly independent of each other."""

    side: int  # patches along a block; 1 if neighbouring patches are not correlated
    labels: NDArray[np.intp]  # index of the block of each patch that counts, row by row

    @property
    def effective(self) -> float:
        """Effective number of independent blocks, as for `BlockSums`."""
        return _effective(np.bincount(self.labels).tolist())


@dataclass(frozen=True)
class BlockSums:
    """Sums over each square block of two images; the first block begins at the upper left corner.

    Two records with blocks of the same side are pooled with ``+``.

    Attributes
    ----------
    side_px : int
        Height and width of a block.
    blocks : mapping of (int, int) to AgreementSums
        Sums by row and column of the block; blocks without a pixel are left out.
    """

    side_px: int
    blocks: Mapping[tuple[int, int], AgreementSums] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.side_px < 1:
            msg = f"the blocks have a side of {self.side_px} px; expected 1 or more"
            raise AgreementError(msg)

    def __add__(self, other: BlockSums) -> BlockSums:
        if self.side_px != other.side_px:
            msg = f"blocks of {self.side_px} px and of {other.side_px} px cannot be pooled; expected one side"
            raise AgreementError(msg)
        blocks = dict(self.blocks)
        for index, sums in other.blocks.items():
            blocks[index] = blocks[index] + sums if index in blocks else sums
        return BlockSums(self.side_px, blocks)

    @property
    def ordered(self) -> list[AgreementSums]:
        """Sums of the blocks row by row, in whatever order tiles were added."""
        return [self.blocks[place] for place in sorted(self.blocks)]

    @property
    def effective(self) -> float:
        """Number of equally large blocks with as much information: squared sum of the sizes over the sum of squares."""
        return _effective([sums.n for sums in self.blocks.values()])


def patch_blocks(maps: Sequence[NDArray[Any]], enough: NDArray[np.bool_]) -> PatchBlocks:
    """Group the patches of a grid into blocks that are nearly independent.

    Patches count as independent if the correlation of neighbours is at most one standard error in each of the maps.
    By chance, a third of the grids of two maps of independent patches exceed that and are grouped although they need
    not be. Otherwise the side of a block is six correlation lengths of the smoothest map, see `correlation_length_px`.
    A dependence over longer distances that neighbours do not show is not detected.
    """
    side = max(_patches_along(values, enough) for values in maps)
    rows, columns = np.nonzero(enough)
    block = rows // side * enough.shape[1] + columns // side
    return PatchBlocks(side, np.unique(block, return_inverse=True)[1].astype(np.intp))


def too_few_blocks(blocks: PatchBlocks, least: int) -> str:
    """Reason why correlated patches cannot be resampled."""
    return (
        f"neighbouring patches are correlated, so {len(blocks.labels)} patches count as only {blocks.effective:.1f} "
        f"independent blocks of {blocks.side} x {blocks.side} patches, expected {least} or more"
    )


def _patches_along(values: NDArray[Any], enough: NDArray[np.bool_]) -> int:
    deviation = _deviation(values, enough)
    variance = float(deviation[enough] @ deviation[enough]) / max(1, int(enough.sum()))
    pairs = sum(int(np.count_nonzero(mask[1:] & mask[:-1])) for mask in (enough, enough.T))
    if not variance or not pairs or _covariance(deviation, enough, 1) / variance * math.sqrt(pairs) <= _SEEN:
        return 1
    return math.ceil(BLOCK_LENGTHS * correlation_length_px(values, enough))


def _effective(sizes: Sequence[int]) -> float:
    return sum(sizes) ** 2 / sum(size**2 for size in sizes) if sizes else 0.0


def update_blocks(
    blocks: BlockSums,
    real: NDArray[Any],
    predicted: NDArray[Any],
    mask: NDArray[np.bool_] | None = None,
    origin: tuple[int, int] = (0, 0),
) -> BlockSums:
    """Add the pixels of a tile to the blocks that it meets.

    Parameters
    ----------
    blocks : BlockSums
        Sums of the tiles before; ``BlockSums(side_px)`` for the first tile.
    real, predicted : numpy.ndarray, shape (y, x)
        Pixels, integer or floating point.
    mask : numpy.ndarray of bool, optional
        Mask of the same shape; pixels where it is False are left out.
    origin : tuple of int
        Row and column of the tile's first pixel.

    Returns
    -------
    BlockSums
        Sums including the tile; for integer pixels they do not depend on how an image is cut into tiles.

    Raises
    ------
    AgreementError
        If the images cannot be compared.
    """
    if real.ndim != 2 or real.shape != predicted.shape or (mask is not None and mask.shape != real.shape):
        checked_pair(real, predicted, mask)
        msg = f"the images have {real.ndim} dimensions; blocks are cut from images of two, y and x"
        raise AgreementError(msg)
    tile: dict[tuple[int, int], AgreementSums] = {}
    for row, rows in _cuts(origin[0], real.shape[0], blocks.side_px):
        for column, columns in _cuts(origin[1], real.shape[1], blocks.side_px):
            inside = None if mask is None else mask[rows, columns]
            sums = update(AgreementSums(), real[rows, columns], predicted[rows, columns], inside)
            if sums.n:
                tile[row, column] = sums
    return blocks + BlockSums(blocks.side_px, tile)


def block_side_px(real: NDArray[Any], predicted: NDArray[Any], mask: NDArray[np.bool_] | None = None) -> int:
    """Side of blocks that are nearly independent: six correlation lengths of the smoother image.

    Parameters
    ----------
    real, predicted : numpy.ndarray, shape (y, x)
        Pixels of a region. For a whole slide, take one of its coarse levels and multiply the side by its downsample.
    mask : numpy.ndarray of bool, optional
        Mask of the same shape; pixels where it is False are left out.

    Returns
    -------
    int
        Side in pixels, 1 or more; large enough that the region has about 1,000 blocks at most.

    Raises
    ------
    AgreementError
        If pixels are neither integer nor floating point, or not finite.
    """
    length = max(correlation_length_px(real, mask), correlation_length_px(predicted, mask))
    area = real.size if mask is None else int(mask.sum())
    return max(1, math.ceil(max(BLOCK_LENGTHS * length, math.sqrt(area / MOST_BLOCKS))))


def correlation_length_px(image: NDArray[Any], mask: NDArray[np.bool_] | None = None) -> float:
    """Distance over which the autocorrelation of an image falls to 1/e of that of neighbouring pixels.

    It is relative to neighbouring pixels, not to distance 0, so that white noise of the camera does not hide the
    structure beneath. Rows and columns count together; the autocorrelation is computed at distances of 1, 2, 3, 4, 6,
    8, 12, ... pixels and interpolated linearly. A slow trend over the whole image lengthens it.
    """
    inside = np.ones(image.shape, bool) if mask is None else mask
    deviation = _deviation(image, inside)
    before, level = 1, _covariance(deviation, inside, 1)
    if level <= 0:
        return 0.0
    target = level / math.e
    for lag in _lags(max(image.shape) // 2)[1:]:
        covariance = _covariance(deviation, inside, lag)
        if covariance <= target:
            return before + (lag - before) * (level - target) / (level - covariance)
        before, level = lag, covariance
    return float(max(image.shape) / 2)


def _deviation(image: NDArray[Any], inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Deviations from the mean, scaled to 1 at most so that no square overflows or underflows; 0 outside the mask."""
    chosen, deviation = checked_image(image, inside), np.zeros(image.shape)
    if chosen.size and chosen.min() != chosen.max():
        deviation[inside] = chosen - chosen.mean(dtype=np.float64)
        deviation /= np.abs(deviation).max()
    return deviation


def _lags(largest: int) -> list[int]:
    lags = {factor * 2**power for power in range(max(largest, 1).bit_length()) for factor in (1, 3)}
    return sorted(lag for lag in lags if lag <= largest)


def _covariance(deviation: NDArray[np.float64], inside: NDArray[np.bool_], lag: int) -> float:
    products, pairs = 0.0, 0
    for values, mask in ((deviation, inside), (deviation.T, inside.T)):
        products += float(np.einsum("yx,yx->", values[lag:], values[:-lag]))
        pairs += int(np.count_nonzero(mask[lag:] & mask[:-lag]))
    return products / pairs if pairs else 0.0


def _cuts(origin: int, length: int, side: int) -> Iterator[tuple[int, slice]]:
    """Indices of the blocks that a tile meets along one axis, with the part of the tile in each."""
    for index in range(origin // side, -(-(origin + length) // side)):
        yield index, slice(max(index * side - origin, 0), min((index + 1) * side - origin, length))
