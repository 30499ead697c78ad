"""Docks of this package in one window."""

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

from napari_hrpn.plugin.parts.docked_widget import DockedWidget
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
