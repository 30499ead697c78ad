"""Connection to workers: processes of this machine, or those of a running scheduler.

Anyone who can connect to a scheduler can run any code on its workers. Processes that are started here accept only each
other, by certificates made for this run, and serve no web pages. For a scheduler without encryption there is a warning.

dask.distributed is an extra, so it is imported inside functions.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from napari_hrpn.core.errors import PredictionError, PredictionWarning
from napari_hrpn.inference.engine import IN_FLIGHT
from napari_hrpn.inference.predictor import choose_device

if TYPE_CHECKING:
    from collections.abc import Iterator

    from distributed import Client

CONNECTING_SECONDS = 20
_CLOSING_SECONDS = 10
_FEWEST_ALLOWED = 8
_PER_PROCESSOR = 2
_ENCRYPTED = ("tls://", "wss://", "inproc://")
_NO_PAGES: dict[str, list[str]] = {"distributed.scheduler.http.routes": [], "distributed.worker.http.routes": []}
"""Turns off the web pages of schedulers and workers, which would show paths and results to other users."""


@contextmanager
def local_workers(count: int, device: str = "auto", threads: int | None = None) -> Iterator[Client]:
    """Worker processes on this machine, for the length of a block."""
    _check_installed("distributed", "cryptography")
    from distributed import Client

    processors = os.cpu_count() or 1
    most = max(_FEWEST_ALLOWED, _PER_PROCESSOR * processors)
    if not 1 <= count <= most:
        msg = (
            f"{count} worker processes were asked for; expected 1 to {most} on a machine with {processors} processors."
        )
        raise PredictionError(msg)
    with _environment_restored():
        # restored as soon as the workers have started, so that this process does not work with their environment
        with _environment_restored(), _interrupts_blocked(), _silent_workers():
            cluster = _start(count, choose_device(device).name, threads)
        with cluster, Client(cluster, set_as_default=False) as client:
            try:
                yield client
            finally:
                client.close()
                cluster.close(timeout=_CLOSING_SECONDS)


@contextmanager
def cluster_workers(address: str) -> Iterator[Client]:
    """Connection to a running scheduler of dask.distributed, for the length of a block."""
    _check_installed("distributed")
    from distributed import Client

    try:
        client = Client(address, timeout=CONNECTING_SECONDS, set_as_default=False)
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        why = "" if isinstance(error, TimeoutError) else f" ({' '.join(str(error).split())[:160]})"
        msg = (
            f"no scheduler answers at {address}{why}; expected one started by dask scheduler, such as tls://node1:8786."
        )
        raise PredictionError(msg) from error
    if not address.startswith(_ENCRYPTED):
        warnings.warn(
            f"the scheduler at {address} runs code of everyone who can connect to it, as the user who started its "
            "workers: use it only in a network whose users you all trust, or give scheduler and workers certificates "
            "(tls://).",
            PredictionWarning,
            stacklevel=3,
        )
    with _silent_client(), client:
        yield client


def _check_installed(*packages: str) -> None:
    missing = next((name for name in packages if importlib.util.find_spec(name) is None), None)
    if missing is not None:
        name = missing.replace("distributed", "dask.distributed")
        msg = f"several processes need {name}, which is not installed: pip install 'napari-hrpn[cluster]'."
        raise PredictionError(msg)


def _start(count: int, device: str, threads: int | None) -> Any:  # noqa: ANN401 (a cluster of dask, which has no types)
    from distributed.security import Security

    choices: dict[str, Any] = {
        "n_workers": count,
        "dashboard_address": "127.0.0.1:0",
        "scheduler_kwargs": {"dashboard": False},
        "host": "127.0.0.1",
        "security": Security.temporary(),
        # no limit by dask, which would pause or kill workers: the plan of a slide limits the memory of a tile
        "memory_limit": 0,
        "silence_logs": logging.CRITICAL,
    }
    if device.startswith("cuda") and count > 1:
        if importlib.util.find_spec("dask_cuda") is None:
            msg = f"{count} processes on GPUs need dask-cuda, which is not installed; install it, or choose device cpu."
            raise PredictionError(msg)
        from dask_cuda import LocalCUDACluster

        return LocalCUDACluster(threads_per_worker=IN_FLIGHT, **choices)
    from distributed import LocalCluster

    share = max(1, _cores() // count) if device == "cpu" else IN_FLIGHT
    return LocalCluster(processes=True, threads_per_worker=threads or share, **choices)


def _cores() -> int:
    """Number of threads that compute at the same time: as many as torch would use here, within the limit of dask."""
    from dask.system import CPU_COUNT

    return min(int(CPU_COUNT), torch.get_num_threads())


@contextmanager
def _environment_restored() -> Iterator[None]:
    """Restore the environment, in which dask leaves variables for its workers, such as ``OMP_NUM_THREADS=1``."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Block Ctrl-C in processes that are started here, since this process stops them once their tiles are written."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    # a process inherits the blocked signals of the thread that starts it; starting the tracker would unblock them
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _silent_client() -> Iterator[None]:
    """Silence the client's log: a lost scheduler is reported in one sentence, the client would add tracebacks."""
    logger = logging.getLogger("distributed.client")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def _silent_workers() -> Iterator[None]:
    """Silence the workers' logs: this process reports their errors, such as a damaged slide, in one sentence."""
    import dask

    with dask.config.set({"distributed.nanny.pre-spawn-environ.DASK_LOGGING__DISTRIBUTED": "critical", **_NO_PAGES}):
        yield
