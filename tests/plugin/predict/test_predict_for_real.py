import numpy as np
import pytest
import tifffile

from napari_hrpn.inference import PredictionReport
from napari_hrpn.slides import open_slide
from support.settling import WAIT_MS

SHAPE = (1100, 1300)
TILES = 9


@pytest.fixture
def real_slide(tmp_path):
    """Noise small enough for two tiles of 512 px with a network of one branch."""
    pixels = np.random.default_rng(5).integers(20, 60, (2, 500, 900)).astype(np.uint8)
    path = tmp_path / "real.ome.tif"
    metadata = {"axes": "CYX", "Channel": {"Name": ["DAPI", "AF488"]}, "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    tifffile.imwrite(path, pixels, photometric="minisblack", metadata=metadata)
    return path


def test_the_real_engine_predicts_stops_and_goes_on(make_napari_viewer_proxy, qtbot, real_slide, open_widget, show):
    viewer = make_napari_viewer_proxy()
    show(viewer, open_slide(real_slide))
    widget = open_widget(viewer)
    widget.settings_form.fields["device"].value = "cpu"
    widget.settings_form.fields["core"].value = 512
    widget.predict()
    qtbot.waitUntil(lambda: widget._running.progress is not None, timeout=WAIT_MS)
    widget.cancel()
    qtbot.waitUntil(lambda: not widget.is_running, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: widget.predict_button.enabled, timeout=WAIT_MS)
    widget.predict()
    qtbot.waitUntil(lambda: not widget.is_running, timeout=WAIT_MS)
    assert widget.message.startswith("Done")
    stored = open_slide(real_slide.parent / "real.predicted.ome.zarr")
    np.testing.assert_array_equal(widget.layer.data[0][:, :], stored.levels[0][0].compute())
    np.testing.assert_array_equal(widget.layer.data[-1][:, :], stored.levels[-1][0].compute())
    assert np.ptp(widget.layer.data[-1]) > 0
    assert isinstance(widget.layer.metadata["napari_hrpn"]["prediction"]["report"], PredictionReport)


def test_closing_the_viewer_during_a_real_run_ends_it(
    make_napari_viewer_proxy, qtbot, real_slide, open_widget, made, show, prediction_threads
):
    viewer = make_napari_viewer_proxy()
    show(viewer, open_slide(real_slide))
    widget = open_widget(viewer)
    widget.settings_form.fields["core"].value = 512
    widget.predict()
    qtbot.waitUntil((real_slide.parent / "real.predicted.ome.zarr").exists, timeout=WAIT_MS)
    made.clear()
    del widget
    viewer.close()
    qtbot.waitUntil(lambda: prediction_threads() == [], timeout=WAIT_MS)
