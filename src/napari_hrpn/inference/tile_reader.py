"""What the network sees of a slide: the pixels under a tile, mirrored at the border, at the right pixel size.

Where a slide is shown at another pixel size, every pixel of the network's grid depends only on where it lies on
the slide, never on the tile: resampled tiles fit together as exactly as the others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from napari_hrpn.core import Box, reflected
from napari_hrpn.slides import known_pixels, with_known_pixels

if TYPE_CHECKING:
    from collections.abc import Sequence

    import dask.array as da
    from numpy.typing import NDArray

    from napari_hrpn.slides import ChunkCache


@dataclass(frozen=True)
class Sampling:
    """How a core of the slide lies on the network's grid."""

    # Pixels of the network's grid per pixel of the slide, along y and x; 1 without resampling
    factors: tuple[float, float]
    # In pixels of the network's grid
    halo: int
    stride: int
    padding: str = "reflect"  # What lies beyond the slide's border
    # Grey level of each input that the network sees in place of a pixel that is none (see `known_pixels`): the
    # background of the channel, since glass is where stains have no signal, while 0 may be a level that no slide has
    fill: tuple[float, ...] = ()

    @property
    def resamples(self) -> bool:
        """Whether the network's grid differs from the slide's."""
        return self.factors != (1.0, 1.0)

    def seen_by_network(self, core: Box) -> Box:
        """What the network runs on, in pixels of its own grid: stride-aligned, halo included."""
        rows = self._seen(core.y0, core.y1, self.factors[0])
        columns = self._seen(core.x0, core.x1, self.factors[1])
        return Box(*rows, *columns)

    def _seen(self, start: int, stop: int, factor: float) -> tuple[int, int]:
        reach = 0.0 if factor == 1 else 1 + factor
        first = math.floor((start * factor - reach) / self.stride) * self.stride
        last = first + math.ceil((stop * factor + reach - first) / self.stride) * self.stride
        return first - self.halo, last + self.halo

    def read(
        self, level: da.Array, chunks: ChunkCache, channels: Sequence[int], core: Box
    ) -> tuple[NDArray[np.generic], NDArray[np.int64]]:
        """Read what the network sees for a core."""
        seen = self.seen_by_network(core)
        if not self.resamples:
            return self._read_box(level, chunks, channels, seen, core)
        down, right = (_source_span(*span, factor) for span, factor in zip(_spans(seen), self.factors, strict=True))
        pixels, unknown = self._read_box(level, chunks, channels, Box(*down, *right), core)
        rows = _resampling_matrix(seen.y0, seen.y1, *down, self.factors[0])
        columns = _resampling_matrix(seen.x0, seen.x1, *right, self.factors[1])
        return _resampled(pixels, rows, columns), unknown

    def to_core(self, output: NDArray[np.float32], core: Box) -> NDArray[np.float32]:
        """Cut the network's output, its halo cropped, down to a core of the slide."""
        if not self.resamples:
            return output[: core.height, : core.width]
        inner = self.seen_by_network(core).grown(-self.halo)
        rows = _resampling_matrix(core.y0, core.y1, inner.y0, inner.y1, 1 / self.factors[0])
        columns = _resampling_matrix(core.x0, core.x1, inner.x0, inner.x1, 1 / self.factors[1])
        resampled: NDArray[np.float32] = _resampled(output[None], rows, columns)[0]
        return resampled

    def _read_box(
        self, level: da.Array, chunks: ChunkCache, channels: Sequence[int], box: Box, core: Box
    ) -> tuple[NDArray[np.generic], NDArray[np.int64]]:
        height, width = level.shape[1:]
        rows, columns = reflected(box.y0, box.y1, height), reflected(box.x0, box.x1, width)
        top, left = int(rows.min()), int(columns.min())
        there = slice(top, int(rows.max()) + 1), slice(left, int(columns.max()) + 1)
        read = [chunks.read(level, slice(channel, channel + 1), *there)[0] for channel in channels]
        pixels = np.stack([np.take(np.take(plane, rows - top, 0), columns - left, 1) for plane in read])
        if self.padding == "zero":
            outside_rows = (np.arange(box.y0, box.y1) < 0) | (np.arange(box.y0, box.y1) >= height)
            outside_columns = (np.arange(box.x0, box.x1) < 0) | (np.arange(box.x0, box.x1) >= width)
            pixels[:, outside_rows] = 0
            pixels[:, :, outside_columns] = 0
        known = known_pixels(pixels)
        if known is None:
            return pixels, np.zeros(len(channels), np.int64)
        inside = known[:, core.y0 - box.y0 : core.y1 - box.y0, core.x0 - box.x0 : core.x1 - box.x0]
        return with_known_pixels(pixels, self.fill), np.count_nonzero(~inside, axis=(1, 2))


def _resampling_matrix(start: int, stop: int, source_start: int, source_stop: int, factor: float) -> sparse.csr_array:
    """Linear interpolation between two grids of one axis, smoothed where the target is coarser.

    Target pixel i lies at (i + 1/2) / factor - 1/2 of the source; a triangle as wide as the coarser of the two
    pixels weighs the source pixels around it.
    """
    support = max(1.0, 1 / factor)
    centres = (np.arange(start, stop) + 0.5) / factor - 0.5
    offsets = np.arange(-math.ceil(support), math.ceil(support) + 1)
    sources = np.floor(centres).astype(int)[:, None] + offsets
    weights = np.maximum(0, 1 - np.abs(sources - centres[:, None]) / support)
    weights[(sources < source_start) | (sources >= source_stop)] = 0
    weights /= weights.sum(axis=1, keepdims=True)
    kept = weights > 0
    rows = np.broadcast_to(np.arange(stop - start)[:, None], weights.shape)
    shape = (stop - start, source_stop - source_start)
    return sparse.csr_array((weights[kept], (rows[kept], sources[kept] - source_start)), shape=shape)


def _spans(box: Box) -> tuple[tuple[int, int], tuple[int, int]]:
    return (box.y0, box.y1), (box.x0, box.x1)


def _source_span(start: int, stop: int, factor: float) -> tuple[int, int]:
    support = math.ceil(max(1.0, 1 / factor)) + 1
    return math.floor((start + 0.5) / factor - 0.5) - support, math.ceil((stop - 0.5) / factor - 0.5) + support + 1


def _resampled(pixels: NDArray[np.generic], rows: sparse.csr_array, columns: sparse.csr_array) -> NDArray[np.float32]:
    return np.stack([(columns @ (rows @ plane).T).T for plane in pixels]).astype(np.float32)
