"""Batches of patches from the caches, made ahead of the network by a few threads that end with the generator.

The same seed, epoch and step give the same batch to the bit, however many threads there are and wherever it begins.
"""

from __future__ import annotations

import math
import os
import weakref
from collections import defaultdict, deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

import numpy as np

from napari_hrpn.training.data.patch_sampler import CropSampler, GridSampler, fixed_patches

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

    from numpy.typing import DTypeLike, NDArray

    from napari_hrpn.models import IntensityScaling
    from napari_hrpn.settings import TrainingSettings
    from napari_hrpn.slides import RegionMask
    from napari_hrpn.training.data.patch_cache import PatchCache

_Array = TypeVar("_Array")
Arrays: TypeAlias = "Batch[NDArray[Any]]"
AHEAD = 4
# columns that are turned at once: few enough that their rows stay in the processor's nearest cache
_STRIP_PX = 32


@dataclass(frozen=True, eq=False)
class Batch(Generic[_Array]):
    """Patches in the network's numbers, in NumPy or on the device that learns from them."""

    inputs: _Array  # shape (n, c, y, x)
    target: _Array  # shape (n, 1, y, x)
    # shape (n, 1, y, x); False outside the regions, and on padding (grey level 0 in the others) unless the settings
    # count it
    valid: _Array


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
        self._part, self._parts = share
        self._threads = threads or _threads(share)
        self._make = partial(_batch, sources, settings.patch_px, _BufferPool(), padding_counts=settings.padding_counts)
        sampler = GridSampler if settings.sampling == "grid" else CropSampler
        self._sampler = sampler(sources, settings)
        self.steps = self._sampler.steps  # Batches per epoch

    def batches(self, epoch: int, first_step: int = 0) -> Generator[Arrays, None, None]:
        """Batches of an epoch."""
        steps = range(first_step, self.steps)
        return _made_ahead(self._make, (self._of(epoch, step) for step in steps), self._threads)

    def _of(self, epoch: int, step: int) -> NDArray[np.int64]:
        return self._sampler.of(epoch, step)[self._part :: self._parts]


def validation_batches(
    sources: Sequence[PatchSource], settings: TrainingSettings, batch: int, share: tuple[int, int] = (0, 1)
) -> Generator[Arrays, None, None]:
    """Fixed patches to judge a network by: they don't overlap, are not turned, and come slide by slide, row by row."""
    part, parts = share
    fixed = fixed_patches(sources, settings)[part::parts]
    make = partial(_batch, sources, settings.patch_px, _BufferPool(), padding_counts=False)
    yield from _made_ahead(make, (fixed[i : i + batch] for i in range(0, len(fixed), batch)), _threads(share))


def _threads(share: tuple[int, int]) -> int:
    return max(1, min(AHEAD, (os.cpu_count() or 1) // share[1]))


def _made_ahead(
    make: partial[Arrays], patches: Iterable[NDArray[np.int64]], threads: int
) -> Generator[Arrays, None, None]:
    """Batches in order, a few of them made while the first is used."""
    pending = deque[Future[Arrays]]()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="patches")
    try:
        for chosen in patches:
            pending.append(pool.submit(make, chosen))
            if len(pending) > AHEAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _batch(
    sources: Sequence[PatchSource], side: int, memory: _BufferPool, patches: NDArray[np.int64], *, padding_counts: bool
) -> Arrays:
    n, channels = len(patches), len(sources[0].scaling.offsets)
    batch = Batch(
        memory.array((n, channels, side, side), np.float32),
        memory.array((n, 1, side, side), np.float32),
        memory.array((n, 1, side, side), np.bool_),
    )
    for patch, inputs, target, valid in zip(patches.tolist(), batch.inputs, batch.target, batch.valid, strict=True):
        number, y0, x0, turn = patch
        source = sources[number]
        pixels = _turned(source.cache.window(y0, x0, side), turn)
        source.scaling.scale_inputs(pixels[:-1], inputs)
        source.scaling.scale_target(pixels[-1:], target)
        height, width = source.cache.slide_shape[0] - y0, source.cache.slide_shape[1] - x0
        pads = (height < side or width < side) and not padding_counts
        valid[...] = True
        if source.regions is not None or pads:
            inside = np.ones((1, side, side), bool)
            if source.regions is not None:
                inside[0] = source.regions.within(slice(y0, y0 + side), slice(x0, x0 + side))
            if pads:
                inside[:, height:] = inside[:, :, width:] = False
            valid[...] = _turned(inside, turn)
    return batch


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


class _BufferPool:
    """Arrays whose memory is lent again when they, and all views of them, are gone.

    Fresh pages from the kernel cost more than filling them.
    """

    def __init__(self) -> None:
        self._free: defaultdict[int, list[memoryview]] = defaultdict(list)

    def array(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Lend an array."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        try:
            memory = self._free[size].pop()
        except IndexError:
            memory = np.empty(size, np.uint8).data
        # all views, those of torch too, hold on to this array: numpy never lets them skip it, as it is no view of
        # another array
        root = np.frombuffer(memory, dtype)
        weakref.finalize(root, self._free[size].append, memory).atexit = False
        return root.reshape(shape)
