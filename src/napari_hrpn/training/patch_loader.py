"""Batches of patches from the caches, made ahead of the network by a few threads that end with the generator.

The same seed, epoch and step give the same batch to the bit, however many threads there are and wherever it begins.
"""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.training.buffer_pool import LentMemory
from napari_hrpn.training.patch_sampler import CropPlaces, GridPlaces, PatchPosition, fixed_places

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

    from numpy.typing import NDArray

    from napari_hrpn.models import IntensityScaling
    from napari_hrpn.slides import RegionMask
    from napari_hrpn.training.cached_patches import PatchCache
    from napari_hrpn.training.patch_sampler import Places
    from napari_hrpn.training.settings import TrainingSettings

AHEAD = 4
# columns that are turned at once: few enough that their rows stay in the processor's nearest cache
_STRIP_PX = 32


@dataclass(frozen=True, eq=False)
class Batch:
    """Patches in the network's numbers."""

    inputs: NDArray[np.float32]  # Shape (n, c, y, x)
    target: NDArray[np.float32]  # Shape (n, 1, y, x)
    # Shape (n, 1, y, x); False outside the regions, and on padding (grey level 0 in the others) unless the settings
    # count it
    valid: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class PatchSource:
    """A slide that patches are taken from."""

    cache: PatchCache
    regions: RegionMask | None  # Where patches may lie; None: wherever the cache has them
    scaling: IntensityScaling  # Of kind "fixed", the slide's own percentiles put in


class PatchFeed:
    """Batches to learn from, epoch by epoch.

    With "grid", every patch that lies in the regions comes once per epoch, in an order shuffled over all slides; the
    last batch of an epoch is as small as it turns out. With "crops", all batches are full: random squares, any
    position in the regions as likely as any other.
    """

    def __init__(
        self,
        sources: Sequence[PatchSource],
        settings: TrainingSettings,
        *,
        threads: int | None = None,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        self._sources, self._side = tuple(sources), settings.patch_px
        self._padding_counts = settings.padding_counts
        self._memory = LentMemory()
        self._share = share
        self._threads = threads or _threads(share)
        slides = [(source.cache, source.regions) for source in sources]
        self._places: Places = (GridPlaces if settings.sampling == "grid" else CropPlaces)(slides, settings)

    @property
    def steps(self) -> int:
        """Batches per epoch."""
        return self._places.steps

    def batches(self, epoch: int, first_step: int = 0) -> Generator[Batch, None, None]:
        """Batches of an epoch."""
        part, parts = self._share
        places = (self._places.of(epoch, step)[part::parts] for step in range(first_step, self.steps))
        making = _Making(self._sources, self._side, self._memory, self._padding_counts)
        yield from _made_ahead(making, places, self._threads)


def validation_batches(
    sources: Sequence[PatchSource], settings: TrainingSettings, batch: int, share: tuple[int, int] = (0, 1)
) -> Generator[Batch, None, None]:
    """Fixed patches to judge a network by: they don't overlap, are not turned, and come slide by slide, row by row."""
    part, parts = share
    fixed = fixed_places([(source.cache, source.regions) for source in sources], settings)[part::parts].tolist()
    positions = [PatchPosition(*place) for place in fixed]
    places = (positions[first : first + batch] for first in range(0, len(fixed), batch))
    making = _Making(tuple(sources), settings.patch_px, LentMemory(), padding_counts=False)
    yield from _made_ahead(making, places, _threads(share))


def _threads(share: tuple[int, int]) -> int:
    return max(1, min(AHEAD, (os.cpu_count() or 1) // share[1]))


@dataclass(frozen=True, eq=False)
class _Making:
    """How places become a batch."""

    sources: Sequence[PatchSource]
    side: int
    memory: LentMemory
    padding_counts: bool

    def batch(self, places: Sequence[PatchPosition]) -> Batch:
        channels, side = len(self.sources[0].scaling.offsets), self.side
        batch = Batch(
            self.memory.array((len(places), channels, side, side), np.float32),
            self.memory.array((len(places), 1, side, side), np.float32),
            self.memory.array((len(places), 1, side, side), np.bool_),
        )
        for place, inputs, target, valid in zip(places, batch.inputs, batch.target, batch.valid, strict=True):
            source = self.sources[place.source]
            pixels = _turned(source.cache.window(place.y0, place.x0, side), place.turn)
            source.scaling.scale_inputs(pixels[:-1], inputs)
            source.scaling.scale_target(pixels[-1:], target)
            self._fill_valid(source, place, valid)
        return batch

    def _fill_valid(self, source: PatchSource, place: PatchPosition, valid: NDArray[np.bool_]) -> None:
        side = self.side
        height, width = (
            size - first for size, first in zip(source.cache.slide_shape, (place.y0, place.x0), strict=True)
        )
        pads = (height < side or width < side) and not self.padding_counts
        valid[...] = True
        if source.regions is None and not pads:
            return
        inside = np.ones((1, side, side), bool)
        if source.regions is not None:
            rows, columns = slice(place.y0, place.y0 + side), slice(place.x0, place.x0 + side)
            inside[0] = source.regions.within(rows, columns)
        if pads:
            inside[:, height:] = inside[:, :, width:] = False
        valid[...] = _turned(inside, place.turn)


def _made_ahead(
    making: _Making, places: Iterable[Sequence[PatchPosition]], threads: int
) -> Generator[Batch, None, None]:
    """Batches in order, a few of them made while the first is used."""
    pending = deque[Future[Batch]]()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="patches")
    try:
        for chosen in places:
            pending.append(pool.submit(making.batch, chosen))
            if len(pending) > AHEAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _turned(pixels: NDArray[np.generic], turn: int) -> NDArray[np.generic]:
    """One of the eight flips and turns of a square, of shape (c, y, x)."""
    if turn & 1:
        pixels = pixels[:, ::-1]
    if turn & 2:
        pixels = pixels[:, :, ::-1]
    if not turn & 4:
        # reading backwards while scaling costs more than a copy
        return np.ascontiguousarray(pixels)
    turned = np.empty_like(pixels, order="C")
    for first in range(0, pixels.shape[1], _STRIP_PX):
        turned[:, :, first : first + _STRIP_PX] = pixels[:, first : first + _STRIP_PX].swapaxes(1, 2)
    return turned
