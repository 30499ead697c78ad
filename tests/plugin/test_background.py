import gc
import os
import sys
import threading
import time
import weakref
from types import SimpleNamespace

import pytest
from qtpy.QtWidgets import QApplication

from napari_hrpn.plugin.background import NICENESS, BackgroundRun, NewestTask, once


class Heard:
    """Everything that a run told, in order, and in which thread."""

    def __init__(self, run):
        self.told = []
        self.threads = set()
        run.yielded.connect(lambda value: self._note("yielded", value))
        run.returned.connect(lambda value: self._note("returned", value))
        run.failed.connect(lambda value: self._note("failed", value))
        run.finished.connect(lambda: self._note("finished", None))

    def _note(self, kind, value):
        self.told.append((kind, value))
        self.threads.add(threading.get_ident())


def counting(count):
    def work(stop):
        for number in range(count):
            if stop.is_set():
                return "stopped"
            yield number
        return "counted"

    return work


def endless(started, ended):
    """Yields until it is stopped, slowly, and says when it is closed."""

    def work(stop):
        try:
            while not stop.is_set():
                started.set()
                time.sleep(0.01)
                yield None
        finally:
            ended.set()

    return work


def test_all_is_told_in_order_and_in_the_gui_thread(qtbot):
    run = BackgroundRun(counting(5))
    heard = Heard(run)
    with qtbot.waitSignal(run.finished):
        run.start()
    assert heard.told == [("yielded", n) for n in range(5)] + [("returned", "counted"), ("finished", None)]
    assert heard.threads == {threading.get_ident()}


def test_the_generator_runs_in_another_thread(qtbot):
    run = BackgroundRun(once(threading.get_ident))
    with qtbot.waitSignal(run.returned) as blocker:
        run.start()
    assert blocker.args[0] != threading.get_ident()


def test_an_exception_is_told_and_ends_the_run(qtbot):
    def work(stop):
        yield 1
        raise KeyError("lost")

    run = BackgroundRun(work)
    heard = Heard(run)
    with qtbot.waitSignal(run.finished):
        run.start()
    assert [kind for kind, _ in heard.told] == ["yielded", "failed", "finished"]
    assert isinstance(heard.told[1][1], KeyError)
    run._thread.join(5)
    assert not run.is_running


def test_cancel_lets_the_generator_return_its_result(qtbot):
    run = BackgroundRun(counting(10**9))
    run.yielded.connect(lambda _: run.cancel())
    with qtbot.waitSignal(run.returned) as blocker:
        run.start()
    assert blocker.args == ["stopped"]


def test_nothing_that_the_generator_held_is_left(qtbot):
    class Weights:
        pass

    held = []

    def work(stop):
        weights = Weights()
        held.append(weakref.ref(weights))
        yield 1
        raise ValueError(len(held))

    run = BackgroundRun(work)
    with qtbot.waitSignal(run.finished):
        run.start()
    assert held[0]() is None


def test_gpu_memory_is_given_back_after_the_last_tensor_is_gone(qtbot, monkeypatch):
    class Weights:
        def __init__(self):
            self.myself = self

    held, alive_when_emptied = [], []
    cuda = SimpleNamespace(
        is_initialized=lambda: True, empty_cache=lambda: alive_when_emptied.append(held[0]() is not None)
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))

    def work(stop):
        held.append(weakref.ref(Weights()))
        yield stop.is_set()

    run = BackgroundRun(work)
    with qtbot.waitSignal(run.finished):
        run.start()
    assert alive_when_emptied[-1] is False


def test_an_abandoned_run_ends_and_tells_nothing(qtbot):
    started, ended = threading.Event(), threading.Event()
    run = BackgroundRun(endless(started, ended))
    heard = Heard(run)
    run.start()
    assert started.wait(5)
    run.abandon()
    run._thread.join(5)
    assert not run.is_running
    assert ended.is_set()
    QApplication.processEvents()
    assert heard.told == []


def test_deleting_the_object_ends_its_thread(qtbot):
    started, ended = threading.Event(), threading.Event()
    run = BackgroundRun(endless(started, ended))
    thread = run._thread
    run.start()
    assert started.wait(5)
    del run
    gc.collect()
    thread.join(5)
    assert not thread.is_alive()
    assert ended.is_set()


def talkative(started):
    """Yields all the time until it is stopped."""

    def work(stop):
        while not stop.is_set():
            started.set()
            yield None

    return work


@pytest.mark.parametrize("is_in_a_circle", [False, True])
def test_deleting_the_object_while_its_thread_tells_something_ends_the_thread(qtbot, is_in_a_circle):
    for _ in range(4):
        started = threading.Event()
        run = BackgroundRun(talkative(started))
        run.circle = run if is_in_a_circle else None
        thread = run._thread
        run.start()
        # no event of the program is waited for: among so many, that would never end
        assert started.wait(60)
        del run
        gc.collect()
        thread.join(60)
        assert not thread.is_alive()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities of threads")
@pytest.mark.parametrize("is_polite", [True, False])
def test_the_thread_and_those_it_starts_go_after_the_gui_thread(qtbot, is_polite):
    def niceness():
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    def work(stop):
        yield niceness()
        found = []
        thread = threading.Thread(target=lambda: found.append(niceness()))
        thread.start()
        thread.join()
        return found[0]

    own = niceness()
    run = BackgroundRun(work, is_polite=is_polite)
    heard = Heard(run)
    with qtbot.waitSignal(run.finished):
        run.start()
    wanted = max(own, NICENESS) if is_polite else own
    assert [value for _, value in heard.told[:2]] == [wanted, wanted]
    assert niceness() == own


def test_what_the_thread_has_is_handed_out_at_once(qtbot):
    run = BackgroundRun(once(lambda: "here"))
    heard = Heard(run)
    run.start()
    run.hand_out(patience_s=60)
    # no event of the program was needed, and none comes twice
    assert heard.told == [("returned", "here"), ("finished", None)]
    qtbot.wait(20)
    assert len(heard.told) == 2
    gate = threading.Event()
    waiting = BackgroundRun(once(gate.wait, 60))
    late = Heard(waiting)
    waiting.start()
    waiting.hand_out(patience_s=0.001)
    assert late.told == []
    with qtbot.waitSignal(waiting.finished, timeout=60_000):
        gate.set()


def test_the_newest_task_takes_the_place_of_the_one_before(qtbot):
    task, gate, told = NewestTask(), threading.Event(), []
    task.do(once(gate.wait, 60), lambda _: told.append("old"), told.append)
    task.do(once(lambda: 1 / 0), told.append, lambda error: told.append(type(error)))
    gate.set()
    qtbot.waitUntil(lambda: bool(told), timeout=60_000)
    assert told == [ZeroDivisionError]
    assert not task.is_busy
    # whoever is told may start the next one
    task.do(once(lambda: 1), lambda _: task.do(once(lambda: 2), told.append, told.append), told.append)
    qtbot.waitUntil(lambda: told[1:] == [2], timeout=60_000)
