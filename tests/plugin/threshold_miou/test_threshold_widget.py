"""The whole widget in a real viewer, on slides in memory; numbers against NumPy."""

import csv
import threading

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from napari.components import ViewerModel
from napari.layers import Labels

from napari_hrpn.analysis import tissue_mask
from napari_hrpn.core import Progress
from napari_hrpn.plugin.parts.region_form import FRAME, TISSUE
from napari_hrpn.plugin.threshold_miou.overlap import BOTH, PREDICTED_ONLY, REAL_ONLY
from napari_hrpn.plugin.threshold_miou.overlay import COLOURS, NAME
from napari_hrpn.plugin.threshold_miou.widget import ThresholdMiouWidget
from napari_hrpn.reports import number
from support.compared import SHAPE, compared_slides, show
from support.settling import WAIT_MS, draw
from support.settling import settle as settled

AFFORDABLE = "napari_hrpn.plugin.threshold_miou.overlap.AFFORDABLE_PX"
UNASKED = "napari_hrpn.plugin.parts.measuring_widget._UNASKED_WEIGHT"


@pytest.fixture
def slides():
    return compared_slides()


@pytest.fixture
def is_shown(request):
    """Whether there is a window on the screen: what is drawn decides what is in view."""
    return getattr(request, "param", False)


@pytest.fixture
def viewer(request, slides, is_shown):
    """One without a window opens in no time."""
    viewer = request.getfixturevalue("make_napari_viewer_proxy")(show=True) if is_shown else ViewerModel()
    for slide in slides:
        show(viewer, slide)
    return viewer


@pytest.fixture
def open_widget(viewer, settle, is_shown):
    made = []

    def opened():
        widget = ThresholdMiouWidget(viewer)
        made.append(widget)
        if is_shown:
            viewer.window.add_dock_widget(widget, name="Threshold MIoU")
        settle(widget)
        return widget

    yield opened
    for widget in made:
        # one that went with its viewer is deleted
        if not widget._is_shut_down:
            widget.shut_down()
            widget.close()


@pytest.fixture
def widget(open_widget):
    return open_widget()


@pytest.fixture
def settle(qtbot, viewer, is_shown):
    """Waits until all is read, measured and shown."""

    def run(widget):
        if is_shown:
            draw(viewer)
        settled(qtbot, widget)

    return run


def pixels(slides, level=0):
    real, predicted = slides
    return real.levels[level][2].compute(), predicted.levels[level][0].compute()


def in_frame(widget, settle):
    widget.region_form.box.value = FRAME
    settle(widget)


def numbers(widget):
    """IoU, mean IoU and n of each row, by where."""
    return {row[1]: (row[2], row[3], row[-1]) for row in widget.numbers.texts()}


def expected(real, predicted, threshold, mask=None):
    a, b = real >= threshold, predicted >= threshold
    a, b = (image if mask is None else image[mask] for image in (a, b))
    iou = (a & b).sum() / (a | b).sum()
    background = (~a & ~b).sum() / (~a | ~b).sum()
    return number(iou), number((iou + background) / 2), f"{a.size:,}"


def offered(widget):
    box = widget.region_form.box
    return [box.native.itemText(index) for index in range(len(box))]


def labels(widget):
    return widget.overlay.layer


def test_tissue_is_measured_at_once_and_shown_in_fixed_colours(widget, viewer, slides):
    real, predicted = pixels(slides)
    mask = tissue_mask(slides[0], 0).within(slice(0, SHAPE[0]), slice(0, SHAPE[1]))
    assert widget.region_form.title == "Tissue"
    assert widget.threshold_form.percentile == 90
    assert widget.threshold_form.threshold == np.percentile(real[mask], 90)
    assert numbers(widget)["region"] == expected(real, predicted, widget.threshold_form.threshold, mask)
    layer = viewer.layers[NAME]
    assert isinstance(layer, Labels)
    assert layer.multiscale
    assert not layer.editable
    for label, colour in COLOURS.items():
        np.testing.assert_allclose(layer.colormap.color_dict[label][:3], to_rgb(colour), atol=0.01)
    assert "Tissue" in widget.level_label.text()
    assert "full resolution, 0.5 µm pixels" in widget.level_label.text()


@pytest.mark.parametrize("is_shown", [True], indirect=True)
def test_labels_and_numbers_follow_the_slider(widget, viewer, slides, settle):
    in_frame(widget, settle)
    real, predicted = pixels(slides)
    viewer.scene.camera.zoom *= 3
    settle(widget)
    for percentile in (50, 97):
        widget.threshold_form.slider.value = 10 * percentile
        settle(widget)
        threshold = np.percentile(real, percentile)
        assert numbers(widget)["region"] == expected(real, predicted, threshold)
        view = widget.overlay.view.window
        assert view.level == 0
        part = slice(view.box.y0, view.box.y1), slice(view.box.x0, view.box.x1)
        assert 0 < view.box.area < real.size
        assert numbers(widget)["view"] == expected(real[part], predicted[part], threshold)
        shown = labels(widget).data[0][part]
        np.testing.assert_array_equal(shown == BOTH, (real[part] >= threshold) & (predicted[part] >= threshold))
        np.testing.assert_array_equal(shown == REAL_ONLY, (real[part] >= threshold) & (predicted[part] < threshold))
        np.testing.assert_array_equal(
            shown == PREDICTED_ONLY, (real[part] < threshold) & (predicted[part] >= threshold)
        )


@pytest.mark.parametrize("is_shown", [True], indirect=True)
def test_what_the_canvas_shows_changes_with_the_slider(widget, viewer, settle, qtbot):
    for layer in viewer.layers:
        layer.visible = layer.name == NAME
    in_frame(widget, settle)
    bright = []
    for percentile in (95, 20):
        widget.threshold_form.slider.value = 10 * percentile
        settle(widget)
        bright.append(viewer.screenshot(canvas_only=True, flash=False)[..., :3].mean())
    assert bright[1] > 2 * bright[0]


@pytest.mark.parametrize("is_shown", [True], indirect=True)
def test_a_view_that_napari_draws_late_is_looked_at_again(widget, viewer, settle, qtbot):
    in_frame(widget, settle)
    viewer.scene.camera.zoom /= 5
    settle(widget)
    assert widget.overlay.view.window.level > 0
    viewer.scene.camera.zoom *= 10
    # the look comes first, as on a busy machine
    widget.overlay._look()
    settle(widget)
    assert widget.overlay.view.window.level == 0


def test_without_a_tissue_the_frame_is_measured_and_it_is_told_why(viewer, settle, open_widget, slides):
    viewer.layers.clear()
    for name, image in zip(("probe", "HRPN"), pixels(slides), strict=True):
        viewer.add_image(image, name=name)
    widget = open_widget()
    assert offered(widget) == ["Whole frame"]
    assert numbers(widget)["region"] == expected(*pixels(slides), widget.threshold_form.threshold)
    assert "nuclei stain" in widget.region_form.edit_button.tooltip
    for slide in slides:
        show(viewer, slide)
    settle(widget)
    widget.pair_form.choose(viewer.layers["QD · tumour"], [viewer.layers["QD · tumour.predicted"]])
    settle(widget)
    assert widget.region_form.title == "Tissue"


@pytest.mark.parametrize("is_shown", [True], indirect=True)
def test_a_coarse_view_is_counted_at_the_level_that_is_shown(widget, viewer, slides, settle):
    in_frame(widget, settle)
    viewer.scene.camera.zoom /= 5
    settle(widget)
    level = widget.overlay.view.window.level
    assert level > 0
    real, predicted = pixels(slides, level)
    assert numbers(widget)["view"] == expected(real, predicted, widget.threshold_form.threshold)
    assert f"level {level} of 0 to 2, 1/{2**level} of the resolution" in widget.level_label.text()


def test_shapes_are_a_region_that_follows_them(widget, viewer, slides, settle):
    real, predicted = pixels(slides)
    # corners of shapes are between the centres of pixels here, which are at whole numbers
    corners = np.array([[50, 500], [50, 600], [120, 600], [120, 500]]) - 0.5
    shapes = viewer.add_shapes([corners], name="roi", scale=(0.5, 0.5), units=("um", "um"))
    settle(widget)
    widget.region_form.box.value = shapes
    assert widget.region_form.title == "ROI: roi"
    settle(widget)
    part = slice(50, 120), slice(500, 600)
    threshold = widget.threshold_form.threshold
    assert threshold == np.percentile(real[part], 90)
    assert numbers(widget)["region"] == expected(real[part], predicted[part], threshold)
    fine = labels(widget).data[0]
    assert fine[part].any()
    assert not fine[400:500, 500:600].any()
    shapes.data = [corners + np.array([200, 0])]
    settle(widget)
    part = slice(250, 320), slice(500, 600)
    assert numbers(widget)["region"] == expected(real[part], predicted[part], np.percentile(real[part], 90))
    assert not fine[50:120, 500:600].any()


def test_painted_tissue_counts_at_once(widget, viewer, settle):
    n = int(numbers(widget)["region"][2].replace(",", ""))
    widget.region_form.edit_button.native.click()
    layer = widget.tissue.layer
    layer.data = np.where(np.arange(layer.data.shape[0])[:, None] < layer.data.shape[0] // 2, layer.data, 0)
    settle(widget)
    assert 0 < int(numbers(widget)["region"][2].replace(",", "")) < 0.6 * n
    assert not [title for title in offered(widget) if title.startswith("ROI")]
    assert not widget.region_form.edit_button.enabled


def test_several_predictions_have_rows_and_curves_and_one_is_shown(widget, viewer, slides, settle):
    real, predicted = pixels(slides)
    worse = np.roll(predicted, 9, axis=0)
    viewer.add_image(worse, name="tumour GANDA", scale=(0.5, 0.5), units=("um", "um"))
    settle(widget)
    in_frame(widget, settle)
    rows = widget.numbers.texts()
    assert [row[0] for row in rows if row[1] == "region"] == ["QD · tumour.predicted", "tumour GANDA"]
    threshold = widget.threshold_form.threshold
    assert tuple(rows[-1][index] for index in (2, 3, 6)) == expected(real, worse, threshold)
    assert [curve.colour for curve in widget.curves.curves] == ["#56b4e9", "#e69f00"]
    widget.prediction_box.value = 1
    settle(widget)
    # the flat image has no level in common with the slide but the finest
    shown = np.asarray(labels(widget).data)[:200, :200]
    np.testing.assert_array_equal(shown == BOTH, ((real >= threshold) & (worse >= threshold))[:200, :200])


def test_a_large_slide_is_estimated_first_and_read_in_full_when_asked(
    monkeypatch, open_widget, viewer, slides, settle, qtbot
):
    monkeypatch.setattr(AFFORDABLE, 60_000)
    monkeypatch.setattr(UNASKED, 1000)
    widget = open_widget()
    in_frame(widget, settle)
    real, predicted = pixels(slides, 2)
    assert numbers(widget)["region"] == expected(real, predicted, widget.threshold_form.threshold)
    assert "(an estimate)" in widget.level_label.text()
    assert widget.curves.source == f"Whole frame at 1/4, n = {real.size:,}"
    widget.bar.measure_button.click()
    settle(widget)
    real, predicted = pixels(slides)
    assert widget.threshold_form.threshold == np.percentile(real, 90)
    assert numbers(widget)["region"] == expected(real, predicted, widget.threshold_form.threshold)
    assert "estimate" not in widget.level_label.text()
    # the same again is known at once
    widget.region_form.box.value = TISSUE
    settle(widget)
    assert "estimate" in widget.level_label.text()
    in_frame(widget, settle)
    assert "estimate" not in widget.level_label.text()


def test_measuring_can_be_cancelled(monkeypatch, open_widget, settle, qtbot):
    begun, go_on = threading.Event(), threading.Event()

    def never(*_, **__):
        for done in range(10**6):
            begun.set()
            go_on.wait(0.01)
            yield Progress(done, 10**6)

    monkeypatch.setattr(AFFORDABLE, 60_000)
    monkeypatch.setattr(UNASKED, 1000)
    monkeypatch.setattr("napari_hrpn.analysis.slide_pairs", never)
    widget = open_widget()
    widget.measure()
    qtbot.waitUntil(begun.is_set, timeout=WAIT_MS)
    widget.bar.cancel_button.click()
    settle(widget)
    assert "Stopped" in widget.message
    assert "estimate" in widget.level_label.text()


@pytest.mark.parametrize("is_shown", [True], indirect=True)
def test_of_a_view_that_was_not_read_no_more_is_read_than_it_shows(monkeypatch, open_widget, viewer, slides, settle):
    monkeypatch.setattr(AFFORDABLE, 60_000)
    widget = open_widget()
    in_frame(widget, settle)
    viewer.scene.camera.center = (0, 60, 300)
    viewer.scene.camera.zoom = 8
    settle(widget)
    view = widget.overlay.view.window
    assert view.level == 0
    chunks = [chunk.result().shape for chunk in widget._overview.levels.cache._chunks.values()]
    assert sum(map(np.prod, chunks)) < 2 * SHAPE[0] * SHAPE[1]
    part = slice(view.box.y0, view.box.y1), slice(view.box.x0, view.box.x1)
    real, predicted = (image[part] for image in pixels(slides))
    assert numbers(widget)["view"] == expected(real, predicted, widget.threshold_form.threshold)


def test_the_layer_goes_and_comes_back(widget, viewer, settle):
    viewer.layers.remove(viewer.layers[NAME])
    assert not widget.overlay_box.value
    settle(widget)
    assert set(numbers(widget)) == {"region"}
    widget.overlay_box.value = True
    settle(widget)
    assert NAME in [layer.name for layer in viewer.layers]
    assert set(numbers(widget)) == {"view", "region"}


def test_without_a_pair_nothing_is_shown(widget, viewer, settle):
    viewer.layers.remove("QD · tumour.predicted")
    settle(widget)
    assert NAME not in [layer.name for layer in viewer.layers]
    assert widget.numbers.rowCount() == 0
    assert widget.curves.curves == ()
    assert not widget.threshold_form.isEnabled()
    assert "is ticked" in widget.pair_form.note_label.text()
    widget.measure()
    assert "is ticked" in widget.message


def test_pixels_that_are_no_numbers_are_told_in_a_sentence(viewer, widget, settle, notifications):
    bad = np.full(SHAPE, np.nan, np.float32)
    layer = viewer.add_image(bad, name="bad", contrast_limits=(0, 1), scale=(0.5, 0.5), units=("um", "um"))
    settle(widget)
    widget.pair_form.choose(viewer.layers["QD · tumour"], [layer])
    settle(widget)
    assert "finite" in widget.message
    assert notifications == []
    assert widget.numbers.rowCount() == 0


def test_the_table_has_all_points_of_all_curves(widget, monkeypatch, tmp_path, slides, settle):
    in_frame(widget, settle)
    path = tmp_path / "curve.csv"
    monkeypatch.setattr("napari_hrpn.plugin.parts.measuring_widget.ask_where", lambda *_: (path, False))
    widget.save_table()
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 102
    real, predicted = pixels(slides)
    threshold = widget.threshold_form.threshold
    assert rows[0]["point"] == "threshold"
    assert (float(rows[0]["percentile"]), float(rows[0]["threshold"])) == (90, threshold)
    assert number(float(rows[0]["iou"])) == expected(real, predicted, threshold)[0]
    assert (rows[0]["region"], rows[0]["n"], rows[0]["downsample"]) == ("Whole frame", str(real.size), "1.0")
    assert float(rows[51]["threshold"]) == np.percentile(real, 50)
    # what is there is not written over unasked
    widget.save_table()
    assert "exists" in widget.message


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_the_plot_is_saved(widget, monkeypatch, tmp_path, ending):
    path = tmp_path / f"curve.{ending}"
    monkeypatch.setattr("napari_hrpn.plugin.parts.measuring_widget.ask_where", lambda *_: (path, False))
    widget.save_figure()
    assert path.stat().st_size > 3000


@pytest.mark.parametrize("is_shown", [True], indirect=True)
def test_closing_the_viewer_ends_it(viewer, widget, close_and_go_on):
    close_and_go_on(viewer)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("napari-hrpn", "slide-pairs"))]
