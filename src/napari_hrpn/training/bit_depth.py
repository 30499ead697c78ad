"""How many grey levels a camera could give, where the file does not say it: from the brightest pixels there are."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.training.sampled_blocks import BLOCK_PX, MOST_BLOCKS, block_corners, level_to_look_at, read_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_hrpn.training.entries import TrainingSlide

_USUAL_BITS = (8, 10, 12, 14, 16)
_BLOCKS_OF_A_CHANNEL = 4


def full_scale(slides: Sequence[TrainingSlide]) -> float:
    """Largest grey level that the camera could give."""
    if all(slide.slide.dtype == np.uint8 for slide in slides):
        return 255.0
    brightest = max(brightest_pixel(slide) for slide in slides)
    bits = next((bits for bits in _USUAL_BITS if brightest < 2**bits), int(np.floor(np.log2(brightest))) + 1)
    return float(2**bits - 1)


def brightest_pixel(slide: TrainingSlide) -> float:
    """Brightest of those pixels that are likely to be the brightest; a big slide is not read whole."""
    level = level_to_look_at(slide)
    corners = block_corners(slide, level)[:MOST_BLOCKS]
    if level:
        corners = _bright_corners(slide, level, corners)
    tops = (float(block[:, inside].max()) for block, inside in read_blocks(slide, 0, corners) if inside.any())
    return max(tops, default=0.0)


def _bright_corners(slide: TrainingSlide, level: int, corners: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Corners of the full-resolution blocks that hold the brightest coarse pixels of any channel."""
    found: list[list[tuple[float, tuple[int, int]]]] = [[] for _ in (*slide.inputs, slide.target)]
    for corner, (block, inside) in zip(corners, read_blocks(slide, level, corners), strict=True):
        for channel, top, place in _tops(np.where(inside, block, 0), corner, slide.slide.downsample(level)):
            found[channel].append((top, place))
    chosen = [place for tops in found for _, place in sorted(tops, reverse=True)[:_BLOCKS_OF_A_CHANNEL]]
    return list(dict.fromkeys(chosen))


def _tops(
    block: NDArray[np.generic], corner: tuple[int, int], downsample: tuple[float, float]
) -> Iterator[tuple[int, float, tuple[int, int]]]:
    """Channel, brightest coarse pixel and corner of each full-resolution block that a coarse block covers."""
    rows, columns = (
        ((first + np.arange(size)) * factor // BLOCK_PX).astype(int)
        for first, size, factor in zip(corner, block.shape[1:], downsample, strict=True)
    )
    (y, down), (x, across) = (np.unique(cells, return_index=True) for cells in (rows, columns))
    tops = np.maximum.reduceat(np.maximum.reduceat(block, down, axis=1), across, axis=2)
    for channel, i, j in itertools.product(*map(range, tops.shape)):
        yield channel, float(tops[channel, i, j]), (int(y[i]) * BLOCK_PX, int(x[j]) * BLOCK_PX)
