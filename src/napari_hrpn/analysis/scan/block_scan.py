"""Block-by-block scan of whole slides: all counters get each block of pixels, so each pixel is read once.

The rule: a counter accepts blocks of any size, and its results are added up in the order of the blocks.
"""

from __future__ import annotations

import math
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import reduce
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from napari_hrpn.core import Progress
from napari_hrpn.core.errors import AgreementError

if TYPE_CHECKING:
    from collections.abc import Container, Generator, Sequence

    import dask.array as da
    from numpy.typing import NDArray

    from napari_hrpn.slides import ChunkCache, RegionMask, Slide

    Box = tuple[slice, slice]

BLOCK_EDGE = 2048
BLOCK_PX = BLOCK_EDGE**2
LARGEST_COMMON_CHUNK = 4096
# NumPy releases the interpreter lock while it counts; more threads would hold more blocks and slow down a viewer
_THREADS = min(8, os.cpu_count() or 1)

_Found = TypeVar("_Found")


class Inside(Protocol):
    """Part of a slide: a region, or the finished tiles of a prediction."""

    def within(self, rows: slice, columns: slice) -> NDArray[np.bool_]:
        """Which pixels of a rectangle are inside."""


class PixelBlock:
    """A rectangle of channels of one size; each channel is read once, when a counter uses it."""

    def __init__(
        self,
        rows: slice,
        columns: slice,
        cache: ChunkCache | None = None,
        border: int = 0,
        bordered: Container[str] | None = None,
    ) -> None:
        self.rows, self.columns, self._cache = rows, columns, cache
        # names of the channels that are read with a border; None for all
        self._border, self._bordered = border, bordered
        self._pixels: dict[str, NDArray[Any]] = {}
        self._inside: dict[int, NDArray[np.bool_]] = {}

    @property
    def origin(self) -> tuple[int, int]:
        """Row and column of the first pixel."""
        return self.rows.start, self.columns.start

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    def pixels(self, channel: da.Array) -> NDArray[Any]:
        """Pixels of a channel of shape (y, x)."""
        rows, columns = self._around(channel.shape, self._border_of(channel))
        pixels, (y, x) = self._read(channel), self.origin
        return pixels[y - rows.start :, x - columns.start :][: self.shape[0], : self.shape[1]]

    def with_border(self, channel: da.Array, border: int) -> NDArray[Any]:
        """Pixels of the block and of a border around it, mirrored beyond the slide; at most the block's own border."""
        return self._mirrored(self._read(channel), border, channel.shape)

    def inside_with_border(self, region: Inside | None, border: int, slide_shape: tuple[int, ...]) -> NDArray[np.bool_]:
        """Which pixels of the block and of the border around it are inside, for `with_border`."""
        rows, columns = self._around(slide_shape, self._border)
        if region is None:
            return np.ones([size + 2 * border for size in self.shape], bool)
        return self._mirrored(region.within(rows, columns), border, slide_shape)

    def _border_of(self, channel: da.Array) -> int:
        return self._border if self._bordered is None or channel.name in self._bordered else 0

    def _around(self, slide_shape: tuple[int, ...], border: int) -> Box:
        """The rectangle with a border, as far as it lies on the slide."""
        rows, columns = (
            slice(max(extent.start - border, 0), min(extent.stop + border, max(size, extent.stop)))
            for extent, size in zip((self.rows, self.columns), slide_shape, strict=True)
        )
        return rows, columns

    def _mirrored(self, around: NDArray[Any], border: int, slide_shape: tuple[int, ...]) -> NDArray[Any]:
        indices, read = [], self._around(slide_shape, self._border)
        for extent, padded, size in zip((self.rows, self.columns), read, slide_shape, strict=True):
            index = np.arange(extent.start - border, extent.stop + border) % (2 * size)
            indices.append(np.minimum(index, 2 * size - 1 - index) - padded.start)
        return around[np.ix_(*indices)]

    def _read(self, channel: da.Array) -> NDArray[Any]:
        if channel.name not in self._pixels:
            box = self._around(channel.shape, self._border_of(channel))
            # not in dask's threads, which would outlive the scan: the counting threads are enough and end with it
            pixels = self._cache.read(channel, *box) if self._cache else channel[box].compute(scheduler="synchronous")
            self._pixels[channel.name] = np.asarray(pixels)
        return self._pixels[channel.name]

    def inside(self, region: Inside | None) -> NDArray[np.bool_]:
        """Which pixels lie in a region, or in tiles that are finished; all if no region is given."""
        if id(region) not in self._inside:
            whole = np.ones(self.shape, bool)
            self._inside[id(region)] = whole if region is None else region.within(self.rows, self.columns)
        return self._inside[id(region)]


class BlockCounter(Protocol[_Found]):
    """Counter of something in the pixels of slides, block by block.

    Attributes
    ----------
    border : int
        Number of rows and columns around a block that the counter needs.
    bordered : tuple of dask.array.Array
        Channels of which it needs them.
    """

    border: int = 0
    bordered: tuple[da.Array, ...] = ()

    def count(self, block: PixelBlock) -> _Found:
        """Count a block; several threads or processes may do so at once, so the counter must not change."""

    def add(self, result: _Found) -> None:
        """Add the result of the next block."""


class BlockMap(Protocol):
    """Function that lets counters count blocks, in the threads of this process or on the workers of a cluster."""

    def __call__(self, counters: Sequence[BlockCounter[Any]], boxes: Sequence[Box]) -> Generator[list[Any], None, None]:
        """Yield the results of the counters for each block, in the order of the blocks; closing it ends all threads."""


def count_block(box: Box, counters: Sequence[BlockCounter[Any]]) -> list[Any]:
    """Let counters count one block."""
    border = max((counter.border for counter in counters), default=0)
    bordered = {channel.name for counter in counters for channel in counter.bordered}
    block = PixelBlock(*box, border=border, bordered=bordered)
    return [counter.count(block) for counter in counters]


def count_in_threads(counters: Sequence[BlockCounter[Any]], boxes: Sequence[Box]) -> Generator[list[Any], None, None]:
    """Count blocks in the threads of this process, several at once.

    Parameters
    ----------
    counters : sequence of BlockCounter
        Counters that get each block.
    boxes : sequence of tuple of slice
        Rows and columns of the blocks.

    Yields
    ------
    list
        Result of each counter for the next block.
    """
    pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="slide-blocks")
    try:
        remaining = iter(boxes)
        # one block more than threads: no thread waits for work, and memory holds few blocks
        running = deque(pool.submit(count_block, box, counters) for box in islice(remaining, _THREADS + 1))
        while running:
            results = running.popleft().result()
            running.extend(pool.submit(count_block, box, counters) for box in islice(remaining, 1))
            yield results
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def count_in_turn(counters: Sequence[BlockCounter[Any]], boxes: Sequence[Box]) -> Generator[list[Any], None, None]:
    """Count one block after the other in this thread: one block is in memory, and a viewer stays responsive."""
    for box in boxes:
        yield count_block(box, counters)


def count_blocks(
    channels: Sequence[da.Array],
    counters: Sequence[BlockCounter[Any]],
    block_map: BlockMap = count_in_threads,
    bounds: Box | None = None,
) -> Generator[Progress, None, None]:
    """Count all blocks of slides, or of a part of them, with all counters; the next blocks are read meanwhile."""
    height, width = channels[0].shape
    boxes = _boxes(channels, bounds or (slice(0, height), slice(0, width)))
    with closing(block_map(counters, boxes)) as results:
        for done, block_results in enumerate(results, start=1):
            for counter, result in zip(counters, block_results, strict=True):
                counter.add(result)
            yield Progress(done, len(boxes))


def check_sizes(real: Slide, predicted: Slide, masks: Sequence[RegionMask]) -> None:
    """Refuse slides that differ in size, and masks of another slide."""
    if real.shape != predicted.shape:
        msg = (
            f"the real slide is {real.shape[0]} x {real.shape[1]} px and the predicted one "
            f"{predicted.shape[0]} x {predicted.shape[1]}; expected one size"
        )
        raise AgreementError(msg)
    for mask in masks:
        covered = [size * factor for size, factor in zip(mask.mask.shape, mask.downsample, strict=True)]
        if any(
            abs(length - size) > factor
            for length, size, factor in zip(covered, real.shape, mask.downsample, strict=True)
        ):
            msg = (
                f"a mask covers {covered[0]:.0f} x {covered[1]:.0f} px and the slide is {real.shape[0]} x "
                f"{real.shape[1]}; expected a mask of this slide"
            )
            raise AgreementError(msg)


def _boxes(channels: Sequence[da.Array], bounds: Box) -> list[Box]:
    """Blocks of about 4 million pixels that begin and end with stored chunks of all channels, if these match."""
    rows, columns = (reduce(_common, sizes) for sizes in zip(*(channel.chunksize for channel in channels), strict=True))
    width = channels[0].shape[1]
    block_width = columns * max(1, BLOCK_EDGE // columns)
    block_height = rows * max(1, BLOCK_PX // (min(block_width, width) * rows))
    return [(y, x) for y in _parts(bounds[0], rows, block_height) for x in _parts(bounds[1], columns, block_width)]


def _parts(whole: slice, chunk: int, length: int) -> list[slice]:
    """Parts of equal length, counted from the first chunk that the whole meets, and cut to the whole."""
    first = whole.start // chunk * chunk
    return [
        slice(max(start, whole.start), min(start + length, whole.stop)) for start in range(first, whole.stop, length)
    ]


def _common(first: int, second: int) -> int:
    # chunks of 512 and 1000 px would only meet every 64,000 px: such a block would not fit into memory
    common = math.lcm(first, second)
    return common if common <= LARGEST_COMMON_CHUNK else max(first, second)
