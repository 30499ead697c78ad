"""Reading of slides off the GUI thread, one after the other; a bad file is one sentence.

What a training takes of a slide is made here too: the first of it loads torch, which takes seconds.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

from napari_hrpn.plugin.background import BackgroundRun
from napari_hrpn.plugin.reader import get_reader
from napari_hrpn.slides import SlideError, list_series, local_path, open_slide

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator, Sequence

    from napari_hrpn.slides import Slide
    from napari_hrpn.training import SlideEntry


@dataclass(frozen=True)
class Wanted:
    """A slide to be opened."""

    path: Path  # A file or a folder; a folder that is no slide stands for the slides in it
    entry: SlideEntry | None = None  # What names it, where it is of a run that is loaded
    slide: Slide | None = None  # Where it is open already


@dataclass(frozen=True, eq=False)
class Opened:
    """A slide that was opened."""

    slide: Slide
    entry: SlideEntry  # As it was wanted, or the defaults
    is_loaded: bool = False  # Whether it is of a run that is loaded


class SlideReading(QObject):
    """Opens slides in the background.

    `opened` carries an `Opened`, `said` a sentence; `finished` says that nothing is left to be opened. `failed`
    carries what should not have happened.
    """

    opened = Signal(object)
    said = Signal(str)
    failed = Signal(object)
    finished = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._queue: list[Wanted] = []
        self._run: BackgroundRun | None = None

    @property
    def is_running(self) -> bool:
        """Whether slides are still to be opened."""
        return self._run is not None

    def read(self, wanted: Sequence[Wanted]) -> None:
        """Open slides, after those that were asked for before."""
        self._queue += wanted
        if self._run is None and self._queue:
            self._start()

    def abandon(self) -> None:
        """Open no more; no signal comes any more."""
        self._queue.clear()
        if self._run is not None:
            self._run.abandon()
            self._run = None

    def _start(self) -> None:
        queue, self._queue = tuple(self._queue), []
        self._run = BackgroundRun(partial(_open_all, queue), is_polite=False)
        self._run.yielded.connect(self._tell)
        self._run.failed.connect(self.failed)
        self._run.finished.connect(self._end)
        self._run.start()

    def _tell(self, found: Opened | str) -> None:
        if isinstance(found, str):
            self.said.emit(found)
        else:
            self.opened.emit(found)

    def _end(self) -> None:
        self._run = None
        if self._queue:
            self._start()
        else:
            self.finished.emit()


def _open_all(queue: Sequence[Wanted], stop: threading.Event) -> Generator[Opened | str, None, None]:
    for wanted in queue:
        if stop.is_set():
            return
        try:
            yield from _open(wanted)
        except SlideError as error:
            yield str(error)


def _open(wanted: Wanted) -> Generator[Opened | str, None, None]:
    if (entry := wanted.entry) is not None:
        yield Opened(open_slide(wanted.path, series=entry.series, z=entry.z, t=entry.t), entry, is_loaded=True)
        return
    if wanted.slide is not None:
        yield _opened(wanted.slide)
        return
    try:
        slide = open_slide(wanted.path)
    except SlideError:
        inside = _slides_inside(wanted.path)
        if not any(isinstance(found, Opened) for found in inside):
            raise
        yield from inside
        return
    yield _opened(slide)
    images = len(list_series(wanted.path))
    if images > 1:
        yield (
            f"{wanted.path.name} holds {images} images and image {slide.series} is taken: open the file in the viewer "
            "and press Add open slides to take others."
        )


def _opened(slide: Slide) -> Opened:
    from napari_hrpn.training import SlideEntry

    return Opened(slide, SlideEntry(local_path(slide.source), series=slide.series, z=slide.z, t=slide.t))


def _slides_inside(folder: Path) -> list[Opened | str]:
    """The slides of several channels that lie in a folder; single stains would be one slide together."""
    found: list[Opened | str] = []
    children: list[Path] = []
    with contextlib.suppress(OSError):
        children = sorted(folder.iterdir())
    for child in children:
        if get_reader(str(child)) is not None:
            try:
                slide = open_slide(child)
            except SlideError as error:
                found.append(str(error))
                continue
            if len(slide.channel_names) > 1:
                found.append(_opened(slide))
    return found
