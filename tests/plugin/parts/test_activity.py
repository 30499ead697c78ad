"""Progress in napari's activity dock: the words of the widget, and nothing left after the end."""

import pytest
from napari._qt.widgets.qt_progress_bar import QtLabeledProgressBar
from napari.utils.progress import progress
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QWidget

from napari_hrpn.plugin.parts.activity import Activity
from napari_hrpn.plugin.parts.runs import ProgressPanel
from support.settling import WAIT_MS


class Dock:
    """Stands for the activity dock of a window: it makes and closes bars, and handles events in between, as napari."""

    def __init__(self):
        self.bars = {}
        progress._all_instances.events.changed.connect(self.changed)

    def changed(self, event):
        for one in event.removed:
            del self.bars[one]
        for one in event.added:
            one.gui = True
            bar = self.bars[one] = QtLabeledProgressBar(prog=one)
            one.events.value.connect(bar._set_value)
            one.events.description.connect(bar._set_description)
            one.events.eta.connect(bar._set_eta)
            one.events.total.connect(bar._set_total)
            bar.setRange(0, one.total)
            bar.setDescription(one.desc)

    def shown(self):
        return [
            (bar.description_label.text(), bar.qt_progress_bar.value(), bar.qt_progress_bar.maximum(), label)
            for bar in self.bars.values()
            for label in [bar.eta_label.text()]
        ]


@pytest.fixture
def dock(qapp):
    dock = Dock()
    yield dock
    progress._all_instances.events.changed.disconnect(dock.changed)
    assert dock.bars == {}


@pytest.fixture
def owner(qtbot):
    owner = QWidget()
    qtbot.addWidget(owner)
    return owner


def test_it_shows_the_newest_progress_and_goes_at_the_end(qtbot, dock, owner, capsys):
    activity = Activity(owner)
    activity.show(0, 0, "Predict QD")
    qtbot.waitUntil(lambda: dock.shown() == [("Predict QD: ", 0, 0, "")], timeout=WAIT_MS)
    activity.show(1, 4, "Predict QD: 1 of 4 tiles")
    activity.show(3, 4, "Predict QD: 3 of 4 tiles", "2 min left")
    qtbot.waitUntil(lambda: dock.shown() == [("Predict QD: 3 of 4 tiles: ", 3, 4, "2 min left")], timeout=WAIT_MS)
    # a second piece of work begins anew
    activity.show(1, 9, "Report")
    qtbot.waitUntil(lambda: dock.shown() == [("Report: ", 1, 9, "")], timeout=WAIT_MS)
    activity.end()
    assert dock.shown() == []
    activity.end()
    assert capsys.readouterr() == ("", "")


def test_work_that_ends_at_once_is_not_shown(dock, owner):
    activity, seen = Activity(owner), []
    progress._all_instances.events.changed.connect(seen.append)
    activity.show(1, 2, "Comparing pixels")
    activity.end()
    assert not activity._soon.isActive()
    activity._draw()
    progress._all_instances.events.changed.disconnect(seen.append)
    assert seen == []


@pytest.mark.parametrize("begun", [False, True])
def test_work_that_ends_while_napari_draws_its_progress_leaves_nothing(qtbot, dock, owner, begun):
    activity, ended = Activity(owner), []
    if begun:
        activity.show(1, 5, "Report")
        qtbot.waitUntil(lambda: len(dock.shown()) == 1, timeout=WAIT_MS)
    activity.show(2, 5, "Report")

    def end():
        activity.end()
        ended.append(activity._is_drawing)

    # due at the same moment as the drawing, whose first change handles this event
    activity._soon.timeout.disconnect(activity._draw)
    activity._soon.timeout.connect(lambda: (QTimer.singleShot(0, end), activity._draw()))
    qtbot.waitUntil(lambda: ended == [True], timeout=WAIT_MS)
    qtbot.waitUntil(lambda: not activity._is_drawing, timeout=WAIT_MS)
    assert dock.shown() == []


def test_the_panel_of_a_run_shows_what_its_bar_shows(qtbot, dock):
    panel = ProgressPanel("Predict QD", "Finished tiles")
    qtbot.addWidget(panel)
    panel.start()
    panel.show_progress(3, 12, "%v of %m tiles, %p %", "1.0 Mpx done, 2 min left")
    expected = ("Predict QD: 3 of 12 tiles, 25 %: ", 3, 12, "1.0 Mpx done, 2 min left")
    qtbot.waitUntil(lambda: dock.shown() == [expected], timeout=WAIT_MS)
    panel.clear()
    assert dock.shown() == []


def test_it_goes_with_its_owner(qtbot, dock):
    owner = QWidget()
    activity = Activity(owner)
    activity.show(1, 5, "Report")
    qtbot.waitUntil(lambda: len(dock.shown()) == 1, timeout=WAIT_MS)
    owner.deleteLater()
    qtbot.waitUntil(lambda: dock.shown() == [], timeout=WAIT_MS)
