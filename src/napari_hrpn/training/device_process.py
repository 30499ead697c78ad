"""What runs in the process of one device of several: its share of every step.

It ends when its parent process does, and never by itself in the middle of a step.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

import torch

from napari_hrpn.training.errors import TrainingError
from napari_hrpn.training.fabric_team import FabricTeam
from napari_hrpn.training.loop import TrainingLoop
from napari_hrpn.training.open_entries import open_entry
from napari_hrpn.training.session import make_course
from napari_hrpn.training.splits import split_slides

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from napari_hrpn.training.run_folder import RunRequest
    from napari_hrpn.training.session import Material
    from napari_hrpn.training.splits import Split


@dataclass(frozen=True, eq=False)
class Failure:
    """Why a process cannot go on."""

    error: Exception  # One sentence for the user
    trace: str = ""  # Where it happened, if nobody foresaw it; else empty


def train_on_one(
    material: Material, devices: tuple[str, ...], rank: int, port: int, threads: int, parent: Connection
) -> None:
    """Train on one of several devices."""
    _end_with_parent()
    # what libraries print is not to be mixed with what the program prints
    with suppress(OSError):
        os.dup2(2, 1)
    try:
        team = FabricTeam(devices, rank, port)
        torch.set_num_threads(threads)
        _train(material, devices[rank], team, parent)
        parent.send(None)
    except Exception as error:
        parent.send(_failure(error, devices[rank]))
        # were this process to end now, the others would complain of that
        with suppress(EOFError, OSError):
            parent.recv()


def _train(material: Material, device: str, team: FabricTeam, parent: Connection) -> None:
    stop = threading.Event()
    with ExitStack() as caches:
        for source in (*material.train, *material.validation):
            caches.callback(source.cache.close)
        run = TrainingLoop(make_course(material, _split(material.request), device, team), stop).run()
        while True:
            try:
                report = next(run)
            except StopIteration as end:
                if team.rank == 0:
                    parent.send(end.value)
                return
            if team.rank == 0:
                parent.send(report)
                if parent.recv():
                    stop.set()


def _split(request: RunRequest) -> Split:
    """The slides, opened once more: open files cannot go from one process to another."""
    slides = [open_entry(entry, request.settings) for entry in request.entries]
    return split_slides(slides, request.validate)


def _failure(error: Exception, device: str) -> Failure:
    if isinstance(error, ValueError) and type(error).__module__.startswith("napari_hrpn."):
        return Failure(error)
    what = " ".join(f"{type(error).__name__}: {error}".split())
    msg = f"the training on {device} failed ({what}); run it again to go on, or begin anew on one device."
    return Failure(TrainingError(msg), traceback.format_exc())


def _end_with_parent() -> None:
    # where signals cannot be blocked from outside
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, name="napari-hrpn parent", daemon=True).start()
