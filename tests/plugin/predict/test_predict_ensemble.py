"""An ensemble in Predict QD: chosen as files or as a study, shown with its uncertainty, and opened again."""

import numpy as np
import pytest
import tifffile
from qtpy.QtWidgets import QFileDialog

from napari_hrpn.analysis import ErrorModel
from napari_hrpn.inference import PredictionError
from napari_hrpn.models import load_checkpoint, save_checkpoint
from napari_hrpn.plugin.parts.selection import is_single_channel
from napari_hrpn.plugin.predict.job import read_checkpoint
from napari_hrpn.plugin.viewer import predictions_in, slide_layers, uncertainty_of
from napari_hrpn.slides import open_slide, prediction_record
from support.settling import WAIT_MS


@pytest.fixture
def small_slide(tmp_path):
    pixels = np.random.default_rng(5).integers(20, 60, (2, 300, 400)).astype(np.uint8)
    path = tmp_path / "real.ome.tif"
    metadata = {"axes": "CYX", "Channel": {"Name": ["DAPI", "AF488"]}, "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    tifffile.imwrite(path, pixels, photometric="minisblack", metadata=metadata)
    return path


@pytest.fixture
def other(checkpoint, tmp_path):
    """A second checkpoint with other weights."""
    found = load_checkpoint(checkpoint)
    for name, weight in found.weights.items():
        if name.startswith("head.last"):
            weight *= 2
    save_checkpoint(found, tmp_path / "other.safetensors")
    return tmp_path / "other.safetensors"


def test_added_checkpoints_are_shown_with_their_uncertainty_and_opened_again(
    make_napari_viewer_proxy, qtbot, small_slide, open_widget, other, show, monkeypatch
):
    viewer = make_napari_viewer_proxy()
    show(viewer, open_slide(small_slide))
    widget = open_widget(viewer)
    widget.settings_form.fields["device"].value = "cpu"
    form = widget.checkpoint_form
    single = form.chosen.digest
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *_: ([str(other)], ""))
    form.ensemble_row[0].changed.emit(True)
    qtbot.waitUntil(lambda: form.chosen is not None, timeout=WAIT_MS)
    assert form.chosen.others == (other,)
    assert form.chosen.digest != single
    assert "Mean of 2 checkpoints" in form.others_label.text()
    widget.predict()
    qtbot.waitUntil(lambda: not widget.is_running, timeout=WAIT_MS)
    assert widget.message.startswith("Done")
    stored = open_slide(small_slide.parent / "real.predicted.ome.zarr")
    uncertain = uncertainty_of(viewer, widget.layer)
    assert not uncertain.visible
    for layer, pixels in ((widget.layer, stored.levels[0][0]), (uncertain, stored.levels[0][1])):
        np.testing.assert_array_equal(np.asarray(layer.data), pixels.compute())
    assert np.ptp(np.asarray(uncertain.data)) > 0
    low, high = uncertain.contrast_limits
    assert np.asarray(uncertain.data).min() <= low < high <= np.asarray(uncertain.data).max()
    assert predictions_in(viewer) == [widget.layer]
    assert not is_single_channel(uncertain)

    predicted, shown = (attributes for _, attributes, _ in slide_layers(stored))
    assert predicted["name"] == "predicted QD (tiny and 1 more) · real"
    assert (shown["name"], shown["visible"]) == (f"uncertainty · {predicted['name']}", False)
    assert shown["colormap"] == uncertain.colormap.name == "viridis"

    form.clear()
    qtbot.waitUntil(lambda: form.chosen is not None, timeout=WAIT_MS)
    assert (form.chosen.digest, form.others_label.text()) == (single, "")


def test_a_copy_of_a_network_is_refused_in_an_ensemble(checkpoint, other, tmp_path):
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(other.read_bytes())
    with pytest.raises(PredictionError, match=r"copy\.safetensors is the same network as .*other\.safetensors"):
        read_checkpoint(str(other), str(checkpoint), str(copy))
    # a study names its networks itself
    assert len(read_checkpoint(str(other), str(copy), study=tmp_path).members) == 2


def test_a_study_is_chosen_as_a_folder_and_what_is_none_is_refused(
    make_napari_viewer_proxy, qtbot, small_slide, open_widget, other, checkpoint, show, monkeypatch, tmp_path
):
    viewer = make_napari_viewer_proxy()
    show(viewer, open_slide(small_slide))
    widget = open_widget(viewer)
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path))
    widget.checkpoint_form.ensemble_row[1].changed.emit(True)
    qtbot.waitUntil(lambda: "no results of a study" in widget.message, timeout=WAIT_MS)
    monkeypatch.setattr("napari_hrpn.experiments.fold_checkpoints", lambda _: (other, checkpoint))
    widget.checkpoint_form.ensemble_row[1].changed.emit(True)
    qtbot.waitUntil(lambda: widget.checkpoint_form.others == (str(checkpoint),), timeout=WAIT_MS)
    qtbot.waitUntil(lambda: widget.checkpoint_form.chosen is not None, timeout=WAIT_MS)
    assert widget.checkpoint_form.chosen.path == other
    assert "run napari-hrpn cross-validate again" in plain(widget.checkpoint_form.others_label)


def test_the_errors_of_a_study_are_the_uncertainty_of_a_single_network(
    make_napari_viewer_proxy, qtbot, small_slide, open_widget, checkpoint, show, monkeypatch, tmp_path
):
    errors = ErrorModel(4, (0.0, 1.0), (2.0, 3.0))
    monkeypatch.setattr("napari_hrpn.experiments.fold_checkpoints", lambda _: (checkpoint,))
    monkeypatch.setattr("napari_hrpn.experiments.study_error_model", lambda *_: errors)
    viewer = make_napari_viewer_proxy()
    show(viewer, open_slide(small_slide))
    widget = open_widget(viewer)
    widget.settings_form.fields["device"].value = "cpu"
    widget.checkpoint_form.use_study(tmp_path)
    qtbot.waitUntil(lambda: getattr(widget.checkpoint_form.chosen, "errors", None) == errors, timeout=WAIT_MS)
    assert "errors on held-out tumours (4)" in plain(widget.checkpoint_form.others_label)
    widget.predict()
    qtbot.waitUntil(lambda: not widget.is_running, timeout=WAIT_MS)
    assert widget.message.startswith("Done")
    sd = np.asarray(uncertainty_of(viewer, widget.layer).data)
    np.testing.assert_allclose(sd, errors.sd_at(np.asarray(widget.layer.data)), rtol=1e-6)
    record = prediction_record(small_slide.parent / "real.predicted.ome.zarr")
    assert record.request["error_model"] == errors.facts
    # the same prediction is found again, as finished
    widget.predict()
    qtbot.waitUntil(lambda: not widget.is_running, timeout=WAIT_MS)
    assert not list(small_slide.parent.glob("real.predicted-*"))


def plain(label):
    """Text of a label without its places for line breaks."""
    return label.text().replace("\u200b", "")
