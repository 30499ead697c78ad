"""How much memory a training takes at most, as far as the system can tell."""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import torch

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_FORGET_PEAK = "5"


def forget_peak_memory(device: str) -> None:
    """Let `peak_memory_bytes` begin anew, where the system can do that: on an NVIDIA GPU, and on Linux."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
    elif sys.platform == "linux":
        with suppress(OSError):
            _CLEAR.write_text(_FORGET_PEAK)


def peak_memory_bytes(device: str) -> int:
    """Largest memory held at once."""
    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated(device))
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    # what getrusage says on Linux begins with the peak of the program that started this one
    if sys.platform == "linux" and (found := re.search(r"^VmHWM:\s+(\d+) kB$", _STATUS.read_text(), re.MULTILINE)):
        return 1024 * int(found[1])
    import resource

    # Linux counts in KiB, macOS in bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
