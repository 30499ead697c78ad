from pathlib import Path

import numpy as np
import pytest

from napari_hrpn.plugin.layers import slide_of
from napari_hrpn.slides import halve, open_slide
from napari_hrpn.tiling import Box, TileGrid
from support.settling import WAIT_MS

SHAPE = (1100, 1300)
TILES = 9


TRANSFORMS = [{}, {"rotate": 30, "scale": (0.5, 0.4), "translate": (40, -9), "shear": [0.2]}]


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_the_layer_is_there_at_once_and_lies_on_the_slide(
    make_napari_viewer_proxy, engine, slide_file, open_widget, transform, wait_for, show
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
    wait_for(widget, running=False)


def test_tiles_fill_all_levels_and_the_end_is_told(widget, engine, slide_file, run_to_end):
    run_to_end(widget)
    expected = np.zeros(SHAPE, np.float32)
    for tile in TileGrid(*SHAPE, 512, 0, 1):
        box = tile.core
        expected[box.y0 : box.y1, box.x0 : box.x1] = engine.pattern(box)
    for level in widget.layer.data:
        np.testing.assert_array_equal(level[:, :], expected)
        expected = halve(expected)
    store = slide_file.parent / "tumour 7.predicted.ome.zarr"
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


def test_the_canvas_shows_a_tile_soon(
    make_napari_viewer_proxy, qtbot, engine, slide_file, open_widget, wait_for_tiles, wait_for, show
):
    viewer = make_napari_viewer_proxy(show=True)
    show(viewer, open_slide(slide_file))
    widget = open_widget(viewer)
    viewer.layers[2].contrast_limits = (0, 20)
    for layer in viewer.layers:
        layer.visible = False
    widget.predict()
    qtbot.waitUntil(lambda: bool(engine.calls), timeout=WAIT_MS)
    assert viewer.screenshot(flash=False)[..., :3].max() == 0
    engine.let(4)
    wait_for_tiles(widget, 4)
    qtbot.waitUntil(lambda: viewer.screenshot(flash=False)[..., :3].max() > 80, timeout=WAIT_MS)
    engine.let()
    wait_for(widget, running=False)


def test_tiles_in_view_come_first(widget, viewer, engine, wait_for_tiles, wait_for):
    viewer.scene.camera.zoom = 4
    viewer.scene.camera.center = (1050 * 0.5, 1250 * 0.5)
    widget.predict()
    engine.let(1)
    wait_for_tiles(widget, 1)
    viewer.scene.camera.center = (10 * 0.5, 10 * 0.5)
    engine.let(1)
    wait_for_tiles(widget, 2)
    engine.let()
    wait_for(widget, running=False)
    assert engine.order[:2] == [Box(1024, 1100, 1024, 1300), Box(0, 512, 0, 512)]


def test_cancel_keeps_tiles_and_predict_goes_on(widget, viewer, qtbot, engine, wait_for_tiles, wait_for):
    widget.predict()
    engine.let(4)
    wait_for_tiles(widget, 4)
    assert widget.cancel_button.isEnabled()
    assert not widget.predict_button.isEnabled()
    widget.cancel_button.click()
    wait_for(widget, running=False)
    assert widget.message == "Stopped: 4 of 9 tiles are done and kept. Predict goes on from them."
    layer = widget.layer
    qtbot.waitUntil(widget.predict_button.isEnabled, timeout=WAIT_MS)

    widget.predict_button.click()
    qtbot.waitUntil(lambda: widget.message == "Going on: 4 of 9 tiles were done before.", timeout=WAIT_MS)
    assert np.count_nonzero(layer.data[-1]) > 0
    assert widget.layer is layer
    engine.let()
    wait_for(widget, running=False)
    assert len(set(engine.order)) == len(engine.order) == TILES
    assert [other.name for other in viewer.layers].count("tumour 7 predicted QD") == 1
    assert np.all(np.asarray(layer.data[0][:, :]) > 0)


def test_another_prediction_is_replaced_only_when_asked(widget, viewer, engine, run_to_end):
    run_to_end(widget)
    viewer.layers.remove(widget.layer)
    assert widget.replace_box.isHidden()
    widget.settings_form._advanced.precision_box.choose("bf16")
    run_to_end(widget)
    assert "precision fp32 instead of bf16" in widget.message
    assert len(viewer.layers) == 3
    assert not widget.replace_box.isHidden()
    assert not widget.replace_box.isChecked()
    widget.replace_box.setChecked(True)
    run_to_end(widget)
    assert widget.message.startswith("Done")
    assert [call["overwrite"] for call in engine.calls] == [False, False, True]
    assert len(engine.order) == 2 * TILES
    assert widget.replace_box.isHidden()


def test_contrast_is_that_of_the_real_probe_until_the_user_changes_it(widget, viewer, run_to_end):
    real = viewer.layers[2]
    real.contrast_limits = (3, 40)
    run_to_end(widget)
    layer = widget.layer
    assert tuple(layer.contrast_limits) == (3, 40)
    assert layer.contrast_limits_range[1] >= 80
    real.contrast_limits = (5, 60)
    assert tuple(layer.contrast_limits) == (5, 60)
    layer.contrast_limits = (1, 2)
    real.contrast_limits = (7, 70)
    assert tuple(layer.contrast_limits) == (1, 2)


def test_without_a_real_probe_contrast_is_that_of_finished_tiles(widget, viewer, engine, wait_for_tiles, wait_for):
    widget.slide_form.role_boxes["probe"].setCurrentIndex(0)
    viewer.scene.camera.center = (0, 0)
    widget.predict()
    engine.let(2)
    wait_for_tiles(widget, 2)
    low, high = widget.layer.contrast_limits
    assert low == pytest.approx(1)
    assert high == pytest.approx(2, abs=0.1) or high == pytest.approx(11, abs=0.1)
    engine.let()
    wait_for(widget, running=False)
    assert widget.layer.contrast_limits[1] == pytest.approx(23, abs=0.1)


def test_removing_the_layer_does_not_end_the_prediction(widget, viewer, engine, slide_file, wait_for_tiles, wait_for):
    widget.predict()
    engine.let(1)
    wait_for_tiles(widget, 1)
    viewer.layers.remove(widget.layer)
    engine.let()
    wait_for(widget, running=False)
    assert widget.message.startswith("Done")
