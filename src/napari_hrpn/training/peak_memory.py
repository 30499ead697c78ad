"""How much memory a training took at most."""

from __future__ import annotations

import sys

import psutil
import torch


def peak_memory_bytes(device: str) -> int:
    """Largest memory held so far.

    Parameters
    ----------
    device : str
        Where the network is trained.

    Returns
    -------
    int
        Of the GPU, or else of this process.
    """
    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated(device))
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    # Linux counts in KiB, macOS in bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
