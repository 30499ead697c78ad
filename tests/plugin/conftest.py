"""Fixtures for tests with a viewer: caches in a folder of the test's own, notifications in a list."""

import gc
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile

pytest.importorskip("napari")

from napari.utils.progress import progress
from qtpy.QtCore import QObject
from qtpy.QtWidgets import QApplication

from support.settling import settle as settled


@pytest.fixture(autouse=True)
def pyramid_folder(tmp_path, monkeypatch):
    """Folder that takes the place of the user's cache of coarse levels."""
    monkeypatch.setattr("napari_hrpn.slides.pyramid_cache.user_cache_path", lambda *_, **__: tmp_path / "cache")
    return tmp_path / "cache" / "pyramids"


@pytest.fixture(autouse=True)
def preferences(monkeypatch):
    """Preferences of this package, none at first, in the place of those of the user."""
    stored = SimpleNamespace()
    monkeypatch.setattr("napari_hrpn.plugin.parts.preferences._stored", lambda: stored)
    return stored


@pytest.fixture(autouse=True)
def forms_file(tmp_path, monkeypatch):
    """File of what forms remember, none at first, in the place of that of the user."""
    path = tmp_path / "state" / "forms.json"
    monkeypatch.setattr("napari_hrpn.plugin.parts.remembered._file", lambda: path)
    return path


@pytest.fixture
def ended_activities():
    """However work ends, napari's activity dock shows nothing of it any more."""
    yield
    assert [str(one) for one in progress._all_instances] == []


@pytest.fixture
def notifications():
    """Texts of all that napari has told the user since the beginning of the test."""
    from napari.utils.notifications import notification_manager

    told = []

    def note(notification):
        told.append(notification.message)

    notification_manager.notification_ready.connect(note)
    yield told
    notification_manager.notification_ready.disconnect(note)


def listeners(viewer):
    """Qt objects of the package that napari calls when something changes."""
    events = (
        *(getattr(viewer.layers.events, name) for name in ("inserted", "removed", "renamed")),
        viewer.events.theme,
    )
    # a bound method is kept as a weak reference and a name
    listening = [callback[0]() for event in events for callback in event.callbacks if isinstance(callback, tuple)]
    return [one for one in listening if isinstance(one, QObject) and type(one).__module__.startswith("napari_hrpn")]


@pytest.fixture
def close_and_go_on(qtbot):
    """Closes a viewer in a program that goes on; what touches a widget that is deleted raises."""

    def run(viewer):
        assert listeners(viewer)
        # what ends here ends by itself, not because Python looked for what nobody needs
        gc.disable()
        try:
            viewer.close()
            qtbot.waitUntil(lambda: listeners(viewer) == [], timeout=60_000)
            # what still waited for its turn has nobody left to touch
            viewer.scene.camera.center = (1, 1)
            QApplication.processEvents()
        finally:
            gc.enable()

    return run


@pytest.fixture
def stained_pixels():
    """Three channels of 96 x 130 px, each with values of its own."""
    random = np.random.default_rng(0)
    return random.integers(100, [[[500]], [[1000]], [[3000]]], (3, 96, 130)).astype(np.uint16)


@pytest.fixture
def stained_file(tmp_path, stained_pixels):
    """An OME-TIFF with DAPI, CD31 and QD and pixels of 0.5 x 0.25 µm."""
    path = tmp_path / "tumour 3.ome.tif"
    tifffile.imwrite(
        path,
        stained_pixels,
        photometric="minisblack",
        metadata={
            "axes": "CYX",
            "Channel": {"Name": ["DAPI", "CD31", "QD"]},
            "PhysicalSizeY": 0.5,
            "PhysicalSizeX": 0.25,
        },
    )
    return path


@pytest.fixture
def made():
    """Every widget of the test, to be shut down at its end."""
    widgets = []
    yield widgets
    for widget in widgets:
        widget.shut_down()
        if widget.parent() is None:
            widget.close()


@pytest.fixture
def settle(qtbot):
    """Waits until all is read, measured and shown."""
    return partial(settled, qtbot)


@pytest.fixture
def measure(settle):
    """Presses Measure and waits until what was found is shown."""

    def run(widget):
        widget.bar.measure_button.click()
        settle(widget)

    return run
