"""Keys for what is repeated: free in napari, shown in tooltips, and the user's to change."""

import pytest
from app_model.types import KeyBinding
from napari.components import ViewerModel
from napari.layers import Image, Labels, Points, Shapes, Vectors
from napari.settings import get_settings
from napari.utils.action_manager import action_manager
from napari.utils.interactions import Shortcut
from napari.utils.key_bindings import coerce_keybinding
from napari.utils.shortcuts import default_shortcuts
from qtpy.QtWidgets import QPushButton

from napari_hrpn.plugin.parts import keys
from napari_hrpn.plugin.parts.keys import ACTIONS, MEASURE, NEXT_ROI, KeyHint


@pytest.fixture
def button(qtbot):
    button = QPushButton()
    qtbot.addWidget(button)
    button.setToolTip("Measure all")
    return button


@pytest.fixture
def as_at_start(monkeypatch):
    """Nothing is registered or bound, as when napari has just started; the keys are given back."""
    before = {name: action_manager.unbind_shortcut(name) or [] for name in ACTIONS if name in keys._registered}
    monkeypatch.setattr(keys, "_registered", set())
    yield
    for name in ACTIONS:
        if name in keys._registered:
            action_manager.unbind_shortcut(name)
        for key in before.get(name, []):
            action_manager.bind_shortcut(name, key)


def test_no_key_is_one_of_naparis():
    ours = {coerce_keybinding(action.key) for action in ACTIONS.values()}
    assert len(ours) == len(ACTIONS)
    taken = {key for bound in default_shortcuts.values() for key in bound}
    for layer in (Image, Labels, Points, Shapes, Vectors):
        taken |= set(layer.class_keymap)
    # plain letters and those with Shift: the menus have Ctrl or Alt in all of theirs
    assert all(not (key.part0.ctrl or key.part0.alt or key.part0.meta) for key in ours)
    assert ours.isdisjoint(taken)


def test_a_tooltip_follows_the_keys_that_the_user_chooses(button, as_at_start):
    KeyHint(button, MEASURE)
    assert button.toolTip() == f"Measure all\n{Shortcut('Shift-M').platform}: measure"
    action_manager.unbind_shortcut(MEASURE)
    assert button.toolTip() == "Measure all"
    action_manager.bind_shortcut(MEASURE, "K")
    action_manager.bind_shortcut(NEXT_ROI, "J")
    assert button.toolTip() == "Measure all\nK: measure"


@pytest.mark.parametrize(("chosen", "hint"), [(["K"], "\nK: measure"), ([], "")])
def test_a_key_of_the_preferences_is_kept_and_a_removed_one_stays_away(button, as_at_start, chosen, hint):
    shortcuts = get_settings().shortcuts
    shortcuts.shortcuts = {**shortcuts.shortcuts, MEASURE: chosen}
    # napari binds what it has stored before the plugin is there
    for key in shortcuts.shortcuts[MEASURE]:
        action_manager.bind_shortcut(MEASURE, key)
    KeyHint(button, MEASURE)
    assert button.toolTip() == f"Measure all{hint}"


def test_a_key_of_something_else_is_not_taken(button, as_at_start):
    key, kept = KeyBinding.from_str("Shift+M"), []
    ViewerModel.bind_key(key, kept.append)
    try:
        KeyHint(button, MEASURE)
        assert button.toolTip() == "Measure all"
        assert ViewerModel.class_keymap[key] == kept.append
    finally:
        ViewerModel.bind_key(key, None)


def test_a_hint_goes_with_its_button(qtbot, as_at_start):
    before = len(action_manager.events.shortcut_changed.callbacks)
    button = QPushButton()
    KeyHint(button, MEASURE)
    button.deleteLater()
    del button
    qtbot.waitUntil(lambda: keys is not None)
    action_manager.unbind_shortcut(MEASURE)
    assert len(action_manager.events.shortcut_changed.callbacks) <= before + 1
