"""What every dock widget of this package is: it ends what it runs, however it goes away."""

from __future__ import annotations

from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QWidget


class DockedWidget(QWidget):
    """A widget in a dock of napari's; a subclass says in `shut_down` what is to be ended."""

    def shut_down(self) -> None:
        """End all that runs, before the widget goes away; called again, it does nothing."""
        raise NotImplementedError

    def event(self, event: QEvent | None) -> bool:
        """Notice that its dock is closed, or is going to be deleted with the viewer."""
        handled = bool(super().event(event))
        if event is not None and event.type() == QEvent.Type.ParentChange:
            parent = self.parent()
            if parent is None:
                # napari takes a widget out of a dock that is closed, and does not use it again
                self.shut_down()
            else:
                # a viewer that is closed deletes its docks with what is in them, which is told before it happens
                parent.destroyed.connect(self.shut_down)
        return handled
