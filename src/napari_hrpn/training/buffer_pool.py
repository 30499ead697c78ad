"""Memory of batches, lent again once nobody holds a batch: fresh pages from the kernel cost more than filling them."""

from __future__ import annotations

import math
import weakref
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray


class LentMemory:
    """Arrays whose memory comes back by itself when they, and all views of them, are gone."""

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
