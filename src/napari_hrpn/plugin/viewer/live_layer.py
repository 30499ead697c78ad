"""A layer whose pyramid fills while it is shown.

Fine levels are read from disk as they are looked at, coarse ones stand in memory: showing news never reads more than
the few pieces that a screen covers. Filling happens in any thread, showing in the GUI thread alone.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from superqt.utils import qthrottled

from napari_hrpn.slides import RegionMask

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari.layers import Image
    from numpy.typing import DTypeLike, NDArray

    from napari_hrpn.core import Box

_IN_MEMORY_PX = 2048
REFRESH_MS = 100

# of NumPy, dask or zarr
_Array: TypeAlias = Any
_Index: TypeAlias = Any


class Plane:
    """One channel of a (c, y, x) array as the two-dimensional array that napari shows.

    Nothing is read before it is sliced. The array may come later than the plane; until then all is zero.
    """

    ndim = 2

    def __init__(
        self,
        shape: tuple[int, int],
        dtype: DTypeLike,
        *,
        chunk_px: int = 512,
        array: _Array | None = None,
        channel: int = 0,
    ) -> None:
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self.size = math.prod(shape)
        self.chunks = (chunk_px, chunk_px)
        self.channel = channel
        self.array = array

    @classmethod
    def of(cls, array: _Array, channel: int = 0) -> Plane:
        """Plane of an array that is there."""
        return cls(tuple(array.shape[-2:]), array.dtype, array=array, channel=channel)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self[:, :], dtype=dtype, copy=copy)

    def __getitem__(self, key: _Index) -> NDArray[Any]:
        key = key if isinstance(key, tuple) else (key,)
        array = self.array
        if array is None:
            nothing = np.broadcast_to(np.zeros((), self.dtype), self.shape)[key]
            return np.zeros(nothing.shape, self.dtype)
        return np.asarray(array[(self.channel, *key)])


class LiveLevels:
    """The levels of a pyramid that is being written."""

    def __init__(self, planes: Sequence[Plane], in_memory_px: int = _IN_MEMORY_PX) -> None:
        self.planes = tuple(planes)
        small = [max(plane.shape) <= in_memory_px or plane is self.planes[-1] for plane in self.planes]
        self.levels: tuple[Any, ...] = tuple(
            np.zeros(plane.shape, plane.dtype) if is_small else plane
            for plane, is_small in zip(self.planes, small, strict=True)
        )
        self._is_loaded = np.zeros(self.planes[-1].shape, bool)

    def attach(self, arrays: Sequence[_Array]) -> None:
        """Give the planes their arrays, where these came later."""
        for plane, array in zip(self.planes, arrays, strict=True):
            plane.array = array

    def load(self, box: Box | None = None) -> None:
        """Read what is new into the levels in memory. It takes time: not for the GUI thread."""
        for plane, level in zip(self.planes, self.levels, strict=True):
            if level is not plane:
                window = self._window(plane.shape, box)
                level[window] = plane[window]
        self._is_loaded[self._window(self._is_loaded.shape, box)] = True

    def load_finished(self, boxes: Iterable[Box]) -> None:
        """Read the levels in memory as a whole, of which only some parts are finished. Not for the GUI thread."""
        for plane, level in zip(self.planes, self.levels, strict=True):
            if level is not plane:
                level[:] = plane[:, :]
        for box in boxes:
            self._is_loaded[self._window(self._is_loaded.shape, box)] = True

    @property
    def loaded(self) -> RegionMask:
        """Where something has been loaded, in pixels of the coarsest level; it changes as more is."""
        down, across = (
            _step(full, size) for full, size in zip(self.planes[0].shape, self._is_loaded.shape, strict=True)
        )
        return RegionMask(self._is_loaded, (down, across))

    def loaded_pixels(self) -> NDArray[Any]:
        """Pixels of the coarsest level where something was loaded."""
        pixels: NDArray[Any] = self.levels[-1][self._is_loaded]
        return pixels

    def _window(self, shape: tuple[int, int], box: Box | None) -> tuple[slice, slice]:
        """Pixels of a level that a box touches."""
        if box is None:
            return slice(None), slice(None)
        down, across = (_step(full, size) for full, size in zip(self.planes[0].shape, shape, strict=True))
        return (
            slice(math.floor(box.y0 / down), math.ceil(box.y1 / down)),
            slice(math.floor(box.x0 / across), math.ceil(box.x1 / across)),
        )


def _step(full: int, size: int) -> float:
    """Fine pixels per coarse pixel; an odd edge makes the ratio of the sizes a little too small."""
    whole = round(full / size)
    return whole if -(-full // whole) == size else full / size


class LiveLayer:
    """Shows in a layer what its levels have got."""

    def __init__(self, layer: Image) -> None:
        self.layer = layer
        self._refresh_soon = qthrottled(self._refresh, timeout=REFRESH_MS)

    def updated(self) -> None:
        """Draw the layer again soon: at once, or 100 ms after the last time. In the GUI thread, and cheap."""
        self._refresh_soon()

    def finish(self) -> None:
        """Draw the layer now, for the last time: whoever holds this may go, and the pending drawing with it."""
        self._refresh_soon.cancel()
        self._refresh()

    def _refresh(self) -> None:
        # the arrays in memory are napari's own copy of the coarse levels, so there is no stale copy to be renewed
        self.layer.refresh(extent=False)


def live_layer_data(levels: LiveLevels) -> dict[str, Any]:
    """Arguments for `napari.layers.Image` that show live levels."""
    is_pyramid = len(levels.levels) > 1
    return {
        "data": list(levels.levels) if is_pyramid else levels.levels[0],
        "multiscale": is_pyramid,
        "cache": False,
    }
