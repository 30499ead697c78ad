"""Following a long piece of work on stderr: a bar on a terminal, a line for every tenth elsewhere."""

from __future__ import annotations

import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from threading import Event

_Report = TypeVar("_Report")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Step:
    """How far a piece of work is."""

    # Parts of about equal length
    done: int
    total: int
    seconds_left: float | None = None  # Expected; estimated from the parts done where None
    note: str = ""  # Anything worth showing, such as the speed


def follow(
    steps: Generator[_Report, None, _Result],
    title: str,
    step_of: Callable[[_Report], Step],
    stop: Event | None = None,
) -> _Result:
    """Run a piece of work to its end, showing how far it is."""
    with closing(steps), _display(title) as show:
        started, before = 0.0, None
        while True:
            try:
                step = step_of(next(steps))
            except StopIteration as end:
                result: _Result = end.value
                return result
            # what an earlier run did says nothing about the speed of this one
            if before is None:
                started, before = time.monotonic(), step.done
            show(step, _left(step, before, time.monotonic() - started))
            if stop is not None and stop.is_set():
                raise KeyboardInterrupt


def duration(seconds: float) -> str:
    """Write a time as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def _left(step: Step, before: int, elapsed: float) -> str:
    left = step.seconds_left
    if left is None and step.done > before:
        left = elapsed / (step.done - before) * (step.total - step.done)
    words = [step.note] if step.note else []
    if left is not None and step.done < step.total:
        words.append(f"{duration(left)} left")
    return ", ".join(words)


@contextmanager
def _display(title: str) -> Iterator[Callable[[Step, str], None]]:
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _printed_tenths(title)
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    columns = TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn()
    with Progress(*columns, TextColumn("{task.fields[words]}", markup=False), console=console, transient=True) as bar:
        task = bar.add_task(title, total=None, words="")
        yield lambda step, words: bar.update(task, completed=step.done, total=step.total, words=words)


def _printed_tenths(title: str) -> Callable[[Step, str], None]:
    shown = 0

    def show(step: Step, words: str) -> None:
        nonlocal shown
        tenth = 10 * step.done // max(1, step.total)
        if tenth > shown:
            shown = tenth
            typer.echo(f"{title}: {tenth * 10} %" + (f", {words}" if words else ""), err=True)

    return show
