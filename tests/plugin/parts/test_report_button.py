"""The button in a viewer: what is chosen is what is written, in a folder of its own; how it stops, what it refuses."""

import json
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_hrpn.analysis import EvaluationSettings
from napari_hrpn.core.progress import Progress
from napari_hrpn.plugin.distributions.widget import DistributionsWidget
from napari_hrpn.plugin.parts import report_button
from napari_hrpn.plugin.parts.pair_form import PairForm
from napari_hrpn.plugin.parts.region_form import FRAME
from napari_hrpn.plugin.parts.report_button import (
    STOPPED,
    WHOLE_FRAME,
    ReportBar,
    ReportChoices,
    together,
)
from napari_hrpn.plugin.parts.selection import compared_channel, stained_slide
from napari_hrpn.plugin.parts.tissue_mask import Tissue
from napari_hrpn.plugin.penetration.widget import PenetrationWidget
from napari_hrpn.plugin.roi_correlation.widget import RoiCorrelationWidget
from napari_hrpn.plugin.threshold_miou.widget import ThresholdMiouWidget
from napari_hrpn.reports import ReportError, WritingReport
from napari_hrpn.slides import Annotation, guess_roles
from support.compared import compared_slides, show, slide_of_pixels
from support.settling import WAIT_MS, settle

SHAPE = (208, 260)
ROI = slice(20, 120), slice(100, 230)
WIDGETS = [ThresholdMiouWidget, DistributionsWidget, PenetrationWidget, RoiCorrelationWidget]


@pytest.fixture(scope="module")
def slides():
    return compared_slides(shape=SHAPE)


@pytest.fixture
def viewer(slides):
    viewer = ViewerModel()
    for slide in slides:
        show(viewer, slide)
    return viewer


@pytest.fixture
def parent(tmp_path, monkeypatch):
    """The folder that the user chooses."""
    folder = tmp_path / "reports"
    folder.mkdir()
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", staticmethod(lambda *_: str(folder)))
    return folder


@pytest.fixture
def make_bar(viewer, qtbot):
    """Makes the bar as a widget does."""
    parts = []

    def run(rois=tuple):
        whole, form, tissue = QWidget(), PairForm(viewer), Tissue(viewer)
        bar = ReportBar(viewer, form, tissue, rois)
        bar.setParent(whole)
        parts.extend([bar.abandon, form.shut_down, tissue.shut_down, whole.close])
        qtbot.waitUntil(lambda: form.is_settled, timeout=WAIT_MS)
        return bar

    yield run
    for end in parts:
        end()


@pytest.fixture
def press(qtbot):
    def run(bar):
        bar.measure_button.click()
        qtbot.waitUntil(lambda: not is_busy(bar), timeout=WAIT_MS)

    return run


def is_busy(bar):
    """Whether a report is being written, or waits for the tissue."""
    return bar.is_running or bar._tissue.is_busy


class SlowReport:
    """Takes the place of `write_evaluation`: goes on until it is closed, or ends with an error."""

    def __init__(self, error=None):
        self.error, self.is_begun, self.is_closed = error, threading.Event(), threading.Event()

    def __call__(self, order, folder):
        try:
            while True:
                self.is_begun.set()
                yield WritingReport(0.5, "patches")
                # as a step takes time; the thread would queue more than is shown meanwhile
                time.sleep(0.001)
                if self.error is not None:
                    raise self.error
        finally:
            self.is_closed.set()


@pytest.fixture
def slow(monkeypatch):
    def run(error=None):
        report = SlowReport(error)
        monkeypatch.setattr("napari_hrpn.plugin.parts.report_button.write_evaluation", report)
        return report

    return run


def corner_roi():
    """A rectangle of whole pixels."""
    rows, columns = ROI
    ring = np.array([(y, x) for y in (rows.start, rows.stop) for x in (columns.start, columns.stop)], float)
    return Annotation("corner", "include", ((ring[[0, 1, 3, 2]],),))


@pytest.mark.usefixtures("tiny_figures")
def test_the_report_is_of_the_tissue_as_edited_and_of_the_regions_and_replaces_nothing(
    make_bar, press, viewer, slides, parent, monkeypatch, qtbot
):
    theirs = parent / "tumour" / "notes.txt"
    theirs.parent.mkdir()
    theirs.write_text("mine")
    opened = []
    monkeypatch.setattr(QDesktopServices, "openUrl", staticmethod(lambda url: opened.append(url.toLocalFile()) or True))
    bar = make_bar(lambda: [corner_roi()])
    bar._tissue.look_at(bar._pair_form.real)
    qtbot.waitUntil(lambda: not bar._tissue.is_busy, timeout=WAIT_MS)
    layer = bar._tissue.show_layer()
    edited = np.zeros_like(layer.data)
    edited[: edited.shape[0] // 2] = 1
    layer.data = edited
    press(bar)
    folder = parent / "tumour-2"
    assert bar.message == f"Report written: {folder}"
    assert [path.name for path in theirs.parent.iterdir()] == ["notes.txt"]

    found = json.loads((folder / "evaluation.json").read_text("utf-8"))
    real, predicted = np.asarray(slides[0].levels[0][2]), np.asarray(slides[1].levels[0][0])
    rows = round(edited.shape[0] // 2 * bar._tissue.mask.downsample[0])
    for part, numbers in (((slice(rows), slice(None)), found["tissue"]), (ROI, found["rois"][0])):
        y, p = real[part].ravel().astype(float), predicted[part].ravel().astype(float)
        assert numbers["n"] == y.size
        assert numbers["pearson_r"] == pytest.approx(np.corrcoef(y, p)[0, 1], rel=1e-9)
    assert found["frame"]["n"] == real.size
    assert found["rois"][0]["name"] == "corner"
    assert list(found["predictions"]) == ["predicted"]
    assert found["about"]["tissue"] == "edited by hand in napari"
    assert found["penetration"]["reason"] == ""

    bar.page_button.click()
    bar.folder_button.click()
    assert [Path(path) for path in opened] == [folder / "evaluation.html", folder]
    # the same again is not another report
    press(bar)
    assert bar.message == f"This report exists already: {folder}"
    assert sorted(path.name for path in parent.iterdir()) == ["tumour", "tumour-2"]


def test_cancelling_stops_it_and_the_button_is_there_again(make_bar, slow, parent, qtbot):
    report, bar = slow(), make_bar()
    bar.measure_button.click()
    qtbot.waitUntil(report.is_begun.is_set, timeout=WAIT_MS)
    assert not bar.measure_button.isEnabled()
    assert bar.cancel_button.isVisibleTo(bar)
    bar.cancel_button.click()
    qtbot.waitUntil(lambda: not is_busy(bar), timeout=WAIT_MS)
    assert bar.message == STOPPED
    assert report.is_closed.is_set()
    assert bar.measure_button.isEnabled()
    assert not bar.cancel_button.isVisibleTo(bar)
    assert not bar.page_button.isVisibleTo(bar)


def test_a_widget_that_goes_away_ends_it(make_bar, slow, parent, qtbot):
    report, bar = slow(), make_bar()
    bar.measure_button.click()
    qtbot.waitUntil(report.is_begun.is_set, timeout=WAIT_MS)
    bar.abandon()
    assert report.is_closed.wait(WAIT_MS / 1000)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ReportError("the folder holds something else."), "the folder holds something else."),
        (OSError(28, "No space left on device"), "No space left on device): make room"),
    ],
)
def test_what_goes_wrong_is_told_in_a_sentence(make_bar, press, slow, parent, error, words):
    slow(error)
    bar = make_bar()
    press(bar)
    assert words in bar.message
    assert "\n" not in bar.message
    assert bar.written is None


def test_a_region_beside_the_slide_is_refused(make_bar, press, parent):
    beside = Annotation("far", "include", ((np.array([[900, 900], [900, 950], [950, 950]], float),),))
    bar = make_bar(lambda: [beside])
    press(bar)
    assert "region 1 (far) of the layer lies outside of tumour.ome.tif" in bar.message
    assert list(parent.iterdir()) == []


def test_without_a_whole_prediction_no_folder_is_asked_for(make_bar, viewer, monkeypatch):
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", staticmethod(pytest.fail))
    bar = make_bar()
    predicted = viewer.layers[-1]
    predicted.metadata["napari_hrpn"]["prediction"] = {"complete": False}
    bar.write()
    assert "'QD · tumour.predicted' is not complete" in bar.message
    bar._pair_form.choose(viewer.layers[2], [])
    bar.write()
    assert bar.message == bar._pair_form.problem


def test_nothing_is_written_where_the_user_thinks_better_of_it(make_bar, monkeypatch):
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", staticmethod(lambda *_: ""))
    bar = make_bar()
    bar.write()
    assert not bar.is_running
    assert bar.message == ""


@pytest.mark.parametrize(("moved", "channels"), [(0, 3), (40, 1)])
def test_stains_in_layers_of_somebody_else_are_joined_where_they_lie_on_each_other(moved, channels):
    viewer, pixels = ViewerModel(), np.zeros(SHAPE, np.uint8)
    for name in ("DAPI", "CD31", "QD"):
        viewer.add_image(pixels + 1, name=name, translate=(moved if name == "DAPI" else 0, 0))
    slide, channel = stained_slide(compared_channel(viewer.layers["QD"]), viewer)
    assert channel == 0
    assert len(slide.channel_names) == channels
    assert slide.channel_names[0] == "QD"
    assert (guess_roles(slide.channel_names).vessels is None) == bool(moved)


def test_a_report_has_what_other_panels_show_where_its_own_leaves_it_open():
    vessels = lambda: None  # noqa: E731
    patches = ReportChoices(EvaluationSettings(patch_px=64, minimum_tissue=0.8))
    distances = ReportChoices(EvaluationSettings(background=3.0), 1, vessels)
    own = ReportChoices(EvaluationSettings(patch_px=32), is_whole_frame=True)
    found = together([patches, distances], own)
    assert found.settings == EvaluationSettings(patch_px=32, minimum_tissue=0.8, background=3.0)
    assert (found.vessels_channel, found.vessels, found.is_whole_frame) == (1, vessels, True)
    assert not together([own], patches).is_whole_frame
    assert together([], ReportChoices()).settings == EvaluationSettings()


@pytest.mark.parametrize("kind", WIDGETS)
def test_every_widget_that_compares_writes_it(kind, viewer, parent, monkeypatch, made, qtbot):
    reported = []

    def steps(one, folder):
        reported.append((one, folder))
        yield Progress(0, 1)
        raise ReportError("enough.")

    monkeypatch.setattr(report_button, "report_steps", steps)
    second = slide_of_pixels(np.zeros((1, *SHAPE), np.uint8), "tumour GANDA.predicted.ome.zarr", ("QD",))
    show(viewer, second)
    if kind is RoiCorrelationWidget:
        image = viewer.layers[2]
        viewer.add_shapes([[[10, 10], [10, 60], [50, 60], [50, 10]]], scale=image.scale, units=image.units)
    widget = kind(viewer)
    made.append(widget)
    if kind is RoiCorrelationWidget:
        qtbot.waitUntil(lambda: len(widget.rows()) == 1, timeout=WAIT_MS)
    else:
        settle(qtbot, widget)
    assert widget.report.measure_button.isVisibleTo(widget)
    widget.report.measure_button.click()
    qtbot.waitUntil(lambda: widget.report.message == "enough.", timeout=WAIT_MS)
    (one, folder), regions = reported[0], int(kind is RoiCorrelationWidget)
    assert folder == parent
    assert [image.name for image in one.predictions] == ["QD · tumour.predicted", "QD · tumour GANDA.predicted"]
    assert one.tissue is not None
    assert one.glass is not None
    assert len(one.rois) == regions
    if kind is not RoiCorrelationWidget:
        widget.region_form.box.value = FRAME
        settle(qtbot, widget)
        widget.report.measure_button.click()
        qtbot.waitUntil(lambda: len(reported) > 1 and not is_busy(widget.report), timeout=WAIT_MS)
        assert (reported[1][0].tissue, reported[1][0].tissue_words) == (None, WHOLE_FRAME)
        assert reported[1][0].glass is not None
