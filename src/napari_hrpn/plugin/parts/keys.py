"""Keys for what is repeated: actions of napari, whose keys a user finds and changes in Preferences > Shortcuts.

A key acts on the open widget that has its action; among several, on one that is in view.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

# napari reads the annotation of a command when it is called
from napari.components import ViewerModel
from napari.settings import get_settings
from napari.utils.action_manager import action_manager
from napari.utils.interactions import Shortcut
from napari.utils.key_bindings import coerce_keybinding
from napari.utils.notifications import show_info
from qtpy.QtCore import QObject

from napari_hrpn.plugin.parts.docked_widget import DockedWidget

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtWidgets import QPushButton


_PREFIX = "HRPN: "


class _Action(NamedTuple):
    key: str
    words: str  # in napari's preferences
    widget: str  # one that has it


NEXT_ROI, PREVIOUS_ROI, MEASURE, BY_TURNS = (
    f"napari-hrpn:{name}" for name in ("next_roi", "previous_roi", "measure", "real_and_predicted_by_turns")
)
ACTIONS = {
    NEXT_ROI: _Action("N", f"{_PREFIX}show the next ROI", "ROI correlation"),
    PREVIOUS_ROI: _Action("Shift-N", f"{_PREFIX}show the previous ROI", "ROI correlation"),
    MEASURE: _Action("Shift-M", f"{_PREFIX}measure", "ROI correlation"),
    BY_TURNS: _Action("Q", f"{_PREFIX}show the real probe and the prediction by turns", "ROI correlation"),
}
_registered: set[str] = set()


class KeyHint(QObject):
    """Writes the keys of an action behind the tooltip of a button, and follows the preferences."""

    def __init__(self, button: QPushButton, action: str) -> None:
        super().__init__(button)
        _offer_keys()
        self._button, self._action, self._tooltip = button, action, button.toolTip()
        action_manager.events.shortcut_changed.connect(self._show)
        self._show()

    def _show(self, event: object = None) -> None:
        if getattr(event, "name", self._action) == self._action:
            # napari has no public way to ask for the keys of an action
            keys = [Shortcut(key).platform for key in action_manager._shortcuts.get(self._action, ())]
            hint = f"\n{' or '.join(keys)}: {ACTIONS[self._action].words.removeprefix(_PREFIX)}" if keys else ""
            self._button.setToolTip(self._tooltip + hint)


def _offer_keys() -> None:
    """Register the actions once; a key that has another action already, or that the user has removed, is not bound."""
    chosen = get_settings().shortcuts.shortcuts
    for name in [name for name in ACTIONS if name not in _registered]:
        _registered.add(name)
        key = coerce_keybinding(ACTIONS[name].key)
        action_manager.register_action(name, _command(name), ACTIONS[name].words, ViewerModel, repeatable=True)
        if name not in chosen and key not in ViewerModel.class_keymap:
            action_manager.bind_shortcut(name, key)


def _command(name: str) -> Callable[[ViewerModel], None]:
    def act(viewer: ViewerModel) -> None:
        """Do what the widget in view does for this action."""
        window = viewer.window._qt_window
        found = [widget for widget in window.findChildren(DockedWidget) if name in widget.keyed()]
        # a dock behind others in tabs is visible for Qt, but no part of it is
        in_view = [widget for widget in found if not widget.visibleRegion().isEmpty()]
        if found:
            (in_view or found)[-1].keyed()[name]()
        else:
            show_info(f"{ACTIONS[name].words}: open the widget {ACTIONS[name].widget} first.")

    # napari looks for the keys that may be held down by the name of the function
    act.__name__ = name.partition(":")[2]
    return act
