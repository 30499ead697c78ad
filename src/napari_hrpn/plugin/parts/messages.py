"""Messages and errors for the user: sentences in the colours of the theme, never a traceback."""

from __future__ import annotations

import logging
import re
import warnings
from typing import TYPE_CHECKING, TypeVar

import napari
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QLabel, QWidget

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from typing import Final

_Report = TypeVar("_Report")
_Result = TypeVar("_Result")

TEXT, QUIET, _WARNING, PROBLEM = "text", "quiet", "warning", "problem"
ON_DARK: Final = {TEXT: "#f0f1f2", QUIET: "#a3a7ae", _WARNING: "#e3b617", PROBLEM: "#ff8f85"}
ON_LIGHT: Final = {TEXT: "#1e1e21", QUIET: "#63666b", _WARNING: "#775400", PROBLEM: "#b00012"}
_LOG = logging.getLogger(__name__)
WARNING_MARK = "⚠"


class UserError(Exception):
    """Something cannot be done; its text is one sentence for the user."""


def is_for_the_user(error: BaseException) -> bool:
    """Whether the text of an error was written for the user."""
    is_own = isinstance(error, ValueError) and type(error).__module__.startswith("napari_hrpn")
    return is_own or isinstance(error, UserError)


def sentence_of(error: BaseException) -> str:
    """Return the sentence of an error; an unexpected error is also passed to napari, which shows its traceback."""
    if is_for_the_user(error):
        return str(error)
    notification_manager.receive_error(type(error), error, error.__traceback__)
    return "An unexpected error occurred in the program."


class ToneLabel(QLabel):
    """A sentence in one of four tones, readable in dark and light themes; it takes no space while it is empty."""

    def __init__(self, tone: str = QUIET) -> None:
        super().__init__()
        self._tone = tone
        self._colour = ""
        self.setWordWrap(True)
        self.say("")

    def say(self, sentence: str, tone: str | None = None) -> None:
        """Show a sentence."""
        self._tone = tone or self._tone
        self._paint()
        self.setText(breakable(sentence))
        self.setVisible(bool(sentence))

    def warn(self, sentences: Sequence[str]) -> None:
        """Show warnings, one below the other, in place of the former ones."""
        self.say("\n".join(f"{WARNING_MARK} {sentence}" for sentence in sentences), _WARNING)

    def changeEvent(self, event: QEvent | None) -> None:  # noqa: N802 (Qt's name)
        """Follow the theme."""
        super().changeEvent(event)
        if event is not None and event.type() == QEvent.Type.StyleChange:
            self._paint()

    def _paint(self) -> None:
        viewer = napari.current_viewer()
        colours = ON_LIGHT if viewer is not None and viewer.theme == "light" else ON_DARK
        colour = colours[self._tone]
        if colour != self._colour:
            # set first: a new style sheet emits a change of style, which calls this method again
            self._colour = colour
            self.setStyleSheet(f"color: {colour}")


class MessagePanel(QWidget):
    """A widget with a label for the last message; a subclass lays it out."""

    def __init__(self) -> None:
        super().__init__()
        self.message = ""
        self.message_label = ToneLabel(TEXT)

    def say(self, sentence: str, tone: str = TEXT) -> None:
        """Show a sentence, and log it."""
        if sentence and sentence != self.message:
            _LOG.log(logging.WARNING if tone == PROBLEM else logging.INFO, sentence)
        self.message = sentence
        self.message_label.say(sentence, tone)


def breakable(sentence: str) -> str:
    """Allow line breaks within the paths of a sentence: one long word would make the dock wider."""
    return re.sub(r"([/\\_.-])", "\\1\u200b", sentence)


def time_in_words(seconds: float) -> str:
    """Write a length of time in seconds, minutes or hours."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def warned_in_form(
    category: type[Warning], steps: Generator[_Report, None, _Result]
) -> Generator[_Report, None, _Result]:
    """Run work without its warnings of a category, which the form shows; scripts still get them."""
    # the filter matches this module, which runs the work; recording warnings instead would also catch those of other
    # threads, and lose them
    warnings.filterwarnings("ignore", category=category, module=rf"{re.escape(__name__)}\Z")
    return (yield from steps)
