"""A training on several devices: a process for each, started, listened to and ended from here.

The first one reports and waits for an answer, so that nothing runs ahead of whoever watches. All end with this process,
whatever ends it.
"""

from __future__ import annotations

import atexit
import multiprocessing
import signal
import socket
from contextlib import contextmanager, suppress
from multiprocessing import connection, resource_tracker
from typing import TYPE_CHECKING

import torch

from napari_hrpn.training.device_process import Failure, train_on_one
from napari_hrpn.training.errors import TrainingError
from napari_hrpn.training.reports import TrainingResult

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator, Iterator, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess

    from napari_hrpn.training.reports import EpochReport, StepReport
    from napari_hrpn.training.session import Material

_SECONDS_TO_DIE = 1.0


def train_together(
    material: Material, devices: Sequence[str], stop: threading.Event
) -> Generator[StepReport | EpochReport, None, TrainingResult]:
    """Train on several devices, each of which takes its share of every batch."""
    processes = _Processes(devices)
    # a generator that is never closed must not keep the program from ending
    atexit.register(processes.end)
    try:
        processes.start(material)
        while not isinstance(report := processes.next_report(), TrainingResult):
            yield report
            processes.answer(stops=stop.is_set())
        # all is written, and nothing of value is left in the processes
        return report
    finally:
        processes.end()
        atexit.unregister(processes.end)


class _Processes:
    """One process per device, and what they say."""

    def __init__(self, devices: Sequence[str]) -> None:
        self._devices = tuple(devices)
        self._running: dict[Connection, SpawnProcess] = {}
        self._speaking: list[Connection] = []

    def start(self, material: Material) -> None:
        context, port = multiprocessing.get_context("spawn"), _free_port()
        threads = max(1, torch.get_num_threads() // len(self._devices))
        with _children_deaf_to_signals():
            for rank, device in enumerate(self._devices):
                ours, theirs = context.Pipe()
                arguments = (material, self._devices, rank, port, threads, theirs)
                process = context.Process(target=train_on_one, args=arguments, name=f"napari-hrpn {rank} on {device}")
                process.start()
                # nobody else holds that end from here on: it closes when the process ends
                theirs.close()
                self._running[ours] = process
                self._speaking.append(ours)

    def next_report(self) -> StepReport | EpochReport | TrainingResult:
        while True:
            for ours in connection.wait(self._speaking):
                assert isinstance(ours, connection.Connection)
                try:
                    message = ours.recv()
                except (EOFError, OSError):
                    raise self._death(ours) from None
                if isinstance(message, Failure):
                    raise self._error(message)
                if message is not None:
                    return message  # type: ignore[no-any-return]
                self._speaking.remove(ours)

    def answer(self, *, stops: bool) -> None:
        # if the first is gone, the next report says so
        with suppress(OSError):
            next(iter(self._running)).send(stops)

    def end(self) -> None:
        for ours, process in self._running.items():
            ours.close()
            process.kill()
        for process in self._running.values():
            process.join()

    def _error(self, failure: Failure) -> Exception:
        if failure.trace:
            # what a device says of its peers' silence is not the cause
            dead = next((ours for ours, process in self._running.items() if process.exitcode is not None), None)
            if dead is not None:
                return self._death(dead)
            failure.error.__cause__ = RuntimeError(failure.trace)
        return failure.error

    def _death(self, ours: Connection) -> TrainingError:
        process = self._running[ours]
        process.join(_SECONDS_TO_DIE)
        code = process.exitcode
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        return TrainingError(
            f"one of the {len(self._devices)} processes of the training ended without a word ({how}), perhaps for want "
            "of memory; run it again to go on, or begin anew with a smaller batch or fewer devices."
        )


@contextmanager
def _children_deaf_to_signals() -> Iterator[None]:
    """Ctrl-C in a terminal, and the end of a batch job, go to all processes; this one alone decides what comes of it.

    What a thread blocks is blocked from the first moment in processes that it starts.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # it would unblock the signals when it is started on the way
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
