"""Terminal output of commands: errors, warnings and progress on stderr, and stopping by Ctrl-C."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
import warnings
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import typer

from napari_hrpn.core import Progress, Stopped, drive

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from types import FrameType

LOG = logging.getLogger("napari_hrpn.cli")
"""What a command says of its work, for the file of --log; without one, nothing is written."""
LOG.setLevel(logging.INFO)
LOG.propagate = False
LOG.addHandler(logging.NullHandler())

GO_ON = "run the same command again to resume."
# Windows has SIGBREAK besides, of Ctrl-Break
ENDING_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGBREAK") if hasattr(signal, name))
_SIGNALS = (signal.SIGINT, *ENDING_SIGNALS)

_Report = TypeVar("_Report")
_Result = TypeVar("_Result")


class CommandError(ValueError):
    """A command cannot be carried out; the message is one sentence for the user."""


def complain(sentence: str) -> None:
    """Print an error as one line on stderr."""
    LOG.error(_one_line(sentence))
    typer.echo(f"napari-hrpn: error: {_one_line(sentence)}", err=True)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def is_for_the_user(error: BaseException) -> bool:
    """Whether the message of an error is meant for the user, who would only be confused by a traceback."""
    # errors of this package are ValueErrors with a sentence; those of the parser have format_message
    if isinstance(error, ValueError) and type(error).__module__.startswith("napari_hrpn."):
        return True
    return isinstance(error, OSError | MemoryError) or hasattr(error, "format_message")


def show_warning() -> Callable[..., None]:
    """Function for `warnings.showwarning` that prints each warning of this package once, as one line."""
    seen: set[str] = set()
    before = warnings.showwarning

    def _show(message: Warning | str, category: type[Warning], *place: object) -> None:
        is_new = str(message) not in seen
        seen.add(str(message))
        if is_new:
            LOG.warning(_one_line(str(message)))
        if not category.__module__.startswith("napari_hrpn."):
            before(message, category, *place)  # type: ignore[arg-type]
        elif is_new:
            sys.stdout.flush()
            typer.echo(f"warning: {_one_line(str(message))}", err=True)

    return _show


class Stop(threading.Event):
    """Event that the first signal sets, so that the work ends after its current step; a second signal does not wait."""

    number = 0

    def __init__(self, sentence: str) -> None:
        super().__init__()
        self._sentence = sentence

    def leave(self) -> NoReturn:
        """End the program with 128 + signal as the exit code, as shells do: 130 after Ctrl-C."""
        LOG.warning(self._sentence)
        typer.echo(self._sentence, err=True)
        raise typer.Exit(128 + self.number)


@contextmanager
def stop_on_signals(sentence: str = f"Stopped; what is finished is kept: {GO_ON}") -> Iterator[Stop]:
    """Turn Ctrl-C and SIGTERM into an event for the length of a block; `Stop.leave` prints the sentence."""
    stop = Stop(sentence)

    def _note(number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.number = number
        stop.set()
        # print is not reentrant, and the signal may have interrupted one
        os.write(2, b"\nStopping after the current step; press Ctrl-C again to stop at once.\n")

    before = {number: signal.signal(number, _note) for number in _SIGNALS}
    try:
        yield stop
    except KeyboardInterrupt:
        stop.leave()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def follow(
    steps: Generator[_Report, None, _Result],
    title: str,
    progress_of: Callable[[_Report], Progress] | None = None,
    stop: threading.Event | None = None,
    part_of: Callable[[_Report], str] | None = None,
) -> _Result:
    """Run long work to its end and show its progress: a bar on a terminal, otherwise a line for every tenth."""
    with ExitStack() as display:
        shown_title, started, done_before = title, 0.0, None
        show = display.enter_context(_display(title))
        log = _tenths(title, LOG.info)

        def show_progress(report: Any) -> None:  # noqa: ANN401 (it is progress where `progress_of` is left out)
            nonlocal shown_title, started, done_before, show, log
            progress: Progress = progress_of(report) if progress_of else report
            part_title = part_of(report) if part_of else title
            if part_title != shown_title:
                shown_title, done_before = part_title, None
                display.close()
                show, log = display.enter_context(_display(shown_title)), _tenths(shown_title, LOG.info)
            # what an earlier run finished says nothing about the speed of this one
            if done_before is None:
                started, done_before = time.monotonic(), progress.done
            words = _status(progress, done_before, time.monotonic() - started)
            show(progress, words)
            log(progress, words)

        try:
            return drive(steps, show_progress, stop)
        except Stopped:
            raise KeyboardInterrupt from None


def duration(seconds: float) -> str:
    """Duration in words: seconds, minutes, or hours and minutes."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def _status(progress: Progress, done_before: float, elapsed: float) -> str:
    """What is being done, and the time left; without an estimate, this run's speed so far gives one."""
    left = progress.seconds_left
    if left is None and progress.done > done_before:
        left = elapsed / (progress.done - done_before) * (progress.total - progress.done)
    words = [progress.words] if progress.words else []
    if left is not None and progress.done < progress.total:
        words.append(f"{duration(left)} left")
    return ", ".join(words)


@contextmanager
def _display(title: str) -> Iterator[Callable[[Progress, str], None]]:
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _tenths(title, partial(typer.echo, err=True))
        return
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn()
    with Bar(*columns, TextColumn("{task.fields[words]}", markup=False), console=console, transient=True) as bar:
        task = bar.add_task(title, total=None, words="")
        yield lambda progress, words: bar.update(task, completed=progress.done, total=progress.total, words=words)


def _tenths(title: str, say: Callable[[str], object]) -> Callable[[Progress, str], None]:
    """Function that says a line for every tenth of some work."""
    last_tenth = 0

    def show(progress: Progress, words: str) -> None:
        nonlocal last_tenth
        # rounding may leave a summed share just below a tenth
        tenth = int(10 * progress.share + 1e-9)
        if tenth > last_tenth:
            last_tenth = tenth
            say(f"{title}: {tenth * 10} %" + (f", {words}" if words else ""))

    return show
