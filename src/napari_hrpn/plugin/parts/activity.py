"""Progress of long work in napari's activity dock, in the words of the widget that runs it."""

from __future__ import annotations

import io
from functools import partial
from typing import TYPE_CHECKING

from napari.utils.progress import progress
from qtpy.QtCore import QObject

from napari_hrpn.plugin.background import soon

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

_SHOW_MS = 200


class Activity(QObject):
    """Progress of one piece of work at a time; work that ends at once is not shown."""

    def __init__(self, owner: QWidget) -> None:
        super().__init__(owner)
        self._bar: _Bar | None = None
        self._news: tuple[int, int, str, str] | None = None
        self._is_drawing = False
        self._soon = soon(self, self._draw, _SHOW_MS)
        # emitted before this child of the owner is deleted
        owner.destroyed.connect(self.end)

    def show(self, done: int, total: int, words: str, left: str = "") -> None:
        """Show soon what is done; a total of 0 is not known yet."""
        self._news = done, total, words, left
        if not self._soon.isActive():
            self._soon.start()

    def end(self) -> None:
        """Remove the progress; a second call does nothing."""
        self._soon.stop()
        bar, self._bar, self._news = self._bar, None, None
        if bar is not None:
            bar.close()

    @property
    def _is_wanted(self) -> bool:
        return self._news is not None

    def _draw(self) -> None:
        # at each change of a bar, napari handles all waiting events, among which may be news or the end of the work
        if self._is_drawing or self._news is None:
            return
        self._is_drawing = True
        done, total, words, left = self._news
        bar = self._bar
        if bar is None or bar.disable:
            bar = self._bar = _Bar(desc=words, total=total, file=io.StringIO())
        if not self._is_wanted:
            self.end()
        for change in (partial(bar.resize, total, left), partial(bar.set_description, words), partial(bar.reach, done)):
            if self._bar is bar:
                change()
        self._is_drawing = False


class _Bar(progress):
    """A bar without lines in the terminal; napari would write the title a second time in place of the time left."""

    left = ""

    def resize(self, total: int, left: str) -> None:
        """Take the total, and the words for the time left, which are shown with the next change."""
        self.left, self.total = left, total

    def reach(self, done: int) -> None:
        """Show what is done."""
        self.update(done - self.n)

    def display(self, msg: str | None = None, pos: int | None = None) -> None:  # noqa: ARG002
        """Show the time left."""
        self.events.eta(value=self.left)
