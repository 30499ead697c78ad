"""The button that calibrates: what it shows, keeps and refuses, and a calibrated prediction that is opened."""

import json

import numpy as np
import pytest
from qtpy.QtWidgets import QMessageBox

from napari_hrpn.analysis import calibration_path
from napari_hrpn.core import Box
from napari_hrpn.inference import PredictionStore
from napari_hrpn.plugin.viewer import is_calibrated, slide_of
from napari_hrpn.slides import SlideError, open_slide, slide_identity
from support.roi_shapes import box

PLACE = {"scale": (0.65, 0.65), "units": ("um", "um")}
FIELDS = [(20, 120, 30, 160), (190, 290, 300, 430), (350, 450, 100, 230)]
CUTS = [np.s_[y0:y1, x0:x1] for y0, y1, x0, x1 in FIELDS]


def fitted(pixels):
    """Least squares over the regions together."""
    predicted, real = (np.concatenate([pixels[k][cut].ravel() for cut in CUTS]).astype(float) for k in (2, 1))
    return np.polyfit(predicted, real, 1)


@pytest.fixture
def drawn_fields(viewer, settled):
    """Draws the first regions."""

    def run(widget, number=3):
        viewer.add_shapes([box(*field) for field in FIELDS[:number]], name="mine", **PLACE)
        settled(widget, number)

    return run


@pytest.fixture
def store(tmp_path, pixels, viewer, show):
    """A complete prediction on disk, opened with its slide."""
    (real, *_), path = show(viewer, ()), tmp_path / "tumour 3.predicted.ome.zarr"
    slide = slide_of(real)
    options = {"dtype": np.dtype("uint16"), "name": "predicted QD", "title": "HRPN"}
    store = PredictionStore.open(
        path, slide, {"slide": slide_identity(slide), "checkpoint": "0", "core": 512}, **options
    )
    for core in (Box(0, 500, 0, 512), Box(0, 500, 512, 640)):
        store.record(core, store.write(core, pixels[2][core.slices]))
    store.close()
    viewer.open(str(path), plugin="napari-hrpn")
    return path


def press(widget, settle):
    widget.calibrator.button.native.click()
    settle(widget)


def test_it_fits_in_the_background_and_adds_the_calibrated_layer(widget, viewer, pixels, drawn_fields, settle, settled):
    drawn_fields(widget)
    before = [row.measurement for row in widget.rows()]
    press(widget, settle)
    line, test, kept = widget.message.splitlines()
    assert line.startswith("real = ")
    assert line.endswith(" x predicted")
    assert test.startswith("R2 in regions that are left out: ")
    assert kept == "Not kept in a file, as 'QD · tumour 3 HRPN predicted' is no prediction of this program."
    layer = viewer.layers["calibrated · QD · tumour 3 HRPN predicted"]
    slope, offset = fitted(pixels)
    shown = np.asarray(layer.data[0])
    np.testing.assert_allclose(shown, slope * pixels[2].astype(float) + offset, rtol=0.05, atol=20)
    assert shown.dtype == np.float32
    np.testing.assert_array_equal(layer.scale, viewer.layers["QD · tumour 3 HRPN predicted"].scale)
    assert not viewer.layers["QD · tumour 3 HRPN predicted"].visible
    assert viewer.layers.selection.active.name == "mine"
    assert viewer.layers.index(layer) < viewer.layers.index(viewer.layers["mine"])
    # the table keeps its numbers: nothing was ticked
    settled(widget, len(FIELDS))
    assert [row.measurement for row in widget.rows()] == before
    press(widget, settle)
    assert sum(map(is_calibrated, viewer.layers)) == 1


def test_a_calibrated_layer_that_is_ticked_is_measured_outside_of_its_regions(
    widget, viewer, pixels, drawn_fields, settle, settled
):
    drawn_fields(widget)
    press(widget, settle)
    layer = viewer.layers["calibrated · QD · tumour 3 HRPN predicted"]
    widget.pair_form.choose(widget.pair_form.real.layer, [getattr(layer, "__wrapped__", layer)])
    viewer.add_shapes([box(*FIELDS[0]), box(0, 500, 600, 640)], name="others", **PLACE)
    settle(widget)
    note = widget.pair_form.note_label.text().replace("\u200b", "")
    assert "3 regions in which tumour 3 HRPN predicted.ome.tif was calibrated (real = " in note
    press(widget, settle)
    assert "is a calibrated prediction already: choose the prediction itself" in widget.message


def test_refusals_are_shown_and_nothing_is_added(widget, viewer, drawn_fields, settle):
    number = len(viewer.layers)
    drawn_fields(widget, 2)
    press(widget, settle)
    assert widget.message.startswith("2 regions have pixels to calibrate by; expected 3 or more")
    assert len(viewer.layers) == number + 1


def test_without_layers_it_says_what_is_missing(viewer, open_widget):
    widget = open_widget(viewer)
    widget.calibrator.button.native.click()
    assert "open a slide and its prediction" in widget.message


def test_a_prediction_on_disk_keeps_its_calibration_and_opens_with_it(
    store, viewer, pixels, open_widget, drawn_fields, settle, monkeypatch, notifications
):
    widget = open_widget(viewer)
    drawn_fields(widget)
    press(widget, settle)
    path = calibration_path(store)
    assert widget.message.splitlines()[-1] == f"Kept in {path}"
    facts = json.loads(path.read_text("utf-8"))["calibration"]
    assert (facts["least_squares_slope"], facts["least_squares_offset"]) == pytest.approx(
        tuple(fitted(pixels)), rel=1e-9
    )
    assert facts["slide"]["channel"] == "QD"
    asked = []

    def question(parent, title, text):
        asked.append(text)
        return QMessageBox.StandardButton.No

    monkeypatch.setattr(QMessageBox, "question", question)
    written = path.read_bytes()
    press(widget, settle)
    assert "Replace the calibration" in asked[0]
    assert path.read_bytes() == written
    monkeypatch.setattr(QMessageBox, "question", lambda *_: QMessageBox.StandardButton.Yes)
    press(widget, settle)
    assert len(json.loads(path.read_text("utf-8"))["features"]) == len(FIELDS)
    # opened again, beside the prediction and hidden
    viewer.layers.clear()
    plain, calibrated = viewer.open(str(store), plugin="napari-hrpn")
    assert calibrated.name == f"calibrated · {plain.name}"
    assert [is_calibrated(plain), is_calibrated(calibrated)] == [False, True]
    assert [plain.visible, calibrated.visible] == [True, False]
    expected = facts["offset"] + facts["slope"] * pixels[2].astype(float)
    np.testing.assert_allclose(np.asarray(calibrated.data[0]), expected, rtol=1e-5, atol=1e-3)
    assert slide_of(calibrated).source == open_slide(store).source
    path.write_text("{")
    assert len(viewer.open(str(store), plugin="napari-hrpn")) == 1
    assert "cannot be read" in notifications[-1]


def test_a_calibration_can_be_stopped(widget, viewer, drawn_fields, settle, monkeypatch):
    drawn_fields(widget)
    number = len(viewer.layers)

    def endless(*_):
        from napari_hrpn.core import Progress

        while True:
            yield Progress(0, 1)

    monkeypatch.setattr("napari_hrpn.plugin.roi_correlation.calibration.calibrate_prediction", endless)
    widget.calibrator.button.native.click()
    assert widget.bar.is_running
    widget.bar.cancel_button.click()
    settle(widget)
    assert widget.message == "Stopped: nothing was calibrated."
    assert len(viewer.layers) == number


def test_a_calibration_that_cannot_be_kept_is_shown_all_the_same(
    store, viewer, open_widget, drawn_fields, settle, monkeypatch
):
    def refused(*_, **__):
        msg = "the folder is read-only"
        raise SlideError(msg)

    monkeypatch.setattr("napari_hrpn.plugin.roi_correlation.calibration.save_calibration", refused)
    widget = open_widget(viewer)
    drawn_fields(widget)
    press(widget, settle)
    assert widget.message.splitlines()[-1] == "Not kept: the folder is read-only"
    assert sum(map(is_calibrated, viewer.layers)) == 1
    assert not calibration_path(store).exists()
