import numpy as np
import pytest
import zarr
from qtpy.QtWidgets import QApplication

from napari_hrpn.core import Box
from napari_hrpn.plugin.viewer import LiveLevels, Plane, redrawing
from napari_hrpn.slides import halve
from napari_hrpn.slides.writers.ome_zarr_writer import create_levels, level_shapes, write_part
from support.settling import WAIT_MS

SHAPE = (1301, 1777)


@pytest.fixture
def store(tmp_path):
    """Levels of an empty pyramid of odd sizes."""
    return create_levels(tmp_path / "store.zarr", level_shapes((1, *SHAPE)), np.dtype("float32"))


def live(store, in_memory_px=500):
    levels = LiveLevels([Plane(level.shape[1:], level.dtype) for level in store], in_memory_px)
    levels.attach(store)
    return levels


def tile(store, box, value=7.0):
    """Write one tile on all levels."""
    pixels = np.full((1, box.height, box.width), value, np.float32)
    write_part(pixels, (0, box.y0, box.x0), store)
    return box


class Recorder:
    """An array that remembers what was read of it."""

    def __init__(self, array):
        self._array = array
        self.shape, self.dtype = array.shape, array.dtype
        self.read = []

    def __getitem__(self, key):
        block = self._array[key]
        self.read.append(block.size)
        return block


def test_a_plane_without_array_is_zero_and_takes_no_memory():
    plane = Plane((10**6, 10**6), "uint16")
    assert plane[5:8, :4].tolist() == [[0] * 4] * 3
    assert plane[3].shape == (10**6,)
    assert plane.dtype == np.uint16
    assert plane.size == 10**12


def test_a_plane_is_the_channel_of_its_array():
    array = np.arange(5 * 7).reshape(1, 5, 7)
    plane = Plane((5, 7), array.dtype)
    plane.array = array
    np.testing.assert_array_equal(plane[1:3, ::2], array[0, 1:3, ::2])
    np.testing.assert_array_equal(np.asarray(plane), array[0])


def test_coarse_levels_are_in_memory_and_fine_ones_are_not(store):
    levels = live(store)
    kinds = [isinstance(level, np.ndarray) for level in levels.levels]
    assert kinds == [False, False, True]
    assert isinstance(live(store, in_memory_px=0).levels[-1], np.ndarray)


@pytest.mark.parametrize("box", [Box(512, 1024, 1024, 1536), Box(1024, 1301, 1536, 1777), Box(0, 512, 0, 512)])
def test_loading_a_box_brings_it_to_memory_and_nothing_else(store, box):
    levels = live(store, in_memory_px=1000)
    tile(store, box)
    levels.load(box)
    for level, plane in zip(levels.levels[1:], levels.planes[1:], strict=True):
        np.testing.assert_array_equal(level, plane[:, :])
    assert levels.loaded_pixels().min() >= 0
    assert levels.loaded_pixels().max() == 7
    tile(store, Box(0, 512, 512, 1024), 3.0)
    levels.load(box)
    assert 3.0 not in levels.levels[-1]


def test_loading_without_a_box_brings_all(store):
    levels = live(store)
    tile(store, Box(0, 1301, 0, 1777))
    levels.load()
    assert levels.loaded_pixels().size == levels.levels[-1].size
    np.testing.assert_array_equal(levels.levels[-1], halve(halve(np.full(SHAPE, 7, np.float32))))


def test_loading_reads_no_more_than_the_box(store):
    levels = live(store)
    recorders = [Recorder(level) for level in store]
    levels.attach(recorders)
    levels.load(Box(512, 1024, 512, 1024))
    assert [recorder.read for recorder in recorders] == [[], [], [128 * 128]]


def test_attaching_wants_one_array_for_each_level(store):
    with pytest.raises(ValueError, match="zip"):
        live(store).attach(store[:1])


def canvas_mean(viewer):
    return viewer.screenshot(canvas_only=True, flash=False)[..., :3].mean()


@pytest.mark.parametrize("zoom", [0.2, 1.0])
def test_news_reach_canvas_and_thumbnail_at_any_zoom(make_napari_viewer_proxy, qtbot, store, zoom):
    viewer = make_napari_viewer_proxy(show=True)
    levels = live(store)
    layer = viewer.add_image(**levels.layer_data(), contrast_limits=(0, 7))
    viewer.scene.camera.center = (SHAPE[0] / 2, SHAPE[1] / 2)
    viewer.scene.camera.zoom = zoom
    QApplication.processEvents()
    before, thumbnail = canvas_mean(viewer), layer.thumbnail.mean()
    redraw = redrawing(layer)

    levels.load(tile(store, Box(0, 1301, 0, 1777)))
    redraw()
    qtbot.waitUntil(lambda: canvas_mean(viewer) > before + 20, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: layer.thumbnail.mean() > thumbnail, timeout=WAIT_MS)


def test_a_refresh_reads_what_is_in_view_and_no_more(make_napari_viewer_proxy, qtbot, store):
    viewer = make_napari_viewer_proxy(show=True)
    levels = live(store)
    layer = viewer.add_image(**levels.layer_data(), contrast_limits=(0, 7))
    viewer.scene.camera.center = (256, 256)
    viewer.scene.camera.zoom = 4
    qtbot.waitUntil(lambda: layer.data_level == 0, timeout=WAIT_MS)
    recorders = [Recorder(level) for level in store]
    levels.attach(recorders)
    redrawing(layer)()
    qtbot.waitUntil(lambda: bool(recorders[0].read), timeout=WAIT_MS)
    assert 0 < sum(recorders[0].read) <= 1024 * 1024
    assert recorders[1].read == recorders[2].read == []


def test_many_news_at_once_cost_few_refreshes(make_napari_viewer_proxy, qtbot, store):
    viewer = make_napari_viewer_proxy()
    levels = live(store)
    layer = viewer.add_image(**levels.layer_data(), contrast_limits=(0, 7))
    drawn = []
    layer.events.set_data.connect(lambda: drawn.append(1))
    redraw = redrawing(layer)
    for _ in range(200):
        redraw()
    qtbot.waitUntil(lambda: bool(drawn), timeout=WAIT_MS)
    # what is still to come, comes now
    redraw.flush()
    assert 1 <= len(drawn) <= 3


def test_a_small_image_needs_no_pyramid(make_napari_viewer_proxy):
    viewer = make_napari_viewer_proxy()
    array = zarr.array(np.zeros((1, 300, 200), np.float32))
    levels = live([array])
    layer = viewer.add_image(**levels.layer_data(), contrast_limits=(0, 7))
    assert not layer.multiscale
    array[:] = 5
    levels.load(Box(0, 300, 0, 200))
    redrawing(layer)()
    assert layer.get_value((100, 100)) == 5
