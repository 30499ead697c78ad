"""Pixel pairs of two slides in tissue, whole frame and drawn regions, counted in one scan."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.analysis.counts.joint_histogram import PairBins, PairCounts
from napari_hrpn.analysis.scan.block_scan import BlockCounter, PixelBlock, check_sizes, count_blocks
from napari_hrpn.analysis.scan.pair_counters import (
    NO_WINDOWS,
    CountedPairs,
    PairRange,
    count_pairs,
    no_pairs,
    scan_pairs,
    window_sums,
)
from napari_hrpn.core import Progress
from napari_hrpn.slides import RegionMask, in_all

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    import dask.array as da
    from numpy.typing import NDArray

    from napari_hrpn.analysis.counts.blocks import BlockSums
    from napari_hrpn.analysis.scan.pair_counters import Windows
    from napari_hrpn.analysis.windows import Values
    from napari_hrpn.slides import ChunkCache, FinishedTiles, Region, Slide

    Box = tuple[slice, slice]
    Channels = tuple[da.Array, da.Array]
    BlockResult = tuple[dict[int, CountedPairs], dict[int, Any], dict[int, Box]]
    Settle = Callable[[int, PairCounts, BlockSums | None], Any]
    Maps = dict[str, Values]

# keys beside the indices of the regions: the tissue (or the frame, if there is no tissue), and all that is not tissue
_FIRST, _OUTSIDE = -1, -2
# counts of a region take up to 2 MB; the largest regions are kept, because reading them again would take longest
_MOST_KEPT = 50


@dataclass(frozen=True)
class SlidePairs:
    """Pixel pairs of two slides."""

    tissue: PairCounts | None  # of the tissue alone; None where no mask was given
    frame: PairCounts  # of all pixels
    rois: tuple[PairCounts, ...]  # of each region, in their order; regions may overlap
    # of the tissue and then of each region, for `block_bootstrap`; empty where no sides were given
    blocks: tuple[BlockSums, ...] = ()


def slide_pairs(
    real: Slide,
    real_channel: int,
    predicted: Slide,
    predicted_channel: int = 0,
    *,
    tissue: RegionMask | None = None,
    rois: Sequence[Region] = (),
    density_range: tuple[float, float] | None = None,
    block_sides_px: Sequence[int] = (),
    windows: Windows = NO_WINDOWS,
) -> Generator[Progress, None, SlidePairs]:
    """Count the pixel pairs of a real and a predicted channel at full resolution, in one scan.

    If the prediction is not finished, only pixels of the tiles that are finished at the start count.

    Parameters
    ----------
    real : Slide
        The slide with the imaged probe.
    real_channel : int
        Index of its probe channel.
    predicted : Slide
        The prediction, of the same height and width.
    predicted_channel : int
        Index of its channel.
    tissue : RegionMask, optional
        Tissue of the real slide.
    rois : sequence of Region
        Regions of the real slide. A pixel is in an annotation of either kind if its centre is.
    density_range : tuple of float, optional
        Grey levels that the densities span; without it no density is counted.
    block_sides_px : sequence of int, optional
        Side of the blocks of the tissue (of the frame, if there is no tissue), then one for each region; without it
        no sums over blocks are made.
    windows : Windows
        Statistics that need the neighbours of a pixel; none by default.

    Yields
    ------
    Progress
        After each block.

    Returns
    -------
    SlidePairs
        The counts; they do not depend on the chunks in which the slides are stored.

    Raises
    ------
    AgreementError
        If the slides differ in size, a mask does not have their size, or pixels are not finite.
    SlideError
        If one of them cannot be read.
    """
    check_sizes(real, predicted, [part for part in (tissue, *rois) if isinstance(part, RegionMask)])
    channels = real.levels[0][real_channel], predicted.levels[0][predicted_channel]
    finished = in_all((real.finished, predicted.finished))
    pixel_range = PairRange(channels, finished)
    regions_to_count = tissue, rois, block_sides_px, finished
    (counter,) = yield from scan_pairs(
        [pixel_range],
        lambda: [PairCounter(channels, PairBins(pixel_range.bins, density_range), *regions_to_count, windows=windows)],
        partial(count_blocks, channels),
    )
    return counter.pairs


class PairCounter(BlockCounter["BlockResult"]):
    """Counter of the pixel pairs of two channels in the tissue, outside of it, and in each region, with block sums."""

    def __init__(
        self,
        channels: Channels,
        bins: PairBins,
        tissue: RegionMask | None,
        rois: Sequence[Region],
        block_sides_px: Sequence[int],
        finished: FinishedTiles | None = None,
        settle: Settle | None = None,
        densities: int | None = None,
        windows: Windows = NO_WINDOWS,
    ) -> None:
        self._windows, self.border = windows, windows.border
        self.bordered = channels if windows.border else ()
        self._channels, self._bins, self._tissue, self._finished = channels, bins, tissue, finished
        self._rois, self._sides, self._settle = rois, block_sides_px, settle
        self._densities = len(rois) if densities is None else densities
        boxes = [roi.bounds(channels[0].shape) for roi in rois]
        bounds = [[(box.y0, box.y1), (box.x0, box.x1)] for box in boxes]
        self._bounds = np.array(bounds, np.int64).reshape(-1, 2, 2)
        largest = np.argsort(-np.prod(np.diff(self._bounds), axis=1).ravel(), kind="stable")
        self._kept = frozenset(largest[: len(rois) if settle is None else _MOST_KEPT].tolist())
        self._counted: dict[int, CountedPairs] = {}
        self._settled: dict[int, Any] = {}
        self._cut: dict[int, list[Box]] = {}

    def count(self, block: PixelBlock) -> BlockResult:
        """Counts of the tissue, of the rest and of regions in a block; small regions that it cuts are counted later."""
        frame = block.inside(self._finished)
        if not frame.any():
            return {}, {}, {}
        areas = {_FIRST: frame}
        if self._tissue is not None:
            tissue = block.inside(self._tissue) & frame
            areas = {_FIRST: tissue, _OUTSIDE: frame & ~tissue}
        everywhere, maps = (block.rows, block.columns), self._maps(block)
        counted = {
            index: self._count(index, block, everywhere, area, maps) for index, area in areas.items() if area.any()
        }
        numbers: dict[int, Any] = {}
        unfinished: dict[int, Box] = {}
        for index, part, whole in self._met_by(block):
            if whole and self._settle is not None:
                numbers[index] = self._settled_of(index, self._count_region(index, block, part, maps))
            elif index in self._kept:
                counted[index] = self._count_region(index, block, part, maps)
            else:
                unfinished[index] = part
        return counted, numbers, unfinished

    def add(self, result: BlockResult) -> None:
        """Pool the counts."""
        counted, numbers, unfinished = result
        for index, new in counted.items():
            self._pool(index, new)
        self._settled.update(numbers)
        for index, part in unfinished.items():
            self._cut.setdefault(index, []).append(part)

    def settled(self, index: int, cache: ChunkCache) -> Any:  # noqa: ANN401
        """Numbers of a region, to be taken once; a region that blocks cut is read again, through a cache."""
        for part in self._cut.pop(index, []):
            block = PixelBlock(*part, cache, self.border)
            self._pool(index, self._count_region(index, block, part, self._maps(block)))
        if index in self._settled:
            return self._settled.pop(index)
        numbers = self._settled_of(index, self._region(index))
        self._counted.pop(index, None)
        return numbers

    def _settled_of(self, index: int, pairs: CountedPairs) -> Any:  # noqa: ANN401
        assert self._settle is not None
        return self._settle(index, pairs.counts, next(iter(pairs.blocks.values()), None))

    @property
    def pairs(self) -> SlidePairs:
        """All counts; without the regions if these were turned into numbers at once."""
        first, outside = self._region(_FIRST), self._region(_OUTSIDE).counts
        regions = [self._region(index) for index in range(len(self._rois) if self._settle is None else 0)]
        blocks = tuple(sums for pairs in (first, *regions) for sums in pairs.blocks.values())
        tissue = None if self._tissue is None else first.counts
        return SlidePairs(tissue, first.counts + outside, tuple(pairs.counts for pairs in regions), blocks)

    def _met_by(self, block: PixelBlock) -> Iterator[tuple[int, Box, bool]]:
        """Regions that a block meets, each with the part inside the block, and whether that is the whole region."""
        low, high = np.moveaxis(self._bounds, 2, 0)
        first, last = ([getattr(part, end) for part in (block.rows, block.columns)] for end in ("start", "stop"))
        parts = np.stack([np.maximum(low, first), np.minimum(high, last)], axis=2)
        for index in np.flatnonzero((parts[:, :, 0] < parts[:, :, 1]).all(axis=1)).tolist():
            rows, columns = (slice(*ends) for ends in parts[index].tolist())
            yield index, (rows, columns), np.array_equal(parts[index], self._bounds[index])

    def _maps(self, block: PixelBlock) -> Maps:
        return self._windows.maps(block, self._channels, self._finished)

    def _count_region(self, index: int, block: PixelBlock, part: Box, maps: Maps) -> CountedPairs:
        frame = block.inside(self._finished)[_within(block, part)]
        return self._count(index, block, part, self._rois[index].within(*part) & frame, maps)

    def _count(self, index: int, block: PixelBlock, part: Box, inside: NDArray[np.bool_], maps: Maps) -> CountedPairs:
        """Counts and block sums of the pixels inside, for a part of a block."""
        real, predicted = (block.pixels(channel)[_within(block, part)] for channel in self._channels)
        origin = part[0].start, part[1].start
        pairs = count_pairs(real, predicted, inside, self._bins_of(index), self._sides_of(index), origin)
        return pairs.with_windows(window_sums(maps, _within(block, part), inside))

    def _pool(self, index: int, new: CountedPairs) -> None:
        self._counted[index] = self._counted[index] + new if index in self._counted else new

    def _region(self, index: int) -> CountedPairs:
        found = self._counted.get(index)
        return found or no_pairs(self._channels, self._bins_of(index), self._sides_of(index), self._windows)

    def _bins_of(self, index: int) -> PairBins:
        return self._bins if index < self._densities else PairBins(self._bins.values)

    def _sides_of(self, index: int) -> tuple[int, ...]:
        return () if index == _OUTSIDE or not self._sides else (self._sides[1 + index],)


def _within(block: PixelBlock, part: Box) -> Box:
    """A rectangle of the slide in coordinates of a block."""
    rows, columns = (slice(ends.start - zero, ends.stop - zero) for ends, zero in zip(part, block.origin, strict=True))
    return rows, columns
