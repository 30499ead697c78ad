"""Runs the steps of a tutorial: its commands, and the clicks that stand in comments beside their words.

A page has commands in fences named bash, and, where the reader uses the mouse, comments that begin with "clicks" and
call the methods of `Window`. Every word that they name has to be in the words of the same section.
"""

import html
import re
import shlex
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QDockWidget,
    QFileDialog,
    QLabel,
    QProgressBar,
)

from napari_hrpn.cli import run

_LONGEST_WAIT_MS = 240_000
_COMMANDS = r"^ *```bash\n(?P<commands>.*?)^ *```$"
_CLICKS = r"^ *<!-- clicks\n(?P<clicks>.*?)^ *-->$"
_STEP = re.compile(f"{_COMMANDS}|{_CLICKS}", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Step:
    """Commands or clicks, and the words around them."""

    line: int
    commands: str
    clicks: str
    words: str


def steps(page: Path) -> Iterator[Step]:
    text = page.read_text("utf-8")
    for found in _STEP.finditer(text):
        beginning = text.rindex("\n## ", 0, found.start())
        end = text.find("\n## ", found.end())
        words = _STEP.sub("", text[beginning : end if end > 0 else len(text)])
        plain = " ".join(re.sub(r"[*`]", "", words).split())
        line = text.count("\n", 0, found.start()) + 1
        yield Step(line, found["commands"] or "", found["clicks"] or "", plain)


class Window:
    """The window of napari, used by what stands on it."""

    def __init__(self, make_viewer, qtbot, monkeypatch):
        self._make_viewer, self._qtbot, self._monkeypatch = make_viewer, qtbot, monkeypatch
        self._words = ""
        self.viewer = None

    def follow(self, page: Path) -> None:
        for step in steps(page):
            self.do(step, page.name)

    def do(self, step: Step, page: str) -> None:
        self._words = step.words
        for line in step.commands.splitlines():
            self._command(shlex.split(line, comments=True))
        names = {name: getattr(self, name) for name in ("menu", "press", "choose", "drag", "shows", "save_as", "wait")}
        # the lines of an error are those of the page
        clicks = "\n" * step.line + textwrap.dedent(step.clicks)
        exec(compile(clicks, page, "exec"), {**names, "viewer": self.viewer, "Path": Path})

    def menu(self, path: str) -> None:
        """Choose an entry of the menu, such as "Plugins > HRPN > Predict QD"."""
        self._is_told(path)
        menu = self._main.menuBar()
        for word in path.split(" > "):
            # napari adds the plugin to the names of its widgets
            (action,) = [one for one in menu.actions() if one.text().replace("&", "").split(" (HRPN)")[0] == word]
            menu = action.menu()
        action.trigger()
        QApplication.processEvents()

    def press(self, text: str, entry: str = "") -> None:
        """Press a button, or choose an entry of the menu behind it."""
        self._is_told(text, entry)
        button = self.wait(lambda: next((one for one in self._visible(QAbstractButton) if one.text() == text), None))
        self.wait(button.isEnabled)
        if entry:
            next(action for action in button.menu().actions() if action.text() == entry).trigger()
        else:
            button.click()

    def choose(self, title: str, value: object) -> None:
        """Choose a value in the field of a title."""
        self._is_told(title, str(value))
        label = next(one for one in self._visible(QLabel) if one.text() == title)
        fields = label.parentWidget()
        field = next(iter([*fields.findChildren(QComboBox), *fields.findChildren(QAbstractSpinBox)]))
        if isinstance(field, QComboBox):
            field.setCurrentText(str(value))
            assert field.currentText() == value
        else:
            field.setValue(value)
        QApplication.processEvents()

    def drag(self, corner: tuple[int, int], opposite: tuple[int, int]) -> None:
        """Draw a rectangle with the tool that is active, in pixels of the layer."""
        layer = self.viewer.layers.selection.active
        assert layer.mode == "add_rectangle"
        layer.add_rectangles(np.array([corner, opposite], float))

    def shows(self, text: str) -> None:
        """Wait until a text is somewhere in the docks."""
        self._is_told(text)
        self.wait(lambda: any(text in seen for seen in self._texts()))

    def save_as(self, name: str) -> None:
        """Answer the next questions for a file."""
        self._is_told(name)
        answer = str(Path(name).resolve()), ""
        self._monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, **__: answer)

    def wait(self, condition):
        """Wait until something is there or true, and return it."""
        found = []

        def is_so():
            QApplication.processEvents()
            found[:] = [condition()]
            return bool(found[0])

        self._qtbot.waitUntil(is_so, timeout=_LONGEST_WAIT_MS)
        return found[0]

    @property
    def _main(self):
        return self.viewer.window._qt_window

    def _command(self, words: list[str]) -> None:
        if words[:1] == ["napari"]:
            self.viewer = self._make_viewer(show=True)
            self._main.resize(1500, 1050)
            if words[1:]:
                *slides, option, plugin = words[1:]
                assert option == "--plugin"
                self.viewer.open(slides, plugin=plugin)
        elif words:
            assert words[0] == "napari-hrpn"
            assert run(words[1:]) == 0, words

    def _is_told(self, *words: str) -> None:
        for word in words:
            assert word in self._words, f"the page does not say {word!r} here: {self._words}"

    def _visible(self, kind):
        docks = self._main.findChildren(QDockWidget)
        return [one for dock in docks for one in dock.findChildren(kind) if one.isVisible()]

    def _texts(self) -> list[str]:
        texts = [one.text() for kind in (QLabel, QProgressBar) for one in self._visible(kind)]
        return [html.unescape(re.sub(r"<[^>]*>|\u200b", "", text)).replace("\u00a0", " ") for text in texts]
