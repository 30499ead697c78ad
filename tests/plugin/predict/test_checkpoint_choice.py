"""Choice of a checkpoint in Predict QD: none for a user's own slide, and how far the slide is from the training."""

from dataclasses import replace

import numpy as np
import pytest

from napari_hrpn.inference.fit import kept_quantiles
from napari_hrpn.models import Checkpoint, load_checkpoint, save_checkpoint
from napari_hrpn.phantom import phantom_slide
from napari_hrpn.plugin.predict.widget import PredictWidget
from napari_hrpn.plugin.viewer import slide_layers
from plugin.predict.conftest import WAIT_MS


@pytest.fixture
def fresh(qtbot, viewer, engine):
    widget = PredictWidget(viewer)
    qtbot.addWidget(widget)
    qtbot.waitUntil(lambda: widget._is_ready, timeout=WAIT_MS)
    yield widget
    widget.end()


def test_no_checkpoint_is_chosen_for_a_users_own_slide(fresh, qtbot):
    qtbot.wait(50)
    assert fresh.checkpoint_form.box.value is None
    assert not fresh.predict_button.enabled
    assert "Choose the network" in fresh.checkpoint_form.others_label.text().replace("​", "")
    fresh.use_checkpoint("synthetic")
    qtbot.waitUntil(lambda: fresh.checkpoint_form.chosen is not None, timeout=WAIT_MS)
    assert fresh.predict_button.enabled
    assert not fresh.checkpoint_form.others_label.text()


def test_a_sample_is_predicted_by_the_synthetic_checkpoint(qtbot, make_napari_viewer_proxy, engine):
    viewer = make_napari_viewer_proxy()
    for data, attributes, _ in slide_layers(phantom_slide("tiny").slide):
        viewer.add_image(data, **attributes)
    widget = PredictWidget(viewer)
    qtbot.addWidget(widget)
    qtbot.waitUntil(lambda: widget.checkpoint_form.chosen is not None, timeout=WAIT_MS)
    assert widget.checkpoint_form.box.value == "synthetic"
    widget.end()


@pytest.mark.parametrize(("level", "words"), [(0.0, "is like the slides"), (9.0, "is unlike the slides")])
def test_the_form_says_how_far_a_slide_is_from_the_training(fresh, checkpoint, qtbot, level, words):
    known = load_checkpoint(checkpoint)
    slide = fresh._slide
    pixels = np.asarray(slide.levels[0][:2], float).reshape(2, -1)
    scaling = known.card.scaling
    near = (
        np.percentile(pixels, (1, 5, 25, 50, 75, 95, 99), axis=1).T - np.array(scaling.offsets)[:, None]
    ) / np.array(scaling.scales)[:, None]
    spread = [near + 40 * level, near + 40 * level + 30]
    card = replace(known.card, input_quantiles=kept_quantiles(spread))
    save_checkpoint(Checkpoint(known.settings, known.weights, card), checkpoint)
    fresh.use_checkpoint(checkpoint)
    qtbot.waitUntil(lambda: bool(fresh.fit_label.text()), timeout=WAIT_MS)
    assert words in fresh.fit_label.text().replace("​", "")


def test_the_first_that_is_added_is_chosen_and_a_broken_one_can_be_cleared(fresh, checkpoint, tmp_path, qtbot):
    form, broken = fresh.checkpoint_form, tmp_path / "broken.safetensors"
    broken.write_bytes(b"no checkpoint")
    form.add([str(checkpoint), str(broken)])
    assert form.box.value == str(checkpoint)
    qtbot.waitUntil(lambda: "broken.safetensors" in fresh.message, timeout=WAIT_MS)
    assert not fresh.predict_button.enabled
    assert "Clear" in form.others_label.text()
    form.clear()
    qtbot.waitUntil(lambda: form.chosen is not None, timeout=WAIT_MS)
    assert form.others == ()
    assert not form.others_label.text()
