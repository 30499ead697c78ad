"""Time and memory of a training: an estimate from two small steps of its network, and the measured peak."""

from __future__ import annotations

import re
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import torch

from napari_hrpn.inference import choose_device
from napari_hrpn.inference.cpu.heap import free_memory
from napari_hrpn.training.data.patch_loader import AHEAD, Batch
from napari_hrpn.training.learners import make_learner

if TYPE_CHECKING:
    from torch import Tensor

    from napari_hrpn.settings import TrainingSettings
    from napari_hrpn.training.learners.learner import Learner

_CPU_PX = 192
_PATCHES = 2
_LONG_STEP_SECONDS = 3.0
_SHARE_OF_THREADS = 1.1
"""Seconds of a step over processor seconds of its threads, on an otherwise idle CPU: 0.98 to 1.04 measured."""
_LARGEST_SHARE = 0.5
"""A GPU is timed with the real batch unless that takes more of its free memory: a small batch leaves it partly idle."""

_PEAK_OVER_KEPT = 1.25
"""Peak memory of a step on a GPU over the memory that its forward pass keeps for the backward pass. Measured on a CPU:
1.13 to 1.4, depending on network, arithmetic and batch."""

_GROWTH_OVER_KEPT = 1.5
_CPU_BYTES = 60e6
_BATCHES_AHEAD = AHEAD + 2
"""On a CPU a program grows by more: freed memory is fragmented, the loader holds batches, and the state is copied
before it is written. Measured as the growth of the resident memory since before `train_model`, which the formula meets
within 20 %: HRPN with one, two and four branches, GANDA, fp32 and bf16, 2 to 16 patches of 128 to 512 px. The standard
HRPN keeps 1,434 bytes per pixel in fp32: 276 MB were measured for 4 patches of 128 px, 1,281 MB for 8 of 256 px."""

_JUDGING_SHARE = 1 / 3
"""Work of predicting a patch over that of learning from it: a forward pass over a forward and a backward pass."""

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_FORGET_PEAK = "5"


@dataclass(frozen=True)
class Estimate:
    """Estimated time and memory of a training.

    Attributes
    ----------
    seconds : float
        Time to its end, without the cutting of patches.
    memory_bytes : int
        Peak memory: on a GPU, memory allocated on it, or on each of several; on a CPU, memory that this program takes
        in addition. `EpochRecord.peak_memory_bytes` is larger there: it counts the whole program.
    """

    seconds: float
    memory_bytes: int


def estimate(settings: TrainingSettings, steps_per_epoch: int, device: str, *, validation_patches: int = 0) -> Estimate:
    """Estimate time and memory of a training before it starts.

    Parameters
    ----------
    settings : TrainingSettings
        Settings of the training.
    steps_per_epoch : int
        Batches per epoch.
    device : str
        As for `choose_device`.
    validation_patches : int
        Patches that are predicted after each epoch.

    Returns
    -------
    Estimate
        Time and memory of a step on a few small patches, scaled by their pixels; up to a factor of two off while
        other programs run. The first call for given settings and device takes a second or two, later calls no time.
        It must not run beside a training in the same process: both draw from torch's random numbers.

    Raises
    ------
    PredictionError
        When there is no such device.
    """
    name = choose_device(device).name
    # settings that change neither the work nor the memory of a step are not measured again
    of_step = replace(settings, epochs=1, steps_per_epoch=None, max_minutes=None, device="auto", seed=0, devices=1)
    seconds_per_px, bytes_per_px, held_bytes = _measured(of_step, name)
    patch_px2 = settings.patch_px**2
    # processes on a CPU share its cores and its memory, GPUs have their own
    sharing, holding = (1, settings.devices) if name == "cpu" else (settings.devices, 1)
    batch = -(-settings.batch // sharing)
    patches = steps_per_epoch * batch + _JUDGING_SHARE * validation_patches / sharing
    seconds = settings.epochs * patches * patch_px2 * seconds_per_px
    limit = float("inf") if settings.max_minutes is None else 60 * settings.max_minutes
    kept_bytes = bytes_per_px * batch * patch_px2
    memory = held_bytes + _PEAK_OVER_KEPT * kept_bytes
    if name == "cpu":
        ahead_bytes = _BATCHES_AHEAD * batch * patch_px2 * (4 * len(settings.channels) + 5)
        memory = holding * (2 * held_bytes + _CPU_BYTES) + _GROWTH_OVER_KEPT * kept_bytes + ahead_bytes
    return Estimate(min(seconds, limit), int(memory))


@lru_cache(maxsize=64)
def _measured(settings: TrainingSettings, device: str) -> tuple[float, float, int]:
    """Measure seconds and bytes per pixel of a batch, and bytes that the network and its optimiser hold."""
    on_gpu = device != "cpu"
    side = settings.patch_px if on_gpu else min(settings.patch_px, _CPU_PX)
    with torch.random.fork_rng(devices=[device] if device.startswith("cuda") else []):
        learner = make_learner(replace(settings, patch_px=side, batch=_PATCHES), device)
        started = time.perf_counter()
        bytes_per_px = _bytes_kept(learner, _batch(settings, _PATCHES, side, device)) / (_PATCHES * side**2)
        seconds = time.perf_counter() - started
        held = sum(tensor.nbytes for tensor in learner.tensors().values())
        patches = _patches_to_time(settings, device, bytes_per_px * side**2) if on_gpu else _PATCHES
        batch = _batch(settings, patches, side, device)
        # the first step of a shape is slow, and other programs only add to the time of a step: the fastest one counts
        for _ in range(2 if on_gpu or seconds < _LONG_STEP_SECONDS else 1):
            seconds = min(seconds, _seconds(learner, batch, device))
    del learner, batch
    free_memory(device)
    return seconds / (patches * side**2), bytes_per_px, held


def _patches_to_time(settings: TrainingSettings, device: str, bytes_per_patch: float) -> int:
    fits = _LARGEST_SHARE * choose_device(device).free_bytes / (_PEAK_OVER_KEPT * bytes_per_patch)
    return max(_PATCHES, min(settings.batch, int(fits)))


def _batch(settings: TrainingSettings, patches: int, side: int, device: str) -> Batch[Tensor]:
    shape = (patches, len(settings.channels), side, side)
    target = torch.rand((patches, 1, side, side), device=device)
    return Batch(torch.rand(shape, device=device), target, torch.ones_like(target, dtype=torch.bool))


def _bytes_kept(learner: Learner, batch: Batch[Tensor]) -> int:
    """Measure the memory that a forward pass keeps for the backward pass, without weights and their bfloat16 copies."""
    kept: dict[int, int] = {}
    weights = {tensor.shape for tensor in learner.tensors().values()}

    def _note(tensor: Tensor) -> Tensor:
        if tensor.shape not in weights:
            storage = tensor.untyped_storage()
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()

    with torch.autograd.graph.saved_tensors_hooks(_note, lambda tensor: tensor):
        learner.step([batch], 1e-9)
    return sum(kept.values())


def _seconds(learner: Learner, batch: Batch[Tensor], device: str) -> float:
    started, processor = time.perf_counter(), time.process_time()
    learner.step([batch], 1e-9)
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    seconds = time.perf_counter() - started
    if device != "cpu":
        return seconds
    # on a CPU that other programs keep busy, the processor time of the threads is closer than the clock
    return min(seconds, _SHARE_OF_THREADS * (time.process_time() - processor) / torch.get_num_threads())


def forget_peak_memory(device: str) -> None:
    """Reset `peak_memory_bytes` where the system allows it: on an NVIDIA GPU, and on Linux."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
    elif sys.platform == "linux":
        with suppress(OSError):
            _CLEAR.write_text(_FORGET_PEAK, encoding="ascii")


def peak_memory_bytes(device: str) -> int:
    """Return the largest memory held at once."""
    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated(device))
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    # on Linux, getrusage counts the peak of the program that started this one too
    if sys.platform == "linux":
        status = _STATUS.read_text(encoding="utf-8", errors="replace")
        if found := re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE):
            return 1024 * int(found[1])
    import resource

    # Linux counts in KiB, macOS in bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
