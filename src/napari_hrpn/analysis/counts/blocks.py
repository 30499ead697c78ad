"""Sums over square blocks of an image, the units of a spatial bootstrap.

A block has to be much wider than the structures, so that blocks hardly know of each other.
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

# in correlation lengths: simulated 95 % intervals hold the truth in 90 to 93 % of trials, and larger blocks add little
BLOCK_LENGTHS = 6
# in standard errors: a weaker correlation of neighbouring patches is not told from none
_SEEN = 1.0
# more blocks make intervals no better, only slower
MOST_BLOCKS = 1000


@dataclass(frozen=True, eq=False)
class PatchBlocks:
    """Square blocks of the patches of a grid, as wide as leaves hardly a dependence between them."""

    side: int  # patches along a block; 1 where no dependence of neighbouring patches is seen
    labels: NDArray[np.intp]  # block of each patch that counts, row by row: 0 and up

    @property
    def effective(self) -> float:
        """How many blocks of equal size tell as much, as for `BlockSums`."""
        return _effective(np.bincount(self.labels).tolist())


@dataclass(frozen=True)
class BlockSums:
    """Sums over each square block of two images, from their first corner on.

    Two of one side are pooled with ``+``.

    Attributes
    ----------
    side_px : int
        Height and width of a block.
    blocks : mapping of (int, int) to AgreementSums
        By row and column of the block; blocks without a pixel are left out.
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
        for place, sums in other.blocks.items():
            blocks[place] = blocks[place] + sums if place in blocks else sums
        return BlockSums(self.side_px, blocks)

    @property
    def ordered(self) -> list[AgreementSums]:
        """Sums of the blocks row by row, however the tiles came."""
        return [self.blocks[place] for place in sorted(self.blocks)]

    @property
    def effective(self) -> float:
        """How many blocks of equal size tell as much: the squared sum of their sizes over the sum of squares."""
        return _effective([sums.n for sums in self.blocks.values()])


def patch_blocks(maps: Sequence[NDArray[Any]], enough: NDArray[np.bool_]) -> PatchBlocks:
    """Cut the patches of a grid into blocks that hardly know of each other.

    Patches count as independent where no neighbours are more alike, in any of the maps, than one standard error of
    unrelated ones; a third of the unrelated grids of two maps are cut into blocks for nothing then. Else, a block has
    six correlation lengths of the smoothest map, see `correlation_length_px`. A dependence that neighbours do not show
    is not seen.
    """
    side = max(_patches_along(values, enough) for values in maps)
    rows, columns = np.nonzero(enough)
    block = rows // side * enough.shape[1] + columns // side
    return PatchBlocks(side, np.unique(block, return_inverse=True)[1].astype(np.intp))


def too_few_blocks(blocks: PatchBlocks, least: int) -> str:
    """Why dependent patches cannot be resampled."""
    return (
        f"neighbouring patches are alike, and the {len(blocks.labels)} are worth {blocks.effective:.1f} independent "
        f"blocks of {blocks.side} x {blocks.side}, expected {least} or more"
    )


def _patches_along(values: NDArray[Any], enough: NDArray[np.bool_]) -> int:
    deviation = _deviation(values, enough)
    variance = float(deviation[enough] @ deviation[enough]) / max(1, int(enough.sum()))
    pairs = sum(int(np.count_nonzero(own[1:] & own[:-1])) for own in (enough, enough.T))
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
        Of the tiles before; ``BlockSums(side_px)`` for the first.
    real, predicted : numpy.ndarray, shape (y, x)
        Pixels, integer or floating point.
    mask : numpy.ndarray of bool, optional
        Of the same shape; pixels where it is False are left out.
    origin : tuple of int
        Row and column of the tile's first pixel.

    Returns
    -------
    BlockSums
        With the tile; the same to the last bit for integer pixels, however an image is cut into tiles.

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
    """Side of blocks that hardly know of each other: six correlation lengths of the smoother image.

    Parameters
    ----------
    real, predicted : numpy.ndarray, shape (y, x)
        Of a region; of a slide, one of its coarse levels (multiply the side by the level's downsampling then).
    mask : numpy.ndarray of bool, optional
        Of the same shape; pixels where it is False are left out.

    Returns
    -------
    int
        In pixels, 1 or more; no smaller than cuts the region into about 1,000 blocks.

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

    So white noise, of a camera, does not hide what lies beneath it. Along rows and columns together, at distances
    1, 2, 3, 4, 6, 8, 12, ... and straight lines between them. A slow trend over the whole image is part of it.
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
    """Deviations from the mean, in a unit of their own so that no square overflows or vanishes; 0 outside."""
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
    """Blocks along one axis that a tile meets, with the part of the tile in each."""
    for index in range(origin // side, -(-(origin + length) // side)):
        yield index, slice(max(index * side - origin, 0), min((index + 1) * side - origin, length))
