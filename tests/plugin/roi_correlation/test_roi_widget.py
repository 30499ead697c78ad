"""The widget in a viewer: what is shown is what SciPy finds in the same pixels."""

import threading
from dataclasses import replace

import numpy as np
import pytest
from napari.layers import Shapes
from qtpy.QtCore import Qt
from scipy import stats

from napari_hrpn.analysis import colocalization, preview_roi
from napari_hrpn.analysis.counts.blocks import BlockSums
from napari_hrpn.analysis.metrics import ROI, metrics_in
from napari_hrpn.analysis.statistics.bootstrap import LEAST_BLOCKS
from napari_hrpn.plugin.roi_correlation.exports import settings
from napari_hrpn.plugin.roi_correlation.region_form import ALL, fitting_size
from napari_hrpn.plugin.roi_correlation.result_panel import interval_doubt
from napari_hrpn.plugin.roi_correlation.results import short_names
from napari_hrpn.plugin.viewer.open_slides import unwrapped
from support.roi_shapes import box, own_threads

PLACE = {"scale": (0.65, 0.65), "units": ("um", "um")}
WAIT_MS = 120_000


def assert_numbers_of(numbers, y, p):
    y, p = y.astype(float).ravel(), p.astype(float).ravel()
    line = stats.linregress(y, p)
    assert numbers.regression.n == y.size
    assert numbers.regression.pearson_r == pytest.approx(line.rvalue, abs=1e-12)
    assert numbers.regression.slope == pytest.approx(line.slope, rel=1e-10)
    assert numbers.regression.intercept == pytest.approx(line.intercept, rel=1e-8)
    assert numbers.agreement.rmse == pytest.approx(np.sqrt(np.mean((y - p) ** 2)), rel=1e-12)


@pytest.fixture
def held(monkeypatch):
    """A mouse that rests stays a mouse that drags, however long the machine takes."""
    monkeypatch.setattr("napari_hrpn.plugin.roi_correlation.regions.SETTLE_MS", 10 * WAIT_MS)


def titles_of(widget):
    return [widget.table.horizontalHeaderItem(column).text() for column in range(widget.table.columnCount())]


def bare(layer):
    """A layer as napari itself has it, with its private parts."""
    return getattr(layer, "__wrapped__", layer)


def drag(shapes, index, shift):
    """What napari does at each move of the mouse."""
    layer = bare(shapes)
    layer._data_view.shift(index, np.array(shift, float))
    layer.refresh()


def release(shapes, index):
    """What napari does when the mouse is let go."""
    shapes.events.data(value=shapes.data, action="changed", data_indices=(index,), vertex_indices=((),))


def test_without_layers_it_says_what_is_missing(viewer, open_widget):
    widget = open_widget(viewer)
    assert "open a slide and its prediction" in widget.pair_form.note_label.text()
    widget.maker.draw()
    assert "open a slide" in widget.message
    widget.measure()
    assert "no region" in widget.message
    widget.save_table()
    assert "nothing to save" in widget.message


def test_every_region_and_prediction_has_the_numbers_of_its_pixels(drawn, pixels):
    widget, _ = drawn
    _, real, first, second = pixels
    for row, cut in zip(widget.rows(), (np.s_[50:250, 60:300], np.s_[300:480, 100:400]), strict=True):
        assert row.measurement.is_exact
        for numbers, predicted in zip(row.measurement.numbers, (first, second), strict=True):
            assert_numbers_of(numbers, real[cut], predicted[cut])
    titles = titles_of(widget)
    assert titles == ["ROI", "r HRPN", "r GANDA", "slope HRPN", "slope GANDA", "n"]
    shown = widget.table.item(0, 1).text()
    assert shown.startswith(f"{widget.rows()[0].measurement.numbers[0].regression.pearson_r:.3f} [")
    assert widget.table.item(1, len(titles) - 1).text() == "54,000"
    widget.table.more_box.value = True
    assert titles_of(widget)[:8] == [*titles, "Δr GANDA", "Δslope GANDA"]
    last = metrics_in(ROI)[-1].short_title
    assert titles_of(widget)[-2:] == [f"{last} HRPN", f"{last} GANDA"]
    assert widget.table.item(1, len(titles) - 1).text() == "54,000"


def test_mean_and_sd_over_regions_are_shown_with_n(drawn):
    widget, _ = drawn
    values = [row.measurement.numbers[0].regression.slope for row in widget.rows()]
    text = widget.panel.summary_label.text().replace("&nbsp;", " ")
    assert "Mean ± SD over 2 ROIs" in text
    assert f"HRPN: r {np.mean([row.measurement.numbers[0].regression.pearson_r for row in widget.rows()]):.3f}" in text
    assert f"slope {np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}" in text
    assert "Δslope" in text


def test_numbers_follow_a_drag_and_are_exact_after_it(drawn, held, pixels, qtbot, settled, monkeypatch):
    widget, shapes = drawn
    monkeypatch.setattr(Shapes, "data", property(Shapes.data.fget))
    widget.previews._most_px = 20_000
    monkeypatch.setattr("napari_hrpn.plugin.roi_correlation.measurements.MOST_PX", 20_000)
    view = bare(shapes)._data_view
    drag(shapes, 0, (3, 4))
    drag(shapes, 0, (7, 6))
    qtbot.waitUntil(lambda: not widget.previews.is_busy, timeout=WAIT_MS)
    assert widget.measurement.level == 1
    assert widget.measurement.n == 100 * 120
    assert "preview from level 1: means of 2 × 2 px" in widget.panel.level_label.text()
    assert widget.table.picked_index() == 0
    release(shapes, 0)
    settled(widget, 2)
    assert "full resolution" in widget.panel.level_label.text()
    assert "[" in widget.panel.numbers_label.text()
    assert_numbers_of(widget.measurement.numbers[0], pixels[1][60:260, 70:310], pixels[2][60:260, 70:310])
    assert bare(shapes)._data_view is view


def test_a_place_that_was_measured_is_exact_at_once_and_one_without_numbers_says_why(
    viewer, pixels, held, open_widget, settled, qtbot
):
    bad = pixels[2].astype(np.float32)
    bad[400, 100] = np.nan
    viewer.add_image(pixels[1], name="real QD")
    viewer.add_image(bad, name="predicted QD")
    widget = open_widget(viewer)
    shapes = viewer.add_shapes([box(50, 150, 50, 150)])
    settled(widget, 1)
    exact = widget.measurement
    drag(shapes, 0, (300, 0))
    qtbot.waitUntil(lambda: not widget.previews.is_busy, timeout=WAIT_MS)
    assert "not finite" in widget.panel.plot.words
    drag(shapes, 0, (-300, 0))
    assert widget.measurement is exact


def test_the_newest_place_wins_and_nothing_queues_up(drawn, held, qtbot, monkeypatch):
    widget, shapes = drawn
    measured, begun, gate = [], threading.Event(), threading.Event()

    def slow(images, roi, **options):
        begun.set()
        assert gate.wait(WAIT_MS / 1000)
        measured.append(roi.rings[0][0][0])
        return preview_roi(images, roi, **options)

    monkeypatch.setattr("napari_hrpn.plugin.roi_correlation.measurements.preview_roi", slow)
    drag(shapes, 1, (-1, 1))
    assert begun.wait(WAIT_MS / 1000)
    for _ in range(29):
        drag(shapes, 1, (-1, 1))
    gate.set()
    qtbot.waitUntil(lambda: not widget.previews.is_busy, timeout=WAIT_MS)
    np.testing.assert_allclose(measured, [[299, 101], [270, 130]], atol=1e-9)


def test_a_mouse_that_rests_gets_exact_numbers_without_being_released(drawn, pixels, settled):
    widget, shapes = drawn
    drag(shapes, 0, (10, 0))
    settled(widget, 2)
    assert widget.measurement.is_exact
    assert_numbers_of(widget.measurement.numbers[0], pixels[1][60:260, 60:300], pixels[2][60:260, 60:300])


def test_row_and_shape_pick_each_other(drawn, viewer):
    widget, shapes = drawn
    widget.table.selectRow(0)
    assert set(shapes.selected_data) == {0}
    assert widget.measurement is widget.rows()[0].measurement
    shapes.selected_data = {1}
    assert widget.table.picked_index() == 1
    assert widget.measurement is widget.rows()[1].measurement
    widget.table.sortByColumn(widget.table.columnCount() - 1, Qt.SortOrder.DescendingOrder)
    assert [widget.table.item(row, 0).text() for row in range(2)] == ["ROI 2", "ROI 1"]
    widget.table.selectRow(1)
    assert set(shapes.selected_data) == {0}
    widget.table.itemDoubleClicked.emit(widget.table.item(0, 0))
    np.testing.assert_allclose(viewer.scene.camera.center[-2:], np.multiply([389.5, 249.5], 0.65))


def test_deleting_a_shape_keeps_what_is_known_of_the_others(drawn, settled):
    widget, shapes = drawn
    second = widget.rows()[1].measurement
    shapes.selected_data = {0}
    shapes.remove_selected()
    settled(widget, 1)
    assert widget.rows()[0].measurement is second
    assert widget.measurement is second


def test_a_deleted_region_is_brought_back_with_its_name(drawn, viewer, settled):
    widget, shapes = drawn
    shapes.features = {"name": ["core", "rim"]}
    settled(widget, 2)
    before = {row.listed.name: row.listed.digest for row in widget.rows()}
    button = widget.roi_form.restore_button.native
    assert not button.isVisibleTo(widget)
    shapes.selected_data = {0}
    shapes.remove_selected()
    settled(widget, 1)
    assert button.isVisibleTo(widget)
    button.click()
    settled(widget, 2)
    assert {row.listed.name: row.listed.digest for row in widget.rows()} == before
    assert not button.isVisibleTo(widget)
    # the whole layer too
    viewer.layers.remove(shapes)
    settled(widget, 0)
    button.click()
    settled(widget, 2)
    assert {row.listed.name: row.listed.digest for row in widget.rows()} == before


def test_regions_of_all_layers_count_and_labels_that_are_undone_are_measured_anew(drawn, viewer, pixels, settled):
    widget, _ = drawn
    labels = np.zeros(pixels[0].shape, np.uint8)
    labels[20:60, 30:90] = 3
    layer = viewer.add_labels(labels, name="cells", **PLACE)
    settled(widget, 2)
    widget.roi_form.refresh()
    widget.roi_form.layer_box.value = ALL
    settled(widget, 3)
    assert [row.listed.name for row in widget.rows()] == ["mine: ROI 1", "mine: ROI 2", "cells: label 3"]
    n = widget.rows()[2].measurement.n
    layer.paint((80, 200), 3)
    settled(widget, 3)
    assert widget.rows()[2].measurement.n > n
    layer.undo()
    settled(widget, 3)
    assert widget.rows()[2].measurement.n == n == 2400
    widget.table.selectRow(2)
    assert layer.selected_label == 3
    # new ones go to the shapes
    assert widget.roi_form.layer.name == "mine"


def test_a_random_region_is_known_by_its_settings_until_it_is_moved(drawn, viewer, settled):
    widget, mine = drawn
    form = widget.roi_form.random_form
    form.tissue_box.value = 0
    form.number_box.value = 1
    form.add_button.native.click()
    settled(widget, 3)
    exported = widget.exported()
    assert [origin["random"] is not None for origin in settings(exported)["origins"]] == [False, False, True]
    assert settings(exported)["random_regions"]["number"] == 1
    mine.data = [*mine.data[:2], mine.data[2] + 5]
    settled(widget, 3)
    assert settings(widget.exported())["random_regions"] is None
    other = viewer.add_shapes([box(50, 250, 60, 300)], name="other", **PLACE)
    widget.roi_form.choose(bare(other))
    settled(widget, 1)
    assert settings(widget.exported())["random_regions"] is None


@pytest.mark.parametrize(
    ("shape", "size"), [((600, 1041), (300, 333)), ((864, 960), (864, 960)), ((4000, 900), (405, 450))]
)
def test_random_regions_fit_the_slide(shape, size):
    assert fitting_size(shape) == size


def test_without_room_for_intervals_it_is_said_how_large_a_region_has_to_be(drawn):
    widget, _ = drawn
    measurement = widget.rows()[0].measurement
    assert interval_doubt(measurement, (500, 640)) == ""
    blocks = BlockSums(100)
    small = [replace(numbers, blocks=blocks) for numbers in measurement.numbers]
    doubted = replace(measurement, numbers=tuple(small))
    needed = LEAST_BLOCKS * 100**2
    assert f"{needed:,} px; this region has {measurement.n:,} px." in interval_doubt(doubted, (5000, 640))
    assert interval_doubt(doubted, (200, 300)).endswith("and the slide has 300 x 200 = 60,000 px.")


def test_lines_are_left_out_with_a_word(drawn, settled):
    widget, shapes = drawn
    shapes.add(np.array([[10.0, 10], [90, 90]]), shape_type="line")
    shapes.add(np.array([[10.0, 10], [90, 90], [20, 70]]), shape_type="path")
    settled(widget, 2)
    assert widget.roi_form.note_label.text().strip("\u200b") == "Left out: 2 paths or lines have no area."


def test_each_label_is_a_region(widget, viewer, pixels, settled):
    labels = np.zeros((250, 320), np.uint8)
    labels[20:60, 30:90] = 3
    labels[100:180, 50:90] = 7
    layer = viewer.add_labels(labels, scale=(1.3, 1.3), translate=(0.325, 0.325), units=("um", "um"), name="cells")
    widget.roi_form.choose(bare(layer))
    settled(widget, 2)
    assert [row.listed.name for row in widget.rows()] == ["label 3", "label 7"]
    assert_numbers_of(widget.rows()[0].measurement.numbers[1], pixels[1][40:120, 60:180], pixels[3][40:120, 60:180])
    widget.table.selectRow(0)
    assert layer.selected_label == 3
    layer.selected_label = 7
    assert widget.rows()[widget.table.picked_index()].listed.index == 7
    layer.data[100:180, 50:90] = 0
    layer.events.paint(value=[])
    settled(widget, 1)


def test_random_regions_lie_in_the_users_layer_whatever_its_transform(widget, viewer, pixels, settled):
    shapes = viewer.add_shapes(
        None, ndim=2, name="turned", rotate=30, scale=(2, 2), translate=(7, -3), units=("um", "um")
    )
    form = widget.roi_form.random_form
    form.unit_box.value = "µm"
    assert form.width_box.value == pytest.approx(0.65 * 277, abs=0.1)
    form.width_box.value = 65
    form.height_box.value = 52
    form.tissue_box.value = 0
    form.add_button.native.click()
    settled(widget, 3)
    assert widget.message == "3 of 3 regions added."
    assert len(shapes.data) == 3
    for row in widget.rows():
        assert row.measurement.n == 80 * 100
        (y0, x0), (y1, x1) = (np.rint(end(row.listed.roi.rings[0][0], axis=0)).astype(int) for end in (np.min, np.max))
        assert_numbers_of(row.measurement.numbers[0], pixels[1][y0:y1, x0:x1], pixels[2][y0:y1, x0:x1])


def test_random_regions_get_a_layer_of_their_own_on_the_tissue(widget, viewer, settled):
    form = widget.roi_form.random_form
    form.width_box.value = 120
    form.height_box.value = 100
    form.number_box.value = 4
    form.add_button.native.click()
    settled(widget, 4)
    layer = widget.roi_form.layer
    assert layer.name == "ROIs"
    assert list(layer.features["name"]) == [f"random 0-{k}" for k in range(1, 5)]
    assert [row.listed.name for row in widget.rows()] == list(layer.features["name"])
    for number in (5, 6):
        layer.add(box(0, 50, 0, 50 + number), shape_type="rectangle")
        settled(widget, number)
    assert list(layer.features["name"])[4:] == ["ROI 5", "ROI 6"]
    layer.selected_data = {0, 4}
    layer.remove_selected()
    settled(widget, 4)
    # names stay with their shapes, and none comes twice
    layer.add(box(0, 50, 0, 50), shape_type="rectangle")
    settled(widget, 5)
    assert [row.listed.name for row in widget.rows()][-2:] == ["ROI 6", "ROI 5"]


def test_a_region_larger_than_the_slide_is_refused_in_a_sentence(widget, qtbot):
    form = widget.roi_form.random_form
    form.tissue_box.value = 0
    form.width_box.value = 960
    form.height_box.value = 864
    widget.maker.add_random()
    qtbot.waitUntil(lambda: bool(widget.message), timeout=WAIT_MS)
    assert widget.message.startswith("The slide has 640 x 500 px, expected 960 x 864 px or more")


def test_draw_gives_a_layer_to_draw_in(widget, viewer):
    widget.roi_form.draw_button.native.click()
    layer = widget.roi_form.layer
    assert viewer.layers.selection.active == layer
    assert layer.mode == "add_rectangle"
    widget.roi_form.draw_button.native.click()
    assert widget.roi_form.layer == layer


def test_manders_and_costes_are_those_of_the_pixels(drawn, pixels, qtbot):
    widget, _ = drawn
    widget.table.selectRow(0)
    # one press is for all regions
    widget.bar.measure_button.click()
    qtbot.waitUntil(lambda: widget.is_settled, timeout=WAIT_MS)
    for row, cut in zip(widget.rows(), (np.s_[50:250, 60:300], np.s_[300:480, 100:400]), strict=True):
        assert row.colocalization == tuple(colocalization(pixels[1][cut], each[cut]) for each in pixels[2:])
    assert "Manders M1" in widget.panel.colocalization_label.text()
    column = titles_of(widget).index("M1 GANDA")
    for number, row in enumerate(widget.rows()):
        assert widget.table.item(number, column).text() == f"{row.colocalization[1].manders_m1:.3f}"


def test_the_colocalization_layer_is_red_green_and_yellow(drawn, viewer, pixels, qtbot, preferences):
    widget, shapes = drawn
    viewer.layers.selection.active = shapes
    widget.layer_button.native.click()
    layer = widget._overlay.layer
    assert layer.rgb
    assert viewer.layers.index(layer) < viewer.layers.index(shapes)
    assert viewer.layers.selection.active == shapes
    real_layer = widget.pair_form.pair.real.layer

    def expected(limits):
        scaled = [(each.astype(float) - limits[0]) / (limits[1] - limits[0]) * 255 for each in pixels[1:3]]
        return np.stack([*(np.clip(each, 0, 255) for each in scaled), np.zeros(real_layer.data[0].shape)], axis=-1)

    np.testing.assert_allclose(np.asarray(layer.data[0]), expected(real_layer.contrast_limits), atol=1)
    real_layer.contrast_limits = (100, 500)
    qtbot.waitUntil(lambda: np.allclose(np.asarray(layer.data[0]), expected((100, 500)), atol=1), timeout=WAIT_MS)
    widget.panel.prediction_box.value = 1
    widget.layer_button.native.click()
    assert widget._overlay.layer == layer
    assert "GANDA" in layer.name
    # it is no prediction
    assert len(widget.pair_form.pair.predictions) == 2
    assert widget.message.startswith("Red: only real, green: only predicted, yellow: both")
    preferences.overlay_colours = "magenta and green"
    widget.layer_button.native.click()
    picture = np.asarray(layer.data[0])
    np.testing.assert_array_equal(picture[..., 2], picture[..., 0])
    assert picture[..., 0].any()
    assert widget.message.startswith("Magenta: only real, green: only predicted, white: both")


def test_a_refusal_goes_when_its_reason_is_gone(widget, viewer, settled):
    widget.bar.measure_button.click()
    assert "There is no region to measure" in widget.message
    viewer.add_shapes([box(50, 150, 50, 150)], **PLACE)
    settled(widget, 1)
    assert widget.message == ""


def test_an_image_with_pixels_that_are_no_numbers_is_told_of(viewer, pixels, open_widget, settled):
    bad = pixels[2].astype(np.float32)
    bad[100, 100] = np.nan
    viewer.add_image(pixels[1], name="real QD")
    viewer.add_image(bad, name="predicted QD")
    widget = open_widget(viewer)
    viewer.add_shapes([box(50, 150, 50, 150), box(200, 300, 50, 150)])
    settled(widget, 2)
    assert "not finite" in widget.rows()[0].problem
    assert widget.rows()[1].measurement.n == 10_000
    widget.table.selectRow(0)
    assert "not finite" in widget.panel.plot.words
    assert widget.table.item(0, 1).text() == "–"


def test_other_predictions_are_measured_anew(drawn, settled):
    widget, _ = drawn
    first, _ = widget.pair_form.pair.predictions
    widget.pair_form.choose(widget.pair_form.pair.real.layer, [first.layer])
    settled(widget, 2)
    assert len(widget.rows()[0].measurement.numbers) == 1
    assert widget.table.horizontalHeaderItem(1).text() == "r"
    assert not widget.panel.prediction_box.native.isVisibleTo(widget)


def test_moving_the_layer_moves_its_regions(drawn, pixels, settled):
    widget, shapes = drawn
    shapes.translate = (6.5, 13)
    settled(widget, 2)
    assert_numbers_of(widget.rows()[0].measurement.numbers[0], pixels[1][60:260, 80:320], pixels[2][60:260, 80:320])


def test_closing_the_viewer_ends_all(drawn, viewer, close_and_go_on, qtbot):
    _, shapes = drawn
    drag(shapes, 0, (1, 1))
    close_and_go_on(viewer)
    qtbot.waitUntil(lambda: not own_threads(), timeout=WAIT_MS)


def test_short_names():
    assert short_names(["slide A predicted QD", "slide GANDA QD"]) == ("A", "GANDA")
    assert short_names(["slide predicted QD", "slide GANDA QD"]) == ("predicted", "GANDA")
    assert short_names(["same", "same"]) == ("same", "same")
    assert short_names(["only one"]) == ("only one",)


def test_keys_step_through_the_table_and_show_real_and_predicted_by_turns(drawn, viewer, notifications):
    widget, shapes = drawn
    press = unwrapped(viewer).window._qt_viewer.canvas._key_map_handler.press_key
    widget.table.sortByColumn(0, Qt.SortOrder.DescendingOrder)
    widget.table.clearSelection()
    steps = []
    for key in ("N", "N", "N", "Shift-N"):
        assert press(key)
        steps.append(widget.table.picked_index())
        assert set(shapes.selected_data) == {steps[-1]}
    assert steps == [1, 0, 1, 0]
    np.testing.assert_allclose(viewer.scene.camera.center[-2:], np.multiply([149.5, 179.5], 0.65))
    buttons = widget.pair_form.views.buttons
    for shown in ("real", "predicted", "real"):
        assert press("Q")
        assert [view for view, button in buttons.items() if button.isChecked()] == [shown]
    assert press("Shift-M")
    assert widget.bar.is_running
    viewer.window.remove_dock_widget(widget)
    assert press("N")
    assert notifications[-1] == "HRPN: show the next ROI: open the widget ROI correlation first."
