"""Batches of patches from the caches, prepared in advance by a few threads that end with the generator.

The same seed, epoch and step give the same batch to the bit, for any number of threads and any first step.
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

from napari_hrpn.training.data.augmentation import Augmentation
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
# rows that are transposed at once: few enough that they stay in the processor's level 1 cache
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
    regions: RegionMask | None  # where patches may lie; None means everywhere
    scaling: IntensityScaling  # of kind "fixed", with the slide's own percentiles if the recipe measures them
    # low and high percentile of each input, in grey levels; None where the scaling takes them to 0 and 1
    input_ranges: tuple[tuple[float, float], ...] | None = None

    @property
    def scaled_ranges(self) -> NDArray[np.float32]:
        """Low and high percentile of each input in the network's numbers, shape (c, 2)."""
        if self.input_ranges is None:
            return np.tile(np.array([0, 1], np.float32), (len(self.scaling.offsets), 1))
        return self.scaling.scale_inputs(np.array(self.input_ranges)[:, None])[:, 0]


class PatchFeed:
    """Training batches, epoch by epoch.

    With "grid", every patch in the regions comes once per epoch, in an order shuffled over all slides; the last batch
    of an epoch may be smaller. With "crops", all batches are full and hold random squares; every position in the
    regions is equally likely.
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
        self._make = partial(
            _batch,
            sources,
            settings.patch_px,
            _BufferPool(),
            padding_counts=settings.padding_counts,
            augmentation=Augmentation(settings),
        )
        sampler = GridSampler if settings.sampling == "grid" else CropSampler
        self._sampler = sampler(sources, settings)
        self.steps = self._sampler.steps  # batches per epoch

    def batches(self, epoch: int, first_step: int = 0) -> Generator[Arrays, None, None]:
        """Batches of an epoch."""
        steps = range(first_step, self.steps)
        return _made_ahead(self._make, (self._of(epoch, step) for step in steps), self._threads)

    def _of(self, epoch: int, step: int) -> NDArray[np.int64]:
        return self._sampler.of(epoch, step)[self._part :: self._parts]


def validation_batches(
    sources: Sequence[PatchSource], settings: TrainingSettings, batch: int, share: tuple[int, int] = (0, 1)
) -> Generator[Arrays, None, None]:
    """Batches of fixed validation patches, which do not overlap and are not turned, slide by slide and row by row."""
    part, parts = share
    fixed = fixed_patches(sources, settings)[part::parts]
    make = partial(_batch, sources, settings.patch_px, _BufferPool(), padding_counts=False)
    yield from _made_ahead(make, (fixed[i : i + batch] for i in range(0, len(fixed), batch)), _threads(share))


def _threads(share: tuple[int, int]) -> int:
    return max(1, min(AHEAD, (os.cpu_count() or 1) // share[1]))


def _made_ahead(
    make: partial[Arrays], patches: Iterable[NDArray[np.int64]], threads: int
) -> Generator[Arrays, None, None]:
    """Yield batches in order; a few are prepared while the first is used."""
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
    sources: Sequence[PatchSource],
    side: int,
    memory: _BufferPool,
    patches: NDArray[np.int64],
    *,
    padding_counts: bool,
    augmentation: Augmentation | None = None,
) -> Arrays:
    n, channels = len(patches), len(sources[0].scaling.offsets)
    batch = Batch(
        memory.array((n, channels, side, side), np.float32),
        memory.array((n, 1, side, side), np.float32),
        memory.array((n, 1, side, side), np.bool_),
    )
    for patch, inputs, target, valid in zip(patches.tolist(), batch.inputs, batch.target, batch.valid, strict=True):
        number, y0, x0, turn, seed = patch
        source = sources[number]
        pixels = _turned(source.cache.window(y0, x0, side), turn)
        source.scaling.scale_inputs(pixels[:-1], inputs)
        source.scaling.scale_target(pixels[-1:], target)
        height, width = source.cache.slide_shape[0] - y0, source.cache.slide_shape[1] - x0
        if augmentation is not None and seed:
            # padding stays grey level 0, as it is in a prediction
            augmentation.apply(_turned_back(inputs, turn)[:, :height, :width], source.scaled_ranges, seed)
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
    """Flip and turn a square of shape (c, y, x) in one of eight ways."""
    if turn & 1:
        pixels = pixels[:, ::-1]
    if turn & 2:
        pixels = pixels[:, :, ::-1]
    if not turn & 4:
        # scaling is slower on a flipped view than on a copy of it
        return np.ascontiguousarray(pixels)
    turned = np.empty_like(pixels, order="C")
    for first in range(0, pixels.shape[1], _STRIP_PX):
        turned[:, :, first : first + _STRIP_PX] = pixels[:, first : first + _STRIP_PX].swapaxes(1, 2)
    return turned


def _turned_back(pixels: NDArray[np.float32], turn: int) -> NDArray[np.float32]:
    """View what `_turned` has made as it was before."""
    if turn & 4:
        pixels = pixels.swapaxes(1, 2)
    if turn & 2:
        pixels = pixels[:, :, ::-1]
    return pixels[:, ::-1] if turn & 1 else pixels


class _BufferPool:
    """Arrays whose memory is used again once they, and all views of them, are deleted.

    New memory from the operating system takes longer to get than to fill.
    """

    def __init__(self) -> None:
        self._free: defaultdict[int, list[memoryview]] = defaultdict(list)

    def array(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return an uninitialised array."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        try:
            memory = self._free[size].pop()
        except IndexError:
            memory = np.empty(size, np.uint8).data
        # an array of `frombuffer` is no view of another array: numpy makes it the base of all views, those of torch
        # too, so that it is deleted last
        root = np.frombuffer(memory, dtype)
        weakref.finalize(root, self._free[size].append, memory).atexit = False
        return root.reshape(shape)
