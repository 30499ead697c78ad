"""One thing at a time in another thread: what is asked for takes the place of what was being done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.utils.notifications import notification_manager
from qtpy.QtCore import QObject, Signal

from napari_hrpn.plugin.background import BackgroundRun

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_hrpn.plugin.background import Work


class OneTask(QObject):
    """Runs the newest task.

    `said` carries the sentence of one that failed.
    """

    said = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._run: BackgroundRun | None = None

    @property
    def is_busy(self) -> bool:
        """Whether something runs."""
        return self._run is not None

    def do(self, work: Work, take: Callable[[Any], None]) -> None:
        """Start a task.

        Parameters
        ----------
        work : callable
            For `BackgroundRun`.
        take : callable
            Called in the GUI thread with the result.
        """
        self.abandon()
        self._run = BackgroundRun(work)
        self._run.returned.connect(take)
        self._run.failed.connect(self._tell_failure)
        self._run.finished.connect(self._end)
        self._run.start()

    def abandon(self) -> None:
        """End what runs, and say no more of it."""
        if self._run is not None:
            self._run.abandon()
            self._run = None

    def _end(self) -> None:
        self._run = None

    def _tell_failure(self, error: BaseException) -> None:
        self.said.emit(str(error))
        if not isinstance(error, ValueError):
            notification_manager.receive_error(type(error), error, error.__traceback__)
