"""Parts of a measurement, and the bar that runs them: Measure, Cancel, progress, time left and a message.

A part is computed once, in a thread, and its result is remembered under a key made of all that it depends on.
"""

from __future__ import annotations

import time
import weakref
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from types import GeneratorType
from typing import TYPE_CHECKING, Any, TypeAlias

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QProgressBar, QPushButton, QVBoxLayout

from napari_hrpn.analysis import ProbeImage
from napari_hrpn.core.progress import Progress, Stopped, relayed
from napari_hrpn.plugin.background import NewestTask
from napari_hrpn.plugin.parts.activity import Activity
from napari_hrpn.plugin.parts.messages import PROBLEM, MessagePanel, sentence_of, time_in_words

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Generator, Hashable, Mapping, Sequence

    from napari_hrpn.core.progress import Progress
    from napari_hrpn.plugin.background import Work

MOST_KEPT = 32
_STEPS = 1000
_BY_IDENTITY: Any = object.__eq__
_LEAST_SHARE = 0.02
"""Below this share, the time left is not shown: it is too uncertain."""

_Steps: TypeAlias = "Generator[Progress, None, Any]"
_Value: TypeAlias = Any


@dataclass(frozen=True, eq=False)
class Part:
    """A computation with one result."""

    key: Hashable  # the function, and all that its result depends on
    words: str  # shown while it is computed
    weight: float  # about how many pixels are read
    # called in the thread with the results of the former parts by their keys
    begin: Callable[[Mapping[Hashable, Any]], _Steps]


@dataclass(frozen=True, eq=False)
class Finished:
    """A part that has its result."""

    key: Hashable
    result: Any


class Remembered(OrderedDict["Hashable", Any]):
    """Results of parts by their keys; if there are too many, the least recently used one is dropped."""

    def __init__(self, most: int = MOST_KEPT) -> None:
        super().__init__()
        self._most = most

    def known(self, key: Hashable) -> Any:  # noqa: ANN401 (whatever was kept)
        """Result of a part, marked as used; None if it is not known."""
        if key in self:
            self.move_to_end(key)
        return self.get(key)

    def keep(self, key: Hashable, result: object) -> None:
        """Remember a result."""
        self[key] = result
        self.move_to_end(key)
        while len(self) > self._most:
            self.popitem(last=False)


def who(thing: object) -> Hashable:
    """Make a key of a slide or a layer, which does not keep it in memory."""
    return weakref.ref(thing)


def in_turn(parts: Sequence[Part], known: Mapping[Hashable, Any]) -> Work:
    """Make work for `BackgroundRun` that computes those parts that are not known, one after the other.

    It yields `Progress` of all of them and `Finished`, and returns False if it was stopped.
    """
    results = dict(known)
    missing = [part for part in parts if part.key not in results]
    total = sum(part.weight for part in missing) or 1.0

    def work(stop: threading.Event) -> Generator[Progress | Finished, None, bool]:
        """Compute the parts."""
        begun, done = time.monotonic(), 0.0
        try:
            for part in missing:
                shown = partial(_progress, part, done / total, total, begun)
                yield shown(Progress(0, 1))
                results[part.key] = yield from relayed(part.begin(results), shown, stop)
                done += part.weight
                yield Finished(part.key, results[part.key])
        except Stopped:
            return False
        return True

    return work


def _progress(part: Part, share_before: float, total: float, begun: float, of_part: Progress) -> Progress:
    """Progress of all parts, from the progress of one of them."""
    share = min(1.0, share_before + of_part.share * part.weight / total)
    elapsed = time.monotonic() - begun
    return Progress(share, 1, part.words, elapsed * (1 - share) / share if share > _LEAST_SHARE else None)


def step(words: str, weight: float, function: Callable[..., Any], *arguments: _Value, key: Hashable = None) -> Part:
    """Make a part that calls a function, which may yield its progress; a part among the arguments gives its result.

    The key is made of the function and its arguments; give one if these do not identify the result.
    """

    def begin(results: Mapping[Hashable, Any]) -> _Steps:
        """Call the function, in the thread."""
        values = [results[argument.key] if isinstance(argument, Part) else argument for argument in arguments]
        result = function(*values)
        return (yield from result) if isinstance(result, GeneratorType) else result

    return Part((function.__qualname__, *map(_key, arguments)) if key is None else key, words, weight, begin)


def _key(argument: _Value) -> Hashable:
    """Make the key of an argument: parts, regions, channels and settings by their content, slides by identity."""
    if isinstance(argument, list | tuple):
        return tuple(map(_key, argument))
    if isinstance(argument, ProbeImage):
        return argument.name, who(argument.slide), argument.channel
    named: Hashable = getattr(argument, "key", None) or getattr(argument, "digest", None)
    if named is not None:
        return named
    # objects without an equality of their own, such as slides, are compared by identity
    is_thing = argument is not None and type(argument).__eq__ is _BY_IDENTITY
    return who(argument) if is_thing else argument


class MeasureBar(MessagePanel):
    """Starts, shows and stops measurements, and remembers their results.

    `asked` is emitted when the user presses Measure, `found` with the key of a part that has its result, `ended` when
    nothing runs any more, with True if everything was measured.
    """

    asked = Signal()
    found = Signal(object)
    ended = Signal(bool)

    def __init__(self, tooltip: str) -> None:
        super().__init__()
        self.results = Remembered()
        self._task, self._activity = NewestTask(), Activity(self)
        self.measure_button = QPushButton("Measure")
        self.measure_button.setToolTip(tooltip)
        self.cancel_button = QPushButton("Cancel")
        self.cancel_button.setToolTip("Stop after the current block; finished results are kept")
        self.bar = QProgressBar()
        self.bar.setToolTip("Share of the measurement that is done")
        self.buttons = QHBoxLayout()
        self.buttons.addWidget(self.measure_button)
        self.buttons.addWidget(self.cancel_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(self.buttons)
        layout.addWidget(self.bar)
        layout.addWidget(self.message_label)
        self.measure_button.clicked.connect(self.asked)
        self.cancel_button.clicked.connect(self.cancel)
        self._show_state()

    @property
    def is_running(self) -> bool:
        """Whether something is being measured."""
        return self._task.is_busy

    def start(self, parts: Sequence[Part]) -> bool:
        """Start to compute the parts that are not known; returns False if there are none, or others are computed."""
        if self.is_running or all(part.key in self.results for part in parts):
            return False
        self._task.do(in_turn(parts, self.results), self._end, self._fail, self._take)
        self.bar.setRange(0, 0)
        self.bar.setFormat("")
        self.say("")
        self._show_state()
        return True

    def refuse(self, sentence: str) -> None:
        """Show why something cannot be done, in the colour of errors."""
        self.say(sentence, PROBLEM)

    def cancel(self) -> None:
        """Stop after the current step; finished parts are kept."""
        if self.is_running:
            self._task.cancel()
            self.cancel_button.setEnabled(False)
            self.say("Stopping after this block …")

    def abandon(self) -> None:
        """Stop, emit nothing more and forget all results; for a widget that is about to be deleted."""
        self._task.abandon()
        self._activity.end()
        self.results.clear()

    def known(self, key: Hashable) -> Any:  # noqa: ANN401 (whatever the part returned)
        """Result of a part; None if it is not known."""
        return self.results.known(key)

    def _take(self, news: Progress | Finished) -> None:
        if isinstance(news, Finished):
            self.results.keep(news.key, news.result)
            self.found.emit(news.key)
            return
        self.bar.setRange(0, _STEPS)
        self.bar.setValue(round(_STEPS * news.share))
        left = "" if news.seconds_left is None else f"{time_in_words(news.seconds_left)} left"
        self.bar.setFormat(", ".join(filter(None, ["%p %", left])))
        self._activity.show(self.bar.value(), _STEPS, news.words, left)
        if self.cancel_button.isEnabled():
            self.say(f"{news.words} …")

    def _end(self, is_complete: bool) -> None:
        self.say("" if is_complete else "Stopped; Measure resumes where it stopped.")
        self._stopped(is_complete)

    def _fail(self, error: BaseException) -> None:
        self.refuse(sentence_of(error))
        self._stopped(False)

    def _stopped(self, is_complete: bool) -> None:
        self._activity.end()
        self._show_state()
        self.ended.emit(is_complete)

    def _show_state(self) -> None:
        self.measure_button.setEnabled(not self.is_running)
        for widget in (self.cancel_button, self.bar):
            widget.setVisible(self.is_running)
        self.cancel_button.setEnabled(self.is_running)
