import threading
from pathlib import Path

import numpy as np
import pytest
from napari.utils.colormaps.standardize_color import transform_color

from napari_hrpn.core import Box, TileGrid
from napari_hrpn.inference import PredictionError
from napari_hrpn.models import IntensityScaling
from napari_hrpn.plugin.predict.job import IN_SHAPES
from napari_hrpn.plugin.viewer import (
    hatch_of,
    imaged_slides_in,
    is_prediction,
    layer_colour,
    newest_prediction,
    prediction_facts,
    slide_label,
    slide_layers,
    slide_of,
)
from napari_hrpn.slides import SlideWarning, halve, open_slide, prediction_record
from support.settling import WAIT_MS

SHAPE = (1100, 1300)
TILES = 9
SCALING = IntensityScaling(offsets=(0.0, 0.0), scales=(2.0, 2.0))


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
    assert layer.name == "predicted QD (tiny) · tumour 7"
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
    (_, opened, _), *_ = slide_layers(open_slide(store))
    plain = widget.layer.metadata["napari-hrpn"]
    assert plain == opened["metadata"]["napari-hrpn"]
    assert (plain["kind"], plain["checkpoint"], plain["digest"], plain["complete"]) == (
        "prediction",
        "tiny",
        widget.checkpoint_form.chosen.digest,
        True,
    )


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
    # hatched, since nothing is predicted yet
    unfinished = viewer.screenshot(flash=False)[..., :3]
    assert 0 < unfinished.max() < 80
    assert np.ptp(unfinished.astype(int), axis=-1).max() == 0
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
    assert widget.cancel_button.enabled
    assert not widget.predict_button.enabled
    widget.cancel_button.native.click()
    wait_for(widget, running=False)
    assert widget.message == (
        "Stopped: 4 of 9 tiles are done and kept in tumour 7.predicted.ome.zarr. Predict resumes from them."
    )
    layer = widget.layer
    qtbot.waitUntil(lambda: widget.predict_button.enabled, timeout=WAIT_MS)

    widget.predict_button.native.click()
    qtbot.waitUntil(lambda: widget.message == "Resumed: 4 of 9 tiles were done before.", timeout=WAIT_MS)
    assert np.count_nonzero(layer.data[-1]) > 0
    assert widget.layer == layer
    engine.let()
    wait_for(widget, running=False)
    assert len(set(engine.order)) == len(engine.order) == TILES
    assert [other.name for other in viewer.layers].count("predicted QD (tiny) · tumour 7") == 1
    assert np.all(np.asarray(layer.data[0][:, :]) > 0)


def test_other_settings_get_a_store_of_their_own_unless_the_user_replaces(widget, viewer, engine, run_to_end):
    run_to_end(widget)
    assert widget.replace_box.native.isHidden()
    widget.settings_form.fields["precision"].value = "bf16"
    assert not widget.replace_box.native.isHidden()
    assert not widget.replace_box.value
    run_to_end(widget)
    assert widget.message.endswith("tumour 7.predicted-tiny-2.ome.zarr")
    assert [layer.name for layer in viewer.layers[3:]] == [
        "predicted QD (tiny) · tumour 7",
        "predicted QD (tiny) 2 · tumour 7",
    ]
    widget.settings_form.fields["precision"].value = "fp16"
    widget.replace_box.value = True
    run_to_end(widget)
    assert widget.message.endswith("tumour 7.predicted.ome.zarr")
    assert len(viewer.layers) == 5
    widget.settings_form.fields["precision"].value = "bf16"
    assert widget.replace_box.native.isHidden()
    run_to_end(widget)
    assert [call["overwrite"] for call in engine.calls] == [False, False, True, False]
    assert len(engine.order) == 3 * TILES


def test_two_checkpoints_on_one_slide_have_names_and_colours_of_their_own(
    widget, viewer, qtbot, tmp_path, write_checkpoint, run_to_end
):
    run_to_end(widget)
    title = "HRPN: 'a/b' of many tumours with a very long name indeed"
    widget.use_checkpoint(
        write_checkpoint(
            tmp_path / "b.safetensors", title=title, description="other", pixel_size_um=0.5, scaling=SCALING
        )
    )
    qtbot.waitUntil(lambda: widget.checkpoint_form.chosen is not None, timeout=WAIT_MS)
    run_to_end(widget)
    first, second = viewer.layers[3:]
    stores = [Path(prediction_facts(layer)["path"]) for layer in (first, second)]
    assert stores[0].name == "tumour 7.predicted.ome.zarr"
    assert stores[1].name == "tumour 7.predicted-HRPN_ 'a_b' of many tumours with a very.ome.zarr"
    assert second.name == "predicted QD (HRPN: 'a/b' of many tumours with a very…) · tumour 7"
    assert layer_colour(first) != layer_colour(second)
    for layer, store in zip((first, second), stores, strict=True):
        assert prediction_record(store).colour == layer_colour(layer)
        np.testing.assert_allclose(layer.colormap.colors[-1], transform_color(layer_colour(layer))[0], atol=0.01)
        ((_, attributes, _),) = slide_layers(open_slide(store))
        assert attributes["name"] == layer.name
        assert attributes["colormap"] == layer_colour(layer)


def test_a_prediction_that_was_opened_is_one_and_goes_on_in_its_layer(
    widget, viewer, engine, slide_file, wait_for_tiles, wait_for, run_to_end
):
    viewer.scene.camera.center = (0, 0)
    widget.predict()
    engine.let(2)
    wait_for_tiles(widget, 2)
    widget.cancel()
    wait_for(widget, running=False)
    viewer.layers.remove(widget.layer)
    engine._allowed = threading.Semaphore(0)
    with pytest.warns(SlideWarning, match="not finished"):
        ((data, attributes, _),) = slide_layers(open_slide(slide_file.parent / "tumour 7.predicted.ome.zarr"))
    opened = viewer.add_image(data, **attributes)
    assert is_prediction(opened)
    assert [slide_label(slide) for slide in imaged_slides_in(viewer)] == ["tumour 7"]
    run_to_end(widget)
    assert widget.layer == opened
    assert np.all(np.asarray(opened.data[0][:, :]) > 0)


def test_what_was_predicted_before_stays_in_sight_when_another_region_is(widget, viewer, engine, run_to_end):
    widget.settings_form.region_box.value = IN_SHAPES
    shapes = viewer.add_shapes([[[10, 20], [10, 50], [60, 50], [60, 20]]], scale=(0.5, 0.5), units=("um", "um"))
    run_to_end(widget)
    shapes.data = [[[1050, 1250], [1050, 1280], [1080, 1280], [1080, 1250]]]
    run_to_end(widget)
    coarse = np.asarray(widget.layer.data[-1])
    assert len(engine.order) == 2
    assert coarse[0, 0] == 1
    assert coarse[-1, -1] == 23
    assert widget.progress_panel.bar.text() == "1 of 1 tiles, 100 %"
    # what is not predicted is hatched
    hatch = hatch_of(viewer, widget.layer)
    assert [hatch.data[row, column, 3] > 0 for row, column in ((0, 0), (-1, -1), (0, -1))] == [False, False, True]
    widget.settings_form.region_box.value = "whole"
    run_to_end(widget)
    assert hatch_of(viewer, widget.layer) is None


def test_words_are_those_of_the_state_and_go_when_they_are_stale(
    widget, viewer, qtbot, engine, wait_for_tiles, wait_for, run_to_end
):
    engine.fails_with = PredictionError("the disk is full; make room.")
    run_to_end(widget)
    assert widget.message == "the disk is full; make room."
    widget.settings_form.fields["memory_gb"].value = 1
    assert widget.message == ""
    engine.fails_with = None
    engine._allowed = threading.Semaphore(0)
    widget.predict()
    assert widget.message.startswith("Reading tumour 7")
    qtbot.waitUntil(lambda: bool(engine.calls), timeout=WAIT_MS)
    widget._running._focus()
    qtbot.waitUntil(lambda: widget.message.startswith("Computing the first tile"), timeout=WAIT_MS)
    engine.let(1)
    wait_for_tiles(widget, 1)
    assert widget.message.startswith("Predicting")
    widget.cancel()
    assert widget.message == "Stopping …"
    wait_for(widget, running=False)
    assert not widget.progress_panel.bar.isHidden()
    widget.slide_form.role_boxes["probe"].value = None
    assert widget.message == ""
    assert widget.progress_panel.bar.isHidden()


def test_the_views_compare_the_real_with_the_predicted_probe(widget, viewer, run_to_end, tmp_path, slide_file, show):
    buttons = widget.view_buttons.buttons
    assert [view for view, button in buttons.items() if button.isEnabled()] == ["real"]
    run_to_end(widget)
    real, predicted = viewer.layers[2], widget.layer
    predicted.contrast_limits = (0, 1)

    def shown():
        return [layer for layer in viewer.layers if layer.visible]

    drawn = viewer.add_shapes([np.array([[0, 0], [0, 50], [50, 50]])], shape_type="polygon")
    buttons["real"].click()
    assert shown() == [real, drawn]
    buttons["side by side"].click()
    assert shown() == [real, predicted]
    buttons["overlay"].click()
    assert shown() == [real, predicted, drawn]
    viewer.layers.remove(drawn)
    assert tuple(predicted.contrast_limits) == tuple(real.contrast_limits)
    buttons["side by side"].click()
    grid = viewer.canvas.grid
    assert grid.enabled
    assert grid.position(2, viewer.layers) == (0, 0)
    assert grid.position(3, viewer.layers) == (0, 1)
    buttons["difference"].click()
    assert not grid.enabled
    (difference,) = shown()
    np.testing.assert_array_equal(
        np.asarray(difference.data[0]), np.asarray(predicted.data[0]) - np.asarray(real.data[0]).astype(np.float32)
    )
    assert sum(difference.contrast_limits) == 0
    # another slide of the same size has nothing to be compared with
    other = tmp_path / "other.ome.tif"
    other.write_bytes(slide_file.read_bytes())
    show(viewer, open_slide(other), visible=False)
    assert newest_prediction(viewer, viewer.layers["QD · other"]) is None
    for name in ("DAPI · other", "CD31 · other", "QD · other"):
        viewer.layers.remove(name)
    real.contrast_limits = (4, 44)
    assert tuple(predicted.contrast_limits) == (4, 44)
    buttons["difference"].click()
    assert shown() == list(viewer.layers) == [*viewer.layers[:3], predicted]
    buttons["difference"].click()
    viewer.layers.remove(shown()[0])
    assert shown() == list(viewer.layers)
    assert not any(button.isChecked() for button in buttons.values())


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
    widget.slide_form.role_boxes["probe"].value = None
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
