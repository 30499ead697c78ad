"""A pyramid written block by block: each finest block is read once and gives its part of all levels."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_hrpn.slides.pyramid import halve

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import dask.array as da
    import numpy as np
    import zarr

Box = tuple[int, int, int, int]

CHUNK_EDGE = 512
# 2 to the 11: a block gives whole pixels of eleven coarser levels, which is enough for a million pixels
_BLOCK_EDGE = 2048
_BLOCK_BYTES = 128 * 2**20
_WAIT_SECONDS = 60


@dataclass(frozen=True)
class WriteReport:
    """How far the writing of a slide has come.

    Attributes
    ----------
    done, total : int
        Steps of about equal length.
    """

    done: int
    total: int


@dataclass(frozen=True)
class BlockGrid:
    """The blocks that a level is read in, row by row."""

    # Size of the level in pixels
    height: int
    width: int
    # Size of a block, multiples of `_BLOCK_EDGE`; the blocks of the last row and column are smaller
    block_height: int
    block_width: int

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and columns of blocks."""
        return -(-self.height // self.block_height), -(-self.width // self.block_width)

    def __len__(self) -> int:
        return self.shape[0] * self.shape[1]

    def box(self, index: int) -> Box:
        """Pixels y0, y1, x0, x1 of a block, counted row by row."""
        row, column = divmod(index, self.shape[1])
        y0, x0 = row * self.block_height, column * self.block_width
        return y0, min(y0 + self.block_height, self.height), x0, min(x0 + self.block_width, self.width)


def block_grid(level: da.Array) -> BlockGrid:
    """Blocks of a lazy level, larger than usual only where its own chunks are."""
    edges = (-(-max(chunks) // _BLOCK_EDGE) * _BLOCK_EDGE for chunks in level.chunks[1:])
    block_height, block_width = edges
    return BlockGrid(level.shape[1], level.shape[2], block_height, block_width)


def level_shapes(shape: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Shapes of a whole pyramid, like those of `coarser_levels`."""
    shapes = [shape]
    while max(shapes[-1][1:]) > CHUNK_EDGE:
        channels, height, width = shapes[-1]
        shapes.append((channels, -(-height // 2), -(-width // 2)))
    return tuple(shapes)


def create_levels(
    folder: Path, shapes: Sequence[tuple[int, ...]], dtype: np.dtype, *, with_checksums: bool = False
) -> tuple[zarr.Array[Any], ...]:
    """Create the empty arrays "0", "1", ... of a zarr group."""
    import zarr
    from zarr.codecs import Crc32cCodec, ZstdCodec

    compressors = [ZstdCodec(level=1), *([Crc32cCodec()] if with_checksums else [])]
    group = zarr.create_group(folder, zarr_format=3)
    return tuple(
        group.create_array(
            str(level),
            shape=shape,
            dtype=dtype,
            chunks=(1, CHUNK_EDGE, CHUNK_EDGE),
            compressors=compressors,
            dimension_names=("c", "y", "x"),
        )
        for level, shape in enumerate(shapes)
    )


def copy_block(source: da.Array, levels: Sequence[zarr.Array[Any]], box: Box, *, coarser_only: bool) -> None:
    """Read one block of a slide and write its part of every level."""
    y0, y1, x0, x1 = box
    for channels in _channel_groups(source, (y1 - y0) * (x1 - x0)):
        pixels = source[channels, y0:y1, x0:x1].compute(scheduler="threads")
        for y in range(0, y1 - y0, _BLOCK_EDGE):
            for x in range(0, x1 - x0, _BLOCK_EDGE):
                part = pixels[:, y : y + _BLOCK_EDGE, x : x + _BLOCK_EDGE]
                origin = (channels.start, y0 + y, x0 + x)
                write_part(part, origin, levels, coarser_only=coarser_only)


def _channel_groups(source: da.Array, pixels: int) -> Iterator[slice]:
    """As many channels at once as the memory for a block allows, but never part of an interleaved chunk."""
    together = max(source.chunks[0])
    count = max(_BLOCK_BYTES // (pixels * source.dtype.itemsize) // together, 1) * together
    for first in range(0, source.shape[0], count):
        yield slice(first, min(first + count, source.shape[0]))


def write_part(
    pixels: np.ndarray,
    origin: tuple[int, int, int],
    levels: Sequence[zarr.Array[Any]],
    *,
    coarser_only: bool = False,
) -> np.ndarray:
    """Write some pixels and what they become on every coarser level."""
    channel, y, x = origin
    for index, level in enumerate(levels):
        if index > 0 or coarser_only:
            pixels, y, x = halve(pixels), y // 2, x // 2
        count, height, width = pixels.shape
        with _whole_writes():
            level[channel : channel + count, y : y + height, x : x + width] = pixels
    return pixels


@contextmanager
def _whole_writes() -> Iterator[None]:
    """Let zarr end what it has begun: where one chunk cannot be written, it goes on with the others unseen."""
    try:
        yield
    except BaseException:
        from zarr.core.sync import sync

        # what they raise themselves says no more than the first
        with suppress(Exception):
            sync(_others_end(), timeout=_WAIT_SECONDS)
        raise


async def _others_end() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others, return_exceptions=True)
