import pytest
from napari.utils.notifications import notification_manager
from qtpy.compat import isalive
from qtpy.QtWidgets import QApplication

from napari_hrpn.core import TileGrid
from napari_hrpn.inference import PredictionError, PredictionStore
from support.settling import WAIT_MS

SHAPE = (1100, 1300)
TILES = 9


@pytest.fixture
def assert_stopped(engine, slide_file, prediction_threads, qtbot):
    """Checks that nothing runs any more and that the two tiles that were done are kept."""

    def check():
        qtbot.waitUntil(lambda: prediction_threads() == [], timeout=WAIT_MS)
        assert engine.closed.is_set()
        kept = PredictionStore(slide_file.parent / "tumour 7.predicted.ome.zarr")
        assert sum(kept.finished(tile.core) for tile in TileGrid(*SHAPE, 512, 0, 1)) == 2

    return check


def test_an_error_for_the_user_is_one_sentence_and_leaves_no_layer(widget, viewer, engine, notifications, run_to_end):
    engine.fails_with = PredictionError("the disk is full; make room.")
    run_to_end(widget)
    assert widget.message == "the disk is full; make room."
    assert len(viewer.layers) == 3
    assert notifications == []
    assert widget.predict_button.enabled


@pytest.mark.filterwarnings("always::napari_hrpn.inference.PredictionWarning")
def test_a_warning_that_the_form_shows_is_no_notification(widget, engine, notifications, run_to_end):
    engine.warns_of = "tumour 7 has other pixels."
    with notification_manager:
        run_to_end(widget)
    assert notifications == []
    assert widget.message.startswith("Done")


def test_any_other_error_goes_to_the_notifications(widget, viewer, engine, notifications, monkeypatch, run_to_end):
    told = []
    monkeypatch.setattr(notification_manager, "receive_error", lambda *problem: told.append(problem[1]))
    engine.fails_with = ZeroDivisionError("oh")
    run_to_end(widget)
    assert [type(error) for error in told] == [ZeroDivisionError]
    assert "unexpected error" in widget.message


def test_closing_the_dock_ends_the_run_and_keeps_tiles(
    widget, viewer, qtbot, engine, slide_file, wait_for_tiles, assert_stopped, notifications
):
    widget.predict()
    engine.let(2)
    wait_for_tiles(widget, 2)
    viewer.window.remove_dock_widget(widget)
    assert_stopped()
    assert notifications[-1].startswith("Stopped: 2 of 9 tiles are done and kept in tumour 7.predicted.ome.zarr.")
    viewer.layers.clear()
    QApplication.processEvents()


def test_closing_the_viewer_ends_the_run_and_keeps_tiles(
    engine, viewer, open_widget, made, qtbot, slide_file, wait_for_tiles, assert_stopped, close_and_go_on
):
    widget = open_widget(viewer)
    widget.predict()
    engine.let(2)
    wait_for_tiles(widget, 2)
    made.clear()
    close_and_go_on(viewer)
    assert_stopped()
    assert not isalive(widget)
