"""Connection to workers: processes of this machine, or those of a running scheduler.

Whoever can speak to a scheduler can have its workers run any code. Those that are started here speak only to each
other, by certificates that end with them, and serve no pages; of a scheduler that anyone may speak to, the user is
warned.

Imports dask.distributed inside functions: it is an extra.
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
"""What schedulers and workers serve to browsers: what they work on, and where."""


@contextmanager
def local_workers(count: int, device: str = "auto", threads: int | None = None) -> Iterator[Client]:
    """Start worker processes on this machine, for the length of a block."""
    _check_installed("distributed", "cryptography")
    from distributed import Client

    processors = os.cpu_count() or 1
    most = max(_FEWEST_ALLOWED, _PER_PROCESSOR * processors)
    if not 1 <= count <= most:
        msg = (
            f"{count} worker processes were asked for; expected 1 to {most} on a machine with {processors} processors."
        )
        raise PredictionError(msg)
    with _environment_kept():
        # what this process does meanwhile shall find it as it was, too
        with _environment_kept(), _signals_are_ours(), _quiet():
            cluster = _start(count, choose_device(device).name, threads)
        with cluster, Client(cluster, set_as_default=False) as client:
            try:
                yield client
            finally:
                client.close()
                cluster.close(timeout=_CLOSING_SECONDS)


@contextmanager
def cluster_workers(address: str) -> Iterator[Client]:
    """Connect to a scheduler of dask.distributed, for the length of a block."""
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
            f"the scheduler at {address} takes code from everyone who can reach it, and its workers run that as their "
            "own user: use it only in a network whose users you all trust, or give scheduler and workers certificates "
            "(tls://).",
            PredictionWarning,
            stacklevel=3,
        )
    with _lost_in_silence(), client:
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
    """How many threads compute side by side: as many as torch would use here, and no more than are allowed."""
    from dask.system import CPU_COUNT

    return min(int(CPU_COUNT), torch.get_num_threads())


@contextmanager
def _environment_kept() -> Iterator[None]:
    """What dask sets for its workers, such as ``OMP_NUM_THREADS=1``, it sets in this process and leaves there."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)


@contextmanager
def _signals_are_ours() -> Iterator[None]:
    """Ctrl-C reaches every process of a terminal; those started here leave it to this one to end well."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    # a process inherits what is blocked in the thread that starts it; starting the tracker would unblock it there
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _lost_in_silence() -> Iterator[None]:
    """Whoever waits for a scheduler that is lost says so in one sentence; the client would print tracebacks beside."""
    logger = logging.getLogger("distributed.client")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def _quiet() -> Iterator[None]:
    """What workers log, such as the traceback of a slide that is broken, is said in one sentence by this process."""
    import dask

    with dask.config.set({"distributed.nanny.pre-spawn-environ.DASK_LOGGING__DISTRIBUTED": "critical", **_NO_PAGES}):
        yield
