"""Counters of the pixel pairs of a real and a predicted channel, in one region or everywhere."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from scipy.ndimage import minimum_filter

from napari_hrpn.analysis.counts.blocks import BlockSums, update_blocks
from napari_hrpn.analysis.counts.intensity_histogram import ValueBins, bins_between, bins_of_types
from napari_hrpn.analysis.counts.joint_histogram import PairBins, PairCounts, pair_counts
from napari_hrpn.analysis.counts.moments import checked_pair
from napari_hrpn.analysis.scan.block_scan import BlockCounter
from napari_hrpn.analysis.windows import Values, Window, WindowSums
from napari_hrpn.analysis.windows.gaussian import NAMES, gaussian_maps
from napari_hrpn.core import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Mapping, Sequence

    import dask.array as da
    from numpy.typing import NDArray

    from napari_hrpn.analysis.scan.block_scan import Inside, PixelBlock
    from napari_hrpn.slides import FinishedTiles

    Channels = tuple[da.Array, da.Array]
    Scan = Callable[[Sequence[BlockCounter[Any]]], Generator[Progress, None, None]]

# number of pixels for which a window statistic is computed at once, which takes several float64 images of that size
_PIECE_PX = 2**20
_Counters = TypeVar("_Counters", bound="Sequence[BlockCounter[Any]]")


@dataclass(frozen=True)
class Windows:
    """The requested window statistics, the largest possible grey level of a pixel, and the deviation of an ensemble."""

    asked: tuple[Window, ...] = ()
    data_range: float = math.nan
    sd: da.Array | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all values."""
        return (*(window.name for window in self.asked), *(() if self.sd is None else NAMES))

    @property
    def border(self) -> int:
        """Number of rows and columns around a block that the widest window needs."""
        return max((window.border for window in self.asked), default=0)

    def maps(
        self, block: PixelBlock, channels: tuple[da.Array, da.Array], finished: Inside | None
    ) -> dict[str, Values]:
        """Values of the pixels of a block, by name; NaN for pixels that are left out."""
        maps = {window.name: self._map(window, block, channels, finished) for window in self.asked}
        if self.sd is None:
            return maps
        real, predicted, sd = (block.pixels(channel) for channel in (*channels, self.sd))
        return maps | gaussian_maps(real, predicted, sd)

    def _map(
        self, window: Window, block: PixelBlock, channels: tuple[da.Array, da.Array], finished: Inside | None
    ) -> Values:
        border, (height, width) = window.border, block.shape
        y, p = (block.with_border(channel, border) for channel in channels)
        known = block.inside_with_border(finished, border, channels[0].shape) & np.isfinite(y) & np.isfinite(p)
        values = np.full(block.shape, math.nan)
        rows = max(4 * border, _PIECE_PX // (width + 2 * border), 1)
        for top in range(0, height, rows):
            piece = slice(top, min(top + rows, height) + 2 * border)
            values[top : top + rows] = self._piece(window, y[piece], p[piece], known[piece])
        return values

    def _piece(self, window: Window, real: Values, predicted: Values, known: NDArray[np.bool_]) -> Values:
        """Values of the pixels of a piece, without its border."""
        border = window.border
        core = slice(border, real.shape[0] - border), slice(border, real.shape[1] - border)
        whole = known.all()
        # a single NaN would spread over a whole row through the running sums of a filter
        real, predicted = (np.where(known, values.astype(np.float64), 0.0) for values in (real, predicted))
        values = window.values(real, predicted, self.data_range)[core]
        return values if whole else np.where(minimum_filter(known, 2 * border + 1)[core], values, math.nan)


def window_sums(
    maps: Mapping[str, Values], part: tuple[slice, slice], inside: NDArray[np.bool_]
) -> dict[str, WindowSums]:
    """Sums of the window values of the pixels inside, for a part of a block."""
    chosen = {key: values[part][inside] for key, values in maps.items()}
    known = {key: values[np.isfinite(values)] for key, values in chosen.items()}
    return {key: WindowSums(values.size, float(values.sum())) for key, values in known.items()}


NO_WINDOWS = Windows()


@dataclass(frozen=True)
class CountedPairs:
    """Counts of the pixel pairs of a region, and sums over blocks by the side of the blocks; pooled with ``+``."""

    counts: PairCounts
    blocks: Mapping[int, BlockSums] = field(default_factory=dict)

    def __add__(self, other: CountedPairs) -> CountedPairs:
        blocks = {side: sums + other.blocks[side] for side, sums in self.blocks.items()}
        return CountedPairs(self.counts + other.counts, blocks)

    def with_windows(self, windows: Mapping[str, WindowSums]) -> CountedPairs:
        """The same counts, with sums of window statistics added."""
        return replace(self, counts=replace(self.counts, windows=windows))


def count_pairs(
    real: NDArray[Any],
    predicted: NDArray[Any],
    inside: NDArray[np.bool_],
    bins: PairBins,
    sides_px: Collection[int] = (),
    origin: tuple[int, int] = (0, 0),
) -> CountedPairs:
    """Count the pixel pairs inside a rectangle that begins at an origin."""
    blocks = {side: BlockSums(side) for side in sides_px}
    if inside.any():
        blocks = {side: update_blocks(sums, real, predicted, inside, origin) for side, sums in blocks.items()}
    return CountedPairs(pair_counts(real, predicted, inside, bins), blocks)


def no_pairs(
    channels: Channels, bins: PairBins, sides_px: Collection[int] = (), windows: Windows = NO_WINDOWS
) -> CountedPairs:
    """Empty counts, to which those of blocks are added."""
    real, predicted = (np.empty((0, 0), channel.dtype) for channel in channels)
    pairs = count_pairs(real, predicted, np.empty((0, 0), bool), bins, sides_px)
    return pairs.with_windows({name: WindowSums() for name in windows.names})


class PairRange(BlockCounter[tuple[float, float]]):
    """Counter of the smallest and largest pixel of two channels, between which bins for floating point are placed."""

    def __init__(self, channels: Channels, inside: Inside | None = None) -> None:
        self._channels, self._inside = channels, inside
        self._low, self._high = math.inf, -math.inf

    @property
    def is_known(self) -> bool:
        """Whether the pixel types alone define the bins, so that no pass over the pixels is needed."""
        return self._of_types is not None

    @property
    def bins(self) -> ValueBins:
        """Bins for the grey levels; valid after the pass."""
        whole = all(channel.dtype.kind != "f" for channel in self._channels)
        low, high = (self._low, self._high) if self._low <= self._high else (0.0, 0.0)
        return self._of_types or bins_between(low, high, whole=whole)

    @property
    def _of_types(self) -> ValueBins | None:
        return bins_of_types(*(channel.dtype for channel in self._channels))

    def count(self, block: PixelBlock) -> tuple[float, float]:
        """Smallest and largest pixel of a block."""
        inside = None if self._inside is None else block.inside(self._inside)
        if inside is not None and not inside.any():
            return math.inf, -math.inf
        real, predicted = (block.pixels(channel) for channel in self._channels)
        checked = checked_pair(real, predicted, inside)
        return min(pixels.min().item() for pixels in checked), max(pixels.max().item() for pixels in checked)

    def add(self, ends: tuple[float, float]) -> None:
        """Widen the range."""
        self._low, self._high = min(self._low, ends[0]), max(self._high, ends[1])


class RegionCounter(BlockCounter[CountedPairs | None]):
    """Counter of the pixel pairs of two channels in one region, with sums over blocks of one or more sides."""

    def __init__(
        self,
        channels: Channels,
        bins: PairBins,
        inside: Inside,
        sides_px: Collection[int] = (),
        windows: Windows = NO_WINDOWS,
        finished: FinishedTiles | None = None,
    ) -> None:
        self._channels, self._bins, self._inside, self._sides = channels, bins, inside, sides_px
        self._windows, self._finished, self.border = windows, finished, windows.border
        self.bordered = channels if windows.border else ()
        self._counted: CountedPairs | None = None

    @property
    def pairs(self) -> CountedPairs:
        """Counts of all blocks so far."""
        return self._counted or no_pairs(self._channels, self._bins, self._sides, self._windows)

    def count(self, block: PixelBlock) -> CountedPairs | None:
        """Pairs of a block; None if no pixel of it is inside."""
        inside = block.inside(self._inside)
        if not inside.any():
            return None
        real, predicted = (block.pixels(channel) for channel in self._channels)
        pairs = count_pairs(real, predicted, inside, self._bins, self._sides, block.origin)
        maps = self._windows.maps(block, self._channels, self._finished)
        return pairs.with_windows(window_sums(maps, (slice(None), slice(None)), inside))

    def add(self, pairs: CountedPairs | None) -> None:
        """Pool the pairs."""
        if pairs is not None:
            self._counted = pairs if self._counted is None else self._counted + pairs


def scan_pairs(
    ranges: Sequence[PairRange], counters: Callable[[], _Counters], scan: Scan
) -> Generator[Progress, None, _Counters]:
    """Count all pixels; floating-point pixels take an earlier pass that finds their range."""
    unknown = [pixel_range for pixel_range in ranges if not pixel_range.is_known]
    passes = 2 if unknown else 1
    if unknown:
        for report in scan(unknown):
            yield Progress(report.done, passes * report.total)
    all_counters = counters()
    for report in scan(all_counters):
        yield Progress(report.done + (passes - 1) * report.total, passes * report.total)
    return all_counters
