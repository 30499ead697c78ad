"""Reuse of memory between tiles, instead of new pages from the kernel for each tile.

This works with glibc only; with other C libraries nothing is done, and only speed is lost. benchmarks/predict.py shows
that it saves a third of the time.
"""

from __future__ import annotations

import ctypes
from concurrent.futures import ThreadPoolExecutor

import torch

from napari_hrpn.core.heap import glibc, return_freed_memory

# options of mallopt in glibc's malloc.h, and the values that keep freed memory in one heap that grows by 64 MiB
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8
_KEEPING = {_M_TRIM_THRESHOLD: -1, _M_TOP_PAD: 1 << 26, _M_MMAP_MAX: 0, _M_ARENA_MAX: 1}
_MOST_ARENAS = 256


def keep_freed_memory() -> None:
    """Make glibc keep freed blocks, and create no more heaps."""
    libc = glibc()
    if libc is not None:
        for option, value in _KEEPING.items():
            libc.mallopt(option, value)


def thread_on_main_heap(name: str) -> ThreadPoolExecutor:
    """Start a thread that allocates on the process's main heap.

    Other heaps hold at most 64 MB in one piece: larger blocks would return to the kernel in spite of
    `keep_freed_memory`. A thread is assigned its heap for good, so threads are started until one has the main heap.
    """
    rejected: list[ThreadPoolExecutor] = []
    while True:
        pool = ThreadPoolExecutor(1, thread_name_prefix=name)
        if pool.submit(_is_on_main_heap).result() or len(rejected) == _MOST_ARENAS:
            break
        rejected.append(pool)
    for other in rejected:
        other.shutdown()
    return pool


def free_memory(device: str) -> None:
    """Return memory that is kept for the next tile to other programs."""
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
    elif device == "mps":
        torch.mps.empty_cache()
    else:
        return_freed_memory()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch or numpy means that memory ran out."""
    # oneDNN reports that it could not create a primitive, which is the code and memory for one convolution
    phrases = (
        *("not enough memory", "out of memory", "can't allocate memory", "cannot allocate memory", "bad_alloc"),
        *("could not create a primitive", "could not create a memory", "unable to allocate", "alloc_failed"),
    )
    is_named = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return is_named or any(phrase in str(error).lower() for phrase in phrases)


def _is_on_main_heap() -> bool:
    """Whether a block of this thread lies below the end of the main heap; True if that is not known."""
    libc = glibc()
    if libc is None:
        return True
    address = libc.malloc(_KEEPING[_M_TOP_PAD] >> 10)
    libc.free(ctypes.c_void_p(address))
    return int(address) < int(libc.sbrk(0))
