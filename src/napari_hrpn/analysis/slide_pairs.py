"""All pixel pairs of two slides in one pass: tissue, whole frame and drawn regions together, in constant memory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.analysis.block_scan import PixelBlock, count_blocks
from napari_hrpn.analysis.blocks import BlockSums, update_blocks
from napari_hrpn.analysis.intensity_histogram import ValueBins, bins_between, bins_of_types
from napari_hrpn.analysis.joint_histogram import PairBins, PairCounts, pair_counts
from napari_hrpn.analysis.moments import AgreementError, checked_pair
from napari_hrpn.analysis.rois.geometry import roi_bounds
from napari_hrpn.slides import Annotation, RegionMask, annotation_mask, in_all

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    import dask.array as da
    from numpy.typing import NDArray

    from napari_hrpn.slides import FinishedTiles, Slide

    Box = tuple[slice, slice]
    Channels = tuple[da.Array, da.Array]
    Part = tuple[Box, NDArray[np.bool_]]
    Looked = tuple[list[PairCounts | None], list[BlockSums | None], dict[int, Any]]
    Settle = Callable[[int, PairCounts, BlockSums | None], Any]


@dataclass(frozen=True)
class PairReport:
    """How far a comparison of slides has come.

    Attributes
    ----------
    done, total : int
        Blocks read and all of them; those of floating point are read twice.
    """

    done: int
    total: int


@dataclass(frozen=True)
class SlidePairs:
    """Pixel pairs of two slides.

    Attributes
    ----------
    tissue : PairCounts or None
        Of the tissue alone; None where no mask was given.
    frame : PairCounts
        Of all pixels.
    rois : tuple of PairCounts
        Of each region, in their order; regions may overlap.
    blocks : tuple of BlockSums
        Of the tissue and then of each region, for `block_bootstrap`; empty where no sides were given.
    """

    tissue: PairCounts | None
    frame: PairCounts
    rois: tuple[PairCounts, ...]
    blocks: tuple[BlockSums, ...] = ()


def slide_pairs(
    real: Slide,
    real_channel: int,
    predicted: Slide,
    predicted_channel: int = 0,
    *,
    tissue: RegionMask | None = None,
    rois: Sequence[RegionMask | Annotation] = (),
    density_range: tuple[float, float] | None = None,
    block_sides_px: Sequence[int] = (),
) -> Generator[PairReport, None, SlidePairs]:
    """Count the pixel pairs of a real and a predicted channel at full resolution.

    Of a prediction that is not finished, pixels of finished tiles count alone, as they are when this begins.

    Parameters
    ----------
    real : Slide
        The slide with the imaged probe.
    real_channel : int
        Its channel of the probe.
    predicted : Slide
        The prediction, of the same height and width.
    predicted_channel : int
        Its channel.
    tissue : RegionMask, optional
        Of the real slide.
    rois : sequence of RegionMask or Annotation
        Regions of the real slide. A pixel is in an annotation if its centre is, whether it includes or excludes.
    density_range : tuple of float, optional
        Grey levels for the densities; none are made where left out.
    block_sides_px : sequence of int, optional
        Sides of the blocks of the tissue (of the frame, where there is no tissue) and of each region; no blocks are
        made where left out.

    Yields
    ------
    PairReport
        After each block.

    Returns
    -------
    SlidePairs
        The same for any chunks that the slides are stored in.

    Raises
    ------
    AgreementError
        If the slides differ in size, a mask is not of their size, or pixels are not finite.
    SlideError
        If one of them cannot be read.
    """
    check_sizes(real, predicted, [part for part in (tissue, *rois) if isinstance(part, RegionMask)])
    channels = real.levels[0][real_channel], predicted.levels[0][predicted_channel]
    finished = in_all((real.finished, predicted.finished))
    extremes, passes = PairRange(channels, finished), 1
    if not extremes.is_known:
        passes = 2
        for report in count_blocks(channels, [extremes]):
            yield PairReport(report.done, 2 * report.total)
    bins = PairBins(extremes.bins, density_range)
    counter = PairCounter(channels, bins, tissue, rois, block_sides_px, finished)
    for report in count_blocks(channels, [counter]):
        yield PairReport(report.done + (passes - 1) * report.total, passes * report.total)
    return counter.pairs


class PairRange:
    """Smallest and largest pixel of two channels, as a counter: what floating point is counted in follows from it."""

    def __init__(self, channels: Channels, finished: FinishedTiles | None = None) -> None:
        self._channels, self._finished = channels, finished
        self._low, self._high = math.inf, -math.inf

    @property
    def is_known(self) -> bool:
        """Whether the types of the pixels say it, so that no pass is needed."""
        return self._of_types is not None

    @property
    def bins(self) -> ValueBins:
        """Grey levels to count, after the pass."""
        whole = all(channel.dtype.kind != "f" for channel in self._channels)
        low, high = (self._low, self._high) if self._low <= self._high else (0.0, 0.0)
        return self._of_types or bins_between(low, high, whole=whole)

    @property
    def _of_types(self) -> ValueBins | None:
        return bins_of_types(*(channel.dtype for channel in self._channels))

    def look(self, block: PixelBlock) -> tuple[float, float]:
        """Ends of a block."""
        inside = None if self._finished is None else block.inside(self._finished)
        if inside is not None and not inside.any():
            return math.inf, -math.inf
        real, predicted = (block.pixels(channel) for channel in self._channels)
        checked = checked_pair(real, predicted, inside)
        return min(pixels.min().item() for pixels in checked), max(pixels.max().item() for pixels in checked)

    def add(self, found: tuple[float, float]) -> None:
        """Widen the range."""
        self._low, self._high = min(self._low, found[0]), max(self._high, found[1])


class PairCounter:
    """The pairs of two channels in the tissue, all else, and each region, with sums over small blocks, as a counter."""

    def __init__(
        self,
        channels: Channels,
        bins: PairBins,
        tissue: RegionMask | None,
        rois: Sequence[RegionMask | Annotation],
        block_sides_px: Sequence[int],
        finished: FinishedTiles | None = None,
        settle: Settle | None = None,
        densities: int | None = None,
    ) -> None:
        self._settle, self._settled = settle, dict[int, Any]()
        self._channels, self._bins, self._tissue, self._finished = channels, bins, tissue, finished
        self._rois = [(roi, roi_bounds(roi, channels[0].shape)) for roi in rois]
        real, predicted = (np.empty(0, channel.dtype) for channel in channels)
        nothing, plain = (pair_counts(real, predicted, bins=one) for one in (bins, PairBins(bins.values)))
        with_density = len(rois) if densities is None else min(densities, len(rois))
        self._counts = [nothing] * (2 + with_density) + [plain] * (len(rois) - with_density)
        self._blocks = [BlockSums(side) for side in block_sides_px]

    def look(self, block: PixelBlock) -> Looked:
        """Tissue, all else, and each region; then their sums over small blocks; None where there is nothing."""
        frame = block.inside(self._finished)
        if not frame.any():
            return [None] * len(self._counts), [None] * len(self._blocks), {}
        y, p = (block.pixels(channel) for channel in self._channels)
        everywhere = slice(0, y.shape[0]), slice(0, y.shape[1])
        tissue = np.zeros(y.shape, bool) if self._tissue is None else block.inside(self._tissue) & frame
        first, outside = frame if self._tissue is None else tissue, frame & ~tissue
        counts: list[PairCounts | None] = [
            pair_counts(y, p, tissue, self._bins) if tissue.any() else None,
            pair_counts(y, p, outside, self._bins) if outside.any() else None,
        ]
        sums = [_sums(blocks.side_px, block.origin, y, p, (everywhere, first)) for blocks in self._blocks[:1]]
        settled: dict[int, Any] = {}
        for index, (roi, bounds) in enumerate(self._rois):
            part = _chosen(roi, bounds, block, frame)
            bins = PairBins(self._bins.values, self._counts[2 + index].density_range)
            found = None if part is None else pair_counts(y[part[0]], p[part[0]], part[1], bins)
            side = self._blocks[1 + index].side_px if self._blocks else None
            around = None if part is None or side is None else _sums(side, block.origin, y, p, part)
            if self._settle is not None and found is not None and _holds(block, bounds):
                settled[index] = self._settle(index, found, around or self._blocks[1 + index])
                found = around = None
            counts.append(found)
            sums += [around] if self._blocks else []
        return counts, sums, settled

    def add(self, found: Looked) -> None:
        """Pool the counts."""
        counts, sums, settled = found
        self._counts = [old if new is None else old + new for old, new in zip(self._counts, counts, strict=True)]
        self._blocks = [old if new is None else old + new for old, new in zip(self._blocks, sums, strict=True)]
        self._settled.update(settled)

    def settled(self) -> Iterator[Any]:
        """What is kept of each region."""
        assert self._settle is not None
        for index in range(len(self._rois)):
            if index not in self._settled:
                blocks = self._blocks[1 + index] if self._blocks else None
                self._settled[index] = self._settle(index, self._counts[2 + index], blocks)
            yield self._settled[index]

    @property
    def pairs(self) -> SlidePairs:
        """All that was counted."""
        tissue, outside, *regions = self._counts
        known = None if self._tissue is None else tissue
        return SlidePairs(known, tissue + outside, tuple(regions), tuple(self._blocks))


def _chosen(roi: RegionMask | Annotation, bounds: Box, block: PixelBlock, frame: NDArray[np.bool_]) -> Part | None:
    """The part of a block that a region meets, and which of its pixels are inside."""
    rows, columns = (_overlap(*both) for both in zip((block.rows, block.columns), bounds, strict=True))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return None
    chosen = roi.within(rows, columns) if isinstance(roi, RegionMask) else annotation_mask(roi, rows, columns)
    part = _moved(rows, block.rows.start), _moved(columns, block.columns.start)
    return part, chosen & frame[part]


def _holds(block: PixelBlock, bounds: Box) -> bool:
    """Whether all of a region lies in a block."""
    return all(
        own.start <= part.start and part.stop <= own.stop
        for own, part in zip((block.rows, block.columns), bounds, strict=True)
    )


def _sums(side: int, origin: tuple[int, int], y: NDArray[Any], p: NDArray[Any], part: Part) -> BlockSums | None:
    (rows, columns), chosen = part
    if not chosen.any():
        return None
    corner = origin[0] + rows.start, origin[1] + columns.start
    return update_blocks(BlockSums(side), y[rows, columns], p[rows, columns], chosen, corner)


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


def _overlap(first: slice, second: slice) -> slice:
    return slice(max(first.start, second.start), min(first.stop, second.stop))


def _moved(part: slice, origin: int) -> slice:
    return slice(part.start - origin, part.stop - origin)
