"""One prediction while it runs: its thread, its layer, and what it tells of itself."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QTimer, Signal

from napari_hrpn.plugin.background import BackgroundRun
from napari_hrpn.plugin.predict.camera_focus import CameraFocus
from napari_hrpn.plugin.predict.run import Job, Outcome, Progress, predict

if TYPE_CHECKING:
    import napari

    from napari_hrpn.plugin.predict.layer import PredictionLayer
    from napari_hrpn.plugin.viewer import LiveLevels

_LOOK_MS = 200


class RunningPrediction(QObject):
    """Runs a job and keeps its layer up; lives in the GUI thread.

    `begun` says that the first tile is being computed, `progressed` carries `Progress`, `ended` an `Outcome`, `failed`
    an exception. After one of the last two, nothing is running any more.
    """

    begun = Signal()
    progressed = Signal(object)
    ended = Signal(object)
    failed = Signal(object)

    def __init__(self, viewer: napari.Viewer, job: Job, shown: PredictionLayer, levels: LiveLevels) -> None:
        super().__init__()
        self.job = job
        self.progress: Progress | None = None
        self._shown = shown
        self._camera = CameraFocus(viewer, shown.layer)
        self._run = BackgroundRun(partial(predict, job, levels, self._camera.focus))
        self._run.yielded.connect(self._show)
        self._run.returned.connect(self._end)
        self._run.failed.connect(self._fail)
        self._run.start()
        self._first_tile = QTimer(self)
        self._first_tile.timeout.connect(self._look_for_first_tile)
        self._first_tile.start(_LOOK_MS)

    @property
    def has_begun(self) -> bool:
        """Whether a tile was finished, beside those of an earlier run."""
        return self.progress is not None and self.progress.finished > self.progress.earlier

    def cancel(self) -> None:
        """End it after the tile that is being computed."""
        self._run.cancel()

    def abandon(self) -> None:
        """The same, and tell nothing more."""
        self._run.abandon()
        self._first_tile.stop()
        self._camera.disconnect_viewer()

    def wait(self, timeout_s: float) -> bool:
        """As `BackgroundRun.wait`."""
        return self._run.wait(timeout_s)

    def _look_for_first_tile(self) -> None:
        """The engine yields nothing before its first tile is done, but asks where the user looks when it begins."""
        if self._camera.focus.was_asked:
            self._first_tile.stop()
            self.begun.emit()

    def _show(self, progress: Progress) -> None:
        self.progress = progress
        if self.has_begun:
            self._first_tile.stop()
        self._shown.updated(progress.contrast)
        self.progressed.emit(progress)

    def _end(self, outcome: Outcome) -> None:
        self._first_tile.stop()
        self._camera.disconnect_viewer()
        self._shown.finish(outcome)
        self.ended.emit(outcome)

    def _fail(self, error: BaseException) -> None:
        self._first_tile.stop()
        self._camera.disconnect_viewer()
        if self._shown.is_new and not self.has_begun:
            self._shown.remove()
        self.failed.emit(error)
