import threading
from functools import partial

import numpy as np
import pytest
import tifffile
from qtpy.QtWidgets import QApplication, QMessageBox

from napari_hrpn.plugin.pyramid_cache_menu import manage_pyramid_cache
from napari_hrpn.plugin.viewer import LiveLevels, Plane, grow, slide_layers, slide_of
from napari_hrpn.plugin.viewer.pyramids import needs_cache
from napari_hrpn.slides import coarser_levels, contrast_limits, open_slide, pyramid_cache_bytes
from support.settling import WAIT_MS


@pytest.fixture
def flat_file(tmp_path):
    """A slide of 4,500 x 310 px without a pyramid."""
    path = tmp_path / "flat.tif"
    pixels = np.random.default_rng(0).integers(0, 900, (2, 310, 4500)).astype(np.uint16)
    tifffile.imwrite(path, pixels, tile=(256, 256), photometric="minisblack", metadata={"axes": "CYX"})
    return path


@pytest.fixture
def live_slide(flat_file):
    """A slide and what shows it while it fills."""
    slide = open_slide(flat_file)
    live = tuple(LiveLevels([Plane(level.shape[1:], slide.dtype) for level in slide.levels]) for _ in range(2))
    return slide, live


def is_done(layer):
    slide = slide_of(layer)
    return slide.stored_levels == len(slide.levels)


def test_only_large_slides_without_a_pyramid_need_a_cache(flat_file, stained_file):
    assert needs_cache(open_slide(flat_file))
    assert not needs_cache(open_slide(stained_file))


def test_coarse_levels_of_a_flat_file_are_built_while_it_is_shown(
    make_napari_viewer, qtbot, notifications, flat_file, pyramid_folder
):
    viewer = make_napari_viewer()
    layers = viewer.open(str(flat_file), plugin="napari-hrpn")
    assert len(notifications) == 1
    assert str(pyramid_folder) in notifications[0]
    qtbot.waitUntil(lambda: is_done(layers[0]), timeout=WAIT_MS)
    finest = open_slide(flat_file).levels[0]
    for level, expected in enumerate((finest, *coarser_levels(finest))):
        for channel, layer in enumerate(layers):
            np.testing.assert_array_equal(np.asarray(layer.data[level]), expected[channel].compute())
    assert pyramid_cache_bytes(pyramid_folder) > 0
    qtbot.waitUntil(lambda: layers[0].thumbnail[..., :3].max() > 0, timeout=WAIT_MS)


def test_the_last_levels_are_drawn_whatever_waits_to_be_drawn(make_napari_viewer, qtbot, flat_file, monkeypatch):
    monkeypatch.setattr("napari_hrpn.plugin.viewer.pyramids.REFRESH_MS", 10**7)
    layers = make_napari_viewer().open(str(flat_file), plugin="napari-hrpn")
    qtbot.waitUntil(lambda: is_done(layers[0]), timeout=WAIT_MS)
    for layer in layers:
        assert layer.thumbnail[:, -4:, :3].max() > 0


def test_the_second_time_the_cache_is_taken_and_looks_the_same(make_napari_viewer, qtbot, notifications, flat_file):
    viewer = make_napari_viewer()
    first = viewer.open(str(flat_file), plugin="napari-hrpn")
    qtbot.waitUntil(lambda: is_done(first[0]), timeout=WAIT_MS)
    second = viewer.open(str(flat_file), plugin="napari-hrpn")
    assert is_done(second[0])
    assert len([text for text in notifications if "overview is built" in text]) == 1
    assert second[1].contrast_limits == first[1].contrast_limits
    np.testing.assert_array_equal(np.asarray(second[1].data[-1]), np.asarray(first[1].data[-1]))


def test_where_no_cache_can_be_kept_the_slide_opens_and_the_user_is_told(
    make_napari_viewer, notifications, flat_file, tmp_path
):
    (tmp_path / "cache").write_text("a file where the folder should be")
    viewer = make_napari_viewer()
    layers = viewer.open(str(flat_file), plugin="napari-hrpn")
    assert len(layers) == 2
    assert len(notifications) == 1
    assert "cannot be" in notifications[0] or "could not" in notifications[0]


def endless(started, ended, stop):
    started.set()
    try:
        while not stop.wait(0.01):
            yield
    finally:
        ended.set()


def test_filling_ends_with_the_last_layer(make_napari_viewer, qtbot, live_slide):
    slide, live = live_slide
    viewer = make_napari_viewer()
    started, ended, stops = threading.Event(), threading.Event(), []

    def fill(stop):
        stops.append(stop)
        return endless(started, ended, stop)

    grower = grow(viewer, slide, live, fill)
    layers = [viewer._add_layer_from_data(*layer)[0] for layer in slide_layers(slide, live=live)]
    gone = []
    grower.destroyed.connect(lambda: gone.append(True))
    del grower
    qtbot.waitUntil(started.is_set, timeout=WAIT_MS)
    QApplication.processEvents()
    viewer.layers.remove(layers[0])
    QApplication.processEvents()
    assert not stops[0].is_set()
    viewer.layers.clear()
    qtbot.waitUntil(ended.is_set, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: bool(gone), timeout=WAIT_MS)


def test_filling_ends_with_the_window(make_napari_viewer, qtbot, live_slide):
    slide, live = live_slide
    viewer = make_napari_viewer()
    started, ended = threading.Event(), threading.Event()
    grow(viewer, slide, live, partial(endless, started, ended))
    qtbot.waitUntil(started.is_set, timeout=WAIT_MS)
    viewer.close()
    qtbot.waitUntil(ended.is_set, timeout=WAIT_MS)


def test_a_slide_that_breaks_while_it_is_read_is_told(make_napari_viewer, qtbot, notifications, live_slide):
    slide, live = live_slide

    def failing(stop):
        yield
        raise ValueError("rows 0 to 5 cannot be read")

    viewer = make_napari_viewer()
    grow(viewer, slide, live, failing)
    qtbot.waitUntil(lambda: bool(notifications), timeout=WAIT_MS)
    assert notifications == ["The overview of flat stays unfinished. rows 0 to 5 cannot be read"]


def test_contrast_does_not_wait_for_the_coarse_levels(make_napari_viewer, flat_file):
    viewer = make_napari_viewer()
    layers = viewer.open(str(flat_file), plugin="napari-hrpn")
    expected = contrast_limits(open_slide(flat_file))
    assert [tuple(layer.contrast_limits) for layer in layers] == [pytest.approx(limits) for limits in expected]


@pytest.mark.parametrize(("answer", "is_kept"), [("Yes", False), ("No", True)])
def test_the_menu_tells_of_the_cache_and_clears_it_when_told(
    make_napari_viewer, qtbot, monkeypatch, flat_file, pyramid_folder, answer, is_kept
):
    viewer = make_napari_viewer()
    layers = viewer.open(str(flat_file), plugin="napari-hrpn")
    qtbot.waitUntil(lambda: is_done(layers[0]), timeout=WAIT_MS)
    viewer.layers.clear()
    asked = []

    def question(_, __, text):
        asked.append(text)
        return getattr(QMessageBox.StandardButton, answer)

    monkeypatch.setattr(QMessageBox, "question", question)
    manage_pyramid_cache()
    assert len(asked) == 1
    assert str(pyramid_folder) in asked[0]
    assert (pyramid_cache_bytes(pyramid_folder) > 0) is is_kept


def test_the_menu_says_where_nothing_is_kept(make_napari_viewer, notifications, pyramid_folder):
    make_napari_viewer()
    manage_pyramid_cache()
    assert notifications == [f"There are no slide overviews in {pyramid_folder}."]
