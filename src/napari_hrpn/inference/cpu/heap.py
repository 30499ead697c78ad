"""Reuse of memory between tiles, instead of new pages from the kernel for each.

Only glibc is spoken to; elsewhere nothing is done, and nothing is lost but speed. benchmarks/predict.py shows what it
is worth: a third of the time.
"""

from __future__ import annotations

import ctypes
from concurrent.futures import ThreadPoolExecutor

import torch

from napari_hrpn.core.heap import glibc, return_freed_memory

# numbers of glibc's malloc.h, and the values that keep what is freed in one heap that grows by 64 MiB
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8
_KEEPING = {_M_TRIM_THRESHOLD: -1, _M_TOP_PAD: 1 << 26, _M_MMAP_MAX: 0, _M_ARENA_MAX: 1}
_MOST_ARENAS = 256


def keep_freed_memory() -> None:
    """Ask glibc to keep freed blocks, and to make no more heaps than there are."""
    libc = glibc()
    if libc is not None:
        for option, value in _KEEPING.items():
            libc.mallopt(option, value)


def thread_on_main_heap(name: str) -> ThreadPoolExecutor:
    """Start a thread that allocates on the process's main heap.

    The others hold at most 64 MB in one piece: larger blocks would go back to the kernel whatever `keep_freed_memory`
    says. A thread gets its heap in turn and for good, so threads are started until one has the right one.
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
    """Give memory that is kept for the next tile back to other programs."""
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
    elif device == "mps":
        torch.mps.empty_cache()
    else:
        return_freed_memory()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch or numpy says that memory ran out."""
    # oneDNN says that a primitive, the code and room for one convolution, could not be had
    words = (
        *("not enough memory", "out of memory", "can't allocate memory", "cannot allocate memory", "bad_alloc"),
        *("could not create a primitive", "could not create a memory", "unable to allocate", "alloc_failed"),
    )
    is_named = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return is_named or any(word in str(error).lower() for word in words)


def _is_on_main_heap() -> bool:
    """Whether what this thread allocates lies below the end of the main heap; True where that cannot be told."""
    libc = glibc()
    if libc is None:
        return True
    address = libc.malloc(_KEEPING[_M_TOP_PAD] >> 10)
    libc.free(ctypes.c_void_p(address))
    return int(address) < int(libc.sbrk(0))
