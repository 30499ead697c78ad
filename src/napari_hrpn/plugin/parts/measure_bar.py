"""Buttons Measure and Cancel with a progress bar, the time left and a sentence; runs parts in a thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QProgressBar, QPushButton, QVBoxLayout

from napari_hrpn.plugin.background import NewestTask
from napari_hrpn.plugin.parts.messages import PROBLEM, MessagePanel, sentence_of, time_in_words
from napari_hrpn.plugin.parts.tasks import Finished, Part, Remembered, in_turn

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from napari_hrpn.core.progress import Progress

_STEPS = 1000


class MeasureBar(MessagePanel):
    """Starts, follows and ends measurements, and remembers their parts.

    `asked` says that the user wants to measure, `found` carries the key of a part that has its result, `ended` says
    that nothing runs any more, and carries whether all was measured.
    """

    asked = Signal()
    found = Signal(object)
    ended = Signal(bool)

    def __init__(self, tooltip: str) -> None:
        super().__init__()
        self.results = Remembered()
        self._task = NewestTask()
        self.measure_button = QPushButton("Measure")
        self.measure_button.setToolTip(tooltip)
        self.cancel_button = QPushButton("Cancel")
        self.cancel_button.setToolTip("Stop after the block that is being read; what is finished is kept")
        self.bar = QProgressBar()
        self.bar.setToolTip("Share of all that is to be measured")
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
        """Compute the parts that are not known; nothing is done while others are computed."""
        if self.is_running or all(part.key in self.results for part in parts):
            return False
        self._task.do(in_turn(parts, self.results), self._end, self._fail, self._take)
        self.bar.setRange(0, 0)
        self.bar.setFormat("")
        self.say("")
        self._show_state()
        return True

    def refuse(self, sentence: str) -> None:
        """Show why something cannot be done, in the colour of what went wrong."""
        self.say(sentence, PROBLEM)

    def cancel(self) -> None:
        """Stop after the step that is being done; what is finished is kept."""
        if self.is_running:
            self._task.cancel()
            self.cancel_button.setEnabled(False)
            self.say("Stopping after this block …")

    def abandon(self) -> None:
        """Stop, emit nothing more and forget all results, for the widget is going away."""
        self._task.abandon()
        self.results.clear()

    def known(self, key: Hashable) -> Any:  # noqa: ANN401 (whatever the part returned)
        """Result of a part; None where it is not known."""
        return self.results.known(key)

    def _take(self, news: Progress | Finished) -> None:
        if isinstance(news, Finished):
            self.results.keep(news.key, news.result)
            self.found.emit(news.key)
            return
        self.bar.setRange(0, _STEPS)
        self.bar.setValue(round(_STEPS * news.share))
        left = "" if news.seconds_left is None else f", {time_in_words(news.seconds_left)} left"
        self.bar.setFormat(f"%p %{left}")
        if self.cancel_button.isEnabled():
            self.say(f"{news.words} …")

    def _end(self, is_complete: bool) -> None:
        self.say("" if is_complete else "Stopped; Measure goes on with what is missing.")
        self._stopped(is_complete)

    def _fail(self, error: BaseException) -> None:
        self.refuse(sentence_of(error))
        self._stopped(False)

    def _stopped(self, is_complete: bool) -> None:
        self._show_state()
        self.ended.emit(is_complete)

    def _show_state(self) -> None:
        self.measure_button.setEnabled(not self.is_running)
        for widget in (self.cancel_button, self.bar):
            widget.setVisible(self.is_running)
        self.cancel_button.setEnabled(self.is_running)
