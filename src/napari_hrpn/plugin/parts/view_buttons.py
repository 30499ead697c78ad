"""Row of buttons that show a real probe, its prediction, both, or their difference."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QHBoxLayout, QPushButton, QSizePolicy, QWidget

from napari_hrpn.plugin.viewer.views import VIEWS, ComparedView, View, can_show, compared_view

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari
    from napari.layers import Image

_TOOLTIPS: dict[View, str] = {
    "real": "Show the real probe alone",
    "predicted": "Show the prediction alone",
    "side by side": "Show the real probe to the left of the prediction, which move together",
    "overlay": "Show the real probe and the prediction on top of each other, without the other stains",
    "difference": "Show predicted minus real: orange where the prediction is brighter, blue where the real probe is",
}
_AGAIN = "\nPress again to bring back what was visible before"


class ViewButtons(QWidget):
    """Buttons for the views of a real probe and a prediction."""

    def __init__(self, viewer: napari.Viewer, chosen: Callable[[], tuple[Image | None, Image | None]]) -> None:
        super().__init__()
        self._chosen = chosen
        self._view: ComparedView | None = compared_view(viewer)
        self.buttons: dict[View, QPushButton] = {}
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(2)
        for view in VIEWS:
            button = QPushButton(view.capitalize())
            button.setCheckable(True)
            button.setToolTip(_TOOLTIPS[view] + _AGAIN)
            button.setMinimumWidth(10)
            button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            button.clicked.connect(lambda checked, view=view: self._press(view, checked))
            self.buttons[view] = button
            row.addWidget(button)
        self._view.changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Offer the views that there are layers for."""
        if self._view is None:
            return
        real, predicted = self._chosen()
        for view, button in self.buttons.items():
            button.setChecked(view == self._view.shown)
            button.setEnabled(button.isChecked() or can_show(view, real, predicted))

    def shut_down(self) -> None:
        """Bring back what was visible, before the widget goes away; called again, it does nothing."""
        view, self._view = self._view, None
        if view is not None:
            # at the end of the program, Qt may have deleted it already
            with contextlib.suppress(RuntimeError):
                view.changed.disconnect(self.refresh)
                view.leave()

    def _press(self, view: View, checked: bool) -> None:
        if self._view is None:
            return
        if checked:
            self._view.show(view, *self._chosen())
        else:
            self._view.end()
        self.refresh()
