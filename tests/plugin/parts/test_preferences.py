"""Preferences in napari: what forms begin with, and what is said of one that cannot be met."""

import logging
from dataclasses import fields
from pathlib import Path

import pytest
from napari.settings import get_plugin_settings
from npe2 import PluginManifest

from napari_hrpn.inference import Device
from napari_hrpn.plugin.parts import preferences as room
from napari_hrpn.plugin.parts.messages import PROBLEM, MessagePanel
from napari_hrpn.plugin.parts.preferences import preferred, preferred_device, preferred_folder, set_log_level
from napari_hrpn.plugin.parts.runs import ProcessorForm
from napari_hrpn.plugin.parts.saving import folder_beside
from napari_hrpn.settings import PredictionSettings

CPU, FIRST, SECOND = (Device(name, name, 1, 1) for name in ("cpu", "cuda:0", "cuda:1"))
MANIFEST = Path(room.__file__).parents[2] / "napari.yaml"
stored_in_napari = room._stored


def properties():
    return PluginManifest.from_file(MANIFEST).contributions.configurations["forms"].properties


def test_the_manifest_begins_with_the_defaults_of_the_settings():
    defaults = {field.name: field.default for field in fields(PredictionSettings)}
    found = {name: about.default for name, about in properties().items()}
    assert found["device"] == defaults["device"]
    # zero and an empty text mean that there is no preference
    assert [found[name] or None for name in ("memory_gb", "output_folder")] == [defaults["memory_gb"], None]
    assert all(about.title and about.description for about in properties().values())


def test_what_napari_stores_is_preferred_until_its_file_is_damaged(plugin_settings, npe2pm, monkeypatch):
    monkeypatch.setattr(room, "_stored", stored_in_napari)
    assert preferred("device") is None
    npe2pm.register(PluginManifest.from_file(MANIFEST))
    assert (preferred("device"), preferred("memory_gb"), preferred("output_folder")) == ("auto", None, None)
    settings = get_plugin_settings("napari-hrpn")
    settings.forms.memory_gb = 2.5
    assert preferred("memory_gb") == 2.5
    settings.config_path.write_text("forms: {memory_gb: 'a lot'", encoding="utf-8")
    from napari.settings import _clear_plugin_settings_cache

    _clear_plugin_settings_cache()
    assert preferred("memory_gb") is None


@pytest.mark.parametrize(
    ("wanted", "devices", "name", "is_told"),
    [
        (None, [CPU], "auto", False),
        ("auto", [FIRST, CPU], "auto", False),
        ("cpu", [FIRST, CPU], "cpu", False),
        ("cuda", [FIRST, SECOND, CPU], "cuda:0", False),
        ("cuda", [CPU], "auto", True),
        ("mps", [CPU], "auto", True),
    ],
)
def test_a_device_is_chosen_if_it_is_there(preferences, wanted, devices, name, is_told):
    preferences.device = wanted
    found, problem = preferred_device(devices)
    assert found == name
    assert bool(problem) == is_told


def test_a_form_begins_with_the_preferences_and_says_what_it_cannot_meet(preferences, qtbot):
    preferences.device, preferences.memory_gb = "cuda", 3.5
    form = ProcessorForm(PredictionSettings, ["device"], ["memory_gb", "core"])
    qtbot.addWidget(form.native)
    form.set_ready((CPU,))
    assert form.settings() == PredictionSettings(memory_gb=3.5)
    assert "cuda" in form._device_label.text()
    form.fields["device"].value = "cpu"
    assert form._device_label.text() == ""
    # the next search for devices keeps what the user has chosen
    form.set_ready((FIRST, CPU))
    assert form.settings().device == "cpu"
    other = ProcessorForm(PredictionSettings, ["device"], ["core"])
    qtbot.addWidget(other.native)
    other.set_ready((FIRST, CPU))
    assert other.settings() == PredictionSettings(device="cuda:0")


def test_files_go_to_the_preferred_folder_or_beside_the_slide(preferences, tmp_path, notifications, monkeypatch):
    monkeypatch.setattr(room, "_said", set())
    (tmp_path / "out").mkdir()
    (tmp_path / "slides").mkdir()
    slide = tmp_path / "slides" / "a.tif"
    assert folder_beside(slide) == tmp_path / "slides"
    preferences.output_folder = str(tmp_path / "out")
    assert folder_beside(slide) == folder_beside(None) == tmp_path / "out"
    for gone in (str(tmp_path / "gone"), "out"):
        preferences.output_folder = gone
        assert [folder_beside(slide), preferred_folder()] == [tmp_path / "slides", None]
        assert [words.startswith(f"{gone}, the output folder") for words in notifications].count(True) == 1


@pytest.mark.parametrize(("level", "logged"), [("info", ["Saved", "Failed"]), (None, ["Failed"]), ("error", [])])
def test_messages_are_logged_as_the_preferences_say(preferences, qtbot, caplog, level, logged):
    preferences.log_level = level
    before = logging.getLogger("napari_hrpn").level
    try:
        set_log_level()
        panel = MessagePanel()
        qtbot.addWidget(panel)
        for sentence, tone in (("Saved", "text"), ("Saved", "text"), ("", "text"), ("Failed", PROBLEM)):
            panel.say(sentence, tone)
        assert [record.message for record in caplog.records] == logged
    finally:
        logging.getLogger("napari_hrpn").setLevel(before)
