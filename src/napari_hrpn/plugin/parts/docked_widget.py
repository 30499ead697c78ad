"""Base class of the dock widgets: it stops its threads however it is closed, and fits on small screens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QSize, Qt
from qtpy.QtWidgets import QDockWidget, QFrame, QMainWindow, QScrollArea, QWidget

from napari_hrpn.core.requirements import needs
from napari_hrpn.plugin.background import soon
from napari_hrpn.plugin.parts.messages import UserError
from napari_hrpn.plugin.parts.preferences import set_log_level

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MOST_OF_WINDOW = 0.4
_SETTLING_MS = 100


class DockedWidget(QWidget):
    """A widget in a dock of napari; a subclass stops its threads and disconnects its signals in `end`."""

    least_width_px = 0
    _is_shut_down = False

    def __init__(self) -> None:
        super().__init__()
        for need in needs("napari"):
            if need.problem:
                raise UserError(need.problem)
        set_log_level()

    def keyed(self) -> Mapping[str, Callable[[], object]]:
        """What the actions of `parts/keys.py` do here, by their names."""
        return {}

    def sizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        """Return a size that is wide enough for a readable plot or table."""
        hint: QSize = super().sizeHint()
        return hint.expandedTo(QSize(self.least_width_px, hint.height()))

    def shut_down(self) -> None:
        """Stop all threads before the widget is deleted; a second call does nothing."""
        if not self._is_shut_down:
            self._is_shut_down = True
            self.end()

    def end(self) -> None:
        """Stop all threads; called once."""
        raise NotImplementedError

    def event(self, event: QEvent | None) -> bool:
        """Shut down when the dock is closed, or deleted with the viewer."""
        handled = bool(super().event(event))
        if event is not None and event.type() == QEvent.Type.ParentChange:
            parent = self.parent()
            if parent is None:
                # napari takes a widget out of a dock that is closed, and does not use it again
                self.shut_down()
            else:
                soon(self, self._become_a_tab).start()
                # a viewer that is closed deletes its docks and their widgets; this signal comes before that
                parent.destroyed.connect(self.shut_down)
        return handled

    def _become_a_tab(self) -> None:
        """Join the tabs of another dock of this package, instead of taking half of its space."""
        window, dock = self.window(), self.parent()
        if not isinstance(window, QMainWindow) or not isinstance(dock, QDockWidget) or dock.isFloating():
            return
        area = window.dockWidgetArea(dock)
        others = (other for other in window.findChildren(QDockWidget) if other is not dock)
        beside = [other for other in others if not other.isHidden() and window.dockWidgetArea(other) == area]
        ours = [other for other in beside if isinstance(other.widget(), DockedWidget) and not other.isFloating()]
        if ours and ours[-1] not in window.tabifiedDockWidgets(dock):
            window.tabifyDockWidget(ours[-1], dock)
            dock.show()
            dock.raise_()
        if ours:
            # the width is set after Qt has placed the dock among the tabs
            soon(self, self._widen, _SETTLING_MS).start()

    def _widen(self) -> None:
        """Give the tabs the width that this widget needs, but leave most of the window to the image."""
        window, dock = self.window(), self.parent()
        if not isinstance(window, QMainWindow) or not isinstance(dock, QDockWidget):
            return
        width = min(self.sizeHint().width(), int(_MOST_OF_WINDOW * window.width()))
        if dock.width() < width:
            window.resizeDocks([dock], [width], Qt.Orientation.Horizontal)


def scrolling(contents: QWidget, *, sideways: bool = False) -> QScrollArea:
    """Put a widget that may be higher than the screen into a scroll area without a frame."""
    area = QScrollArea() if sideways else _VerticalScrollArea()
    area.setWidgetResizable(True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    if not sideways:
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setWidget(contents)
    return area


class _VerticalScrollArea(QScrollArea):
    """Scrolls up and down only; it is wide enough that the scroll bar covers nothing."""

    def minimumSizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        hint, contents, bar = super().minimumSizeHint(), self.widget(), self.verticalScrollBar()
        if contents is None or bar is None:
            return hint
        return hint.expandedTo(QSize(contents.minimumSizeHint().width() + bar.sizeHint().width(), 0))
