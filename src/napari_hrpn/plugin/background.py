"""Run a generator off the GUI thread and hear of it in the GUI thread.

The thread touches nothing of Qt or napari: what it yields is handed over, and is given out in the GUI thread.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import threading
import traceback
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Qt, QTimer, Signal

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    Work = Callable[[threading.Event], Generator[Any, None, Any]]

NICENESS = 10
_YIELDED, _RETURNED, _FAILED = "yielded", "returned", "failed"


def soon(owner: QObject, act: Callable[[], object], delay_ms: int = 0) -> QTimer:
    """A timer that acts once after it was started last."""
    timer = QTimer(owner)
    timer.setSingleShot(True)
    timer.setInterval(delay_ms)
    timer.timeout.connect(act)
    return timer


def once(function: Callable[..., Any], *arguments: object) -> Work:
    """Work that calls a function and yields nothing on the way."""

    def work(stop: threading.Event) -> Generator[Any, None, Any]:  # noqa: ARG001
        """Come to the end in one step, which cannot be stopped."""
        yield from ()
        return function(*arguments)

    return work


class BackgroundRun(QObject):
    """A generator that runs in a thread of its own; its signals come in the GUI thread.

    `yielded` carries what the generator yields, `returned` its result, `failed` the exception; `finished` comes
    last, whatever happened. When it comes, the generator is closed and nothing refers to it any more.
    """

    yielded = Signal(object)
    returned = Signal(object)
    failed = Signal(object)
    finished = Signal()

    def __init__(self, work: Work, *, is_polite: bool = True) -> None:
        super().__init__()
        self._mail = _Mail()
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=_run, args=(work, self._stop, self._mail, is_polite), name="napari-hrpn", daemon=False
        )
        self._mail.bell.rung.connect(self._deliver, Qt.ConnectionType.QueuedConnection)
        # whoever deletes this object, the thread must end; `destroyed` does not come where it goes as part of a circle
        for end in (self._mail.close, self._stop.set):
            weakref.finalize(self, end)

    @property
    def is_running(self) -> bool:
        """Whether the thread is alive."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def cancel(self) -> None:
        """Ask the generator to return; signals still come."""
        self._stop.set()

    def abandon(self) -> None:
        """Ask the generator to return, and give out no signal any more: for a widget that is going away."""
        self._stop.set()
        self._mail.close()

    def hand_out(self, patience_s: float) -> None:
        """Give out what the thread has to tell now, without going through the events of the program."""
        self._mail.wait(patience_s)
        self._deliver()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Block until the thread has ended; not for the GUI thread of a program that someone looks at."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _deliver(self) -> None:
        for kind, value in self._mail.take():
            if kind == _YIELDED:
                self.yielded.emit(value)
                continue
            self._mail.close()
            if _uses_gpu():
                # what stands in circles would keep its memory; here, for in the thread it might delete Qt objects,
                # and not without need, for it takes 0.2 s
                gc.collect()
                _free_gpu_memory()
            (self.returned if kind == _RETURNED else self.failed).emit(value)
            self.finished.emit()


def begin(
    work: Work, take: Callable[[Any], None], fail: Callable[[BaseException], None], *, is_polite: bool = True
) -> BackgroundRun:
    """Start work; `take` is called in the GUI thread with its result, or `fail` with what went wrong."""
    run = BackgroundRun(work, is_polite=is_polite)
    run.returned.connect(take)
    run.failed.connect(fail)
    run.start()
    return run


class NewestTask(QObject):
    """One thing at a time in another thread: what is asked for takes the place of what was being done."""

    def __init__(self) -> None:
        super().__init__()
        self._run: BackgroundRun | None = None

    @property
    def is_busy(self) -> bool:
        """Whether something runs."""
        return self._run is not None

    def do(self, work: Work, take: Callable[[Any], None], fail: Callable[[BaseException], None]) -> None:
        """Start a task."""
        self.abandon()
        self._run = BackgroundRun(work)
        # whoever is told may start the next one
        for signal in (self._run.returned, self._run.failed):
            signal.connect(self._end)
        self._run.returned.connect(take)
        self._run.failed.connect(fail)
        self._run.start()

    def abandon(self) -> None:
        """End what runs, and say no more of it."""
        if self._run is not None:
            self._run.abandon()
            self._run = None

    def _end(self) -> None:
        self._run = None


class _Bell(QObject):
    """What the thread rings; an object of its own, for that which listens may be deleted at that moment."""

    rung = Signal()


class _Mail:
    """What the thread has to tell, until the GUI thread takes it."""

    def __init__(self) -> None:
        self.bell = _Bell()
        self._letters: deque[tuple[str, Any]] = deque()
        self._lock = threading.Condition()
        self._is_open = True

    def post(self, kind: str, value: object) -> None:
        with self._lock:
            if self._is_open:
                self._letters.append((kind, value))
                self._lock.notify()
                self.bell.rung.emit()

    def wait(self, timeout_s: float) -> None:
        with self._lock:
            self._lock.wait_for(lambda: self._letters, timeout_s)

    def take(self) -> list[tuple[str, Any]]:
        with self._lock:
            letters = list(self._letters)
            self._letters.clear()
            return letters

    def close(self) -> None:
        with self._lock:
            self._is_open = False
            self._letters.clear()


def _run(work: Work, stop: threading.Event, mail: _Mail, is_polite: bool) -> None:
    if is_polite:
        _lower_priority()
    try:
        letter = _RETURNED, _driven(work(stop), stop, mail)
    except BaseException as error:
        # the frames hold the generator's variables, which may be large
        traceback.clear_frames(error.__traceback__)
        letter = _FAILED, error
    del work
    _free_gpu_memory()
    mail.post(*letter)
    # an exception refers to this frame, which must not refer to the exception
    del letter


def _driven(generator: Generator[Any, None, Any], stop: threading.Event, mail: _Mail) -> object:
    with contextlib.closing(generator):
        while True:
            try:
                mail.post(_YIELDED, next(generator))
            except StopIteration as end:
                return end.value
            if not threading.main_thread().is_alive():
                # the program has ended without closing its widgets, and waits for this thread
                stop.set()


def _lower_priority() -> None:
    """Linux alone can do this for a thread; threads that it starts inherit it."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


def _uses_gpu() -> bool:
    # torch is never imported here; and another thread may be half way through importing it
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    return cuda is not None and hasattr(cuda, "is_initialized") and bool(cuda.is_initialized())


def _free_gpu_memory() -> None:
    if _uses_gpu():
        sys.modules["torch"].cuda.empty_cache()
