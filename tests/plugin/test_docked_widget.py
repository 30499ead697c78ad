"""Docks of this package in one window."""

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

from napari_hrpn.core import requirements
from napari_hrpn.plugin.parts.docked_widget import DockedWidget
from napari_hrpn.plugin.parts.messages import UserError
from support.settling import WAIT_MS


class Narrow(DockedWidget):
    least_width_px = 300

    def end(self):
        pass


class Wide(Narrow):
    least_width_px = 480


def test_tabs_are_as_wide_as_the_newest_asks_for(qtbot):
    window = QMainWindow()
    qtbot.addWidget(window)
    window.setCentralWidget(QWidget())
    window.resize(1366, 700)
    with qtbot.waitExposed(window):
        window.show()
    docks = []
    for kind in (Narrow, Wide):
        dock = QDockWidget(kind.__name__, window)
        dock.setWidget(kind())
        window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, dock)
        # as a user, or the first dock, left it
        window.resizeDocks([dock], [300], Qt.Orientation.Horizontal)
        docks.append(dock)
    qtbot.waitUntil(lambda: window.tabifiedDockWidgets(docks[1]) == docks[:1], timeout=WAIT_MS)
    qtbot.waitUntil(lambda: max(dock.width() for dock in docks) >= 480, timeout=WAIT_MS)


def test_an_old_napari_is_refused_in_a_sentence(qapp, monkeypatch):
    real = requirements.version
    monkeypatch.setattr(requirements, "version", lambda name: "0.8.1" if name == "napari" else real(name))
    with pytest.raises(UserError, match=r"^napari-hrpn needs napari>=0.9, but 0.8.1 is installed: pip install.*\.$"):
        Narrow()
