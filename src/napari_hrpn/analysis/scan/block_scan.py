"""Block by block scan of whole slides, in which everything that is counted of their pixels is counted at once.

The rule: a counter takes blocks of any size, and what it found in them is added up in their order.
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
    from collections.abc import Generator, Sequence

    import dask.array as da
    from numpy.typing import NDArray

    from napari_hrpn.slides import ChunkCache, RegionMask, Slide

    Box = tuple[slice, slice]

BLOCK_EDGE = 2048
BLOCK_PX = BLOCK_EDGE**2
LARGEST_COMMON_CHUNK = 4096
# NumPy lets go of the interpreter while it counts; more would hold more blocks in memory and keep a viewer waiting
_THREADS = min(8, os.cpu_count() or 1)

_Found = TypeVar("_Found")


class Inside(Protocol):
    """A region, or tiles that are finished."""

    def within(self, rows: slice, columns: slice) -> NDArray[np.bool_]:
        """Which pixels of a rectangle are inside."""


class PixelBlock:
    """A rectangle of some channels of one size: each is read when a counter asks for it, and once."""

    def __init__(self, rows: slice, columns: slice, cache: ChunkCache | None = None, border: int = 0) -> None:
        self.rows, self.columns, self._cache, self._border = rows, columns, cache, border
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
        rows, columns = self._around(channel.shape)
        read, (y, x) = self._read(channel), self.origin
        return read[y - rows.start :, x - columns.start :][: self.shape[0], : self.shape[1]]

    def with_border(self, channel: da.Array, border: int) -> NDArray[Any]:
        """Pixels of a channel with those around the block, no more than it has a border; mirrored beyond the slide."""
        return self._mirrored(self._read(channel), border, channel.shape)

    def inside_with_border(self, region: Inside | None, border: int, slide_shape: tuple[int, ...]) -> NDArray[np.bool_]:
        """Which pixels of the block and around it are inside, for `with_border`."""
        rows, columns = self._around(slide_shape)
        if region is None:
            return np.ones([size + 2 * border for size in self.shape], bool)
        return self._mirrored(region.within(rows, columns), border, slide_shape)

    def _around(self, slide_shape: tuple[int, ...]) -> Box:
        """The rectangle with its border, as far as it lies on the slide."""
        rows, columns = (
            slice(max(part.start - self._border, 0), min(part.stop + self._border, max(size, part.stop)))
            for part, size in zip((self.rows, self.columns), slide_shape, strict=True)
        )
        return rows, columns

    def _mirrored(self, around: NDArray[Any], border: int, slide_shape: tuple[int, ...]) -> NDArray[Any]:
        places = []
        for part, outer, size in zip((self.rows, self.columns), self._around(slide_shape), slide_shape, strict=True):
            place = np.arange(part.start - border, part.stop + border) % (2 * size)
            places.append(np.minimum(place, 2 * size - 1 - place) - outer.start)
        return around[np.ix_(*places)]

    def _read(self, channel: da.Array) -> NDArray[Any]:
        if channel.name not in self._pixels:
            box = self._around(channel.shape)
            # no threads of dask's own, which would stay behind: those that count are enough, and end with the pass
            read = self._cache.read(channel, *box) if self._cache else channel[box].compute(scheduler="synchronous")
            self._pixels[channel.name] = np.asarray(read)
        return self._pixels[channel.name]

    def inside(self, region: Inside | None) -> NDArray[np.bool_]:
        """Which pixels lie in a region, or in tiles that are finished; all without one."""
        if id(region) not in self._inside:
            whole = np.ones(self.shape, bool)
            self._inside[id(region)] = whole if region is None else region.within(self.rows, self.columns)
        return self._inside[id(region)]


class BlockCounter(Protocol[_Found]):
    """Something that is counted of the pixels of slides.

    Attributes
    ----------
    border : int
        Rows and columns around a block that it needs.
    """

    border: int = 0

    def count(self, block: PixelBlock) -> _Found:
        """Count a block; this may run in several threads or processes at once, and changes nothing."""

    def add(self, found: _Found) -> None:
        """Add what was found in the next block."""


class BlockMap(Protocol):
    """Where blocks are looked at: in the threads of this process, or elsewhere."""

    def __call__(self, counters: Sequence[BlockCounter[Any]], boxes: Sequence[Box]) -> Generator[list[Any], None, None]:
        """What the counters found in each block, in the order of the blocks; leaves nothing behind when closed."""


def count_block(box: Box, counters: Sequence[BlockCounter[Any]]) -> list[Any]:
    """Take some counters over one block."""
    block = PixelBlock(*box, border=_widest_border(counters))
    return [counter.count(block) for counter in counters]


def _widest_border(counters: Sequence[BlockCounter[Any]]) -> int:
    """Rows and columns around a block that some counters need."""
    return max((counter.border for counter in counters), default=0)


def count_in_threads(counters: Sequence[BlockCounter[Any]], boxes: Sequence[Box]) -> Generator[list[Any], None, None]:
    """Look at blocks in this process; several are read and looked at side by side.

    Parameters
    ----------
    counters : sequence of BlockCounter
        What is counted.
    boxes : sequence of tuple of slice
        Rows and columns of the blocks.

    Yields
    ------
    list
        What each counter found in the next block.
    """
    pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="slide-blocks")
    try:
        left = iter(boxes)
        under_way = deque(pool.submit(count_block, box, counters) for box in islice(left, _THREADS + 1))
        while under_way:
            found = under_way.popleft().result()
            under_way.extend(pool.submit(count_block, box, counters) for box in islice(left, 1))
            yield found
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def count_in_turn(counters: Sequence[BlockCounter[Any]], boxes: Sequence[Box]) -> Generator[list[Any], None, None]:
    """Look at one block after the other in this thread, which leaves a viewer its time, with one of them in memory."""
    for box in boxes:
        yield count_block(box, counters)


def count_blocks(
    channels: Sequence[da.Array],
    counters: Sequence[BlockCounter[Any]],
    block_map: BlockMap = count_in_threads,
    bounds: Box | None = None,
) -> Generator[Progress, None, None]:
    """Take some counters over all blocks of slides, or of a part; while some are counted, the next ones are read."""
    height, width = channels[0].shape
    boxes = _boxes(channels, bounds or (slice(0, height), slice(0, width)))
    with closing(block_map(counters, boxes)) as each:
        for done, found in enumerate(each, start=1):
            for counter, part in zip(counters, found, strict=True):
                counter.add(part)
            yield Progress(done, len(boxes))


def check_sizes(real: Slide, predicted: Slide, masks: Sequence[RegionMask]) -> None:
    """Refuse slides that differ in size, and masks of another slide."""
    if real.shape != predicted.shape:
        msg = (
            f"the real slide is {real.shape[0]} x {real.shape[1]} px and the predicted one "
            f"{predicted.shape[0]} x {predicted.shape[1]}; expected one size"
        )
        raise AgreementError(msg)
    for each in masks:
        covered = [size * factor for size, factor in zip(each.mask.shape, each.downsample, strict=True)]
        if any(
            abs(own - size) > factor for own, size, factor in zip(covered, real.shape, each.downsample, strict=True)
        ):
            msg = (
                f"a mask covers {covered[0]:.0f} x {covered[1]:.0f} px and the slide is {real.shape[0]} x "
                f"{real.shape[1]}; expected a mask of this slide"
            )
            raise AgreementError(msg)


def _boxes(channels: Sequence[da.Array], bounds: Box) -> list[Box]:
    """Blocks of about 4 million pixels whose edges are those of stored chunks of all, as far as these agree."""
    rows, columns = (reduce(_common, sizes) for sizes in zip(*(each.chunksize for each in channels), strict=True))
    width = channels[0].shape[1]
    block_width = columns * max(1, BLOCK_EDGE // columns)
    block_height = rows * max(1, BLOCK_PX // (min(block_width, width) * rows))
    return [(y, x) for y in _parts(bounds[0], rows, block_height) for x in _parts(bounds[1], columns, block_width)]


def _parts(whole: slice, chunk: int, length: int) -> list[slice]:
    """Parts of a length, the first of which begins with a chunk, as far as they lie in the whole."""
    first = whole.start // chunk * chunk
    return [
        slice(max(start, whole.start), min(start + length, whole.stop)) for start in range(first, whole.stop, length)
    ]


def _common(first: int, second: int) -> int:
    common = math.lcm(first, second)
    return common if common <= LARGEST_COMMON_CHUNK else max(first, second)
