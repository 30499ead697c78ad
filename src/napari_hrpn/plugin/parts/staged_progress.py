"""How far several works in a row have come, as one share and a time left; knows nothing of Qt.

The rule: between any two steps it looks whether it is to stop.
"""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator

_LEAST_SHARE = 0.02
"""Below it, nothing is said of the time left."""

_Result = TypeVar("_Result")


class Stopped(Exception):  # noqa: N818 (nothing went wrong)
    """The user did not want to wait for the end."""


@dataclass(frozen=True)
class Progress:
    """How far a measurement has come."""

    words: str  # What is being done
    share: float  # 0 to 1, of the whole measurement
    seconds_left: float | None  # Expected time to the end; None while nothing can be said


class StagedProgress:
    """Follows works that report ``done`` and ``total``, one after the other."""

    def __init__(self, stop: threading.Event, weight: float) -> None:
        self._stop, self._weight = stop, weight
        self._done = 0.0
        self._began = time.monotonic()

    def follow(
        self, words: str, steps: Generator[Any, None, _Result], weight: float
    ) -> Generator[Progress, None, _Result]:
        """Run a work to its end."""
        with closing(steps):
            yield self._progress(words, 0.0)
            while True:
                if self._stop.is_set():
                    raise Stopped
                try:
                    report = next(steps)
                except StopIteration as end:
                    self._done += weight
                    result: _Result = end.value
                    return result
                yield self._progress(words, weight * report.done / max(1, report.total))

    def _progress(self, words: str, done: float) -> Progress:
        share = min(1.0, (self._done + done) / self._weight)
        elapsed = time.monotonic() - self._began
        return Progress(words, share, elapsed * (1 - share) / share if share > _LEAST_SHARE else None)
