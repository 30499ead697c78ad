"""Background threads that run a generator and emit its results as signals in the GUI thread.

The work in a thread must not use objects of Qt or napari; what it yields is queued, and emitted in the GUI thread.
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

from napari_hrpn.core import drive

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    Work = Callable[[threading.Event], Generator[Any, None, Any]]

NICENESS = 10
_YIELDED, _RETURNED, _FAILED = "yielded", "returned", "failed"


def soon(owner: QObject, act: Callable[[], object], delay_ms: int = 0) -> QTimer:
    """Make a timer that calls a function once, after its last start; several starts in a row cause one call."""
    timer = QTimer(owner)
    timer.setSingleShot(True)
    timer.setInterval(delay_ms)
    timer.timeout.connect(act)
    return timer


def once(function: Callable[..., Any], *arguments: object) -> Work:
    """Make work that calls a function and yields nothing."""

    def work(stop: threading.Event) -> Generator[Any, None, Any]:  # noqa: ARG001
        """Call the function; it cannot be stopped."""
        yield from ()
        return function(*arguments)

    return work


class BackgroundRun(QObject):
    """A generator that runs in another thread; its signals are emitted in the GUI thread.

    `yielded` carries what the generator yields, `returned` its result, `failed` the exception; `finished` comes last
    in any case. By then the generator is closed and nothing refers to it any more.
    """

    yielded = Signal(object)
    returned = Signal(object)
    failed = Signal(object)
    finished = Signal()

    def __init__(self, work: Work, *, is_polite: bool = True) -> None:
        super().__init__()
        self._queue = _Queue()
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=_run, args=(work, self._stop, self._queue, is_polite), name="napari-hrpn", daemon=False
        )
        self._queue.notifier.notified.connect(self._deliver, Qt.ConnectionType.QueuedConnection)
        # the thread must end when this object is deleted; Qt does not emit `destroyed` if that happens as part of a
        # reference cycle
        for end in (self._queue.close, self._stop.set):
            weakref.finalize(self, end)

    @property
    def is_running(self) -> bool:
        """Whether the thread is alive."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def cancel(self) -> None:
        """Ask the generator to return; its signals are still emitted."""
        self._stop.set()

    def abandon(self) -> None:
        """Ask the generator to return, and emit no signal any more; for a widget that is about to be deleted."""
        self._stop.set()
        self._queue.close()

    def hand_out(self, patience_s: float) -> None:
        """Wait for the thread for a moment, and emit what it has queued without waiting for Qt's event loop."""
        self._queue.wait(patience_s)
        self._deliver()

    def _deliver(self) -> None:
        for kind, value in self._queue.take():
            if kind == _YIELDED:
                self.yielded.emit(value)
                continue
            self._queue.close()
            if _uses_gpu():
                # objects in reference cycles would keep their GPU memory. They are collected here, since the thread
                # might delete Qt objects, and only with a GPU, since it takes 0.2 s
                gc.collect()
                _free_gpu_memory()
            (self.returned if kind == _RETURNED else self.failed).emit(value)
            self.finished.emit()


class NewestTask(QObject):
    """One task at a time in another thread: a new task replaces the former one."""

    def __init__(self) -> None:
        super().__init__()
        self._run: BackgroundRun | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a task runs."""
        return self._run is not None

    def do(
        self,
        work: Work,
        take: Callable[[Any], None],
        fail: Callable[[BaseException], None],
        follow: Callable[[Any], None] | None = None,
        *,
        is_polite: bool = True,
    ) -> None:
        """Start a task; `follow` is called with what it yields, then `take` with its result or `fail`."""
        self.abandon()
        self._run = BackgroundRun(work, is_polite=is_polite)
        if follow is not None:
            self._run.yielded.connect(follow)
        # `_end` is connected first: `take` or `fail` may start the next task
        for signal in (self._run.returned, self._run.failed):
            signal.connect(self._end)
        self._run.returned.connect(take)
        self._run.failed.connect(fail)
        self._run.start()

    def cancel(self) -> None:
        """Ask the task to return; its result is still emitted."""
        if self._run is not None:
            self._run.cancel()

    def abandon(self) -> None:
        """Stop the task; no signal is emitted any more."""
        if self._run is not None:
            self._run.abandon()
            self._run = None

    def _end(self) -> None:
        self._run = None


class _Notifier(QObject):
    """Signal of the thread; an object of its own, since the receiver may be deleted at that moment."""

    notified = Signal()


class _Queue:
    """Items that the thread has yielded or returned and the GUI thread has not taken yet."""

    def __init__(self) -> None:
        self.notifier = _Notifier()
        self._items: deque[tuple[str, Any]] = deque()
        self._lock = threading.Condition()
        self._is_open = True

    def post(self, kind: str, value: object) -> None:
        with self._lock:
            if self._is_open:
                self._items.append((kind, value))
                self._lock.notify()
                self.notifier.notified.emit()

    def wait(self, timeout_s: float) -> None:
        with self._lock:
            self._lock.wait_for(lambda: self._items, timeout_s)

    def take(self) -> list[tuple[str, Any]]:
        with self._lock:
            items = list(self._items)
            self._items.clear()
            return items

    def close(self) -> None:
        with self._lock:
            self._is_open = False
            self._items.clear()


def _run(work: Work, stop: threading.Event, queue: _Queue, is_polite: bool) -> None:
    if is_polite:
        _lower_priority()
    try:
        item = _RETURNED, _driven(work(stop), stop, queue)
    except BaseException as error:
        # the frames of the traceback would keep the generator's variables, which may be large
        traceback.clear_frames(error.__traceback__)
        item = _FAILED, error
    del work
    _free_gpu_memory()
    queue.post(*item)
    # an exception refers to this frame, which must not refer to the exception
    del item


def _driven(generator: Generator[Any, None, Any], stop: threading.Event, queue: _Queue) -> object:
    def post(value: object) -> None:
        queue.post(_YIELDED, value)
        if not threading.main_thread().is_alive():
            # the main thread has ended without closing the widgets; the program ends only after this thread
            stop.set()

    # the work checks `stop` itself, and returns the result so far
    return drive(generator, post)


def _lower_priority() -> None:
    """Lower the priority of this thread, which is possible on Linux only; threads that it starts inherit it."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


def _uses_gpu() -> bool:
    # torch is not imported for this question; another thread may just be importing it, so attributes may be missing
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    return cuda is not None and hasattr(cuda, "is_initialized") and bool(cuda.is_initialized())


def _free_gpu_memory() -> None:
    if _uses_gpu():
        sys.modules["torch"].cuda.empty_cache()
