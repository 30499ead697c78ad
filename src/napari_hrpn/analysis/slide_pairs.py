"""All pixel pairs of two slides in one pass: tissue, whole frame and drawn regions together, in constant memory."""

from __future__ import annotations

import math
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import dask
import numpy as np

from napari_hrpn.analysis.agreement_sums import AgreementError, checked_pair
from napari_hrpn.analysis.blocks import BlockSums, update_blocks
from napari_hrpn.analysis.pixel_pairs import PairBins, PairCounts, pair_counts
from napari_hrpn.analysis.value_counts import ValueBins, bins_between, bins_of_types
from napari_hrpn.slides import Annotation, RegionMask, annotation_mask

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    import dask.array as da
    from numpy.typing import NDArray

    from napari_hrpn.slides import Slide

    Box = tuple[slice, slice]
    Levels = tuple[da.Array, da.Array]

BLOCK_EDGE = 2048
BLOCK_PX = BLOCK_EDGE**2
LARGEST_COMMON_CHUNK = 4096
# NumPy lets go of the interpreter while it counts; more would hold more blocks in memory and keep a viewer waiting
THREADS = min(8, os.cpu_count() or 1)

Result = TypeVar("Result")


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
    _check_sizes(real, predicted, [part for part in (tissue, *rois) if isinstance(part, RegionMask)])
    levels = real.levels[0][real_channel], predicted.levels[0][predicted_channel]
    boxes = _boxes(levels)
    total, done = len(boxes), 0
    values = bins_of_types(real.dtype, predicted.dtype)
    if values is None:
        total, done = 2 * total, total
        values = yield from _range_of(levels, boxes, total)
    located = [(roi, _bounds(roi)) for roi in rois]
    parts = _Parts(PairBins(values, density_range), tissue, located, tuple(block_sides_px))
    found = [_nothing(levels, parts.bins)] * (2 + len(rois))
    sums = [BlockSums(side) for side in block_sides_px]
    with closing(_each_block(levels, boxes, parts.count)) as blocks:
        for counts, added in blocks:
            found = [all_of if one is None else all_of + one for all_of, one in zip(found, counts, strict=True)]
            sums = [all_of if one is None else all_of + one for all_of, one in zip(sums, added, strict=True)]
            done += 1
            yield PairReport(done, total)
    inside, outside, *regions = found
    return SlidePairs(None if tissue is None else inside, inside + outside, tuple(regions), tuple(sums))


@dataclass(frozen=True)
class _Parts:
    """What is counted of each block."""

    bins: PairBins
    tissue: RegionMask | None
    rois: Sequence[tuple[RegionMask | Annotation, Box]]
    sides: tuple[int, ...]

    def count(
        self, box: Box, y: NDArray[Any], p: NDArray[Any]
    ) -> tuple[list[PairCounts | None], list[BlockSums | None]]:
        """Tissue, all else, and each region; then their sums over small blocks; None where there is nothing."""
        mask = np.zeros(y.shape, bool) if self.tissue is None else self.tissue.within(*box)
        chosen = [self._chosen(roi, bounds, box) for roi, bounds in self.rois]
        inside = pair_counts(y, p, mask, self.bins) if mask.any() else None
        outside = None if mask.all() else pair_counts(y, p, ~mask, self.bins)
        counts = [None if roi is None else pair_counts(y[roi[0]], p[roi[0]], roi[1], self.bins) for roi in chosen]
        every = slice(0, y.shape[0]), slice(0, y.shape[1])
        first = (every, np.ones(y.shape, bool) if self.tissue is None else mask)
        sums = [
            None if part is None else _blocks(side, box, y, p, part)
            for side, part in zip(self.sides, (first, *chosen), strict=False)
        ]
        return [inside, outside, *counts], sums

    def _chosen(self, roi: RegionMask | Annotation, bounds: Box, box: Box) -> tuple[Box, NDArray[np.bool_]] | None:
        """The part of a block that a region meets, and which of its pixels are inside."""
        rows, columns = (_overlap(*both) for both in zip(box, bounds, strict=True))
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return None
        chosen = roi.within(rows, columns) if isinstance(roi, RegionMask) else annotation_mask(roi, rows, columns)
        return (_moved(rows, box[0].start), _moved(columns, box[1].start)), chosen


def _blocks(
    side: int, box: Box, y: NDArray[Any], p: NDArray[Any], part: tuple[Box, NDArray[np.bool_]]
) -> BlockSums | None:
    (rows, columns), chosen = part
    if not chosen.any():
        return None
    origin = box[0].start + rows.start, box[1].start + columns.start
    return update_blocks(BlockSums(side), y[rows, columns], p[rows, columns], chosen, origin)


def _nothing(levels: Levels, bins: PairBins) -> PairCounts:
    real, predicted = (np.empty(0, level.dtype) for level in levels)
    return pair_counts(real, predicted, bins=bins)


def _check_sizes(real: Slide, predicted: Slide, masks: Sequence[RegionMask]) -> None:
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


def _bounds(roi: RegionMask | Annotation) -> Box:
    if isinstance(roi, RegionMask):
        top, bottom, left, right = roi.bounds
        return slice(top, bottom), slice(left, right)
    points = np.concatenate([polygon[0] for polygon in roi.rings])
    (top, left), (bottom, right) = np.floor(points.min(axis=0)), np.ceil(points.max(axis=0))
    return slice(int(top), int(bottom)), slice(int(left), int(right))


def _overlap(first: slice, second: slice) -> slice:
    return slice(max(first.start, second.start), min(first.stop, second.stop))


def _moved(part: slice, origin: int) -> slice:
    return slice(part.start - origin, part.stop - origin)


def _boxes(levels: Levels) -> list[Box]:
    """Blocks of about 4 million pixels whose edges are those of stored chunks of both, as far as these agree."""
    rows, columns = (_common(*sizes) for sizes in zip(*(level.chunksize for level in levels), strict=True))
    height, width = levels[0].shape
    block_width = columns * max(1, BLOCK_EDGE // columns)
    block_height = rows * max(1, BLOCK_PX // (min(block_width, width) * rows))
    return [
        (slice(y, min(y + block_height, height)), slice(x, min(x + block_width, width)))
        for y in range(0, height, block_height)
        for x in range(0, width, block_width)
    ]


def _common(first: int, second: int) -> int:
    common = math.lcm(first, second)
    return common if common <= LARGEST_COMMON_CHUNK else max(first, second)


def _each_block(
    levels: Levels, boxes: Sequence[Box], look: Callable[[Box, NDArray[Any], NDArray[Any]], Result]
) -> Generator[Result, None, None]:
    """What is found in each block, in order; several are read and looked at side by side."""

    def work(box: Box) -> Result:
        # no threads of dask's own, which would stay behind: those of the pool are enough and end with it
        real, predicted = dask.compute(*(level[box] for level in levels), scheduler="synchronous")
        return look(box, np.asarray(real), np.asarray(predicted))

    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="slide-pairs")
    try:
        left = iter(boxes)
        under_way = deque(pool.submit(work, box) for box in islice(left, THREADS + 1))
        while under_way:
            found = under_way.popleft().result()
            under_way.extend(pool.submit(work, box) for box in islice(left, 1))
            yield found
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _range_of(levels: Levels, boxes: Sequence[Box], total: int) -> Generator[PairReport, None, ValueBins]:
    """Bins between the smallest and the largest pixel of both."""
    low, high = math.inf, -math.inf
    with closing(_each_block(levels, boxes, _ends)) as blocks:
        for done, (smallest, largest) in enumerate(blocks, start=1):
            low, high = min(low, smallest), max(high, largest)
            yield PairReport(done, total)
    return bins_between(low, high, whole="f" not in levels[0].dtype.kind + levels[1].dtype.kind)


def _ends(_: Box, y: NDArray[Any], p: NDArray[Any]) -> tuple[float, float]:
    checked = checked_pair(y, p, None)
    return min(pixels.min().item() for pixels in checked), max(pixels.max().item() for pixels in checked)
