"""The network's thread allocates where freed memory is kept, whatever threads there were before."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from napari_hrpn.inference.cpu.heap import is_out_of_memory

MANY_HEAPS = """
import ctypes, threading
from concurrent.futures import ThreadPoolExecutor
from napari_hrpn.inference.cpu.heap import keep_freed_memory, thread_on_main_heap

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
together = threading.Barrier(6)

def allocate(*_):
    together.wait()
    return libc.malloc(1000)

def lies_in_heap():
    address = libc.malloc(100_000)
    spans = [line.split()[0] for line in open("/proc/self/maps") if line.rstrip().endswith("[heap]")]
    bounds = [[int(end, 16) for end in span.split("-")] for span in spans]
    return any(low <= address < high for low, high in bounds)

with ThreadPoolExecutor(6) as threads:
    list(threads.map(allocate, range(6)))
keep_freed_memory()
with ThreadPoolExecutor(1) as other, thread_on_main_heap("network") as network:
    print(other.submit(lies_in_heap).result(), network.submit(lies_in_heap).result(), threading.active_count())
"""


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux's map of a process's memory")
def test_the_thread_allocates_on_the_main_heap_where_another_would_not():
    result = subprocess.run([sys.executable, "-c", MANY_HEAPS], capture_output=True, text=True, check=True)
    other, network, threads = result.stdout.split()
    assert (other, network) == ("False", "True")
    assert int(threads) == 3


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("could not create a primitive"), True),
        (RuntimeError("could not create a primitive descriptor for a convolution forward propagation primitive"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
)
def test_a_lack_of_memory_is_known_by_its_words(error, expected):
    assert is_out_of_memory(error) is expected
