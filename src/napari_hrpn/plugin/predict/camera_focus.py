"""Where the user looks, for threads that must not ask napari."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_hrpn.plugin.viewer import camera_centre

if TYPE_CHECKING:
    import napari
    from napari.layers import Image


@dataclass
class _Focus:
    """A point that any thread may ask for by calling it; only the GUI thread sets it."""

    point: tuple[float, float] | None = None  # Row and column in full-resolution pixels
    was_asked: bool = False  # Whether some thread has asked, as the engine does for its first tile

    def __call__(self) -> tuple[float, float] | None:
        """Return the point."""
        self.was_asked = True
        return self.point


class CameraFocus:
    """Keeps a `_Focus` on the middle of the view."""

    def __init__(self, viewer: napari.Viewer, layer: Image) -> None:
        self._viewer, self._layer = viewer, layer
        self.focus = _Focus()
        viewer.scene.camera.events.center.connect(self._update)
        self._update()

    def disconnect_viewer(self) -> None:
        """Follow the camera no more."""
        self._viewer.scene.camera.events.center.disconnect(self._update)

    def _update(self, event: object = None) -> None:  # noqa: ARG002
        self.focus.point = camera_centre(self._viewer, self._layer)
