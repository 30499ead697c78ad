"""Where the slide is unlike the training, in Predict QD: asked for, hatched, said, and opened again."""

from dataclasses import replace

import numpy as np
import pytest
import tifffile

from napari_hrpn.models import load_checkpoint, save_checkpoint
from napari_hrpn.models.training_features import TrainingFeatures, compared_features
from napari_hrpn.plugin.viewer import UNLIKE_TRAINING, hatch_of, predictions_in, settle_soon, slide_layers
from napari_hrpn.slides import open_slide
from support.settling import WAIT_MS


@pytest.fixture
def small_slide(tmp_path):
    """Bright on its right half."""
    pixels = np.random.default_rng(5).integers(20, 60, (2, 300, 400)).astype(np.uint8)
    pixels[:, :, 192:] *= 4
    path = tmp_path / "real.ome.tif"
    metadata = {"axes": "CYX", "Channel": {"Name": ["DAPI", "AF488"]}, "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    tifffile.imwrite(path, pixels, photometric="minisblack", metadata=metadata)
    return path


@pytest.fixture
def with_features(checkpoint):
    """A checkpoint from whose training every slide is far away."""
    found = load_checkpoint(checkpoint)
    count = compared_features(found.settings)
    matrix = np.eye(count, dtype=np.float32) * np.float32(1e9)
    features = TrainingFeatures(np.zeros(count, np.float32), matrix)
    save_checkpoint(replace(found, features=features), checkpoint.with_name("features.safetensors"))
    return checkpoint.with_name("features.safetensors")


def test_it_is_asked_for_hatched_said_and_opened_again(
    make_napari_viewer_proxy, qtbot, small_slide, open_widget, checkpoint, with_features, show
):
    viewer = make_napari_viewer_proxy()
    show(viewer, open_slide(small_slide))
    widget = open_widget(viewer, checkpoint)
    field = widget.settings_form.fields["unlike"]
    assert not field.enabled
    widget.use_checkpoint(with_features)
    qtbot.waitUntil(lambda: field.enabled, timeout=WAIT_MS)
    widget.settings_form.fields["device"].value = "cpu"
    field.value = True
    widget.predict()
    qtbot.waitUntil(lambda: not widget.is_running, timeout=WAIT_MS)
    assert widget.message.startswith("Done")
    assert "100 % of the compared tissue of real.ome.tif is unlike the training" in widget.message
    stored = open_slide(small_slide.parent / "real.predicted.ome.zarr")
    assert stored.channel_names == ("predicted QD", "unlike")
    hatch = hatch_of(viewer, widget.layer, UNLIKE_TRAINING)
    hatched = hatch.data[..., 3] > 0
    # stripes let the picture through
    assert hatch.visible
    assert 0.2 < hatched.mean() < 0.7
    assert predictions_in(viewer) == [widget.layer]

    ((data, attributes, _),) = slide_layers(stored)
    viewer.layers.clear()
    opened = viewer.add_image(data, **attributes)
    settle_soon(viewer.__wrapped__)
    qtbot.waitUntil(lambda: hatch_of(viewer, opened, UNLIKE_TRAINING) is not None, timeout=WAIT_MS)
    np.testing.assert_array_equal(hatch_of(viewer, opened, UNLIKE_TRAINING).data[..., 3] > 0, hatched)
