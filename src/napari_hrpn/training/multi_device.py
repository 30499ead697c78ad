"""Training on several devices of one machine: one process per device, connected by Lightning Fabric.

This process starts the others, receives their reports and ends them. The first of them sends each report and waits for
an answer, so that the training never runs ahead of its user. All end with this process, however it ends.
"""

from __future__ import annotations

import atexit
import importlib.util
import logging
import multiprocessing
import os
import signal
import socket
import threading
import traceback
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from multiprocessing import connection
from typing import TYPE_CHECKING, cast

import torch
from torch import distributed

from napari_hrpn.core import drive
from napari_hrpn.core.errors import TrainingError
from napari_hrpn.inference import choose_device
from napari_hrpn.training.entries import open_entry, split_slides
from napari_hrpn.training.learners.learner import ProcessGroup, fill, flattened
from napari_hrpn.training.loop import TrainingLoop
from napari_hrpn.training.reports import TrainingResult

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess

    from torch import Tensor, nn

    from napari_hrpn.settings import TrainingSettings
    from napari_hrpn.training.reports import EpochReport, StepReport
    from napari_hrpn.training.session import Material

_PACKAGE = "lightning_fabric"
_SECONDS_TO_DIE = 1.0
_LONGEST_WAIT = timedelta(days=7)
"""The other devices wait as long as the user takes over a report; the parent process notices a device that died."""


def training_devices(settings: TrainingSettings) -> tuple[str, ...]:
    """Find the devices of a training; an error says which are missing."""
    first, count = choose_device(settings.device).name, settings.devices
    if count == 1:
        return (first,)
    kind, _, index = first.partition(":")
    if count > (available := _count_from(first)):
        what = {"cpu": "processors", "cuda": f"of them from {first} on"}.get(kind, f"{first} device")
        msg = f"the training needs {count} devices, but there are {available} {what}; take fewer, or another device."
        raise TrainingError(msg)
    if importlib.util.find_spec(_PACKAGE) is None:
        msg = (
            f"the training needs {count} devices, which needs lightning-fabric, and that is not installed; run "
            'pip install "napari-hrpn[multi-gpu]", or train on one device.'
        )
        raise TrainingError(msg)
    return tuple(first if kind == "cpu" else f"{kind}:{int(index or 0) + number}" for number in range(count))


def most_devices(first: str) -> int:
    """Count the devices that can train together."""
    return 1 if importlib.util.find_spec(_PACKAGE) is None else max(1, _count_from(first))


def _count_from(first: str) -> int:
    kind, _, index = first.partition(":")
    if kind == "cpu":
        return os.cpu_count() or 1
    return torch.cuda.device_count() - int(index or 0) if kind == "cuda" else 1


def train_together(
    material: Material, devices: Sequence[str], stop: threading.Event
) -> Generator[StepReport | EpochReport, None, TrainingResult]:
    """Train on several devices, each of which takes its share of every batch."""
    processes = _Processes()
    # a generator that is never closed must not keep the program from ending
    atexit.register(processes.end)
    try:
        processes.start(material, tuple(devices))
        while not isinstance(report := processes.next_report(), TrainingResult):
            yield report
            processes.answer(stops=stop.is_set())
        # the first process has written everything, so the processes can be killed
        return report
    finally:
        processes.end()
        atexit.unregister(processes.end)


class _Processes:
    """The processes, one per device, and the connections to them."""

    def __init__(self) -> None:
        self._running: dict[Connection, SpawnProcess] = {}
        self._unfinished: list[Connection] = []

    def start(self, material: Material, devices: tuple[str, ...]) -> None:
        context, port = multiprocessing.get_context("spawn"), _free_port()
        threads = max(1, torch.get_num_threads() // len(devices))
        with _signals_blocked_in_children():
            for rank, device in enumerate(devices):
                ours, theirs = context.Pipe()
                arguments = (material, devices, rank, port, threads, theirs)
                process = context.Process(target=_train_on_one, args=arguments, name=f"napari-hrpn {rank} on {device}")
                process.start()
                # only the process holds that end from here on, so it closes when the process ends
                theirs.close()
                self._running[ours] = process
                self._unfinished.append(ours)

    def next_report(self) -> StepReport | EpochReport | TrainingResult:
        while True:
            # on Windows, they are of another class
            for ours in cast("list[Connection]", connection.wait(self._unfinished)):
                try:
                    report, error, trace = ours.recv()
                except (EOFError, OSError):
                    raise self._death(ours) from None
                if error is not None:
                    raise self._cause(error, trace)
                if report is not None:
                    return report  # type: ignore[no-any-return]
                self._unfinished.remove(ours)

    def answer(self, *, stops: bool) -> None:
        # if the first process has died, `next_report` raises the error
        with suppress(OSError):
            next(iter(self._running)).send(stops)

    def end(self) -> None:
        for ours, process in self._running.items():
            ours.close()
            process.kill()
        for process in self._running.values():
            process.join()

    def _cause(self, error: Exception, trace: str) -> Exception:
        if trace:
            # an error about a peer that does not answer is only a consequence of the peer's death
            dead = next((ours for ours, process in self._running.items() if process.exitcode is not None), None)
            if dead is not None:
                return self._death(dead)
            error.__cause__ = RuntimeError(trace)
        return error

    def _death(self, ours: Connection) -> TrainingError:
        process = self._running[ours]
        process.join(_SECONDS_TO_DIE)
        code = process.exitcode
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        return TrainingError(
            f"one of the {len(self._running)} processes of the training ended without an error message ({how}), "
            "perhaps for lack of memory; run it again to resume, or begin anew with a smaller batch or fewer devices."
        )


@contextmanager
def _signals_blocked_in_children() -> Iterator[None]:
    """Block Ctrl-C and the end of a batch job, which go to all processes, in the processes that are started.

    This process alone reacts to them. A process begins with the signals blocked that its parent's thread has blocked.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    # the resource tracker would unblock the signals if it were started together with the first process
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


def _train_on_one(
    material: Material, devices: tuple[str, ...], rank: int, port: int, threads: int, parent: Connection
) -> None:
    """Train on one of several devices, in its process; sends (report, or None at the end; error; traceback)."""
    _end_with_parent()
    # libraries print to stderr instead: the parent's stdout holds the output of the program alone
    with suppress(OSError):
        os.dup2(2, 1)
    try:
        team = _FabricTeam(devices, rank, port)
        torch.set_num_threads(threads)
        _train(material, devices[rank], team, parent)
        parent.send((None, None, ""))
    except Exception as error:
        parent.send((None, *_failure(error, devices[rank])))
        # the process waits: if it ended now, the others would report its end as an error
        with suppress(EOFError, OSError):
            parent.recv()


def _train(material: Material, device: str, team: _FabricTeam, parent: Connection) -> None:
    stop, request = threading.Event(), material.request
    with ExitStack() as opened:
        for source in (*material.train, *material.validation):
            opened.enter_context(source.cache)
        # the slides are opened again: open files cannot be sent to another process
        split = split_slides([open_entry(entry, request.settings) for entry in request.entries], request.validate)

        def send(report: StepReport | EpochReport) -> None:
            if team.rank == 0:
                parent.send((report, None, ""))
                if parent.recv():
                    stop.set()

        # the loop checks `stop` itself, and keeps the state of the run before it returns
        result = drive(TrainingLoop(material, split, device, stop, team).run(), send)
        if team.rank == 0:
            parent.send((result, None, ""))


def _failure(error: Exception, device: str) -> tuple[Exception, str]:
    """Return a sentence for the user, and the traceback of an unexpected error."""
    if isinstance(error, ValueError) and type(error).__module__.startswith("napari_hrpn."):
        return error, ""
    what = " ".join(f"{type(error).__name__}: {error}".split())
    msg = f"the training on {device} failed ({what}); run it again to resume it, or begin anew on one device."
    return TrainingError(msg), traceback.format_exc()


def _end_with_parent() -> None:
    # Windows cannot block signals from outside, and has one more, of Ctrl-Break
    for number in {signal.SIGINT, getattr(signal, "SIGBREAK", signal.SIGINT)}:
        signal.signal(number, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, name="napari-hrpn parent", daemon=True).start()


class _FabricTeam(ProcessGroup):
    """One device of several."""

    def __init__(self, devices: Sequence[str], rank: int, port: int) -> None:
        self.rank, self.size, self._device = rank, len(devices), devices[rank]
        os.environ |= {
            "LOCAL_RANK": str(rank),
            "NODE_RANK": "0",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }
        # lightning-fabric is optional and sets environment variables: only these processes import it
        from lightning_fabric import Fabric
        from lightning_fabric.plugins.environments.lightning import LightningEnvironment
        from lightning_fabric.strategies.ddp import DDPStrategy

        for name in ("lightning_fabric", "lightning_utilities"):
            logging.getLogger(name).setLevel(logging.WARNING)
        kind = devices[0].split(":")[0]
        # the processes are there already: with LOCAL_RANK set, `launch` starts none
        Fabric(
            accelerator=kind,
            devices=self.size if kind == "cpu" else [int(device.split(":")[1]) for device in devices],
            strategy=DDPStrategy(timeout=_LONGEST_WAIT),
            plugins=LightningEnvironment(),
        ).launch()

    def sum(self, numbers: Tensor) -> Tensor:
        """Sum numbers over the devices."""
        summed = numbers.to(self._device, copy=True)
        # Fabric's all_reduce is slower: all its processes wait for each other before every sum
        distributed.all_reduce(summed)
        return summed

    def unite(self, *networks: nn.Module) -> None:
        """Sum the gradients of the weights that learn now, and average the batch statistics."""
        learnt = [weight for network in networks for weight in network.parameters() if weight.requires_grad]
        for weight in learnt:
            if weight.grad is None:
                # a device without a patch of a small batch has no gradient
                weight.grad = torch.zeros_like(weight)
        gradients = [weight.grad for weight in learnt if weight.grad is not None]
        # those of frozen stages are equal everywhere, and their mean over three devices might be rounded
        changing = [part for network in networks for part in network.modules() if part.training]
        statistics = [b for part in changing for b in part.buffers(recurse=False) if b.is_floating_point()]
        flat = flattened([*gradients, *statistics])
        distributed.all_reduce(flat)
        flat[sum(gradient.numel() for gradient in gradients) :] /= self.size
        fill([*gradients, *statistics], flat)

    def from_first(self, *numbers: float) -> tuple[float, ...]:
        """Return the numbers of the first device: clocks and events differ between processes."""
        only_first = torch.tensor(numbers, dtype=torch.float64) * (self.rank == 0)
        return tuple(self.sum(only_first).tolist())
