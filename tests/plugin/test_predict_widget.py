import gc
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from napari.layers import Image

from napari_hrpn.inference import (
    Device,
    PredictionError,
    PredictionReport,
    PredictionSettings,
    PredictionStore,
    TileReport,
)
from napari_hrpn.models import HRPN, Checkpoint, HRPNSettings, ModelCard, save_checkpoint
from napari_hrpn.plugin.layers import slide_layers, slide_of
from napari_hrpn.plugin.predict_widget import PredictWidget
from napari_hrpn.plugin.settings_form import IN_SHAPES, IN_VIEW
from napari_hrpn.slides import halve, open_slide
from napari_hrpn.tiling import Box, TileGrid

SHAPE = (1100, 1300)
TILES = 9
DEVICES = (Device("cuda:0", "Fast GPU", 7 * 10**9, 8 * 10**9), Device("cpu", "CPU, 2 threads", 3 * 10**9, 4 * 10**9))
WAIT_MS = 20_000


def pattern(box):
    """What the fake engine predicts: another value for each tile."""
    return np.full((box.height, box.width), 1 + box.y0 // 512 * 10 + box.x0 // 512, np.float32)


class FakeEngine:
    """Stands in for `predict_slide`: writes tiles of 512 px, as many as it is allowed to."""

    def __init__(self):
        self.calls = []
        self.order = []
        self._allowed = threading.Semaphore(0)
        self.fails_with = None
        self.closed = threading.Event()

    def let(self, tiles=100):
        self._allowed.release(tiles)

    def __call__(self, slide, checkpoint, store, settings, *, roles, overwrite, focus, stop):
        self.calls.append({"slide": slide, "settings": settings, "roles": roles, "overwrite": overwrite})
        if self.fails_with is not None:
            raise self.fails_with
        request = {"core": 512, "precision": settings.precision}
        target = PredictionStore.open(store, slide, request, dtype=np.dtype("float32"), name="QD", overwrite=overwrite)
        grid = TileGrid(*slide.shape, 512, 0, 1)
        tiles = tuple(grid) if settings.region is None else grid.within(settings.region)
        pending = [tile for tile in tiles if not target.finished(tile.core)]
        try:
            while pending and not stop.is_set():
                if not self._allowed.acquire(timeout=0.01):
                    continue
                tile = min(pending, key=lambda tile: tile.core.distance_to(*focus()))
                pending.remove(tile)
                self.order.append(tile.core)
                target.write(tile.core, pattern(tile.core))
                yield TileReport(tile, len(tiles) - len(pending), len(tiles), False, 1.0, float(len(pending)))
        finally:
            self.closed.set()
        done = len(tiles) - len(pending)
        return PredictionReport(
            target.path, done, len(tiles), target.complete, 512, 0, "cpu", 0, 0, 1.0, 0.0, 0.0, 0.0, 0.0
        )


@pytest.fixture
def engine(monkeypatch):
    fake = FakeEngine()
    monkeypatch.setattr("napari_hrpn.inference.predict_slide", fake)
    monkeypatch.setattr("napari_hrpn.inference.list_devices", lambda: DEVICES)
    return fake


@pytest.fixture
def slide_file(tmp_path):
    """A slide of three channels and 0.5 µm pixels; its probe is bright."""
    random = np.random.default_rng(3)
    pixels = random.integers(5, 90, (3, *SHAPE)).astype(np.uint8)
    path = tmp_path / "tumour 7.ome.tif"
    names = {"Name": ["DAPI", "CD31", "QD"]}
    metadata = {"axes": "CYX", "Channel": names, "PhysicalSizeY": 0.5, "PhysicalSizeX": 0.5}
    tifffile.imwrite(path, pixels, photometric="minisblack", tile=(256, 256), metadata=metadata)
    return path


def checkpoint_file(path, **card):
    torch.manual_seed(0)
    roles = card.setdefault("input_roles", ("nuclei", "vessels"))
    settings = HRPNSettings(in_channels=len(roles), branches=1)
    card = ModelCard(**{"title": "tiny", "pixel_size_um": 0.5, **card})
    if len(roles) != 2:
        card = replace(card, scaling=replace(card.scaling, offsets=(0.0,) * len(roles), scales=(1.0,) * len(roles)))
    save_checkpoint(Checkpoint(settings, HRPN(settings).state_dict(), card), path)
    return path


@pytest.fixture
def checkpoint(tmp_path):
    return checkpoint_file(tmp_path / "tiny.safetensors")


def show(viewer, slide, **changes):
    for data, attributes, _ in slide_layers(slide):
        viewer.add_image(data, **{**attributes, **changes})


@pytest.fixture
def viewer(make_napari_viewer_proxy, slide_file):
    viewer = make_napari_viewer_proxy()
    show(viewer, open_slide(slide_file))
    return viewer


@pytest.fixture
def made(monkeypatch):
    """Every widget of the test, to be shut down at its end."""
    widgets = []
    yield widgets
    for widget in widgets:
        widget.shut_down()
        if widget.parent() is None:
            widget.close()


@pytest.fixture
def open_widget(qtbot, checkpoint, made):
    def opened(viewer, path=checkpoint):
        widget = PredictWidget(viewer)
        made.append(widget)
        viewer.window.add_dock_widget(widget, name="Predict QD")
        widget.use_checkpoint(path)
        qtbot.waitUntil(widget.predict_button.isEnabled, timeout=WAIT_MS)
        return widget

    return opened


@pytest.fixture
def widget(engine, viewer, open_widget):
    return open_widget(viewer)


def wait_for(qtbot, widget, *, running):
    qtbot.waitUntil(lambda: widget.is_running == running, timeout=WAIT_MS)


def wait_for_tiles(qtbot, widget, count):
    def are_there():
        progress = widget._running.progress
        return progress is not None and progress.finished >= count

    qtbot.waitUntil(are_there, timeout=WAIT_MS)


def run_to_end(qtbot, widget, engine):
    engine.let()
    widget.predict()
    wait_for(qtbot, widget, running=False)


def prediction_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("napari-hrpn")]


# --- the form


def test_the_form_guesses_and_shows_what_there_is(widget, slide_file):
    roles = {role: box.currentText() for role, box in widget.slide_form.role_boxes.items()}
    assert roles == {"nuclei": "DAPI", "vessels": "CD31", "probe": "QD"}
    assert widget.slide_form.slide_box.currentText() == "tumour 7"
    devices = [widget.settings_form.device_box.itemText(i) for i in range(3)]
    assert devices == ["Automatic: Fast GPU", "Fast GPU: 7.0 GB free", "CPU, 2 threads: 3.0 GB free"]
    assert widget.output_form.folder == slide_file.parent
    assert widget.settings_form.settings() == PredictionSettings()


def test_the_rows_follow_the_checkpoint(widget, qtbot, tmp_path):
    path = checkpoint_file(tmp_path / "three.safetensors", input_roles=("nuclei", "macrophages", "vessels"))
    widget.use_checkpoint(path)
    qtbot.waitUntil(lambda: len(widget.slide_form.role_boxes) == 4, timeout=WAIT_MS)
    assert list(widget.slide_form.role_boxes) == ["nuclei", "macrophages", "vessels", "probe"]
    qtbot.waitUntil(widget.predict_button.isEnabled, timeout=WAIT_MS)
    widget.predict()
    assert widget.message == "Choose the channel that shows the macrophages."
    assert not widget.is_running


def test_a_file_that_is_no_checkpoint_is_told_in_a_sentence(widget, qtbot, tmp_path):
    (tmp_path / "evil.safetensors").write_bytes(b"\x80\x04pickle")
    widget.use_checkpoint(tmp_path / "evil.safetensors")
    qtbot.waitUntil(lambda: "pickle" in widget.message, timeout=WAIT_MS)
    assert not widget.predict_button.isEnabled()


def test_resampling_is_offered_where_pixel_sizes_differ(widget, qtbot, tmp_path):
    form = widget.settings_form
    assert not form.resample_box.isEnabled()
    assert form.warning_label.isHidden()
    widget.use_checkpoint(checkpoint_file(tmp_path / "coarse.safetensors", pixel_size_um=0.7))
    qtbot.waitUntil(form.resample_box.isEnabled, timeout=WAIT_MS)
    assert "0.5 µm" in form.warning_label.text()
    assert not form.warning_label.isHidden()
    form.resample_box.setChecked(True)
    assert form.warning_label.isHidden()
    assert form.settings().resample


def test_a_slide_in_a_folder_that_cannot_be_written_goes_to_the_documents(widget, monkeypatch, tmp_path):
    monkeypatch.setattr("os.access", lambda *_: False)
    monkeypatch.setattr("platformdirs.user_documents_path", lambda: tmp_path / "documents")
    assert widget.output_form.folder == tmp_path / "documents"
    widget.output_form.choose(tmp_path)
    assert widget.output_form.folder == tmp_path


def test_a_slide_opened_later_is_offered_and_a_chosen_one_stays_chosen(widget, viewer, qtbot, slide_file, tmp_path):
    other = tmp_path / "other.ome.tif"
    other.write_bytes(slide_file.read_bytes())
    widget.slide_form.role_boxes["probe"].setCurrentIndex(0)
    show(viewer, open_slide(other))
    box = widget.slide_form.slide_box
    qtbot.waitUntil(lambda: box.count() == 3, timeout=WAIT_MS)
    assert box.currentText() == "tumour 7"
    assert widget.slide_form.role_boxes["probe"].value is None
    box.setCurrentIndex(1)
    assert box.currentText() == "other"
    assert widget.slide_form.role_boxes["probe"].currentText() == "QD"


def test_what_was_set_is_what_the_engine_gets(widget, qtbot, engine):
    advanced = widget.settings_form._advanced
    advanced.precision_box.choose("bf16")
    advanced.core_box.setValue(1100)
    advanced.halo_box.setValue(64)
    advanced.memory_box.setValue(1.5)
    advanced.output_box.choose("probe")
    widget.settings_form.device_box.choose("cpu")
    engine.fails_with = PredictionError("enough")
    run_to_end(qtbot, widget, engine)
    expected = PredictionSettings(precision="bf16", core=1024, halo=64, memory_gb=1.5, output="probe", device="cpu")
    assert engine.calls[0]["settings"] == expected
    assert engine.calls[0]["roles"] == {"nuclei": 0, "vessels": 1}


# --- a prediction


TRANSFORMS = [{}, {"rotate": 30, "scale": (0.5, 0.4), "translate": (40, -9), "shear": [0.2]}]


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_the_layer_is_there_at_once_and_lies_on_the_slide(
    make_napari_viewer_proxy, qtbot, engine, slide_file, open_widget, transform
):
    viewer = make_napari_viewer_proxy()
    show(viewer, open_slide(slide_file), **transform)
    widget = open_widget(viewer)
    widget.predict()
    layer, reference = widget.layer, viewer.layers[0]
    assert layer.name == "tumour 7 predicted QD"
    assert layer in viewer.layers
    for corner in ((0, 0), (SHAPE[0] - 1, 0), (13, SHAPE[1] - 1)):
        np.testing.assert_allclose(layer.data_to_world(corner), reference.data_to_world(corner))
    assert layer.units == reference.units
    assert layer.axis_labels == reference.axis_labels
    assert layer.blending == "additive"
    assert layer.level_shapes[0].tolist() == list(SHAPE)
    engine.let()
    wait_for(qtbot, widget, running=False)


def test_tiles_fill_all_levels_and_the_end_is_told(widget, qtbot, engine, slide_file):
    run_to_end(qtbot, widget, engine)
    expected = np.zeros(SHAPE, np.float32)
    for tile in TileGrid(*SHAPE, 512, 0, 1):
        box = tile.core
        expected[box.y0 : box.y1, box.x0 : box.x1] = pattern(box)
    for level in widget.layer.data:
        np.testing.assert_array_equal(level[:, :], expected)
        expected = halve(expected)
    store = slide_file.parent / "tumour 7.predicted-QD.ome.zarr"
    assert widget.message.startswith("Done in")
    assert str(store) in widget.message
    assert widget.progress_panel.bar.text() == "9 of 9 tiles, 100 %"
    assert widget.progress_panel.numbers_label.text() == "1.4 Mpx done"
    facts = widget.layer.metadata["napari_hrpn"]["prediction"]
    assert facts["checkpoint"] == "tiny"
    assert facts["complete"]
    assert Path(facts["path"]) == store
    assert slide_of(widget.layer).source == store
    assert open_slide(store).shape == SHAPE


def test_the_canvas_shows_a_tile_soon(make_napari_viewer_proxy, qtbot, engine, slide_file, open_widget):
    viewer = make_napari_viewer_proxy(show=True)
    show(viewer, open_slide(slide_file))
    widget = open_widget(viewer)
    viewer.layers[2].contrast_limits = (0, 20)
    for layer in viewer.layers:
        layer.visible = False
    widget.predict()
    qtbot.wait(200)
    assert viewer.screenshot(flash=False)[..., :3].max() == 0
    engine.let(4)
    wait_for_tiles(qtbot, widget, 4)
    qtbot.wait(200)
    assert viewer.screenshot(flash=False)[..., :3].max() > 80
    engine.let()
    wait_for(qtbot, widget, running=False)


def test_tiles_in_view_come_first(widget, viewer, qtbot, engine):
    viewer.scene.camera.zoom = 4
    viewer.scene.camera.center = (1050 * 0.5, 1250 * 0.5)
    widget.predict()
    engine.let(1)
    wait_for_tiles(qtbot, widget, 1)
    viewer.scene.camera.center = (10 * 0.5, 10 * 0.5)
    engine.let(1)
    wait_for_tiles(qtbot, widget, 2)
    engine.let()
    wait_for(qtbot, widget, running=False)
    assert engine.order[:2] == [Box(1024, 1100, 1024, 1300), Box(0, 512, 0, 512)]


def test_cancel_keeps_tiles_and_predict_goes_on(widget, viewer, qtbot, engine):
    widget.predict()
    engine.let(4)
    wait_for_tiles(qtbot, widget, 4)
    assert widget.cancel_button.isEnabled()
    assert not widget.predict_button.isEnabled()
    widget.cancel_button.click()
    wait_for(qtbot, widget, running=False)
    assert widget.message == "Stopped: 4 of 9 tiles are done and kept. Predict goes on from them."
    layer = widget.layer
    qtbot.waitUntil(widget.predict_button.isEnabled, timeout=WAIT_MS)

    widget.predict_button.click()
    qtbot.waitUntil(lambda: widget.message == "Going on: 4 of 9 tiles were done before.", timeout=WAIT_MS)
    assert np.count_nonzero(layer.data[-1]) > 0
    assert widget.layer is layer
    engine.let()
    wait_for(qtbot, widget, running=False)
    assert len(set(engine.order)) == len(engine.order) == TILES
    assert [other.name for other in viewer.layers].count("tumour 7 predicted QD") == 1
    assert np.all(np.asarray(layer.data[0][:, :]) > 0)


def test_another_prediction_is_replaced_only_when_asked(widget, viewer, qtbot, engine):
    run_to_end(qtbot, widget, engine)
    viewer.layers.remove(widget.layer)
    assert widget.replace_box.isHidden()
    widget.settings_form._advanced.precision_box.choose("bf16")
    run_to_end(qtbot, widget, engine)
    assert "precision fp32 instead of bf16" in widget.message
    assert len(viewer.layers) == 3
    assert not widget.replace_box.isHidden()
    assert not widget.replace_box.isChecked()
    widget.replace_box.setChecked(True)
    run_to_end(qtbot, widget, engine)
    assert widget.message.startswith("Done")
    assert [call["overwrite"] for call in engine.calls] == [False, False, True]
    assert len(engine.order) == 2 * TILES
    assert widget.replace_box.isHidden()


def test_regions_become_boxes_of_slide_pixels(widget, viewer, qtbot, engine):
    widget.settings_form.region_box.choose(IN_SHAPES)
    widget.predict()
    assert widget.message.startswith("There is no shapes layer")
    shapes = viewer.add_shapes([[[10, 20], [10, 50], [60, 50], [60, 20]]], scale=(0.5, 0.5), units=("um", "um"))
    assert shapes.name
    run_to_end(qtbot, widget, engine)
    box = engine.calls[-1]["settings"].region
    assert (box.y0, box.x0) == (10, 20)
    assert engine.order == [Box(0, 512, 0, 512)]
    assert widget.message.startswith("Done")

    widget.settings_form.region_box.choose(IN_VIEW)
    viewer.scene.camera.center = (5000, 5000)
    widget.predict()
    assert widget.message.startswith("The slide is not in view")
    viewer.scene.camera.zoom = 20
    viewer.scene.camera.center = (1060 * 0.5, 1200 * 0.5)
    run_to_end(qtbot, widget, engine)
    box = engine.calls[-1]["settings"].region
    assert box.y0 < 1060 < box.y1
    assert box.x0 < 1200 < box.x1
    assert engine.order[-1] == Box(1024, 1100, 1024, 1300)


def test_contrast_is_that_of_the_real_probe_until_the_user_changes_it(widget, viewer, qtbot, engine):
    real = viewer.layers[2]
    real.contrast_limits = (3, 40)
    run_to_end(qtbot, widget, engine)
    layer = widget.layer
    assert tuple(layer.contrast_limits) == (3, 40)
    assert layer.contrast_limits_range[1] >= 80
    real.contrast_limits = (5, 60)
    assert tuple(layer.contrast_limits) == (5, 60)
    layer.contrast_limits = (1, 2)
    real.contrast_limits = (7, 70)
    assert tuple(layer.contrast_limits) == (1, 2)


def test_without_a_real_probe_contrast_is_that_of_finished_tiles(widget, viewer, qtbot, engine):
    widget.slide_form.role_boxes["probe"].setCurrentIndex(0)
    viewer.scene.camera.center = (0, 0)
    widget.predict()
    engine.let(2)
    wait_for_tiles(qtbot, widget, 2)
    low, high = widget.layer.contrast_limits
    assert low == pytest.approx(1)
    assert high == pytest.approx(2, abs=0.1) or high == pytest.approx(11, abs=0.1)
    engine.let()
    wait_for(qtbot, widget, running=False)
    assert widget.layer.contrast_limits[1] == pytest.approx(23, abs=0.1)


def test_layers_that_others_opened_are_predicted_by_role(
    make_napari_viewer_proxy, qtbot, engine, open_widget, tmp_path
):
    viewer = make_napari_viewer_proxy()
    random = np.random.default_rng(0)
    for name in ("vessels", "nuclei", "something"):
        viewer.add_image(random.integers(0, 99, (600, 700)).astype(np.uint8), name=name)
    viewer.add_image(np.zeros((600, 700, 3), np.uint8), name="colour")
    widget = open_widget(viewer)
    widget.output_form.choose(tmp_path)
    boxes = widget.slide_form.role_boxes
    assert [boxes[role].currentText() for role in ("nuclei", "vessels", "probe")] == ["nuclei", "vessels", "–"]
    assert boxes["nuclei"].findText("colour") == -1
    boxes["vessels"].setCurrentText("nuclei")
    widget.predict()
    assert widget.message == "Choose a different channel for each of nuclei, vessels."
    boxes["vessels"].setCurrentText("something")
    run_to_end(qtbot, widget, engine)
    call = engine.calls[0]
    assert call["slide"].channel_names == ("nuclei", "something")
    assert call["roles"] == {"nuclei": 0, "vessels": 1}
    np.testing.assert_array_equal(call["slide"].levels[0][1].compute(), viewer.layers[2].data)
    assert np.all(np.asarray(widget.layer.data[0][:, :]) > 0)


# --- what goes wrong


def test_an_error_for_the_user_is_one_sentence_and_leaves_no_layer(widget, viewer, qtbot, engine, notifications):
    engine.fails_with = PredictionError("the disk is full; make room.")
    run_to_end(qtbot, widget, engine)
    assert widget.message == "the disk is full; make room."
    assert len(viewer.layers) == 3
    assert notifications == []
    assert widget.predict_button.isEnabled()


def test_any_other_error_goes_to_the_notifications(widget, viewer, qtbot, engine, notifications, monkeypatch):
    told = []
    monkeypatch.setattr(
        "napari_hrpn.plugin.predict_widget.notification_manager.receive_error",
        lambda kind, error, trace: told.append(error),
    )
    engine.fails_with = ZeroDivisionError("oh")
    run_to_end(qtbot, widget, engine)
    assert [type(error) for error in told] == [ZeroDivisionError]
    assert "wrong" in widget.message


def test_without_a_slide_the_widget_says_what_to_do(make_napari_viewer_proxy, engine, open_widget):
    widget = open_widget(make_napari_viewer_proxy())
    widget.predict()
    assert widget.message.startswith("There is no slide")


def test_removing_the_layer_does_not_end_the_prediction(widget, viewer, qtbot, engine, slide_file):
    widget.predict()
    engine.let(1)
    wait_for_tiles(qtbot, widget, 1)
    viewer.layers.remove(widget.layer)
    engine.let()
    wait_for(qtbot, widget, running=False)
    assert widget.message.startswith("Done")


# --- closing


def assert_stopped(engine, store):
    deadline = time.monotonic() + 10
    while prediction_threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert prediction_threads() == []
    assert engine.closed.is_set()
    kept = PredictionStore(store)
    assert sum(kept.finished(tile.core) for tile in TileGrid(*SHAPE, 512, 0, 1)) == 2


def test_closing_the_dock_ends_the_run_and_keeps_tiles(widget, viewer, qtbot, engine, slide_file):
    widget.predict()
    engine.let(2)
    wait_for_tiles(qtbot, widget, 2)
    viewer.window.remove_dock_widget(widget)
    assert_stopped(engine, slide_file.parent / "tumour 7.predicted-QD.ome.zarr")
    viewer.layers.clear()
    qtbot.wait(50)


def test_closing_the_viewer_ends_the_run_and_keeps_tiles(engine, viewer, open_widget, made, qtbot, slide_file):
    widget = open_widget(viewer)
    widget.predict()
    engine.let(2)
    wait_for_tiles(qtbot, widget, 2)
    made.clear()
    del widget
    viewer.close()
    qtbot.wait(100)
    gc.collect()
    assert_stopped(engine, slide_file.parent / "tumour 7.predicted-QD.ome.zarr")


# --- for real


@pytest.fixture
def real_slide(tmp_path):
    """Noise small enough for two tiles of 512 px with a network of one branch."""
    pixels = np.random.default_rng(5).integers(20, 60, (2, 500, 900)).astype(np.uint8)
    path = tmp_path / "real.ome.tif"
    metadata = {"axes": "CYX", "Channel": {"Name": ["DAPI", "AF488"]}, "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    tifffile.imwrite(path, pixels, photometric="minisblack", metadata=metadata)
    return path


def test_the_real_engine_predicts_stops_and_goes_on(make_napari_viewer_proxy, qtbot, real_slide, open_widget):
    viewer = make_napari_viewer_proxy()
    show(viewer, open_slide(real_slide))
    widget = open_widget(viewer)
    widget.settings_form.device_box.choose("cpu")
    widget.settings_form._advanced.core_box.setValue(512)
    widget.predict()
    qtbot.waitUntil(lambda: widget._running.progress is not None, timeout=60_000)
    widget.cancel()
    qtbot.waitUntil(lambda: not widget.is_running, timeout=60_000)
    qtbot.waitUntil(widget.predict_button.isEnabled, timeout=WAIT_MS)
    widget.predict()
    qtbot.waitUntil(lambda: not widget.is_running, timeout=60_000)
    assert widget.message.startswith("Done")
    stored = open_slide(real_slide.parent / "real.predicted-QD.ome.zarr")
    np.testing.assert_array_equal(widget.layer.data[0][:, :], stored.levels[0][0].compute())
    np.testing.assert_array_equal(widget.layer.data[-1][:, :], stored.levels[-1][0].compute())
    assert np.ptp(widget.layer.data[-1]) > 0
    assert isinstance(widget.layer.metadata["napari_hrpn"]["prediction"]["report"], PredictionReport)


def test_closing_the_viewer_during_a_real_run_ends_it(make_napari_viewer_proxy, qtbot, real_slide, open_widget, made):
    viewer = make_napari_viewer_proxy()
    show(viewer, open_slide(real_slide))
    widget = open_widget(viewer)
    widget.settings_form._advanced.core_box.setValue(512)
    widget.predict()
    qtbot.wait(100)
    made.clear()
    del widget
    viewer.close()
    deadline = time.monotonic() + 60
    while prediction_threads() and time.monotonic() < deadline:
        qtbot.wait(20)
    assert prediction_threads() == []


def test_napari_offers_the_widget(make_napari_viewer_proxy, qtbot, engine, made):
    viewer = make_napari_viewer_proxy()
    viewer.add_image(np.zeros((8, 8)), name="a")
    _, widget = viewer.window.add_plugin_dock_widget("napari-hrpn", "Predict QD")
    made.append(widget)
    assert isinstance(widget, PredictWidget)
    assert isinstance(viewer.layers[0], Image)
    qtbot.waitUntil(lambda: widget.settings_form.settings() is not None, timeout=WAIT_MS)
