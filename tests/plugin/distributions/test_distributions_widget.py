"""The whole widget in a real viewer, on slides in memory; numbers against NumPy and SciPy on the same pixels."""

import csv
import threading

import numpy as np
import pytest
from matplotlib.backend_bases import MouseEvent
from matplotlib.colors import to_rgb
from napari.components import ViewerModel
from qtpy.QtWidgets import QFileDialog
from scipy import stats

from napari_hrpn.analysis import MORAN, EvaluationSettings, tissue_mask
from napari_hrpn.core import Progress
from napari_hrpn.plugin.distributions.measurement import HETEROGENEITY, MEAN
from napari_hrpn.plugin.distributions.violin_plot import MARK_COLOUR, Patch
from napari_hrpn.plugin.distributions.widget import DistributionsWidget
from napari_hrpn.plugin.parts.region_form import FRAME
from napari_hrpn.plugin.parts.report_button import LOOKING_FOR_TISSUE
from napari_hrpn.reports import number
from napari_hrpn.reports.numbers import DEFINITIONS
from support.compared import compared_slides, show
from support.settling import WAIT_MS

SHAPE = (300, 420)
PATCH_PX = 40


@pytest.fixture
def slides():
    return compared_slides(shape=SHAPE)


@pytest.fixture
def viewer(slides):
    """A viewer without a window, which opens in no time; the last tests have one."""
    viewer = ViewerModel()
    for slide in slides:
        show(viewer, slide)
    return viewer


@pytest.fixture
def widget(viewer, settle):
    widget = DistributionsWidget(viewer)
    widget.patch_box.value = PATCH_PX
    # each test says when
    widget.is_measured_unasked = False
    widget.show()
    settle(widget)
    yield widget
    widget.shut_down()
    widget.close()


def test_patches_are_those_of_a_report_until_others_are_chosen_which_the_report_gets_too(viewer, settle, slides):
    fresh = DistributionsWidget(viewer)
    assert (
        [title for title, _ in HETEROGENEITY.values() if "Moran" in title]
        == [name for name in DEFINITIONS if "Moran" in name]
        == [MORAN]
    )
    fresh.show()
    settle(fresh)
    assert (
        fresh.patch_box.value
        == fresh.report_choices(None).settings.patch_of(SHAPE)
        == EvaluationSettings().patch_of(SHAPE)
    )
    assert fresh.report_choices(None).settings == EvaluationSettings()
    fresh.patch_box.value = PATCH_PX
    assert fresh.report_choices(None).settings.patch_of(SHAPE) == PATCH_PX
    fresh.tissue_box.value = 80
    assert fresh.report_choices(None).settings == EvaluationSettings(patch_px=PATCH_PX, minimum_tissue=0.8)
    fresh.shut_down()
    fresh.close()


def pixels(slides):
    real, predicted = slides
    return np.asarray(real.levels[0][2]), np.asarray(predicted.levels[0][0])


def tissue_pixels(slides):
    mask = tissue_mask(slides[0], 0).within(slice(0, SHAPE[0]), slice(0, SHAPE[1]))
    assert 0.2 < mask.mean() < 0.98
    return mask


def check_sizes(widget, real, predicted):
    """The numbers shown are those of pixels in a row."""
    (shown,) = widget._compared
    sizes = shown.comparison.sizes
    assert (sizes.n_real, sizes.n_predicted) == (real.size, predicted.size)
    np.testing.assert_allclose(sizes.wasserstein, stats.wasserstein_distance(real, predicted), rtol=1e-9)
    np.testing.assert_allclose(sizes.kolmogorov_smirnov, stats.ks_2samp(real, predicted, method="asymp").statistic)
    x, y = (np.percentile(one, np.arange(1, 100), method="inverted_cdf") for one in (real, predicted))
    np.testing.assert_allclose(sizes.qq_slope, np.polyfit(x, y, 1)[0])
    (row,) = widget.sizes_table.texts()
    assert row[2] == number(sizes.wasserstein)
    assert row[1] == f"{real.size:,}"


def test_grey_levels_of_the_tissue_and_the_frame_are_those_of_its_pixels(widget, slides, measure):
    measure(widget)
    assert widget.message == ""
    real, predicted = pixels(slides)
    mask = tissue_pixels(slides)
    check_sizes(widget, real[mask], predicted[mask])
    found = widget.histogram.histogram
    for counts, image in zip(found.counts, (real, predicted), strict=True):
        np.testing.assert_array_equal(counts, np.histogram(image[mask], found.edges)[0])
    widget.region_form.box.value = FRAME
    measure(widget)
    check_sizes(widget, real.ravel(), predicted.ravel())


def test_what_is_asked_for_at_once_waits_for_the_tissue_and_stays(viewer, settle, slides):
    widget = DistributionsWidget(viewer)
    widget.region_form.box.value = FRAME
    assert widget.tissue.is_busy
    widget.measure()
    assert widget.message == LOOKING_FOR_TISSUE
    settle(widget)
    check_sizes(widget, *(image.ravel() for image in pixels(slides)))
    widget.shut_down()


def fixed_p():
    """SciPy warns of the cap of its table; one permutation stands in for it."""
    return stats.PermutationMethod(n_resamples=1)


def test_anderson_darling_is_that_of_scipy_and_its_cap_is_told(widget, slides, measure):
    widget.region_form.box.value = FRAME
    measure(widget)
    real, predicted = (image.ravel() for image in pixels(slides))
    expected = stats.anderson_ksamp([real, predicted], variant="midrank", method=fixed_p()).statistic
    test = widget._compared[0].comparison.sizes.anderson_darling
    np.testing.assert_allclose(test.statistic, expected, rtol=1e-6)
    assert widget.sizes_table.texts()[0][6] == test.capped == "p <= 0.001"


def test_shapes_count_once_where_they_overlap_and_only_what_is_under_them_is_read(
    widget, viewer, slides, measure, settle
):
    boxes = np.array([[(50, 150), (50, 260), (120, 260), (120, 150)], [(100, 200), (100, 300), (180, 300), (180, 200)]])
    layer = viewer.add_shapes(boxes * 0.5 - 0.25, shape_type="rectangle", name="drawn")
    settle(widget)
    widget.region_form.box.value = layer
    measure(widget)
    mask = np.zeros(SHAPE, bool)
    mask[50:120, 150:260] = True
    mask[100:180, 200:300] = True
    real, predicted = pixels(slides)
    check_sizes(widget, real[mask], predicted[mask])
    layer.data = [layer.data[0]]
    settle(widget)
    assert widget._compared == []
    measure(widget)
    check_sizes(widget, real[50:120, 150:260].ravel(), predicted[50:120, 150:260].ravel())


def test_labels_are_a_region_too(widget, viewer, slides, measure, settle):
    labels = np.zeros((150, 210), np.uint8)
    labels[30:60, 100:150] = 3
    layer = viewer.add_labels(labels, scale=(1, 1), translate=(0.25, 0.25), name="painted")
    settle(widget)
    widget.region_form.box.value = layer
    measure(widget)
    real, predicted = pixels(slides)
    check_sizes(widget, real[60:120, 200:300].ravel(), predicted[60:120, 200:300].ravel())


def test_violins_hold_the_sums_of_patches(widget, slides, measure):
    measure(widget)
    real, predicted = pixels(slides)
    mask = tissue_pixels(slides)
    violins = {violin.name: violin for violin in widget.violins.violins if violin.panel == "QD"}
    assert list(violins) == ["tumour", "QD · tumour.predicted"]
    for violin, image in zip(violins.values(), (real, predicted), strict=True):
        expected = [
            (image.astype(int) * mask)[y : y + PATCH_PX, x : x + PATCH_PX].sum()
            for y in range(0, SHAPE[0], PATCH_PX)
            for x in range(0, SHAPE[1], PATCH_PX)
            if mask[y : y + PATCH_PX, x : x + PATCH_PX].sum() >= 0.5 * PATCH_PX**2
        ]
        assert len(expected) > 10
        np.testing.assert_array_equal(violin.values, expected)
        for index, total in enumerate(violin.values):
            box = Patch(violin, index).box
            inside = slice(box.y0, box.y1), slice(box.x0, box.x1)
            assert image[inside][mask[inside]].astype(int).sum() == total
    widget.quantity_box.value = MEAN
    (violin,) = (one for one in widget.violins.violins if one.name == "tumour" and one.panel == "QD")
    row = next(row for row in widget.heterogeneity_table.texts() if row[:2] == ["QD", "tumour"])
    assert row[2] == str(len(violin.values))
    assert row[4] == number(violin.values.std(ddof=1) / violin.values.mean())


def test_all_open_slides_stand_side_by_side(widget, viewer, measure, settle):
    other, _ = compared_slides("another", (260, 300))
    show(viewer, other)
    settle(widget)
    widget.pair_form.choose(viewer.layers["QD · tumour"], [viewer.layers["QD · tumour.predicted"]])
    measure(widget)
    names = {violin.name for violin in widget.violins.violins if violin.panel == "DAPI"}
    assert names == {"tumour", "another"}
    widget.others_box.value = False
    settle(widget)
    assert {violin.name for violin in widget.violins.violins} == {"tumour", "QD · tumour.predicted"}


def send(canvas, name, x, y, button=None):
    """An event of the mouse over a plot."""
    event = MouseEvent(name, canvas, x, y, button)
    canvas.callbacks.process(name, event)
    return event


def check_frame(viewer, box):
    """The frame is around the pixels of a box, of 0.5 µm."""
    frame = viewer.layers["patch"]
    assert frame.visible
    corners = np.array([frame.data_to_world(vector[0]) for vector in frame.data])
    np.testing.assert_allclose(corners.min(axis=0), (np.array([box.y0, box.x0]) - 0.5) * 0.5)
    np.testing.assert_allclose(corners.max(axis=0), (np.array([box.y1, box.x1]) - 0.5) * 0.5)


def test_a_point_under_the_mouse_is_framed_and_a_click_goes_there(widget, viewer, measure, settle):
    measure(widget)
    viewer.layers.selection.active = viewer.layers[0]
    widget.tabs.setCurrentIndex(2)
    settle(widget)
    plot = widget.violins
    axes = plot.figure.axes[0]
    violin = plot._axes[axes][0]
    index = int(np.argmax(violin.values))
    line = next(line for line in axes.get_lines() if line.get_xdata().size == violin.values.size)
    x, y = axes.transData.transform((line.get_xdata()[index], violin.values[index]))
    box = Patch(violin, index).box
    before = viewer.scene.camera.center
    # beside the axes, on the point, beside it again
    send(plot.canvas, "motion_notify_event", 1, 1)
    assert "patch" not in viewer.layers
    send(plot.canvas, "motion_notify_event", x, y)
    check_frame(viewer, box)
    assert viewer.scene.camera.center == before
    send(plot.canvas, "motion_notify_event", 1, 1)
    assert not viewer.layers["patch"].visible
    assert list(plot.marked) == []
    event = send(plot.canvas, "button_press_event", x, y, 1)
    assert f"row {box.y0}," in plot.words_at(event)
    centre = (np.array([box.y0 + box.y1, box.x0 + box.x1]) / 2 - 0.5) * 0.5
    np.testing.assert_allclose(viewer.scene.camera.center[-2:], centre)
    check_frame(viewer, box)
    assert {(one.violin.panel, one.violin.name) for one in plot.marked} == {
        ("DAPI", "tumour"),
        ("CD31", "tumour"),
        ("QD", "tumour"),
        ("QD", "QD · tumour.predicted"),
    }
    assert {one.box for one in plot.marked} == {box}
    assert viewer.layers.selection.active is viewer.layers[0]


def has_colour(canvas, colour):
    wanted = np.round(255 * np.array(to_rgb(colour)))
    return bool((np.asarray(canvas.buffer_rgba())[..., :3] == wanted).all(axis=-1).any())


def test_the_patch_under_the_mouse_in_the_viewer_is_marked(widget, viewer, measure, settle):
    measure(widget)
    widget.tabs.setCurrentIndex(2)
    settle(widget)
    violin = widget.violins.violins[0]
    box = Patch(violin, 7).box
    # in its new size too, whether the plot changes with it or not
    widget.resize(widget.width(), widget.height() + 70)
    settle(widget)
    widget.mouse.moved.emit(np.array([box.y0 + 3, box.x0 + 5]) * 0.5)
    marked = [one for one in widget.violins.marked if one.violin is violin]
    assert [one.index for one in marked] == [7]
    line = widget.violins._mark_lines[violin.panel]
    assert violin.values[7] in line.get_ydata()
    assert has_colour(widget.violins.canvas, MARK_COLOUR)
    widget.mouse.moved.emit(np.array([-50.0, -50.0]))
    assert not has_colour(widget.violins.canvas, MARK_COLOUR)
    assert list(widget.violins.marked) == []
    assert len(line.get_ydata()) == 0


def test_nothing_is_measured_twice(widget, viewer, measure, monkeypatch, settle):
    measure(widget)
    starts = []
    monkeypatch.setattr(
        "napari_hrpn.plugin.background.BackgroundRun",
        lambda work, **_: starts.append(work) or pytest.fail("something was measured again"),
    )
    measure(widget)
    assert "Nothing has changed" in widget.message
    before = widget._compared[0].comparison
    widget.region_form.box.value = FRAME
    settle(widget)
    # one look at the pixels has given tissue and frame; patches without a tissue are others
    assert widget._compared[0].comparison.real.n == SHAPE[0] * SHAPE[1]
    assert widget._patches == []
    widget.region_form.box.value = "tissue"
    settle(widget)
    assert widget._compared[0].comparison is before
    assert widget._patches
    assert starts == []


def test_cancel_keeps_what_is_finished(widget, qtbot, measure, monkeypatch):
    reached, go_on = threading.Event(), threading.Event()

    def slow(*_, **__):
        reached.set()
        go_on.wait(WAIT_MS / 1000)
        yield Progress(0, 10)
        pytest.fail("it went on")

    monkeypatch.setattr("napari_hrpn.plugin.distributions.measurement.slide_heterogeneity", slow)
    widget.measure()
    qtbot.waitUntil(reached.is_set, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: bool(widget._compared), timeout=WAIT_MS)
    assert widget.bar.bar.isVisible()
    widget.bar.cancel_button.click()
    go_on.set()
    qtbot.waitUntil(lambda: not widget.bar.is_running, timeout=WAIT_MS)
    assert "Stopped" in widget.message
    assert widget._compared
    assert widget._patches == []


def test_tables_and_figures_are_saved_and_nothing_is_replaced_unasked(widget, measure, tmp_path, monkeypatch):
    answers = []
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: answers.pop(0))
    widget.save_rows("histogram", [])
    assert "press Measure" in widget.message
    measure(widget)
    answers.append((str(tmp_path / "values.csv"), "CSV (*.csv)"))
    widget.save_rows("quantiles", widget.quantiles.rows())
    with (tmp_path / "values.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["percentile"]) for row in rows[:3]] == [0, 1, 2]
    answers.append((str(tmp_path / "violins"), "SVG (*.svg)"))
    widget.save_plot("patches", widget.violins)
    assert "<svg" in (tmp_path / "violins.svg").read_text("utf-8")
    (tmp_path / "violins.svg").write_text("mine")
    answers.append((str(tmp_path / "violins"), "SVG (*.svg)"))
    widget.save_plot("patches", widget.violins)
    assert (tmp_path / "violins.svg").read_text() == "mine"
    assert "exists already" in widget.message


def test_without_a_prediction_the_patches_are_still_there(widget, viewer, measure, settle):
    del viewer.layers["QD · tumour.predicted"]
    settle(widget)
    measure(widget)
    assert widget.sizes_table.texts() == []
    assert {violin.name for violin in widget.violins.violins} == {"tumour"}


def test_a_patch_of_a_closed_slide_is_told_in_a_sentence(widget, viewer, measure):
    measure(widget)
    violin = widget.violins.violins[0]
    viewer.layers.clear()
    widget.go_to_patch(Patch(violin, 0))
    assert "not open any more" in widget.message


@pytest.fixture
def window(make_napari_viewer_proxy, slides):
    viewer = make_napari_viewer_proxy()
    for slide in slides:
        show(viewer, slide)
    return viewer


def test_in_a_window_the_mouse_marks_patches_and_closing_it_ends_all(window, measure, close_and_go_on):
    widget = DistributionsWidget(window)
    window.window.add_dock_widget(widget, name="Distributions")
    widget.patch_box.value = PATCH_PX
    measure(widget)
    assert widget._patches
    widget.go_to_patch(Patch(widget.violins.violins[0], 3))
    assert "patch" in [layer.name for layer in window.layers]
    widget.region_form.box.value = FRAME
    widget.measure()
    close_and_go_on(window)
    for thread in [thread for thread in threading.enumerate() if thread.name == "napari-hrpn"]:
        thread.join(10)
        assert not thread.is_alive()
