"""Progress of long work, which is a generator of progress records that returns a result, and functions that run it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Generator

_Report = TypeVar("_Report")
_Shown = TypeVar("_Shown")
_Result = TypeVar("_Result")


class Stopped(Exception):  # noqa: N818 (nothing went wrong)
    """The user stopped the work before its end."""


@dataclass(frozen=True)
class Progress:
    """Progress of a piece of work.

    Attributes
    ----------
    done, total : float
        Parts of about equal length that are finished, and all of them.
    words : str
        What is being done.
    seconds_left : float or None
        Expected time to the end; None while it is not known.
    """

    done: float
    total: float
    words: str = ""
    seconds_left: float | None = None

    @property
    def share(self) -> float:
        """Finished share of the work, 0 to 1."""
        return self.done / max(1, self.total)


def relayed(
    steps: Generator[_Report, None, _Result],
    shown: Callable[[_Report], _Shown | None],
    stop: threading.Event | None = None,
) -> Generator[_Shown, None, _Result]:
    """Run a piece of work as a part of another one that yields progress records of another kind.

    Parameters
    ----------
    steps : generator
        The work; it is closed in any case.
    shown : callable
        Takes a record of the work and returns the record to yield, or None to yield nothing.
    stop : threading.Event, optional
        Once set, the work is ended before its next step.

    Yields
    ------
    object
        Records that `shown` returns.

    Returns
    -------
    object
        The result of the work.

    Raises
    ------
    Stopped
        When `stop` was set before the work came to its end.
    """
    with closing(steps):
        while stop is None or not stop.is_set():
            try:
                report = next(steps)
            except StopIteration as end:
                result: _Result = end.value
                return result
            if (record := shown(report)) is not None:
                yield record
    raise Stopped


def drive(
    steps: Generator[_Report, None, _Result],
    on_progress: Callable[[_Report], object] | None = None,
    stop: threading.Event | None = None,
) -> _Result:
    """Run a piece of work to its end.

    Parameters
    ----------
    steps : generator
        The work; it is closed in any case.
    on_progress : callable, optional
        Called with each record of its progress.
    stop : threading.Event, optional
        Once set, the work is ended before its next step.

    Returns
    -------
    object
        The result of the work.

    Raises
    ------
    Stopped
        When `stop` was set before the work came to its end.
    """
    work = relayed(steps, on_progress or (lambda _: None), stop)
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: _Result = end.value
            return result
