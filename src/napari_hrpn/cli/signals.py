"""Ctrl-C and SIGTERM during long work: the first lets what is in flight end well, the second does not wait."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop(threading.Event):
    """Set by the first signal; remembers which one it was."""

    number = 0

    @property
    def exit_code(self) -> int:
        """What the program exits with, as shells have it: 130 after Ctrl-C."""
        return 128 + self.number


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Turn signals into an event for the length of a block."""
    stop = Stop()

    def _note(number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.number = number
        stop.set()
        # not print: the signal may have come in the middle of one
        os.write(2, b"\nStopping as soon as what is in flight has ended; Ctrl-C again stops at once.\n")

    before = {number: signal.signal(number, _note) for number in _SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
