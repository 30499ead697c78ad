"""Parts of a measurement, each computed once in a thread and remembered while nothing changed; knows nothing of Qt.

The rule: the key of a part names everything that its result depends on.
"""

from __future__ import annotations

import contextlib
import weakref
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from napari_hrpn.plugin.parts.staged_progress import Progress, StagedProgress, Stopped

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Generator, Hashable, Mapping, Sequence

    from napari_hrpn.plugin.background import Work

MOST_KEPT = 32

Steps: TypeAlias = "Generator[Any, None, Any]"


@dataclass(frozen=True, eq=False)
class Part:
    """Something to compute."""

    key: Hashable  # What it is, and of what
    words: str  # What is being done while it is computed
    weight: float  # About how many pixels are looked at
    # Called in the thread with the results of the parts before by their keys; returns a generator that reports
    # ``done`` and ``total``
    begin: Callable[[Mapping[Hashable, Any]], Steps]


@dataclass(frozen=True, eq=False)
class Finished:
    """A part that has its result."""

    key: Hashable
    result: Any


class Remembered:
    """Results of parts, the latest ones used."""

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._results: OrderedDict[Hashable, Any] = OrderedDict()
        self._most = most

    def __contains__(self, key: Hashable) -> bool:
        return key in self._results

    def get(self, key: Hashable) -> Any:  # noqa: ANN401 (whatever was kept)
        """Return the result of a part; None where there is none."""
        if key in self._results:
            self._results.move_to_end(key)
        return self._results.get(key)

    def keep(self, key: Hashable, result: object) -> None:
        """Remember a result; the one that was not used for longest goes."""
        self._results[key] = result
        self._results.move_to_end(key)
        while len(self._results) > self._most:
            self._results.popitem(last=False)

    def clear(self) -> None:
        """Forget all."""
        self._results.clear()

    def copy(self) -> dict[Hashable, Any]:
        """All results by their keys."""
        return dict(self._results)


def who(thing: object) -> Hashable:
    """Something to name a slide or a layer with in a key, which does not keep it in memory."""
    return weakref.ref(thing)


def in_turn(parts: Sequence[Part], known: Mapping[Hashable, Any]) -> Work:
    """Work for `BackgroundRun` that computes parts one after the other."""
    results = dict(known)
    wanted = [part for part in parts if part.key not in results]

    def work(stop: threading.Event) -> Generator[Progress | Finished, None, bool]:
        """Compute each part that is not known."""
        course = StagedProgress(stop, sum(part.weight for part in wanted) or 1.0)
        with contextlib.suppress(Stopped):
            for part in wanted:
                results[part.key] = yield from course.follow(part.words, part.begin(results), part.weight)
                yield Finished(part.key, results[part.key])
            return True
        return False

    return work


def one_step(function: Callable[..., Any], *arguments: object) -> Steps:
    """Steps of a function that cannot say how far it is."""
    yield from ()
    return function(*arguments)
