"""Heap of the C library, from which numpy takes its memory."""

from __future__ import annotations

import ctypes
import platform
import sys


def glibc() -> ctypes.CDLL | None:
    """The GNU C library; None if another one manages the memory."""
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return None
    libc = ctypes.CDLL(None)
    libc.malloc.restype = libc.sbrk.restype = ctypes.c_void_p
    return libc


def return_freed_memory() -> None:
    """Return memory to the system that is freed, but kept by the C library."""
    if (libc := glibc()) is not None:
        libc.malloc_trim(0)
